"""Outcomes on their way to whoever iterates over a run: as many as there are places, and no more."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitpaw_async.models import Outcome

__all__ = ["Outbox"]


class Outbox:
    """A bounded stream whose places are taken long before its values come.

    A place is taken when an item is pulled from the input and given back when its outcome has been taken out: so a slow
    reader slows the pulling, and putting an outcome in never waits.

    Args:
        places: How many there are.
        on_put: Told of each outcome that is put in.
    """

    def __init__(self, places: int, on_put: Callable[[Outcome], None] | None = None) -> None:
        self._places = anyio.Semaphore(places)
        self._count = places
        self._surplus = 0
        """Places that are taken and will not be given out again."""
        self._on_put = on_put
        self._outcomes: deque[Outcome] = deque()
        self._failure: BaseException | None = None
        self._is_closed = False
        self._changed = anyio.Event()

    async def take_place(self) -> None:
        """Wait for a place."""
        await self._places.acquire()

    def give_back_place(self) -> None:
        """Give a place back that no outcome will use."""
        if self._surplus:
            self._surplus -= 1
        else:
            self._places.release()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._count + self._surplus - self._places.value

    def resize(self, places: int) -> None:
        """Have so many places from now on. What is taken stays taken until it is given back."""
        self._surplus += self._count - places
        self._count = places
        while self._surplus < 0:
            self._surplus += 1
            self._places.release()
        while self._surplus and self._places.value:
            self._surplus -= 1
            self._places.acquire_nowait()

    def put(self, outcome: Outcome) -> None:
        """Put in the outcome of an item that has a place."""
        self._outcomes.append(outcome)
        self._changed.set()
        if self._on_put is not None:
            self._on_put(outcome)

    def close(self, failure: BaseException | None = None) -> None:
        """No more outcomes will come. What is in is still delivered, then `failure` is raised."""
        self._is_closed = True
        self._failure = self._failure or failure
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        while not self._outcomes and not self._is_closed:
            self._changed = anyio.Event()
            await self._changed.wait()
        if self._outcomes:
            self.give_back_place()
            return self._outcomes.popleft()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        raise StopAsyncIteration
