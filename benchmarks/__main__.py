"""`python -m benchmarks`: measure everything, print the table, and where asked write JSON and draw plots."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import plots
from benchmarks.measures import Options, Result
from benchmarks.report import as_json, as_markdown, read

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NAMES", "main"]

NAMES: Final = ("cpu", "width", "scale", "footprint", "planning", "durable", "startup", "download", "storage")
"""The modules, each with a question of its own and a `measure(options)`."""

QUICK_ROUNDS: Final = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of what is measured in pairs (default 15)")
    parser.add_argument("--quick", action="store_true", help="only whether it works: the figures mean nothing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=100_000, help="length of the batch whose memory is measured")
    parser.add_argument("--width-max", type=int, default=100_000, help="the most jobs in flight")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, samples included")
    parser.add_argument(
        "--read", type=Path, nargs="+", default=[], metavar="FILE", help="measure nothing: show what runs have written"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw plots as SVG files")
    return parser


def _measured(names: Sequence[str], options: Options) -> dict[str, Result]:
    results = {}
    for name in names:
        began_s = time.monotonic()
        results[name] = importlib.import_module(f"benchmarks.{name}").measure(options)
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    given = _parser().parse_args(arguments)
    options = Options(
        rounds=QUICK_ROUNDS if given.quick else given.rounds,
        is_quick=given.quick,
        seed=given.seed,
        items=given.items,
        width_max=given.width_max,
    )
    results = {name: result for path in given.read for name, result in read(path).items()}
    if not given.read:
        results = _measured(given.only or NAMES, options)
    print(as_markdown([row for result in results.values() for row in result.rows]))
    if given.json is not None:
        given.json.write_text(json.dumps(as_json(results, options), indent=1) + "\n", encoding="utf-8")
    if given.plots is not None:
        for path in plots.draw([line for result in results.values() for line in result.series], given.plots):
            print(path)


if __name__ == "__main__":
    main()
