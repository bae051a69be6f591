"""The command line of the simulation."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.seeds import Report, run_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_TAIL = 40


def main() -> int:
    """Run seeds, print figures. Returns 1 where a seed broke a promise."""
    arguments = _arguments()
    began_at_s = time.monotonic()
    figures = Figures()
    for report in _reports(arguments.seeds, jobs=arguments.jobs, keeps_log=arguments.log):
        figures.add(report)
        if report.violation is not None or arguments.log:
            _write(_story(report, tail=len(report.log) if arguments.log else LOG_TAIL))
        if report.violation is not None and arguments.until_violation:
            break
    _write(figures.text(time.monotonic() - began_at_s))
    return 1 if figures.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 101), help="a range A..B, both included, or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--log", action="store_true", help="print all that happened")
    parser.add_argument("--until-violation", action="store_true", help="stop at the first broken promise")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def _reports(seeds: range, *, jobs: int, keeps_log: bool) -> Iterator[Report]:
    work = partial(_run, keeps_log=keeps_log)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, seeds, chunksize=20)


def _run(seed: int, *, keeps_log: bool) -> Report:
    report = run_seed(seed)
    return report if keeps_log or report.violation else report.without_log()


def _story(report: Report, *, tail: int) -> str:
    lines = [f"seed {report.seed}  digest {report.digest}", *(f"  {line}" for line in report.log[-tail:])]
    if report.violation is not None:
        lines += [f"seed {report.seed} broke {report.violation}", "replay: " + replay_command(report.seed)]
    return "\n".join(lines)


def replay_command(seed: int) -> str:
    """What replays a seed, to the letter."""
    return f"python -m tests.simulation --seeds {seed} --log"


class Figures:
    """What all seeds come to."""

    def __init__(self) -> None:
        self.violations: list[Report] = []
        self._sums: Counter[str] = Counter()
        self._states: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        if report.violation is not None:
            self.violations.append(report)
        self._sums["seeds"] += 1
        for name in ("processes", "deaths", "charges", "credits", "transactions", "steps"):
            self._sums[name] += getattr(report, name)
        self._sums["virtual hours"] += round(report.virtual_s / 3600)
        self._states.update(dict(report.states))

    def text(self, wall_s: float) -> str:
        sums = ", ".join(f"{count} {name}" for name, count in self._sums.items())
        states = ", ".join(f"{count} {state}" for state, count in sorted(self._states.items()))
        broken = Counter(report.violation.invariant for report in self.violations if report.violation is not None)
        named = "".join(f", {count} {name}" for name, count in broken.most_common())
        return (
            f"{sums}\nitems at the end: {states}\n"
            f"{len(self.violations)} violations{named} in {wall_s:.1f} s "
            f"({1000 * wall_s / max(1, self._sums['seeds']):.1f} ms a seed)"
        )


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
