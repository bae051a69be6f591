"""The central poller: one heap of due times for all jobs, and no task per job.

The workers are leader and followers (D. C. Schmidt et al., "Leader/Followers", Pattern Languages of Program Design 4,
2000): whoever holds the lock sleeps until the earliest job is due, takes it, and lets the next one lead while it asks.
So no job is handed from one task to another. Jobs that come due within the slack go out on one wake-up.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._core.pace import Pace

__all__ = ["Poller"]


class Poller:
    """Asks for each of its jobs, known by a text, when it is due: the one first that is due longest.

    Args:
        ask: Asks for one job; returns the seconds until it is due again, or None when it is done with.
        pace: How many questions per second may be asked. Who is over it waits in the order of the due times: nobody
            starves. None sets no limit.
        slack_s: How much later than due a job may be asked for, to be asked for together with others.
    """

    def __init__(
        self, ask: Callable[[str], Awaitable[float | None]], *, pace: Pace | None = None, slack_s: float = 0.0
    ) -> None:
        self._ask = ask
        self._pace = pace
        self._slack_s = slack_s
        self._heap: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}
        # There is an await in each question anyway: a lock that is free is taken without another one.
        self._lock = anyio.Lock(fast_acquire=True)
        self._earlier = anyio.Event()

    def __len__(self) -> int:
        return len(self._due_at)

    def add(self, job: str, *, due_in_s: float) -> None:
        """Ask for a job in `due_in_s` seconds; for one that is known, whichever is earlier."""
        due_at = anyio.current_time() + due_in_s
        if due_at < self._due_at.get(job, float("inf")):
            self._push(job, due_at)

    def wake(self, job: str) -> None:
        """Ask for a job now, if it is waiting."""
        if job in self._due_at:
            self.add(job, due_in_s=0)

    async def serve(self) -> None:
        """Work until cancelled. Run it in as many tasks as calls may be under way at once."""
        while True:
            async with self._lock:
                job = await self._next_due()
            wait_s = await self._ask(job)
            if wait_s is not None:
                self.add(job, due_in_s=wait_s)

    def _push(self, job: str, due_at: float) -> None:
        self._due_at[job] = due_at
        heapq.heappush(self._heap, (due_at, job))
        if self._heap[0][1] == job:
            self._earlier.set()

    async def _next_due(self) -> str:
        await self._wait_for_due()
        if self._pace is not None and (pause_s := self._pace.take(anyio.current_time())) > 0:
            await anyio.sleep(pause_s)
            self._drop_stale()
        _, job = heapq.heappop(self._heap)
        del self._due_at[job]
        return job

    async def _wait_for_due(self) -> None:
        while True:
            self._drop_stale()
            wait_s = self._heap[0][0] - anyio.current_time() if self._heap else float("inf")
            if wait_s <= 0:
                return
            self._earlier = anyio.Event()
            with anyio.move_on_after(wait_s + self._slack_s):
                await self._earlier.wait()

    def _drop_stale(self) -> None:
        """Entries whose job was since given an earlier due time, or has been taken."""
        while self._heap and self._due_at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
