"""Probe a file, and tell what is said of it and what it took: `python -m tests.media.measured FILE`."""

from __future__ import annotations

import json
import resource
import sys
import time

from hitpaw_async.errors import MediaError
from hitpaw_async.media import probe_file
from hitpaw_async.media._pyav import load_av


def main(path: str) -> None:
    load_av()
    before, began_at = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        facts = probe_file(path)
        said = f"{facts.width}x{facts.height}"
    except MediaError as error:
        said = str(error)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    json.dump({"said": said, "memory_mb": memory / 1024, "time_s": time.process_time() - began_at}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
