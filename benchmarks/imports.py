"""What importing the library costs, beside `import httpx` in the same rounds, and its pytest plugin beside pytest.

`python -m benchmarks.imports`. Each sample is a process of its own; the kinds take turns, so that a busy machine slows
all of them. The figure is CPU seconds of the import alone: what was loaded before it is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

__all__ = ["measure"]

ROUNDS = 15
STATEMENTS = {
    "nothing": ("", "pass"),
    "hitpaw_async": ("", "import hitpaw_async"),
    "AsyncHitPaw": ("", "from hitpaw_async import AsyncHitPaw"),
    "httpx": ("", "import httpx"),
    "pytest": ("", "import pytest"),
    "the pytest plugin": ("import pytest", "import hitpaw_async.testing.plugin"),
}
PROGRAM = """
import time
{before}
began_s = time.process_time()
{statement}
print(time.process_time() - began_s)
"""


def measure(rounds: int = ROUNDS) -> dict[str, list[float]]:
    """CPU seconds of each import, round by round."""
    samples: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(rounds + 1):
        for name, (before, statement) in STATEMENTS.items():
            samples[name].append(_cpu_s(before, statement))
    # The first round compiles what is not compiled yet.
    return {name: figures[1:] for name, figures in samples.items()}


def _cpu_s(before: str, statement: str) -> float:
    program = PROGRAM.format(before=before, statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


def _ratio(samples: dict[str, list[float]], ours: str, peer: str) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(samples[ours], samples[peer], strict=True))


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="print every sample")
    given = parser.parse_args()
    samples = measure(given.rounds)
    if given.json:
        print(json.dumps(samples))
        return
    for name, figures in samples.items():
        print(f"{name:<20} {statistics.median(figures) * 1000:8.2f} ms")
    print(f"import hitpaw_async / import httpx: {_ratio(samples, 'hitpaw_async', 'httpx'):.1%}")
    print(f"the plugin / import pytest: {_ratio(samples, 'the pytest plugin', 'pytest'):.1%}")


if __name__ == "__main__":
    main()
