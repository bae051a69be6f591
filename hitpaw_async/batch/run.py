"""One run of a batch: workers that pull and submit, poll, and download, until nothing is left to do."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.jobstate import Completed, Item, ResultLost, Saved, VendorFailed
from hitpaw_async._core.pollplan import next_wait_s
from hitpaw_async.batch.events import EventKind, WaitReason
from hitpaw_async.batch.intake import Conflict, Taken
from hitpaw_async.batch.outcomes import outcome_of, problem_of
from hitpaw_async.batch.poller import Poller
from hitpaw_async.batch.reconciling import PASSING, bind_named
from hitpaw_async.models import ExportRequest, ItemState, Job, JobStatus, Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.batch.bookkeeper import Bookkeeper
    from hitpaw_async.batch.intake import Intake
    from hitpaw_async.batch.outbox import Outbox
    from hitpaw_async.batch.submission import Submission
    from hitpaw_async.client import AsyncHitPaw
    from hitpaw_async.policies import BatchLimits

__all__ = ["Run"]

_LOG = logging.getLogger("hitpaw_async")

REFUSED_POLLS_MAX: Final = 3
"""Task calls in a row that the vendor refused for one job, before the job counts as failed: one may come too early."""

_POLLED: Final = (ItemState.SUBMITTED, ItemState.FETCHING)

_FATAL: Final = (errors.AuthenticationError, errors.ConfigurationError, errors.JournalError)
"""What ends the batch, not an item."""


@attrs.define(eq=False)
class _Flight:
    """An item at the vendor, or on its way to disk."""

    item: Item
    request: ExportRequest | None
    was_fetching: bool = False
    """Whether an earlier process was bringing it to disk: it may have got as far as giving the file its name."""
    uncertain_until: float = 0.0
    """How long an item whose answer was lost waits for a webhook (the loop's clock)."""
    job: Job | None = None
    refused_polls: int = 0
    converting_at: float | None = None
    """When the job was first seen CONVERTING, in this run."""


def _is_refusal(error: errors.HitPawError) -> bool:
    """Whether the vendor itself says that it can't be asked for this job.

    An outage, a gateway's page, an empty account or an unknown code says nothing about a job that was paid for.
    """
    refusals = (errors.JobNotFoundError, errors.BadRequestError, errors.InvalidVideoURLError)
    return isinstance(error, refusals) and error.is_from_vendor


class Run:
    """The workers of one run and what they share."""

    def __init__(  # noqa: PLR0913 (keyword-only options, each with a meaning of its own)
        self,
        hitpaw: AsyncHitPaw,
        bookkeeper: Bookkeeper,
        *,
        intake: Intake,
        submission: Submission,
        outbox: Outbox,
        scope: anyio.CancelScope,
        limits: BatchLimits,
        output: Path | None,
        failed_jobs_are_charged: bool,
        uncertain_wait_s: float | None,
    ) -> None:
        self._hitpaw = hitpaw
        self._bookkeeper = bookkeeper
        self._intake = intake
        self._submission = submission
        self._outbox = outbox
        self._scope = scope
        self._limits = limits
        self._output = output
        self._failed_jobs_are_charged = failed_jobs_are_charged
        self._uncertain_wait_s = uncertain_wait_s
        self._named_jobs: dict[str, str] = {}
        """Job ids that webhooks named, by item, for items in flight whose own reply is not in or was lost."""
        self._poller: Poller[str] = Poller(self._ask)
        self._flights: dict[str, _Flight] = {}
        self._pull_lock = anyio.Lock()
        self._is_exhausted = False
        self._landed = anyio.Event()
        self._failure: BaseException | None = None
        # A flight has a place, and there are only so many places: sending into this stream never waits.
        self._completed, self._to_download = anyio.create_memory_object_stream[_Flight](limits.jobs_in_flight)

    async def work(self) -> BaseException | None:
        """Work until everything has its outcome, or the run is cancelled. Returns what ended the batch early."""
        with self._scope, self._completed, self._to_download:
            async with anyio.create_task_group() as workers:
                for _ in range(self._limits.polls):
                    workers.start_soon(self._poller.serve)
                for _ in range(self._limits.downloads):
                    workers.start_soon(self._download_worker)
                async with anyio.create_task_group() as submitters:
                    for _ in range(self._limits.submissions):
                        submitters.start_soon(self._submit_worker)
                while self._flights:
                    self._landed = anyio.Event()
                    await self._landed.wait()
                workers.cancel_scope.cancel()
        return self._failure

    def _fail(self, error: BaseException) -> None:
        """End the batch. What is at the vendor stays in the journal."""
        self._failure = self._failure or error
        self._scope.cancel()

    async def _submit_worker(self) -> None:
        while not self._is_exhausted:
            await self._outbox.take_place()
            taken, ticket = await self._pull()
            if taken is None:
                self._outbox.give_back_place()
                return
            try:
                await self._handle(taken, ticket)
            except _FATAL as error:
                self._fail(error)

    async def _pull(self) -> tuple[Taken | Conflict | None, int]:
        """The next item and its place in the order of reserving."""
        async with self._pull_lock:
            try:
                taken = None if self._is_exhausted else await self._intake.next()
            except Exception as error:  # noqa: BLE001 (the caller's input failed, or the journal: the reader gets it)
                self._fail(error)
                taken = None
            self._is_exhausted = taken is None
            return taken, self._submission.turnstile.take_ticket()

    async def _handle(self, taken: Taken | Conflict, ticket: int) -> None:
        if isinstance(taken, Conflict):
            self._submission.turnstile.leave(ticket)
            request = taken.request
            self._outbox.put(Outcome(key=request.key, request=request, state=ItemState.REJECTED, error=taken.error))
            return
        item, error, due_in_s = taken.item, None, 0.0
        if item.key in self._flights:
            # It waits for a webhook, and a person has given it up meanwhile: it lands by itself.
            assert self._flights[item.key].item.state is ItemState.UNCERTAIN
            self._submission.turnstile.leave(ticket)
            self._outbox.give_back_place()
            return
        if item.state is ItemState.QUEUED:
            submitted = await self._submission.submit(item, taken.request or item.request, ticket)
            item, error, due_in_s = submitted.item, submitted.error, self._hitpaw.poll.interval_min_s
        else:
            self._submission.turnstile.leave(ticket)
        flight = _Flight(item, taken.request, was_fetching=item.state is ItemState.FETCHING)
        if item.state is ItemState.UNCERTAIN and item.hook_digest is not None and self._uncertain_wait_s is not None:
            flight.uncertain_until = anyio.current_time() + self._uncertain_wait_s
            due_in_s = 0.0 if item.key in self._named_jobs else self._uncertain_wait_s
            self._bookkeeper.emit(EventKind.WAITING, item, waiting_for=WaitReason.WEBHOOK)
        elif item.state not in _POLLED:
            self._outbox.put(outcome_of(item, request=taken.request, error=error))
            return
        self._flights[item.key] = flight
        self._poller.add(item.key, due_in_s=due_in_s)

    def _land(self, flight: _Flight, error: errors.HitPawError | None = None) -> None:
        del self._flights[flight.item.key]
        self._named_jobs.pop(flight.item.key, None)
        self._outbox.put(outcome_of(flight.item, request=flight.request, job=flight.job, error=error))
        self._landed.set()

    async def _ask(self, key: str) -> float | None:
        """Ask for one job; the poller's callback. Returns when to ask again."""
        flight = self._flights[key]
        try:
            if flight.item.state is ItemState.UNCERTAIN:
                return await self._await_hint(flight)
            return await self._ask_for(flight)
        except _FATAL as error:
            self._fail(error)
            return None

    def name_job(self, key: str, job_id: str) -> None:
        """Take a webhook's word for which job an item in flight is. It makes a poll due; the task call decides."""
        self._named_jobs[key] = job_id
        self._poller.wake(key)

    def has(self, key: str) -> bool:
        """Whether an item is at the vendor or on its way to disk in this run."""
        return key in self._flights

    async def _await_hint(self, flight: _Flight) -> float | None:
        """For an UNCERTAIN flight: bind the job that a webhook named, or wait on, or land. Returns seconds to wait."""
        job_id = self._named_jobs.pop(flight.item.key, None)
        if job_id is not None:
            try:
                bound = await bind_named(self._bookkeeper, self._hitpaw.calls, flight.item, job_id)
            except PASSING as error:
                _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
                self._named_jobs.setdefault(flight.item.key, job_id)
                return self._hitpaw.poll.interval_max_s
            if bound is not None:
                flight.item = bound
                return await self._ask_for(flight)
        left_s = flight.uncertain_until - anyio.current_time()
        if left_s > 0:
            return left_s
        # A person may have settled it meanwhile.
        now = await self._bookkeeper.journal.do(lambda store: store.get(flight.item.key))
        assert now is not None
        flight.item = now
        if now.state in _POLLED:
            return await self._ask_for(flight)
        self._land(flight)
        return None

    async def _ask_for(self, flight: _Flight) -> float | None:
        job_id = flight.item.job_id
        assert job_id is not None
        try:
            job = await self._hitpaw.task(job_id)
        except _FATAL:
            raise
        except (*PASSING, errors.APIError) as error:
            _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
            flight.refused_polls += _is_refusal(error)
            if flight.refused_polls < REFUSED_POLLS_MAX:
                return self._next_wait_s(flight)
            await self._give_up_on(flight, error)
            return None
        flight.refused_polls = 0
        if flight.job is None or flight.job.status_text != job.status_text:
            self._bookkeeper.emit(EventKind.STATUS, flight.item, status=job.status)
        if job.status is JobStatus.CONVERTING and flight.converting_at is None:
            flight.converting_at = self._bookkeeper.clock()
        flight.job = job
        if not job.status.is_final:
            return self._next_wait_s(flight)
        if job.status is JobStatus.ERROR:
            await self._give_up_on(flight, errors.JobFailedError(job))
        else:
            await self._complete(flight)
        return None

    async def _give_up_on(self, flight: _Flight, error: errors.HitPawError) -> None:
        event = VendorFailed(problem_of(error), self._bookkeeper.clock(), self._failed_jobs_are_charged)
        flight.item = await self._bookkeeper.record(flight.item, event)
        self._land(flight, error)

    async def _complete(self, flight: _Flight) -> None:
        if self._output is None or flight.item.target is None:
            flight.item = await self._bookkeeper.record(flight.item, Saved(None, self._bookkeeper.clock()))
            self._land(flight)
            return
        if flight.item.state is ItemState.SUBMITTED:
            event = Completed(self._bookkeeper.clock(), flight.converting_at)
            flight.item = await self._bookkeeper.record(flight.item, event)
        self._completed.send_nowait(flight)

    def _next_wait_s(self, flight: _Flight) -> float | None:
        """Seconds until the next poll; None, and the flight has landed, where its time is up."""
        age_s = max(0.0, self._bookkeeper.clock() - (flight.item.submitted_at or 0.0))
        wait_s = next_wait_s(self._hitpaw.poll, age_s=age_s, draw=self._hitpaw.calls.draw())
        timeout_s = self._limits.job_timeout_s
        if timeout_s is None:
            return wait_s
        if age_s >= timeout_s:
            job = flight.job or Job(job_id=flight.item.job_id or "")
            self._land(flight, errors.JobTimeoutError(job, timeout_s))
            return None
        return min(wait_s, max(timeout_s - age_s, self._hitpaw.poll.interval_min_s))

    async def _download_worker(self) -> None:
        async for flight in self._to_download:
            try:
                await self._download(flight)
            except _FATAL as error:
                self._fail(error)

    async def _download(self, flight: _Flight) -> None:
        try:
            path = await self._fetch(flight)
        except _FATAL:
            raise
        except errors.JobFailedError as error:
            await self._give_up_on(flight, error)
        except errors.DownloadError as error:
            if error.is_gone:
                event = ResultLost(problem_of(error), self._bookkeeper.clock())
                flight.item = await self._bookkeeper.record(flight.item, event)
            # Otherwise it stays FETCHING: it is paid for, and the next run fetches it.
            self._land(flight, error)
        except errors.HitPawError as error:
            self._land(flight, error)
        else:
            flight.item = await self._bookkeeper.record(flight.item, Saved(str(path), self._bookkeeper.clock()))
            self._land(flight)

    async def _fetch(self, flight: _Flight) -> Path:
        item, job = flight.item, flight.job
        assert self._output is not None
        assert item.target is not None
        assert job is not None
        assert job.res_url is not None
        path = self._output / item.target
        digest = hashlib.sha256(item.key.encode()).hexdigest()[:8]
        other = path.with_name(f"{path.stem}-{digest}{path.suffix}")
        if flight.was_fetching:
            for candidate in (path, other):
                if await self._hitpaw.has_result(job.res_url, candidate):
                    return candidate

        def report(received_bytes: int, total_bytes: int | None) -> None:
            self._bookkeeper.emit(EventKind.DOWNLOADING, item, received_bytes=received_bytes, total_bytes=total_bytes)

        try:
            return await self._hitpaw.fetch_result(job.res_url, path, job_id=job.job_id, on_progress=report)
        except errors.DownloadError as error:
            if not error.is_taken:
                raise
        # Somebody put a file of that name there since the item was taken in. Theirs stays; ours gets the key's digest.
        return await self._hitpaw.fetch_result(job.res_url, other, job_id=job.job_id, on_progress=report)
