"""One run of a batch: workers that pull and submit, poll, and download, until nothing is left to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import anyio

from hitpaw_async._core.adaptive_limit import AdaptiveLimit
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.batch.run.admission import Admission, Conflict, Taken
from hitpaw_async.batch.run.in_flight import Flight
from hitpaw_async.batch.run.jobs_in_flight import JobsInFlight
from hitpaw_async.batch.run.polling import FATAL, POLLED, Polling
from hitpaw_async.batch.run.results import Results
from hitpaw_async.models import ItemState, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async._core.poll_plan import PollPlan
    from hitpaw_async._core.retry_queue import RetryQueue
    from hitpaw_async._session import Session
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.run.intake import Intake
    from hitpaw_async.batch.run.outcome_stream import Outbox
    from hitpaw_async.batch.run.submission import Submission
    from hitpaw_async.policies import BatchLimits

__all__ = ["Run"]

T = TypeVar("T")

_LOG = logging.getLogger("hitpaw_async")


class Run:
    """The workers of one run and what they share."""

    def __init__(  # noqa: PLR0913 (keyword-only options, each with a meaning of its own)
        self,
        session: Session,
        bookkeeper: Bookkeeper,
        *,
        intake: Intake,
        submission: Submission,
        outbox: Outbox,
        plan: PollPlan,
        scope: anyio.CancelScope,
        limits: BatchLimits,
        output: Path | None,
        failed_jobs_are_charged: bool,
        uncertain_wait_s: float | None,
        take_up_again: Callable[[Item], None] | None = None,
        retries: RetryQueue | None = None,
    ) -> None:
        self._session = session
        self._bookkeeper = bookkeeper
        self._intake = intake
        self._submission = submission
        self._outbox = outbox
        self._scope = scope
        self._limits = limits
        self._uncertain_wait_s = uncertain_wait_s
        is_adaptive = limits.jobs_in_flight == "auto"
        self._adaptive = AdaptiveLimit(limits.places_first, limits.places_max) if is_adaptive else None
        self._throttled = session.calls.throttled
        self._pull_lock = anyio.Lock()
        self._is_exhausted = False
        self._failure: BaseException | None = None
        # A flight has a place, and there are only so many places: sending into this stream never waits.
        self._completed, self._to_fetch = anyio.create_memory_object_stream[Flight](limits.places_max)
        self._jobs = JobsInFlight(
            bookkeeper,
            submission,
            outbox,
            gone_after_s=session.download_policy.gone_after_s,
            retries=retries,
            take_up_again=take_up_again,
        )
        self._polling = Polling(
            session,
            bookkeeper,
            self._jobs,
            ask=self._ask,
            plan=plan,
            limits=limits,
            has_output=output is not None,
            completed=self._completed.send_nowait,
            failed_jobs_are_charged=failed_jobs_are_charged,
            uncertain_wait_s=uncertain_wait_s,
        )
        self._results = (
            None if output is None else Results(session, bookkeeper, self._jobs, self._polling, submission, output)
        )

    async def work(self) -> BaseException | None:
        """Work until everything has its outcome, or the run is cancelled. Returns what ended the batch early."""
        with self._scope, self._completed, self._to_fetch:
            async with anyio.create_task_group() as workers:
                for _ in range(self._limits.polls):
                    workers.start_soon(self._polling.serve)
                if self._results is not None:
                    for _ in range(self._limits.downloads):
                        workers.start_soon(self._fetch_worker, self._results)
                async with anyio.create_task_group() as submitters:
                    for _ in range(self._limits.submissions):
                        submitters.start_soon(self._submit_worker)
                await self._jobs.wait_until_none()
                await self._polling.keep_plan()
                workers.cancel_scope.cancel()
        return self._failure

    def under_way(self, snapshot: BatchEvent) -> Iterator[BatchEvent]:
        """How each item at the vendor or on its way to disk stands, for a reader who begins with this snapshot."""
        return self._jobs.under_way(snapshot)

    def has(self, key: str) -> bool:
        """Whether an item is at the vendor or on its way to disk in this run."""
        return key in self._jobs

    def withdraw(self, key: str) -> Item | None:
        """Take an item back that waits on the intake's page, in nobody's hands. None if it is not there."""
        return self._intake.withdraw(key)

    def put_back(self, item: Item) -> None:
        """Give an item out after all that was withdrawn."""
        self._intake.put_back(item)

    def has_on_page(self, key: str) -> bool:
        """Whether an item waits on the intake's page."""
        return self._intake.has_on_page(key)

    def name_job(self, key: str, job_id: str) -> None:
        """Take a webhook's word for which job an item in flight is. It makes a poll due; the task call decides."""
        self._polling.name_job(key, job_id)

    def settled(self, key: str) -> None:
        """Somebody has settled an item in flight: it waits for no webhook any more."""
        self._polling.settled(key)

    def _fail(self, error: BaseException) -> None:
        """End the batch. What is at the vendor stays in the journal."""
        self._failure = self._failure or error
        self._scope.cancel()

    async def _submit_worker(self) -> None:
        while not self._is_exhausted:
            await self._outbox.take_place()
            taken, ticket = await self._pull()
            if taken is None:
                self._submission.turnstile.leave(ticket)
                self._outbox.give_back_place()
                continue
            try:
                await self._handle(taken, ticket)
            except FATAL as error:
                self._fail(error)

    async def _pull(self) -> tuple[Taken | Conflict | None, int]:
        """The next item, None where there is none or it was taken before, and its place in the order of reserving."""
        async with self._pull_lock:
            ticket = self._submission.turnstile.take_ticket()
            pulled = None if self._is_exhausted else await self._guarded(self._intake.next)
            self._is_exhausted = pulled is None
        if isinstance(pulled, Admission):
            # Not in the lock: those that others begin meanwhile become durable with it.
            return await self._guarded(lambda: self._intake.admitted(pulled)), ticket
        return pulled, ticket

    async def _guarded(self, take: Callable[[], Awaitable[T]]) -> T | None:
        """What `take` gives; None, and the batch ends, where it fails."""
        try:
            return await take()
        except Exception as error:  # noqa: BLE001 (the caller's input failed, or the journal: the reader gets it)
            self._fail(error)
            return None

    async def _handle(self, taken: Taken | Conflict, ticket: int) -> None:
        if isinstance(taken, Conflict):
            self._submission.turnstile.leave(ticket)
            request = taken.request
            self._outbox.put(Outcome(key=request.key, request=request, state=ItemState.REJECTED, error=taken.error))
            return
        item, error, source_s = taken.item, None, None
        if item.key in self._jobs:
            # It waits for a webhook, and a person has given it up meanwhile: it lands by itself.
            assert self._jobs.flights[item.key].state is ItemState.UNCERTAIN
            self._submission.turnstile.leave(ticket)
            self._outbox.give_back_place()
            return
        request, is_new = taken.request or item.request, item.state is ItemState.QUEUED
        if is_new:
            submitted = await self._submission.submit(item, request, ticket)
            item, error, source_s = submitted.item, submitted.error, submitted.source_s
            self._adapt(submitted.latency_s)
        else:
            self._submission.turnstile.leave(ticket)
            source_s = None if request.facts is None else request.facts.duration_s
        is_awaited = item.hook_digest is not None and self._uncertain_wait_s is not None
        if item.state in POLLED or (item.state is ItemState.UNCERTAIN and is_awaited):
            label, asked_age_s = self._bookkeeper.label(item), 0.0 if is_new else None
            flight = Flight.of(
                item,
                taken.request,
                label=label,
                source_s=source_s,
                asked_age_s=asked_age_s,
                accepted_at=anyio.current_time() if is_new else self._jobs.accepted_at(item),
            )
            self._polling.take_off(flight)
        else:
            self._outbox.put(outcome_of(item, request=taken.request, error=error))

    def _adapt(self, latency_s: float | None) -> None:
        """Have as many places as the vendor keeps pace with, where nobody said how many."""
        if self._adaptive is None:
            return
        throttled, self._throttled = self._throttled, self._session.calls.throttled
        if throttled < self._throttled:
            self._adaptive.throttled(in_flight=self._outbox.taken)
        elif latency_s is not None:
            self._adaptive.accepted(latency_s, in_flight=self._outbox.taken)
        self._outbox.resize(self._adaptive.places)

    async def _ask(self, flight: Flight) -> float | None:
        try:
            return await self._polling.ask(flight)
        except FATAL as error:
            self._fail(error)
            return None

    async def _fetch_worker(self, results: Results) -> None:
        async for flight in self._to_fetch:
            try:
                await results.fetch(flight)
            except FATAL as error:
                self._fail(error)
