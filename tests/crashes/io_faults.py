"""A disk that says no: ENOSPC and EIO from each system call that can say so, once or from then on.

The process may end with an error of the library, never with a foreign one and never not at all. Then the disk is well
again, and everything that holds after a crash must hold.

    python -m tests.crashes.io_faults
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from tests.crashes.lane import Ending, Lane
from tests.crashes.promises import Figures, look_after_a_death, look_at_the_end
from tests.crashes.vendor import LastingVendor
from tests.crashes.worker import (
    ENDED,
    ENDED_BY_AN_ERROR_OF_THE_LIBRARY,
    JOURNAL,
    RESULTS,
    Order,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS: Final = {
    "pwrite64": ("ENOSPC", "EIO"),
    "write": ("ENOSPC", "EIO"),
    "fdatasync": ("ENOSPC", "EIO"),
    "fsync": ("ENOSPC", "EIO"),
    "ftruncate": ("ENOSPC", "EIO"),
    "pread64": ("EIO",),
    "openat": ("ENOSPC", "EIO", "EMFILE"),
    "link": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
}
"""What can go wrong, by system call. `pwrite64` is SQLite's, `write` a download's and the room's."""

RESUMES_MAX: Final = 3
NTH_MAX: Final = {"pwrite64": 200, "fdatasync": 30, "pread64": 17, "openat": 14, "write": 70}
"""About how often one thread makes a call; four times at most where nothing is said."""


@attrs.frozen
class Fault:
    """One error, on a thread's `nth` call of this kind, and on all after it where it `lasts`."""

    call: str
    error: str
    nth: int
    lasts: bool
    is_wal: bool

    def __str__(self) -> str:
        return (
            f"{self.call}#{self.nth}{'+' if self.lasts else ''}={self.error} ({'WAL' if self.is_wal else 'TRUNCATE'})"
        )

    def options(self, order: Order) -> list[str]:
        """strace's options. Only files of the batch fail to open: the program's own modules are not the matter."""
        options = ["-e", f"trace={self.call}"]
        options += ["-e", f"inject={self.call}:error={self.error}:when={self.nth}{'+' if self.lasts else ''}"]
        if self.call == "openat":
            folder = Path(order.folder)
            names = [JOURNAL, *(f"{JOURNAL}{suffix}" for suffix in ("-wal", "-shm", "-journal", ".lock", ".room"))]
            for path in (*(folder / name for name in names), folder / RESULTS, folder):
                options += ["-P", str(path)]
        return options


@attrs.define
class Summary:
    """What all faults come to."""

    figures: Figures = attrs.field(factory=Figures)
    faults: Counter[str] = attrs.field(factory=Counter)
    endings: Counter[str] = attrs.field(factory=Counter)
    unreached: int = 0

    def text(self) -> str:
        """The figures."""
        figures = self.figures
        return "\n".join(
            [
                f"{self.faults.total()} faults: {_listed(self.faults)}; {self.unreached} came too late to hit",
                f"endings: {_listed(self.endings)}",
                f"videos: {figures.states}; leftovers: {_listed(figures.leftovers) or 'none'}",
                f"{len(figures.violations)} violations",
                *figures.violations[:40],
            ]
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def planned(count: int, *, seed: int) -> Iterator[Fault]:
    """`count` faults: each kind in turn, early ones more often."""
    source = random.Random(seed)
    kinds = [(call, error) for call, names in FAULTS.items() for error in names]
    for index in range(count):
        call, error = kinds[index % len(kinds)]
        nth_max = NTH_MAX.get(call, 4)
        nth = min(source.randint(1, nth_max), source.randint(1, nth_max))
        yield Fault(call, error, nth, lasts=source.random() < 0.5, is_wal=source.random() < 0.5)


def visit(lane: Lane, vendor: LastingVendor, folder: Path, fault: Fault, number: int, summary: Summary) -> None:
    """One fault, from the process that meets it to the last look."""
    name = f"fault-{number}"
    (folder / name).mkdir()
    order = Order(folder=str(folder / name), name=name, base_url=vendor.base_url, is_wal=fault.is_wal)
    log = folder / f"{name}.trace"
    figures = Figures()
    ending = lane.run(order, "-o", str(log), *fault.options(order))
    if "(INJECTED)" not in log.read_text():
        summary.unreached += 1
    _judge(figures, ending)
    figures.add(look_after_a_death(order, vendor.charges()))
    last = _resumed(lane, vendor, order, figures)
    figures.add(last)
    summary.faults[f"{fault.call} {fault.error}"] += 1
    summary.endings[_named(ending)] += 1
    figures.violations = [f"{fault}: {violation}\n{ending.log[-2500:]}" for violation in figures.violations]
    summary.figures.add(figures)
    if not figures.violations:
        shutil.rmtree(order.folder)


def _judge(figures: Figures, ending: Ending) -> None:
    figures.require(not ending.is_hung, "it hung")
    figures.require(
        ending.code in (ENDED, ENDED_BY_AN_ERROR_OF_THE_LIBRARY) or ending.is_hung, f"it ended with {ending.code}"
    )


def _resumed(lane: Lane, vendor: LastingVendor, order: Order, figures: Figures) -> Figures:
    for _ in range(RESUMES_MAX):
        ending = lane.run(order)
        figures.require(
            ending.is_finished, f"on a disk that is well again it ended with {ending.code}: {ending.log[-800:]}"
        )
        last = look_at_the_end(order, vendor.charges())
        if figures.violations or not last.violations:
            break
    return last


def _named(ending: Ending) -> str:
    if ending.is_hung:
        return "hung"
    if ending.code == ENDED:
        return "finished"
    found = re.findall(r"^ENDED (\w+)", ending.log, re.MULTILINE)
    return found[-1] if found else f"code {ending.code}"


def run_faults(count: int, *, seed: int) -> Summary:
    """Go through `count` faults.

    Raises:
        TracingError: There is no tracing on this machine.
    """
    summary = Summary()
    folder = Path(tempfile.mkdtemp(prefix="io-faults-"))
    with LastingVendor() as vendor, Lane(folder) as lane:
        for number, fault in enumerate(planned(count, seed=seed)):
            visit(lane, vendor, folder, fault, number, summary)
    if not summary.figures.violations:
        shutil.rmtree(folder)
    return summary


def main() -> int:
    """Print figures. Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.io_faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=170)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_at_s = time.monotonic()
    summary = run_faults(arguments.faults, seed=arguments.seed)
    sys.stdout.write(f"{summary.text()}\n{time.monotonic() - began_at_s:.0f} s\n")
    return 1 if summary.figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
