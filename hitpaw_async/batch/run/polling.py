"""Polling one job after another: asking for it, learning from the answer, and what becomes of it then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, assert_never

import anyio

from hitpaw_async import errors
from hitpaw_async._core.itemstate import Completed, Saved, VendorFailed
from hitpaw_async._core.patience import Doubt, Patience, Ruling, Word, word_of_error, word_of_job
from hitpaw_async._core.retry import PASSING
from hitpaw_async.batch.events.event import EventKind, WaitReason
from hitpaw_async.batch.outcomes import problem_of
from hitpaw_async.batch.reconcile import bind_named
from hitpaw_async.batch.run.kept_poll_plan import keep_plan, keep_plan_now_and_then
from hitpaw_async.batch.run.poller import Poller
from hitpaw_async.models import ItemState, Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._core.poll_plan import PollPlan
    from hitpaw_async._session import Session
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.run.in_flight import Flight
    from hitpaw_async.batch.run.jobs_in_flight import JobsInFlight
    from hitpaw_async.policies import BatchLimits

__all__ = ["FATAL", "POLLED", "Polling"]

_LOG = logging.getLogger("hitpaw_async")

SLACK_MAX_S: Final = 0.05
"""A poll may be so much late, to go out with others on one wake-up."""

TOLD_WAIT_MAX_S: Final = 600.0
"""The longest `Retry-After` of a poll that is kept to: nobody waits for centuries."""

POLLED: Final = (ItemState.SUBMITTED, ItemState.FETCHING)

FATAL: Final = (errors.AuthenticationError, errors.ConfigurationError, errors.JournalError)
"""What ends the batch, not an item."""


def _wrong_place(base_url: str, error: errors.HitPawError) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"{base_url} knows none of the jobs that earlier runs of this journal paid for, so nothing more is submitted. "
        f"({error}) The key belongs to another account, or the address to another host: set the right ones and resume. "
        "What was paid for is kept as it was."
    )


class Polling:
    """Asks for the jobs of a run until each of them is final.

    Args:
        session: Asks.
        bookkeeper: Journal, ledger and events.
        jobs: The jobs in flight.
        ask: Asks for one job, by `Polling.ask`, and ends the run where that can't go on.
        plan: When to ask again, learned from the jobs that have finished.
        limits: How long a job is waited for.
        has_output: Whether results are fetched.
        completed: Takes each job that is finished and has a result to be fetched.
        failed_jobs_are_charged: Whether a job that the vendor gave up counts as charged.
        uncertain_wait_s: How long an item whose answer was lost waits for a webhook; None where none can come.
    """

    def __init__(  # noqa: PLR0913 (keyword-only options, each with a meaning of its own)
        self,
        session: Session,
        bookkeeper: Bookkeeper,
        jobs: JobsInFlight,
        *,
        ask: Callable[[Flight], Awaitable[float | None]],
        plan: PollPlan,
        limits: BatchLimits,
        has_output: bool,
        completed: Callable[[Flight], None],
        failed_jobs_are_charged: bool,
        uncertain_wait_s: float | None,
    ) -> None:
        self._session = session
        self._bookkeeper = bookkeeper
        self._jobs = jobs
        self._plan = plan
        self._limits = limits
        self._has_output = has_output
        self._completed = completed
        self._failed_jobs_are_charged = failed_jobs_are_charged
        self._uncertain_wait_s = uncertain_wait_s
        self._poll = session.poll
        slack_s = min(SLACK_MAX_S, self._poll.interval_min_s / 100)
        self._poller = Poller(ask, pace=session.pace, slack_s=slack_s)
        self._patience = Patience(patience_s=self._poll.patience_s, strange_max_s=limits.unknown_status_max_s)

    async def serve(self) -> None:
        """Poll what is due, one job at a time. Several may serve at once."""
        await self._poller.serve()

    async def keep_plan(self) -> None:
        """Keep in the journal what was learned."""
        await keep_plan(self._bookkeeper.journal, self._plan)

    def ask_in(self, flight: Flight, wait_s: float) -> None:
        """Have a job asked for again after a while."""
        self._poller.add(flight, due_in_s=wait_s)

    async def ask(self, flight: Flight) -> float | None:
        """Ask for one job, or look whether a webhook has named it. Returns the seconds until the next time."""
        if flight.state is ItemState.UNCERTAIN:
            return await self._await_hint(flight)
        return await self._ask_for(flight)

    def take_off(self, flight: Flight) -> None:
        """From here on the poller has it."""
        due_in_s = 0.0
        if flight.state is ItemState.UNCERTAIN and self._uncertain_wait_s is not None:
            self._jobs.uncertain_until[flight.key] = anyio.current_time() + self._uncertain_wait_s
            due_in_s = 0.0 if flight.key in self._jobs.named_jobs else self._uncertain_wait_s
            self._jobs.tell(EventKind.WAITING, flight, waiting_for=WaitReason.WEBHOOK)
        elif flight.asked_age_s is not None and flight.key not in self._jobs.named_jobs:
            due_in_s = self._planned_wait_s(flight, 0.0)
        self._jobs.add(flight)
        self._poller.add(flight, due_in_s=due_in_s)

    def name_job(self, key: str, job_id: str) -> None:
        """Take a webhook's word for which job an item in flight is. It makes a poll due; the task call decides."""
        self._jobs.named_jobs[key] = job_id
        if key in self._jobs.flights:
            self._poller.wake(self._jobs.flights[key])

    def settled(self, key: str) -> None:
        """Somebody has settled an item in flight: it waits for no webhook any more."""
        if key in self._jobs.uncertain_until:
            self._jobs.uncertain_until[key] = anyio.current_time()
            self._poller.wake(self._jobs.flights[key])

    async def _await_hint(self, flight: Flight) -> float | None:
        """For an UNCERTAIN flight: bind the job that a webhook named, or wait on, or land. Returns seconds to wait."""
        job_id = self._jobs.named_jobs.pop(flight.key, None)
        if job_id is not None:
            try:
                bound = await bind_named(self._bookkeeper, self._session.calls, flight.key, job_id)
            except PASSING as error:
                _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
                self._jobs.named_jobs.setdefault(flight.key, job_id)
                return self._poll.interval_max_s
            if bound is not None:
                flight.follow(bound)
                return await self._ask_for(flight)
        left_s = self._jobs.uncertain_until[flight.key] - anyio.current_time()
        if left_s > 0:
            return left_s
        # A person may have settled it meanwhile.
        now = await self._jobs.item_of(flight)
        if now.job_id != flight.job_id:
            flight.accepted_at = self._jobs.accepted_at(now)
        flight.follow(now)
        if now.state in POLLED:
            return await self._ask_for(flight)
        if now.state is ItemState.QUEUED and self._jobs.takes_up_again:
            self._jobs.leave_to_intake(flight, now)
        else:
            self._jobs.land(flight, now)
        return None

    async def _ask_for(self, flight: Flight) -> float | None:
        job_id = flight.job_id
        assert job_id is not None
        age_s = self.age_s(flight)
        try:
            job = await self._session.task(job_id)
        except FATAL:
            raise
        except (*PASSING, errors.APIError, errors.InternalError) as error:
            _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
            told_s = error.retry_after_s if isinstance(error, errors.RateLimitError) else None
            ruling = self.hear(flight, word_of_error(error))
            return await self._go_on(flight, ruling, error, at_least_s=min(told_s or 0.0, TOLD_WAIT_MAX_S))
        ruling = self.hear(flight, word_of_job(job), job)
        if ruling is Ruling.ASK_SOON:
            _LOG.warning("job %s: The vendor says %s. It will be asked for again.", job_id, job.status_text)
            return self._poll.interval_min_s
        self._note(flight, job)
        await self._learn(flight, age_s, is_finished=job.status.is_final)
        if not job.status.is_final:
            return await self._go_on(flight, ruling, errors.JobTimeoutError(job, self._limits.unknown_status_max_s))
        if job.status is JobStatus.ERROR:
            await self.give_up_on(flight, errors.JobFailedError(job))
        else:
            await self._complete(flight)
        return None

    def hear(self, flight: Flight, word: Word | None, job: Job | None = None) -> Ruling:
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
            self._jobs.tell(EventKind.STATUS, flight, status=job.status)
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
                await self.give_up_on(flight, error)
            case Ruling.LEAVE:
                await self._jobs.land_as_it_is(flight, error)
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

    async def give_up_on(self, flight: Flight, error: errors.HitPawError) -> None:
        """End a job that the vendor has given up: its item is FAILED."""
        item = await self._bookkeeper.change(flight.key, self._vendor_failed(error))
        self._jobs.land(flight, item, error)

    def _vendor_failed(self, error: errors.HitPawError) -> VendorFailed:
        return VendorFailed(problem_of(error), self._bookkeeper.clock(), self._failed_jobs_are_charged)

    async def _complete(self, flight: Flight) -> None:
        if not self._has_output or not flight.kind.has_target:
            item = await self._bookkeeper.change(flight.key, Saved(None, self._bookkeeper.clock()))
            self._jobs.land(flight, item)
            return
        if flight.state is ItemState.SUBMITTED:
            event = Completed(self._bookkeeper.clock(), flight.converting_at)
            flight.follow(await self._bookkeeper.change(flight.key, event))
        self._completed(flight)

    def age_s(self, flight: Flight) -> float:
        """Seconds since a job was accepted."""
        return anyio.current_time() - flight.accepted_at

    def _planned_wait_s(self, flight: Flight, age_s: float) -> float:
        draw = self._session.calls.draw()
        return self._plan.next_wait_s(flight.traits, age_s=age_s, in_flight=len(self._poller), draw=draw)

    async def _next_wait_s(self, flight: Flight, *, at_least_s: float = 0.0) -> float | None:
        """Seconds until the next poll; None, and the flight has landed, where its time is up."""
        age_s = self.age_s(flight)
        wait_s = max(self._planned_wait_s(flight, age_s), at_least_s)
        timeout_s = self._limits.job_timeout_s
        if timeout_s is None:
            return wait_s
        if age_s >= timeout_s:
            job = flight.job or Job(job_id=flight.job_id or "")
            await self._jobs.land_as_it_is(flight, errors.JobTimeoutError(job, timeout_s))
            return None
        return min(wait_s, max(timeout_s - age_s, self._poll.interval_min_s))
