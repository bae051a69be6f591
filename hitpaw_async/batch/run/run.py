"""One run of a batch: workers that pull and submit, poll, and download, until nothing is left to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

import anyio

from hitpaw_async import errors
from hitpaw_async._core.adaptive_limit import AdaptiveLimit
from hitpaw_async._core.itemstate import Completed, ResultLost, Saved, VendorFailed
from hitpaw_async._core.patience import Doubt, Patience, Ruling, Word, word_of_error, word_of_job
from hitpaw_async._core.retry import PASSING
from hitpaw_async.batch.events.event import EventKind, WaitReason
from hitpaw_async.batch.outcomes import outcome_of, problem_of
from hitpaw_async.batch.reconcile import bind_named
from hitpaw_async.batch.run.fetch import Looks, bring_to_disk, longest_s
from hitpaw_async.batch.run.in_flight import Flight
from hitpaw_async.batch.run.intake import Admission, Conflict, Taken
from hitpaw_async.batch.run.kept_poll_plan import keep_plan, keep_plan_now_and_then
from hitpaw_async.batch.run.poller import Poller
from hitpaw_async.models import ItemState, Job, JobStatus, Outcome

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

SLACK_MAX_S: Final = 0.05
"""A poll may be so much late, to go out with others on one wake-up."""

TOLD_WAIT_MAX_S: Final = 600.0
"""The longest `Retry-After` of a poll that is kept to: nobody waits for centuries."""

_POLLED: Final = (ItemState.SUBMITTED, ItemState.FETCHING)

_FATAL: Final = (errors.AuthenticationError, errors.ConfigurationError, errors.JournalError)
"""What ends the batch, not an item."""


def _wrong_place(base_url: str, error: errors.HitPawError) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"{base_url} knows none of the jobs that earlier runs of this journal paid for, so nothing more is submitted. "
        f"({error}) The key belongs to another account, or the address to another host: set the right ones and resume. "
        "What was paid for is kept as it was."
    )


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
        self._output = output
        self._failed_jobs_are_charged = failed_jobs_are_charged
        self._uncertain_wait_s = uncertain_wait_s
        self._take_up_again = take_up_again
        self._retries = retries
        self._named_jobs: dict[str, str] = {}
        """Job ids that webhooks named, by item, for items in flight whose own reply is not in or was lost."""
        self._uncertain_until: dict[str, float] = {}
        """How long items in flight whose answer was lost wait for a webhook (the loop's clock)."""
        self._poll = session.poll
        self._plan = plan
        slack_s = min(SLACK_MAX_S, self._poll.interval_min_s / 100)
        self._poller = Poller(self._ask, pace=session.pace, slack_s=slack_s)
        is_adaptive = limits.jobs_in_flight == "auto"
        self._adaptive = AdaptiveLimit(limits.places_first, limits.places_max) if is_adaptive else None
        self._throttled = session.calls.throttled
        self._patience = Patience(patience_s=self._poll.patience_s, strange_max_s=limits.unknown_status_max_s)
        self._flights: dict[str, Flight] = {}
        self._pull_lock = anyio.Lock()
        self._is_exhausted = False
        self._landed = anyio.Event()
        self._looks = Looks(session.download_policy.gone_after_s)
        self._failure: BaseException | None = None
        # A flight has a place, and there are only so many places: sending into this stream never waits.
        self._completed, self._to_download = anyio.create_memory_object_stream[Flight](limits.places_max)

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
                await keep_plan(self._bookkeeper.journal, self._plan)
                workers.cancel_scope.cancel()
        return self._failure

    def under_way(self, snapshot: BatchEvent) -> Iterator[BatchEvent]:
        """How each item at the vendor or on its way to disk stands, for a reader who begins with this snapshot."""
        return (flight.told(snapshot) for flight in self._flights.values())

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
            except _FATAL as error:
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
        if item.key in self._flights:
            # It waits for a webhook, and a person has given it up meanwhile: it lands by itself.
            assert self._flights[item.key].state is ItemState.UNCERTAIN
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
        if item.state in _POLLED or (item.state is ItemState.UNCERTAIN and is_awaited):
            label, asked_age_s = self._bookkeeper.label(item), 0.0 if is_new else None
            flight = Flight.of(
                item,
                taken.request,
                label=label,
                source_s=source_s,
                asked_age_s=asked_age_s,
                accepted_at=anyio.current_time() if is_new else self._accepted_at(item),
            )
            self._take_off(flight)
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

    def _take_off(self, flight: Flight) -> None:
        """From here on the poller has it."""
        due_in_s = 0.0
        if flight.state is ItemState.UNCERTAIN and self._uncertain_wait_s is not None:
            self._uncertain_until[flight.key] = anyio.current_time() + self._uncertain_wait_s
            due_in_s = 0.0 if flight.key in self._named_jobs else self._uncertain_wait_s
            self._tell(EventKind.WAITING, flight, waiting_for=WaitReason.WEBHOOK)
        elif flight.asked_age_s is not None and flight.key not in self._named_jobs:
            due_in_s = self._planned_wait_s(flight, 0.0)
        self._flights[flight.key] = flight
        self._submission.took_off()
        self._bookkeeper.events.took_off(flight.key)
        self._poller.add(flight, due_in_s=due_in_s)

    def _land(self, flight: Flight, item: Item, error: errors.HitPawError | None = None) -> None:
        self._remove(flight)
        if self._retries is not None and item.state.is_terminal:
            self._retries.forget(item.key)
        self._outbox.put(outcome_of(item, request=flight.request_of(item), job=flight.job, error=error))

    def _remove(self, flight: Flight) -> None:
        del self._flights[flight.key]
        self._submission.landed()
        self._named_jobs.pop(flight.key, None)
        self._uncertain_until.pop(flight.key, None)
        self._looks.forget(flight.key)
        self._landed.set()

    def _tell(self, kind: EventKind, flight: Flight, **fields: Any) -> None:
        self._bookkeeper.emit(
            kind, key=flight.key, state=flight.state, label=flight.label, job_id=flight.job_id, **fields
        )

    async def _land_as_it_is(self, flight: Flight, error: errors.HitPawError) -> None:
        """Report an item that goes on in a later run; or after a pause in this one, which reports a reason once."""
        item = await self._item_of(flight)
        if self._retries is None or self._retries.put(item.key, (item.state, type(error)), now=anyio.current_time()):
            self._land(flight, item, error)
        else:
            _LOG.warning("%s: %s It will be tried again.", item.key, error)
            self._remove(flight)
            self._outbox.give_back_place()

    async def _item_of(self, flight: Flight) -> Item:
        item = await self._bookkeeper.journal.do(lambda store: store.get(flight.key))
        assert item is not None
        return item

    async def _ask(self, flight: Flight) -> float | None:
        """Ask for one job; the poller's callback. Returns when to ask again."""
        try:
            if flight.state is ItemState.UNCERTAIN:
                return await self._await_hint(flight)
            return await self._ask_for(flight)
        except _FATAL as error:
            self._fail(error)
            return None

    def name_job(self, key: str, job_id: str) -> None:
        """Take a webhook's word for which job an item in flight is. It makes a poll due; the task call decides."""
        self._named_jobs[key] = job_id
        if key in self._flights:
            self._poller.wake(self._flights[key])

    def has(self, key: str) -> bool:
        """Whether an item is at the vendor or on its way to disk in this run."""
        return key in self._flights

    def withdraw(self, key: str) -> Item | None:
        """Take an item back that waits on the intake's page, in nobody's hands. None if it is not there."""
        return self._intake.withdraw(key)

    def put_back(self, item: Item) -> None:
        """Give an item out after all that was withdrawn."""
        self._intake.put_back(item)

    def has_on_page(self, key: str) -> bool:
        """Whether an item waits on the intake's page."""
        return self._intake.has_on_page(key)

    def settled(self, key: str) -> None:
        """Somebody has settled an item in flight: it waits for no webhook any more."""
        if key in self._uncertain_until:
            self._uncertain_until[key] = anyio.current_time()
            self._poller.wake(self._flights[key])

    async def _await_hint(self, flight: Flight) -> float | None:
        """For an UNCERTAIN flight: bind the job that a webhook named, or wait on, or land. Returns seconds to wait."""
        job_id = self._named_jobs.pop(flight.key, None)
        if job_id is not None:
            try:
                bound = await bind_named(self._bookkeeper, self._session.calls, flight.key, job_id)
            except PASSING as error:
                _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
                self._named_jobs.setdefault(flight.key, job_id)
                return self._poll.interval_max_s
            if bound is not None:
                flight.follow(bound)
                return await self._ask_for(flight)
        left_s = self._uncertain_until[flight.key] - anyio.current_time()
        if left_s > 0:
            return left_s
        # A person may have settled it meanwhile.
        now = await self._item_of(flight)
        if now.job_id != flight.job_id:
            flight.accepted_at = self._accepted_at(now)
        flight.follow(now)
        if now.state in _POLLED:
            return await self._ask_for(flight)
        if now.state is ItemState.QUEUED and self._take_up_again is not None:
            self._leave_to_intake(flight, now)
        else:
            self._land(flight, now)
        return None

    def _leave_to_intake(self, flight: Flight, item: Item) -> None:
        """Somebody chose to pay again: in a run that follows the journal, it is submitted as if it had just come in."""
        assert self._take_up_again is not None
        self._remove(flight)
        self._outbox.give_back_place()
        self._take_up_again(item)

    async def _ask_for(self, flight: Flight) -> float | None:
        job_id = flight.job_id
        assert job_id is not None
        age_s = self._age_s(flight)
        try:
            job = await self._session.task(job_id)
        except _FATAL:
            raise
        except (*PASSING, errors.APIError, errors.InternalError) as error:
            _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
            told_s = error.retry_after_s if isinstance(error, errors.RateLimitError) else None
            ruling = self._hear(flight, word_of_error(error))
            return await self._go_on(flight, ruling, error, at_least_s=min(told_s or 0.0, TOLD_WAIT_MAX_S))
        ruling = self._hear(flight, word_of_job(job), job)
        if ruling is Ruling.ASK_SOON:
            _LOG.warning("job %s: The vendor says %s. It will be asked for again.", job_id, job.status_text)
            return self._poll.interval_min_s
        self._note(flight, job)
        await self._learn(flight, age_s, is_finished=job.status.is_final)
        if not job.status.is_final:
            return await self._go_on(flight, ruling, errors.JobTimeoutError(job, self._limits.unknown_status_max_s))
        if job.status is JobStatus.ERROR:
            await self._give_up_on(flight, errors.JobFailedError(job))
        else:
            await self._complete(flight)
        return None

    def _hear(self, flight: Flight, word: Word | None, job: Job | None = None) -> Ruling:
        """Take in an answer: the word that it says against the job, and the job where it describes it."""
        now = anyio.current_time()
        is_earlier = flight.kind.is_earlier
        if job is not None and is_earlier:
            self._patience.knows_earlier()
        if word is not None:
            flight.doubt = Doubt.heard(flight.doubt, word, now=now)
            return self._patience.ruling(flight.doubt, now=now, earlier_job=flight.job_id if is_earlier else None)
        if job is not None and flight.doubt is not None and not flight.doubt.outlasts(job):
            flight.doubt = None
        return Ruling.ASK_AGAIN

    def _note(self, flight: Flight, job: Job) -> None:
        """Tell what is new, and remember what the journal will keep."""
        if flight.saw(job):
            self._tell(EventKind.STATUS, flight, status=job.status)
            if job.status is JobStatus.UNRECOGNIZED:
                _LOG.warning("job %s: The vendor says %r, which nobody knows.", job.job_id, job.status_text)
        if job.status is JobStatus.CONVERTING and flight.converting_at is None:
            flight.converting_at = self._bookkeeper.clock()

    async def _go_on(
        self, flight: Flight, ruling: Ruling, error: errors.HitPawError, *, at_least_s: float = 0.0
    ) -> float | None:
        """Seconds until the next poll; None where the flight has landed, because of `error`."""
        match ruling:
            case Ruling.STOP:
                raise _wrong_place(self._session.base_url, error)
            case Ruling.BELIEVE:
                await self._give_up_on(flight, error)
            case Ruling.LEAVE:
                await self._land_as_it_is(flight, error)
            case Ruling.ASK_AGAIN | Ruling.ASK_SOON:
                return await self._next_wait_s(flight, at_least_s=at_least_s)
            case _:
                assert_never(ruling)
        return None

    async def _learn(self, flight: Flight, age_s: float, *, is_finished: bool) -> None:
        asked_age_s = flight.asked_age_s
        if asked_age_s is not None and asked_age_s < age_s:
            learn = self._plan.learn_finished if is_finished else self._plan.learn_running
            learn(flight.traits, from_s=asked_age_s, to_s=age_s)
        flight.asked_age_s = age_s
        if is_finished:
            await keep_plan_now_and_then(self._bookkeeper.journal, self._plan)

    async def _give_up_on(self, flight: Flight, error: errors.HitPawError) -> None:
        item = await self._bookkeeper.change(flight.key, self._vendor_failed(error))
        self._land(flight, item, error)

    def _vendor_failed(self, error: errors.HitPawError) -> VendorFailed:
        return VendorFailed(problem_of(error), self._bookkeeper.clock(), self._failed_jobs_are_charged)

    async def _complete(self, flight: Flight) -> None:
        if self._output is None or not flight.kind.has_target:
            item = await self._bookkeeper.change(flight.key, Saved(None, self._bookkeeper.clock()))
            self._land(flight, item)
            return
        if flight.state is ItemState.SUBMITTED:
            event = Completed(self._bookkeeper.clock(), flight.converting_at)
            flight.follow(await self._bookkeeper.change(flight.key, event))
        self._completed.send_nowait(flight)

    def _age_s(self, flight: Flight) -> float:
        return anyio.current_time() - flight.accepted_at

    def _accepted_at(self, item: Item) -> float:
        """When an item was accepted, by the event loop's clock, from which on no wall clock that is set counts.

        What an earlier process wrote down can't be in the future.
        """
        return anyio.current_time() - max(0.0, self._bookkeeper.clock() - (item.submitted_at or 0.0))

    def _planned_wait_s(self, flight: Flight, age_s: float) -> float:
        draw = self._session.calls.draw()
        return self._plan.next_wait_s(flight.traits, age_s=age_s, in_flight=len(self._poller), draw=draw)

    async def _next_wait_s(self, flight: Flight, *, at_least_s: float = 0.0) -> float | None:
        """Seconds until the next poll; None, and the flight has landed, where its time is up."""
        age_s = self._age_s(flight)
        wait_s = max(self._planned_wait_s(flight, age_s), at_least_s)
        timeout_s = self._limits.job_timeout_s
        if timeout_s is None:
            return wait_s
        if age_s >= timeout_s:
            job = flight.job or Job(job_id=flight.job_id or "")
            await self._land_as_it_is(flight, errors.JobTimeoutError(job, timeout_s))
            return None
        return min(wait_s, max(timeout_s - age_s, self._poll.interval_min_s))

    async def _download_worker(self) -> None:
        async for flight in self._to_download:
            try:
                await self._download(flight)
            except _FATAL as error:
                self._fail(error)

    async def _download(self, flight: Flight) -> None:
        try:
            assert self._output is not None
            path = await bring_to_disk(self._session, flight, self._output, self._tell_progress(flight))
        except _FATAL:
            raise
        except errors.JobFailedError as error:
            await self._miss(flight, error)
        except errors.DownloadError as error:
            wait_s = self._looks.again_in_s(flight, error, age_s=self._age_s(flight)) if error.is_refused else None
            if wait_s is not None:
                flight.asked_age_s = None  # When it was finished is known: the plan must not learn from the next poll.
                self._poller.add(flight, due_in_s=wait_s)
            elif error.is_gone:
                event = ResultLost(problem_of(error), self._bookkeeper.clock())
                self._land(flight, await self._bookkeeper.change(flight.key, event), error)
            else:
                if error.is_unstored:
                    self._submission.not_stored(error)
                # It stays FETCHING: it is paid for, and will be fetched.
                await self._land_as_it_is(flight, error)
        except errors.HitPawError as error:
            await self._land_as_it_is(flight, error)
        else:
            self._submission.stored()
            result_s = await longest_s(self._session, flight, path)
            item = await self._bookkeeper.change(flight.key, Saved(str(path), self._bookkeeper.clock(), result_s))
            if result_s is not None:
                self._submission.look_for_room()
            self._land(flight, item)

    async def _miss(self, flight: Flight, error: errors.JobFailedError) -> None:
        """A finished job is said to have failed. One word is none: the polls say whether it is so."""
        ruling = self._hear(flight, Word.GONE)
        if ruling is Ruling.BELIEVE:
            await self._give_up_on(flight, error)
        elif ruling is Ruling.LEAVE:
            await self._land_as_it_is(flight, error)
        else:
            _LOG.warning("%s: %s It will be asked for again.", flight.key, error)
            self._poller.add(flight, due_in_s=self._poll.interval_min_s)

    def _tell_progress(self, flight: Flight) -> Callable[[int, int | None], None]:
        def tell(received_bytes: int, total_bytes: int | None) -> None:
            self._tell(EventKind.DOWNLOADING, flight, received_bytes=received_bytes, total_bytes=total_bytes)

        return tell
