"""What a seed decides before anything runs: the videos, the faults, the processes and how each of them ends."""

from __future__ import annotations

import math
import random
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async import BatchLimits
from hitpaw_async.policies import WhenFull
from tests.simulation.videos import Video, draw_videos, worst_price

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Ask", "Asks", "Ending", "Faults", "Outage", "Person", "ProcessPlan", "Scenario", "Wire", "draw_scenario"]

SHARES: Final[Mapping[str, float]] = {
    # of the network
    "no connection": 0.04,
    "proxy": 0.1,
    "proxy refuses": 0.15,
    "broken headers": 0.03,
    "broken body": 0.03,
    "lost reply": 0.04,
    "silence": 0.02,
    "slow reply": 0.08,
    "gateway page": 0.04,
    "garbage": 0.03,
    # of the vendor
    "redirect": 0.003,
    "key revoked": 0.004,
    "no credits": 0.025,
    "rate limit": 0.03,
    "vendor failure": 0.03,
    "unknown code": 0.015,
    "job id again": 0.05,
    "accepted late": 0.25,
    "no credits for polls": 0.01,
    "unknown status": 0.08,
    "completed without a result": 0.06,
    "not yet known": 0.3,
    "another job's status": 0.02,
    "asked twice": 0.03,
    # of its webhooks
    "webhook lost": 0.2,
    "webhook twice": 0.2,
    "webhook late": 0.2,
    "webhook early": 0.1,
    "webhook forged": 0.2,
    "person at the same moment": 0.3,
    # of the sources
    "slow probe": 0.2,
    # of the disk
    "slow disk": 0.03,
    "stalled disk": 0.003,
    "commit fails": 0.003,
    "commit fails after all": 0.003,
    # of the results
    "download fails": 0.1,
    "result expired": 0.1,
    "result gone": 0.04,
    "result late": 0.05,
    "result not stored": 0.15,
    "folder takes nothing": 0.1,
    "a text for a result": 0.03,
    "result fails": 0.03,
    "a result that can't be read": 0.2,
    "name taken meanwhile": 0.05,
    # of the caller
    "slow reader": 0.15,
    "slow input": 0.1,
    "broken input": 0.005,
}
"""How often a fault happens where it could, in a seed of middling wildness."""


class Ending(Enum):
    """How a process ends, if nothing else ends it before."""

    BY_ITSELF = "by itself"
    DEATH = "death"
    CANCELLED = "cancelled"
    CTRL_C = "Ctrl-C"
    READER_LEAVES = "the reader leaves"


class Wire(Enum):
    """What the client sends through."""

    WATCHED = "its own connections"
    CALLERS = "a caller's client without events"
    CALLERS_WATCHED = "a caller's client with events"


class Asks(Enum):
    """What stands at one place of the caller's input."""

    VIDEO = "video"
    AGAIN = "the same video, signed anew"
    IMPOSTOR = "another video under its key"


class Person(Enum):
    """When somebody looks into what is uncertain."""

    ABSENT = "absent"
    BEFORE = "before the run"
    MEANWHILE = "while it runs"


@attrs.frozen
class Ask:
    """One place of the caller's input."""

    number: int
    kind: Asks = Asks.VIDEO


@attrs.frozen
class Outage:
    """A time in which no call reaches the vendor."""

    begin_s: float
    end_s: float
    status: int | None
    """What a gateway's page says; None: no connection."""


@attrs.frozen
class Faults:
    """Which faults happen, and how often."""

    wildness: float
    chosen: frozenset[str]
    outages: tuple[Outage, ...] = ()
    """In seconds since the process began."""

    def share(self, name: str) -> float:
        base = SHARES[name]
        return min(0.9, base * self.wildness) if name in self.chosen else 0.0

    def outage(self, elapsed_s: float) -> Outage | None:
        return next((outage for outage in self.outages if outage.begin_s <= elapsed_s < outage.end_s), None)


@attrs.frozen(kw_only=True)
class ProcessPlan:
    """One process of a seed."""

    asks: tuple[tuple[Ask, ...], ...]
    """The input of each of its runs."""
    limits: BatchLimits
    budget: int | None
    ending: Ending
    faults: Faults | None
    wire: Wire = Wire.WATCHED
    death_step: int = 0
    moment: tuple[str, int] = ("", 0)
    """The n-th time that a named moment comes, it dies or is cancelled."""
    cancelled_at_s: float = math.inf
    second_ctrl_c_s: float | None = None
    """How long after the first Ctrl-C another one comes; None: none does."""
    outcomes_read: int = 0
    enqueues: bool = False
    plans: bool = False
    is_input_async: bool = False
    person: Person = Person.ABSENT
    impostors_first: bool = False
    """Whether other videos under known keys come before the videos themselves."""
    hook_wait_s: float | None = None
    """How long an uncertain item waits for a webhook; None: there are no webhooks."""
    clock_skew_s: float = 0.0
    pause_s: float = 0.0
    """How long nothing runs afterwards."""
    retry_after_s: float | None = None
    """How soon it tries again, as a service that follows its journal; None: it is none, and runs to an end."""
    stays_s: float = 0.0
    """In what time a service gets its work, and how long it stays afterwards."""
    outlasts_faults: bool = False
    """Whether a service stays until the faults have ended and all has come to its end."""

    @property
    def is_left_by_reader(self) -> bool:
        return self.ending is Ending.READER_LEAVES


@attrs.frozen(kw_only=True)
class Scenario:
    """All that a seed decides before anything runs."""

    seed: int
    videos: tuple[Video, ...]
    processes: tuple[ProcessPlan, ...]
    when_full: WhenFull
    failed_jobs_are_charged: bool
    downloads: bool
    poll_s: tuple[float, float]
    probes: bool
    """Whether sources are looked at before they are priced."""
    page_items: int
    """How many items are taken up in one transaction."""
    names_taken: tuple[str, ...]
    """Files of strangers in the output folder."""


MOMENTS: Final = (
    "thread",
    "before the commit",
    "after the commit",
    "connected",
    "headers written",
    "body begun",
    "body written",
    "body written",
    "charged",
    "charged",
    "reply read",
    "reply read",
    "polled",
    "publishing",
    "published",
    "published",
    "published",
    "outcome read",
    "input pulled",
)


def draw_scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    videos = draw_videos(rng, rng.choice((1, 2, 3, 4, 5, 6, 8, 11)))
    wildness = rng.choice((0.0, 0.4, 1.0, 1.0, 2.5))
    faults = frozenset(name for name in SHARES if rng.random() < 0.7)
    total = sum(worst_price(video) for video in videos if not video.breaks_limit)
    budget = None if rng.random() < 0.15 else round(total * rng.uniform(0.25, 1.3))
    if budget is not None and rng.random() < 0.3:
        # What some of them need, to the credit.
        budget = sum(worst_price(video) for video in videos if not video.breaks_limit and rng.random() < 0.6)
    hook_wait_s = rng.choice((0.0, 20.0, 300.0)) if rng.random() < 0.45 else None
    draw = _Draw(rng, videos, wildness, faults, total, hook_wait_s)
    processes = [draw.process(budget, is_first=True)]
    while rng.random() < 0.55 and len(processes) < 6:
        budget = draw.next_budget(budget)
        processes.append(draw.process(budget, is_first=False))
    processes.append(draw.last(draw.next_budget(budget)))
    processes = _some_as_services(seed, processes)
    return Scenario(
        seed=seed,
        videos=videos,
        processes=tuple(processes),
        when_full=rng.choice((WhenFull.WAIT, WhenFull.SKIP)),
        failed_jobs_are_charged=rng.random() < 0.5,
        downloads=rng.random() < 0.75,
        poll_s=rng.choice(((5.0, 10.0), (4.0, 30.0), (10.0, 60.0))),
        probes=rng.random() < 0.4,
        page_items=rng.choice((1, 2, 3, 256)),
        names_taken=tuple(f"v{number}.mp4" for number in range(len(videos)) if rng.random() < 0.08),
    )


def _some_as_services(seed: int, processes: list[ProcessPlan]) -> list[ProcessPlan]:
    rng = random.Random(f"services {seed}")
    share = rng.choice((0.0, 0.0, 0.0, 0.5, 1.0))
    return [_as_service(rng, plan) if rng.random() < share else plan for plan in processes]


def _as_service(rng: random.Random, plan: ProcessPlan) -> ProcessPlan:
    retry_after_s, stays_s = rng.choice((1.0, 20.0, 60.0)), rng.choice((0.0, 10.0, 100.0, 300.0))
    service = attrs.evolve(plan, retry_after_s=retry_after_s, stays_s=stays_s)
    if plan.faults is None or rng.random() < 0.5:
        return service
    return attrs.evolve(service, outlasts_faults=True, ending=Ending.BY_ITSELF, death_step=0)


@attrs.frozen
class _Draw:
    """What the processes of a seed are drawn from."""

    rng: random.Random
    videos: tuple[Video, ...]
    wildness: float
    faults: frozenset[str]
    total_credits: int
    hook_wait_s: float | None

    def process(self, budget: int | None, *, is_first: bool) -> ProcessPlan:
        """A process in which anything may happen."""
        rng = self.rng
        ending = rng.choice((Ending.BY_ITSELF, Ending.DEATH, Ending.DEATH, Ending.DEATH, Ending.CANCELLED))
        if rng.random() < 0.15:
            ending = rng.choice((Ending.READER_LEAVES, Ending.READER_LEAVES, Ending.CTRL_C))
        fields: dict[str, Any] = {}
        if rng.random() < 0.5:
            fields["moment"] = (rng.choice(MOMENTS), rng.choice((1, 1, 1, 2, 2, 3, 4, 5, 7, 10)))
        elif ending is Ending.DEATH:
            fields["death_step"] = round(2 ** rng.uniform(0, 9.5))
        else:
            fields["cancelled_at_s"] = rng.uniform(0, 60)
        return ProcessPlan(
            asks=tuple(self._asks(is_first=is_first) for _ in range(rng.choice((1, 1, 1, 2)))),
            limits=self._limits(is_patient=False),
            budget=budget,
            ending=ending,
            faults=self._faults(),
            wire=rng.choice((Wire.WATCHED,) * 5 + (Wire.CALLERS, Wire.CALLERS_WATCHED)),
            second_ctrl_c_s=rng.choice((None, 0.0, 0.3, 2.0)),
            outcomes_read=rng.randrange(4),
            enqueues=rng.random() < 0.1,
            plans=rng.random() < 0.05,
            is_input_async=rng.random() < 0.4,
            person=rng.choice((Person.ABSENT, Person.ABSENT, Person.BEFORE, Person.MEANWHILE)),
            impostors_first=rng.random() < 0.3,
            hook_wait_s=self.hook_wait_s,
            clock_skew_s=rng.choice((0.0, 0.0, 0.0, -3600.0, 5000.0)),
            pause_s=rng.choice((0.0, 1.0, 60.0, 4000.0)),
            **fields,
        )

    def last(self, budget: int | None) -> ProcessPlan:
        """A process without faults: everything must come to its end in it."""
        rng = self.rng
        asks = [Ask(video.number) for video in self.videos]
        rng.shuffle(asks)
        return ProcessPlan(
            asks=(tuple(asks),) if rng.random() < 0.8 else ((), tuple(asks)),
            limits=self._limits(is_patient=True),
            budget=budget,
            ending=Ending.BY_ITSELF,
            faults=None,
            is_input_async=rng.random() < 0.4,
            person=rng.choice((Person.ABSENT, Person.BEFORE)),
            hook_wait_s=self.hook_wait_s,
        )

    def next_budget(self, budget: int | None) -> int | None:
        """The budget of the next process."""
        draw = self.rng.random()
        if budget is None or draw < 0.5:
            return budget
        if draw < 0.6:
            return None
        return round(budget * self.rng.uniform(0.3, 1)) if draw < 0.75 else budget + self.total_credits

    def _asks(self, *, is_first: bool) -> tuple[Ask, ...]:
        rng = self.rng
        if not is_first and rng.random() < 0.3:
            return ()
        asks = [Ask(video.number) for video in self.videos if rng.random() < (0.8 if is_first else 0.6)]
        if rng.random() < 0.2:
            rng.shuffle(asks)
        for ask in tuple(asks):
            if rng.random() < 0.15:
                # Later than the video itself: the first to bring a key decides what it stands for.
                place = rng.randint(asks.index(ask) + 1, len(asks))
                kind = rng.choice((Asks.VIDEO, Asks.AGAIN, Asks.IMPOSTOR))
                if kind is not Asks.IMPOSTOR or self.videos[ask.number].has_key:
                    asks.insert(place, Ask(ask.number, kind))
        return tuple(asks)

    def _limits(self, *, is_patient: bool) -> BatchLimits:
        rng = self.rng
        return BatchLimits(
            jobs_in_flight=rng.choice((1, 2, 3, 5, 16)),
            submissions=rng.choice((1, 2, 4)),
            downloads=rng.choice((1, 2)),
            polls=rng.choice((1, 2, 4)),
            job_timeout_s=rng.choice((8.0, 40.0)) if not is_patient and rng.random() < 0.15 else None,
            stop_grace_s=rng.choice((0.0, 1.2, 10.0)),
        )

    def _faults(self) -> Faults:
        rng = self.rng
        outages = []
        if rng.random() < 0.2 * self.wildness:
            begin_s = rng.uniform(0, 60)
            status = rng.choice((None, 502, 503, 504, 404, 403, 429, 200))
            outages.append(Outage(begin_s, begin_s + rng.choice((3, 30, 300)), status))
        return Faults(self.wildness, self.faults, tuple(outages))
