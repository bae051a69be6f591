"""The durable record of a batch, as the scheduler awaits it: group commits over a store.

A store (see `store`) is synchronous and knows no event loop. `Journal` queues what callers ask of it and hands it whole
groups: one transaction and one flush for many transitions, no added wait when there is only one.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import anyio
import anyio.to_thread
import attrs

from hitpaw_async.batch.journal.store import (
    HeldStore,
    IntentRefusedError,
    JobIdTakenError,
    JournalFullError,
    JournalStore,
    RowChangedError,
)
from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._core.itemstate import Item

__all__ = ["Journal", "Pending"]

GROUP_MAX: Final = 1000
"""Operations in one transaction."""

LINGER_MAX_S: Final = 0.02
"""The longest a group waits for others to join it, however slow the disk."""


T = TypeVar("T")


@attrs.define(eq=False)
class Pending(Generic[T]):
    """Work that the journal was asked for, in its turn."""

    work: Callable[[JournalStore], T]
    then: Callable[[T], None] | None = None
    otherwise: Callable[[], None] | None = None
    done: anyio.Event = attrs.field(factory=anyio.Event)
    result: T | None = None
    error: Exception | None = None

    def settle(self) -> None:
        """It is durable, or has failed: let follow what follows, and those go on who wait."""
        if self.error is None and self.then is not None:
            self.then(cast("T", self.result))
        elif self.error is not None and self.otherwise is not None:
            self.otherwise()
        self.done.set()

    async def outcome(self) -> T:
        """Wait until it is durable. What it returned.

        A caller that is cancelled while it waits does not undo the work.

        Raises:
            JournalError: The transaction failed, the work raised it, or the journal was closed.
        """
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return cast("T", self.result)


class Journal:
    """A store as the scheduler awaits it. `serve` must run in a task for as long as it is used."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._queue: deque[Pending[Any]] = deque()
        self._group: list[Pending[Any]] = []
        self._wake = anyio.Event()
        self._enough = 1
        """So many in the queue wake who waits for them."""
        self._last_size = 0
        self._last_s = 0.0
        self._is_closing = False
        self._has_ended = False
        self._limiter: anyio.CapacityLimiter | None = None

    def begin(
        self,
        work: Callable[[JournalStore], T],
        *,
        then: Callable[[T], None] | None = None,
        otherwise: Callable[[], None] | None = None,
    ) -> Pending[T]:
        """Ask for `work` to be done on the store in a transaction, after all that was asked for before.

        Args:
            work: What is to be done.
            then: Called with what `work` returned once that is durable, whoever is still waiting, in the order in which
                things were asked for. It must not raise.
            otherwise: Called where the transaction failed: whether it happened is unknown. It must not raise.

        Raises:
            JournalError: The journal is closed.
        """
        pending = Pending(work, then, otherwise)
        if self._has_ended:
            raise _closed()
        if self._store.is_blocking:
            self._queue.append(pending)
            if len(self._queue) >= self._enough:
                self._wake.set()
        else:
            _apply(self._store, [pending])
            pending.settle()
        return pending

    async def do(self, work: Callable[[JournalStore], T]) -> T:
        """Have `work` done on the store in a transaction, and wait until that is durable.

        A caller that is cancelled while it waits does not undo the work.

        Raises:
            JournalError: The transaction failed, `work` raised it, or the journal is closed.
        """
        return await self.begin(work).outcome()

    async def put(self, item: Item) -> None:
        """Make an item's newest version durable.

        Raises:
            JobIdTakenError: Its job id stands at another item.
            JournalError: It could not be written.
        """
        await self.do(lambda store: store.put(item))

    async def serve(self) -> None:
        """Hand the store one group after another, until `close` was called and nothing is left."""
        self._limiter = anyio.CapacityLimiter(1)
        with anyio.CancelScope(shield=True):
            try:
                await self._serve_groups()
            finally:
                self._end()
            await self._in_thread(_Once(self._store.close))

    async def _serve_groups(self) -> None:
        while self._queue or not self._is_closing:
            if not self._queue:
                await self._outlast(lambda: self._wait_for(1))
                continue
            if len(self._queue) < self._last_size:
                await self._outlast(self._linger)
            began_at = anyio.current_time()
            self._group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_MAX))]
            await self._in_thread(_Once(partial(_apply, self._store, self._group)))
            for pending in self._group:
                pending.settle()
            self._last_size, self._last_s = len(self._group), anyio.current_time() - began_at
            self._group = []

    async def _linger(self) -> None:
        """Let a group that is smaller than the last one fill up, for twice as long as the last one took.

        Where callers come one at a time, the last group was of one, and nobody waits. PostgreSQL's `commit_delay` does
        the same; its manual names half the time of a flush to begin with. Here a flush takes a turn of a thread as
        well, and twice the time makes a quarter fewer groups than once (`benchmarks.cpu`).
        """
        with anyio.move_on_after(min(2 * self._last_s, LINGER_MAX_S)):
            await self._wait_for(self._last_size)

    async def _wait_for(self, count: int) -> None:
        """Wait until there are so many in the queue, or the journal is to close."""
        self._enough = count
        self._wake = anyio.Event()
        try:
            if len(self._queue) < count and not self._is_closing:
                await self._wake.wait()
        finally:
            self._enough = 1

    def _end(self) -> None:
        """Nobody is served any more, and nobody waits in vain."""
        self._has_ended = True
        for pending in (*self._group, *self._queue):
            pending.error = _closed()
            pending.done.set()

    def close(self) -> None:
        """Let `serve` end once the queue is empty. The store is closed then."""
        self._is_closing = True
        self._wake.set()

    def hurry(self, grace_s: float) -> None:
        """The batch is to stop: wait for another program that holds the store no longer than `grace_s` from now.

        What can't be written by then fails, and whoever asked for it says so.
        """
        if isinstance(self._store, HeldStore):
            self._store.hurry(grace_s)

    async def _in_thread(self, work: _Once) -> None:
        if not self._store.is_blocking:
            work()
            return
        try:
            await self._outlast(lambda: anyio.to_thread.run_sync(work, limiter=self._limiter))
        except RuntimeError:
            # No thread can be started. The ids of paid jobs are worth a moment in which the loop stands still.
            work()

    async def _outlast(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait, and wait again where the task is cancelled in spite of its shield.

        Asyncio alone does that: at a second Ctrl-C it cancels every task there is, and waits until all have ended. So
        nobody may be left to call `close`, and what was queued by then, a job id perhaps, is still to be written.
        """
        while True:
            try:
                return await wait()
            except anyio.get_cancelled_exc_class():
                self.close()


def _closed() -> JournalError:
    return JournalError("The journal is closed. Open the batch anew: what the journal has is kept.")


class _Once:
    """Work that is done once, however often and in however many threads it is called; each call returns when it is."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            work, self._work = self._work, None
            if work is not None:
                work()


def _apply(store: JournalStore, group: list[Pending[Any]]) -> None:
    """Do a group in one transaction. An operation's own error is its own; a failed commit is everybody's.

    An operation may be done twice, the first time without effect: on a full disk, after room was made.
    """
    try:
        while True:
            try:
                return _transact(store, group)
            except JournalFullError:
                if not store.make_room():
                    raise
    except Exception as error:  # noqa: BLE001 (also a bug of ours must reach those who wait, or they wait for ever)
        for pending in group:
            pending.error = error


def _transact(store: JournalStore, group: list[Pending[Any]]) -> None:
    with store.transaction():
        for pending in group:
            pending.error = None
            try:
                pending.result = pending.work(store)
            except (JobIdTakenError, RowChangedError, IntentRefusedError) as error:
                pending.error = error
