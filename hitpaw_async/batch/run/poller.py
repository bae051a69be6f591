"""The central poller: one heap of due times for all jobs, and no task per job.

The workers are leader and followers (D. C. Schmidt et al., "Leader/Followers", Pattern Languages of Program Design 4,
2000): whoever holds the lock sleeps until the earliest job is due, takes it, and lets the next one lead while it asks.
So no job is handed from one task to another. Jobs that come due within the slack go out on one wake-up.

A job stands in the heap itself, once, and holds its own due time: beside it, an entry for each would take as much as
all else that is known of it. What stands in a heap can't be moved forward, so a job that is to be asked for earlier
than where it stands has a second, earlier place; one that is to be asked for later is moved when its place comes up.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._core.rate_limit import Pace

__all__ = ["Poller", "Waiting"]

NEVER: Final = math.inf

SPARE_PLACES: Final = 64
"""The heap may have so many places more than twice the jobs that wait, before those that nobody needs are cleared."""


@attrs.define(eq=False, weakref_slot=False)
class _Place:
    """An entry of the heap."""

    place_at: float = attrs.field(default=NEVER, init=False)
    """Where it stands in the heap, and does not change there; NEVER outside of it."""

    def __lt__(self, other: _Place) -> bool:
        return self.place_at < other.place_at


@attrs.define(eq=False, weakref_slot=False)
class Waiting(_Place):
    """A job that a poller can ask for. It belongs to one poller."""

    due_at: float = attrs.field(default=NEVER, init=False)
    """When it is to be asked for (the loop's clock); NEVER while it is not waiting."""


J = TypeVar("J", bound=Waiting)


@attrs.define(eq=False, weakref_slot=False)
class _Earlier(_Place, Generic[J]):
    """A second place of a job, before the one where the job itself stands."""

    job: J


class Poller(Generic[J]):
    """Asks for each of its jobs when it is due: the one first that is due longest.

    Args:
        ask: Asks for one job; returns the seconds until it is due again, or None when it is done with.
        pace: How many questions per second may be asked. Who is over it waits in the order of the due times: nobody
            starves. None sets no limit.
        slack_s: How much later than due a job may be asked for, to be asked for together with others.
    """

    def __init__(
        self, ask: Callable[[J], Awaitable[float | None]], *, pace: Pace | None = None, slack_s: float = 0.0
    ) -> None:
        self._ask = ask
        self._pace = pace
        self._slack_s = slack_s
        self._heap: list[J | _Earlier[J]] = []
        self._waiting = 0
        # There is an await in each question anyway: a lock that is free is taken without another one.
        self._lock = anyio.Lock(fast_acquire=True)
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return self._waiting

    def add(self, job: J, *, due_in_s: float) -> None:
        """Ask for a job in `due_in_s` seconds; for one that is known, whichever is earlier."""
        due_at = anyio.current_time() + due_in_s
        if due_at < job.due_at:
            self._waiting += job.due_at == NEVER
            job.due_at = due_at
            self._place(job)

    def wake(self, job: J) -> None:
        """Ask for a job now, if it is waiting."""
        if job.due_at != NEVER:
            self.add(job, due_in_s=0)

    async def serve(self) -> None:
        """Work until cancelled. Run it in as many tasks as calls may be under way at once."""
        while True:
            async with self._lock:
                job = await self._next_due()
            wait_s = await self._ask(job)
            if wait_s is not None:
                self.add(job, due_in_s=wait_s)

    def _place(self, job: J) -> None:
        """See that a job comes up when it is due. It may come up sooner, and is moved then."""
        if job.place_at != NEVER and job.place_at <= job.due_at:
            return
        entry = job if job.place_at == NEVER else _Earlier(job)
        entry.place_at = job.due_at
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._changed.set()
        self._clear()

    async def _next_due(self) -> J:
        await self._wait_for_due()
        if self._pace is not None and (pause_s := self._pace.take(anyio.current_time())) > 0:
            await anyio.sleep(pause_s)
            self._bring_up()
        job = self._pop()
        job.due_at = NEVER
        self._waiting -= 1
        self._clear()
        return job

    async def _wait_for_due(self) -> None:
        while True:
            self._bring_up()
            wait_s = self._heap[0].place_at - anyio.current_time() if self._heap else math.inf
            if wait_s <= 0:
                return
            self._changed = anyio.Event()
            with anyio.move_on_after(wait_s + self._slack_s):
                await self._changed.wait()

    def _bring_up(self) -> None:
        """Bring the job that is due first to the top."""
        while self._heap and _job_of(self._heap[0]).due_at != self._heap[0].place_at:
            job = self._pop()
            if job.place_at == NEVER != job.due_at:
                self._place(job)

    def _pop(self) -> J:
        entry = heapq.heappop(self._heap)
        entry.place_at = NEVER
        return _job_of(entry)

    def _clear(self) -> None:
        """Where wake-ups have left more places than jobs, give each job one, the one at which it is due."""
        if len(self._heap) <= 2 * self._waiting + SPARE_PLACES:
            return
        jobs = dict.fromkeys(_job_of(entry) for entry in self._heap)
        for job in jobs:
            job.place_at = job.due_at
        self._heap = [job for job in jobs if job.due_at != NEVER]
        heapq.heapify(self._heap)


def _job_of(entry: J | _Earlier[J]) -> J:
    return entry.job if isinstance(entry, _Earlier) else entry
