"""Many kill points: which there are, what happens at one, and what all of them come to."""

from __future__ import annotations

import itertools
import queue
import random
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from tests.crashes.lane import KILL_CALLS, Ending, Lane, kill_at
from tests.crashes.promises import Figures, look_after_a_death, look_at_the_end
from tests.crashes.vendor import LastingVendor
from tests.crashes.worker import Order, urls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESUMES_MAX: Final = 3
LANES: Final = 2
RANDOM_KILLS_MAX: Final = 3
RUN_LASTS_ABOUT_S: Final = 0.35
TRIES_MAX: Final = 12
REPORT_EVERY: Final = 25


class Kind(StrEnum):
    """What is killed, and when."""

    SYSCALL = "syscall"
    """The first process, at a system call."""
    RESUME = "resume"
    """The first process at a system call, and the one that resumes at another."""
    RANDOM = "random"
    """One to three processes in a row, at random times, untraced."""


SHARES: Final = {Kind.SYSCALL: 0.5, Kind.RESUME: 0.35, Kind.RANDOM: 0.15}


@attrs.frozen
class Point:
    """One kill point."""

    number: int
    kind: Kind
    call: str
    """The system call at which the process under test dies; empty where chance decides."""
    nth: int
    is_wal: bool
    seed: int

    def __str__(self) -> str:
        where = f" {self.call}#{self.nth}" if self.call else ""
        return f"point {self.number} ({self.kind}{where}, {'WAL' if self.is_wal else 'TRUNCATE'}, seed {self.seed})"


Reach = dict[bool, dict[str, int]]
"""For a journal with and without a WAL: how often, at most, one thread makes each system call."""


@attrs.define
class Summary:
    """What all points come to."""

    figures: Figures = attrs.field(factory=Figures)
    points: Counter[str] = attrs.field(factory=Counter)
    calls: Counter[str] = attrs.field(factory=Counter)
    processes: Counter[str] = attrs.field(factory=Counter)
    charges: Counter[str] = attrs.field(factory=Counter)
    """By URL, as they were when the point was judged."""
    late: int = 0
    """Charges that came after."""

    def text(self, wall_s: float) -> str:
        """The figures."""
        figures, total = self.figures, self.points.total()
        lines = [
            f"{total} kill points: {_listed(self.points)}",
            f"system calls killed at: {_listed(self.calls)}",
            f"processes: {_listed(self.processes)}",
            f"{figures.done + figures.uncertain} videos: {figures.states}",
            f"double charges: {sum(count > 1 for count in self.charges.values())}, charges after the end: {self.late}",
            f"leftovers: {_listed(figures.leftovers) or 'none'}",
            f"{len(figures.violations)} violations in {wall_s:.0f} s",
            *figures.violations[:40],
        ]
        return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def measured_reach(lane: Lane, vendor: LastingVendor, folder: Path) -> Reach:
    """Run undisturbed, once for each way of the journal, and count the system calls."""
    reach: Reach = {}
    for is_wal in (False, True):
        name = f"measure-{is_wal}"
        log = folder / f"{name}.trace"
        order = _new_order(folder, name, vendor, is_wal=is_wal)
        ending = lane.run(order, "-o", str(log), "-e", f"trace={','.join(KILL_CALLS)}")
        assert ending.is_finished, ending.log
        counts = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
        reach[is_wal] = {}
        for (_, call), count in counts.items():
            reach[is_wal][call] = max(count, reach[is_wal].get(call, 0))
    return reach


def planned(count: int, reach: Reach, *, kinds: Sequence[Kind], seed: int) -> list[Point]:
    """Points spread over kinds, over both ways of the journal, over system calls, and over their numbers."""
    source = random.Random(seed)
    weights = [SHARES[kind] for kind in kinds]
    drawn: list[tuple[Kind, str, int, bool]] = []
    for kind, weight in zip(kinds, weights, strict=True):
        share = max(1, round(count * weight / sum(weights)))
        if kind is Kind.RANDOM:
            drawn += [(kind, "", 0, index % 2 == 0) for index in range(share)]
            continue
        for is_wal in (False, True):
            spread = _spread(share // 2 + (share % 2 and is_wal), reach[is_wal])
            drawn += [(kind, call, nth, is_wal) for call, nth in spread]
    source.shuffle(drawn)
    return [Point(number, *point, source.getrandbits(32)) for number, point in enumerate(drawn[:count])]


def _spread(count: int, reach: Mapping[str, int]) -> list[tuple[str, int]]:
    """`count` system calls: as evenly over their kinds as these go, and evenly over the numbers of each."""
    shares = dict.fromkeys(reach, 0)
    while sum(shares.values()) < count:
        open_calls = [call for call in reach if shares[call] < reach[call]] or list(reach)
        for call in open_calls[: count - sum(shares.values())]:
            shares[call] += 1
    return [
        (call, 1 + (index * reach[call] + reach[call] // 2) // share % reach[call])
        for call, share in shares.items()
        for index in range(share)
    ]


def _new_order(folder: Path, name: str, vendor: LastingVendor, *, is_wal: bool) -> Order:
    place = folder / name
    place.mkdir()
    return Order(folder=str(place), name=name, base_url=vendor.base_url, is_wal=is_wal)


class Campaign:
    """Kill points on one vendor. `folder` keeps what broke a promise."""

    def __init__(self, vendor: LastingVendor, folder: Path, reach: Reach) -> None:
        self._vendor = vendor
        self._folder = folder
        self._reach = reach
        self._lock = threading.Lock()
        self.summary = Summary()

    def visit(self, lane: Lane, point: Point) -> Figures:
        """Go through one point, from the first process to the last look."""
        source = random.Random(point.seed)
        order, figures = self._killed(lane, point, source)
        ending = self._finish(lane, order, figures)
        if not figures.violations:
            figures.add(look_at_the_end(order, self._vendor.charges()))
        if figures.leftovers[".part"] and not figures.violations:
            order = attrs.evolve(order, videos=order.videos + 1)
            self._sweep(lane, order, figures)
        figures.violations = [f"{point}: {violation}\n{ending.log[-3000:]}" for violation in figures.violations]
        self._count(point, order, figures)
        return figures

    def _killed(self, lane: Lane, point: Point, source: random.Random) -> tuple[Order, Figures]:
        """Kill where the point says. Where a process came to its end before, it is tried again, and earlier."""
        nth = point.nth
        for attempt in range(TRIES_MAX):
            name = f"point-{point.number}-{attempt}"
            order = _new_order(self._folder, name, self._vendor, is_wal=point.is_wal)
            figures = Figures()
            if point.kind is Kind.RANDOM:
                is_hit = self._kill_at_random(lane, order, source, figures)
            else:
                if point.kind is Kind.RESUME:
                    call = source.choice(KILL_CALLS)
                    first = source.randint(1, self._reach[point.is_wal].get(call, 1))
                    self._life(lane, order, figures, *kill_at(call, first))
                is_hit = self._life(lane, order, figures, *kill_at(point.call, nth)).is_killed
            if is_hit or figures.violations:
                return order, figures
            with self._lock:
                self.summary.charges.update(_charges_of(order, self._vendor))
            shutil.rmtree(order.folder)
            nth = max(1, nth // 2)
        figures.violations.append("it was never killed")
        return order, figures

    def _kill_at_random(self, lane: Lane, order: Order, source: random.Random, figures: Figures) -> bool:
        is_hit = False
        for _ in range(source.randint(1, RANDOM_KILLS_MAX)):
            mortal = attrs.evolve(order, kill_after_s=source.uniform(0.0, RUN_LASTS_ABOUT_S))
            is_hit |= self._life(lane, mortal, figures).is_killed
        return is_hit

    def _life(self, lane: Lane, order: Order, figures: Figures, *strace: str) -> Ending:
        """One process, and a look at what it left."""
        ending = lane.run(order, *strace)
        with self._lock:
            self.summary.processes["killed" if ending.is_killed else "finished"] += 1
        figures.require(ending.is_killed or ending.is_finished, f"a process ended by itself: {ending.code}")
        figures.require(not ending.is_hung, "a process hung")
        figures.add(look_after_a_death(order, self._vendor.charges()))
        return ending

    def _finish(self, lane: Lane, order: Order, figures: Figures) -> Ending:
        """Resume, undisturbed, until nothing is unfinished."""
        for _ in range(RESUMES_MAX):
            ending = self._life(lane, order, figures)
            last = look_at_the_end(order, self._vendor.charges())
            if figures.violations or not last.violations:
                return ending
            with self._lock:
                self.summary.processes["resumed once more"] += 1
        return ending

    def _sweep(self, lane: Lane, order: Order, figures: Figures) -> None:
        """A part that was left must be gone after the next download into its folder."""
        self._life(lane, order, figures)
        after = look_at_the_end(order, self._vendor.charges())
        figures.violations += after.violations
        figures.require(not after.leftovers, f"left for good: {after.leftovers}")
        figures.done += after.done + after.uncertain - figures.done - figures.uncertain
        figures.leftovers[".part, gone after the next download"] += figures.leftovers.pop(".part")

    def _count(self, point: Point, order: Order, figures: Figures) -> None:
        with self._lock:
            self.summary.figures.add(figures)
            self.summary.points[point.kind] += 1
            if point.call:
                self.summary.calls[point.call] += 1
            self.summary.charges.update(_charges_of(order, self._vendor))
        if not figures.violations:
            shutil.rmtree(order.folder)

    def close(self) -> None:
        """Look at all charges once more: none may have come after its point was judged."""
        charges = self._vendor.charges()
        self.summary.late = sum(charges[url] != count for url, count in self.summary.charges.items())
        self.summary.figures.require(not self.summary.late, f"{self.summary.late} charges came after the end")


def _charges_of(order: Order, vendor: LastingVendor) -> dict[str, int]:
    charges = vendor.charges()
    return {url: charges[url] for url in urls_of(order.name, order.videos)}


def run_campaign(
    count: int, *, kinds: Sequence[Kind], seed: int, lanes: int = LANES, report: Callable[[str], None] | None = None
) -> Summary:
    """Visit `count` kill points, `lanes` at a time.

    Raises:
        TracingError: There is no tracing on this machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="crashes-"))
    with ExitStack() as stack:
        vendor = stack.enter_context(LastingVendor())
        opened = [stack.enter_context(Lane(_made(folder / f"lane-{number}"))) for number in range(lanes)]
        reach = measured_reach(opened[0], vendor, folder)
        campaign = Campaign(vendor, folder, reach)
        if report is not None:
            report("\n".join(f"{'WAL' if is_wal else 'TRUNCATE'}: {_listed(calls)}" for is_wal, calls in reach.items()))
        points: queue.SimpleQueue[Point] = queue.SimpleQueue()
        for point in planned(count, reach, kinds=kinds, seed=seed):
            points.put(point)
        with ThreadPoolExecutor(lanes) as threads:
            # The first lane reports for all.
            reports = [report, *[None] * (lanes - 1)]
            driven = [
                threads.submit(_drive, campaign, lane, points, each) for lane, each in zip(opened, reports, strict=True)
            ]
        for end in driven:
            end.result()
        campaign.close()
    if not campaign.summary.figures.violations:
        shutil.rmtree(folder)
    return campaign.summary


def _drive(
    campaign: Campaign, lane: Lane, points: queue.SimpleQueue[Point], report: Callable[[str], None] | None
) -> None:
    """Take points until there are no more."""
    began_at_s = time.monotonic()
    for visits in itertools.count(1):
        try:
            point = points.get_nowait()
        except queue.Empty:
            return
        campaign.visit(lane, point)
        if report is not None and visits % REPORT_EVERY == 0:
            report(campaign.summary.text(time.monotonic() - began_at_s) + "\n")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
