"""A batch in the background of a service: work comes in at any time, and none of it is lost by a restart.

What `submit` has returned for is in the journal: an HTTP handler may answer 202. The journal is the queue, so that
memory grows with what is in flight and not with what waits, and the next start goes on where this one stopped.

One process works on a journal (a lock keeps a second one out: its start fails with `JournalError`). A server of several
worker processes needs one journal a worker, or a process of its own for the batch.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import anyio

from hitpaw_async._core.limits import require_valid
from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async._tasks import Host
from hitpaw_async._validators import checked_number
from hitpaw_async.batch.events.hub import BUFFERED_EVENTS_MAX, EventStream
from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.batch.items import ItemsPage
from hitpaw_async.batch.run.follow import RETRY_AFTER_S, checked_pause_s
from hitpaw_async.batch.scheduler import BatchScheduler
from hitpaw_async.errors import (
    BudgetExceededError,
    ConfigurationError,
    EventsLostError,
    HitPawError,
    QueueFullError,
)
from hitpaw_async.models import ExportRequest, ItemState, Outcome

__all__ = ["BackgroundBatch"]

_LOG = logging.getLogger("hitpaw_async")

WAITING_MAX: Final = 100_000


class BackgroundBatch:
    """Opens a batch, works on it, and takes more at any time: `async with BackgroundBatch(hitpaw.batch(...)) as jobs:`.

    Entering resumes what the journal has. Leaving stops: exports that have been sent get `BatchLimits.stop_grace_s` for
    their answer, everything else stays in the journal for the next start.

    Args:
        batch: The batch, not opened yet. Without a journal file, what was paid for is lost track of at a restart.
        waiting_max: `submit` refuses more while so many items are unfinished.
        retry_after_s: How long after an outage, empty credits, a result that can't be fetched or stored, or a failure
            of the batch itself it is tried again, in seconds. See `BatchScheduler.follow`.
        on_outcome: Awaited with each outcome of this process, one after the other. What it raises is logged. While it
            takes its time, `BatchLimits.jobs_in_flight` bounds what is begun. Only where `outcome.state.is_terminal` is
            it the item's last: what is tried again is told once for each reason, and at its end.

    Raises:
        ConfigurationError: A setting is not usable.
        JournalError: On entering: another process works on the journal, or it can't be used.
    """

    def __init__(
        self,
        batch: BatchScheduler,
        *,
        waiting_max: int = WAITING_MAX,
        retry_after_s: float = RETRY_AFTER_S,
        on_outcome: Callable[[Outcome], Awaitable[None]] | None = None,
    ) -> None:
        if on_outcome is not None and not callable(on_outcome):
            raise ConfigurationError("on_outcome must be an async function of one Outcome, or None.")
        self.batch = batch
        self.failure: HitPawError | None = None
        """Why the batch doesn't work at the moment, e.g. a key that was refused; None while it does."""
        self._waiting_max = checked_number(waiting_max, 1, 1_000_000_000, name="waiting_max", whole=True)
        self._retry_after_s = checked_pause_s(retry_after_s)
        self._on_outcome = on_outcome
        self._host: Host[None] | None = None

    async def __aenter__(self) -> Self:
        if self._host is not None and not self._host.has_ended:
            raise ConfigurationError("This BackgroundBatch is open already. Use the open one, or make another.")
        if not isinstance(self.batch, BatchScheduler):
            raise ConfigurationError("BackgroundBatch needs a batch: BackgroundBatch(hitpaw.batch(...)).")
        host = self._host = Host(self._lifetime())
        try:
            await host.enter()
        except BaseException:
            self._host = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        host, self._host = self._host, None
        if host is None:
            raise ConfigurationError("This BackgroundBatch is not open. Use it as `async with BackgroundBatch(...)`.")
        await host.leave()

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[None]:
        async with self.batch:
            await self.batch.promise_waiting()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._work)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()

    async def submit(self, request: ExportRequest) -> str:
        """Take a video in, durably. When this returns, it will be submitted, once, whatever is restarted.

        It is taken in only where the budget has room for it, at its worst case, beside all that was taken in before. So
        what is unknown of its source is read first, if the batch reads sources (`AsyncHitPaw.batch(probe=...)`); give
        the request's `facts` to answer at once. Where the vendor takes nothing for a while (an outage, an empty
        account), it is taken in and waits: that passes by itself.

        A key that the journal knows is not new: nothing happens, and `status` says how it stands.

        Returns:
            Its key, for `status`.

        Raises:
            InvalidRequestError: It breaks a limit, or its key stands for another video. It was not taken in.
            BudgetExceededError: The budget has no room for it. It was not taken in.
            MediaError: Its source is no video, where the batch has `probe=True`. It was not taken in.
            QueueFullError: Too many are unfinished. It was not taken in.
            JournalError: It can't be written down. Whether it was taken in is unknown: submit the same key again.
        """
        require_valid(request)
        unfinished = self.batch.statistics().unfinished
        if unfinished >= self._waiting_max:
            raise QueueFullError(unfinished)
        await self.batch.take_in(request)
        return await self.batch.key_of(request)

    async def status(self, key: str) -> Outcome | None:
        """How an item stands, whatever its state; None where the journal has no such key."""
        return await self.batch.find(key)

    async def again(self, key: str, *, pay_again: bool = False, video_url: str | None = None) -> Outcome:
        """Look again at an item that has ended, at no cost unless you say so; see `BatchScheduler.again`."""
        return await self.batch.again(key, pay_again=pay_again, video_url=video_url)

    async def cancel(self, key: str) -> Outcome:
        """Cancel an item that has not been submitted: it is REJECTED; see `BatchScheduler.cancel`.

        `on_outcome` is not told: whoever cancels knows.
        """
        return await self.batch.cancel(key)

    async def items(self, *states: ItemState | str, after: str | None = None, limit: int = 100) -> ItemsPage:
        """List the items, by state and page by page; see `BatchScheduler.items`."""
        return await self.batch.items(*states, after=after, limit=limit)

    async def wait(self, key: str, *, timeout_s: float | None = None) -> Outcome | None:
        """Wait until an item has ended: nobody goes on with it by itself.

        That is: it is DONE, FAILED, REJECTED, or UNCERTAIN, or SKIPPED for want of budget.

        Args:
            key: The item's key.
            timeout_s: For how long, in seconds; None: as long as it takes.

        Returns:
            How it stands then, or after `timeout_s`; None if the journal has no such key.

        Raises:
            ConfigurationError: The batch is closed, or was closed meanwhile. What its journal has is kept.
        """
        with anyio.move_on_after(timeout_s):
            while True:
                try:
                    return await self._ended(key)
                except EventsLostError:
                    continue  # this reader was too slow: it looks again
        return await self.status(key)

    async def _ended(self, key: str) -> Outcome | None:
        with self.events() as events:
            outcome = await self.status(key)
            if outcome is None or _has_ended(outcome):
                return outcome
            async for event in events:
                if event.key == key and event.outcome is not None and _has_ended(event.outcome):
                    return event.outcome
        raise ConfigurationError("The batch was closed. Wait for the item after the next start: its journal has it.")

    def statistics(self) -> BatchStatistics:
        """Where the batch stands, over all runs of its journal."""
        return self.batch.statistics()

    def events(self, *, buffer_max: int = BUFFERED_EVENTS_MAX) -> EventStream:
        """What happens from now on; see `BatchScheduler.events`."""
        return self.batch.events(buffer_max=buffer_max)

    def notify(self, token: str, webhook: Webhook) -> None:
        """Take a webhook; see `BatchScheduler.notify`."""
        self.batch.notify(token, webhook)

    async def _work(self) -> None:
        while True:
            self.failure = None
            try:
                async for outcome in self.batch.follow(retry_after_s=self._retry_after_s):
                    await self._report(outcome)
            except HitPawError as error:
                self.failure = error
                _LOG.critical("The batch stopped and is tried again in %g s. %s", self._retry_after_s, error)
            await anyio.sleep(self._retry_after_s)

    async def _report(self, outcome: Outcome) -> None:
        if self._on_outcome is None:
            return
        try:
            await self._on_outcome(outcome)
        except Exception:  # noqa: BLE001 (it is not ours)
            _LOG.exception("on_outcome failed for %s.", outcome.key)


def _has_ended(outcome: Outcome) -> bool:
    """Whether a service leaves an item as it is, until a person does something about it."""
    if outcome.state is ItemState.SKIPPED:
        return isinstance(outcome.error, BudgetExceededError)
    return outcome.state.is_terminal or outcome.state is ItemState.UNCERTAIN
