"""The command line of the campaign."""

from __future__ import annotations

import argparse
import sys
import time

from tests.crashes.campaign import LANES, Kind, run_campaign


def main() -> int:
    """Visit kill points, print figures. Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--points", type=int, default=100, help="how many kill points")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), help="only this kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=LANES, help="points at once")
    arguments = parser.parse_args()
    began_at_s = time.monotonic()
    kinds = list(Kind) if arguments.kind is None else [arguments.kind]
    summary = run_campaign(arguments.points, kinds=kinds, seed=arguments.seed, lanes=arguments.lanes, report=_write)
    _write(summary.text(time.monotonic() - began_at_s))
    return 1 if summary.figures.violations else 0


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
