"""`BatchScheduler`: the owner of a batch. One task group, everything wired.

    input ─> submission workers ─> poller ─> download workers ─> outcomes
                    │                 │              │
                    └──── bookkeeper: journal and ledger ┘

An item holds one of `jobs_in_flight` places from the moment it is pulled until its outcome has been taken. No job has a
task of its own.
"""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio

from hitpaw_async import errors
from hitpaw_async._core.ledger import Ledger
from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async._errors import internal_error
from hitpaw_async._redact import excerpt, redact_url, sealed
from hitpaw_async._session import Session
from hitpaw_async._tasks import Host, uninterrupted
from hitpaw_async._validators import checked_number
from hitpaw_async.batch import reconcile as reconciling
from hitpaw_async.batch.books import Bookkeeper
from hitpaw_async.batch.events.event import BatchEvent, EventKind
from hitpaw_async.batch.events.hub import BUFFERED_EVENTS_MAX, EventStream
from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.batch.file_names import NameTemplate
from hitpaw_async.batch.items import ItemsPage, cancelled, page_of
from hitpaw_async.batch.journal.group_commit import Journal
from hitpaw_async.batch.journal.opening import anchored, open_store, recover
from hitpaw_async.batch.journal.store import JournalStore
from hitpaw_async.batch.opened import Open
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.batch.plan import BatchPlan, plan
from hitpaw_async.batch.probe import TolerantProbe
from hitpaw_async.batch.promise import promise_waiting, take_in
from hitpaw_async.batch.run.fetch import output_check
from hitpaw_async.batch.run.follow import RETRY_AFTER_S, Following, checked_pause_s
from hitpaw_async.batch.run.intake import Conflict, Intake, Requests, find_known, pulled
from hitpaw_async.batch.run.kept_poll_plan import recalled_plan
from hitpaw_async.batch.run.outcome_stream import Outbox
from hitpaw_async.batch.run.run import Run
from hitpaw_async.batch.run.submission import Submission
from hitpaw_async.batch.webhooks import Hint, Hook, WebhookPolicy, digest_of
from hitpaw_async.download.file_names import is_elsewhere
from hitpaw_async.models import ExportRequest, ItemState, Outcome
from hitpaw_async.policies import BatchLimits, CreditBudget

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async._core.poll_plan import PollPlan
    from hitpaw_async.batch.file_names import NamesTaken
    from hitpaw_async.batch.journal.store import Books
    from hitpaw_async.batch.probe import Probe

__all__ = ["NOTE_PREFIX", "BatchScheduler"]

NOTE_PREFIX: Final = "note:"
"""Keeps a user's notes apart from the journal's own settings."""


def _require_kind(name: str, value: object, kind: type | tuple[type, ...], what: str, *, or_none: bool = False) -> None:
    """Refuse a setting of another kind, before anything is opened."""
    if isinstance(value, kind) or (or_none and value is None):
        return
    raise errors.ConfigurationError(f"{name} must be {what}{' or None' if or_none else ''}, not {ascii(value)[:60]}.")


def _require_listener(on_event: object) -> None:
    is_plain = callable(on_event) and not inspect.iscoroutinefunction(on_event)
    if on_event is not None and not is_plain:
        raise errors.ConfigurationError(
            "on_event must be a plain function of one BatchEvent, or None. An async one would not be awaited: iterate "
            "over batch.events() in place of it."
        )


class BatchScheduler:
    """Brings many videos through the vendor, within a budget, on a journal. Made by `AsyncHitPaw.batch`.

    Leaving the `async with` block stops what still runs: exports that have been sent get `limits.stop_grace_s` for
    their answer, everything else stays in the journal for the next opening.
    """

    def __init__(  # noqa: PLR0913 (keyword-only options, each with a meaning of its own)
        self,
        session: Session,
        *,
        journal: str | os.PathLike[str] | JournalStore | None,
        budget: CreditBudget | None,
        limits: BatchLimits,
        output: str | os.PathLike[str] | None,
        probe: bool | None = None,
        name: str = "{stem}{ext}",
        webhooks: WebhookPolicy | None = None,
        on_event: Callable[[BatchEvent], None] | None = None,
        journal_wait_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _require_kind("budget", budget, CreditBudget, "a CreditBudget, or a whole number of credits,", or_none=True)
        _require_kind("limits", limits, BatchLimits, "BatchLimits")
        _require_kind("output", output, (str, os.PathLike), "the path of a folder", or_none=True)
        _require_kind("name", name, str, "a template, as a text")
        _require_kind("webhooks", webhooks, WebhookPolicy, "a WebhookPolicy", or_none=True)
        _require_kind("probe", probe, bool, "True, False", or_none=True)
        _require_listener(on_event)
        self._session = session
        self._journal_source = anchored(journal)
        self._journal_wait_s = checked_number(journal_wait_s, 0, math.inf, name="journal_wait_s")
        self._budget = budget
        self._limits = limits
        self.stop_grace_s = limits.stop_grace_s
        """How long a stop waits for the answers to sent exports. May be changed until it comes."""
        if output is not None and is_elsewhere(os.fsdecode(output)):
            raise errors.ConfigurationError(
                f"Results go into a folder of this machine, not to {ascii(redact_url(os.fsdecode(output)))[:80]}: copy "
                "them from there."
            )
        self._output = None if output is None else Path(output).absolute()
        self._is_probing = session.probes_by_default if probe is None else probe
        self._probe: Probe = TolerantProbe(session.probe) if probe is None else session.probe
        self._template = NameTemplate(name)
        self._on_event = on_event
        self._clock = clock
        self._webhooks = webhooks
        self._host: Host[Open] | None = None
        self._opened: Open | None = None
        self._last_statistics: BatchStatistics | None = None

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave()

    @sealed
    async def _enter(self) -> None:
        if self._host is not None and not self._host.has_ended:
            raise errors.ConfigurationError(
                "This batch is open already. Use the open one, or make another with `hitpaw.batch(...)`."
            )
        host = self._host = Host(self._lifetime())
        try:
            self._opened = await host.enter()
        except BaseException:
            if self._host is host:
                self._host = self._opened = None
            raise

    @sealed
    async def _leave(self) -> None:
        host = self._host
        if host is None:
            raise _not_open()
        if not host.has_ended and host.is_elsewhere:
            raise _elsewhere()
        try:
            await host.leave()
        finally:
            if self._host is host:
                self._host = self._opened = None

    @asynccontextmanager
    async def _lifetime(self) -> AsyncIterator[Open]:
        """All that is open while the batch is, in one task group, opened and closed by one task."""
        found = await open_store(self._journal_source, output=self._output, wait_s=self._journal_wait_s)
        journal = Journal(found.store)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(uninterrupted(journal.serve))
            try:
                run_number, books = await journal.do(self._recover)
                opened = self._opened = self._open_with(journal, tasks, books, run_number, found.names_taken)
            except BaseException as error:
                journal.close()
                if not isinstance(error, Exception):
                    raise
                failure = error  # raised below: out of a task group it would come in a group
            else:
                if self._webhooks is not None:
                    tasks.start_soon(self._follow_hints)
                try:
                    yield opened
                finally:
                    opened.is_closing = True
                    journal.hurry(self.stop_grace_s)
                    if opened.run_scope is not None:
                        opened.run_scope.cancel()
                    tasks.start_soon(uninterrupted(self._close_journal))
        if failure is not None:
            raise failure

    def _open_with(
        self, journal: Journal, tasks: TaskGroup, books: Books, run_number: int, names_taken: NamesTaken
    ) -> Open:
        ledger = Ledger(
            budget=None if self._budget is None else self._budget.credits,
            spent=books.spent_credits,
            reserved=books.reserved_credits,
            held=books.reserved_credits,
        )
        bookkeeper = Bookkeeper(journal, ledger, books, clock=self._clock, on_event=self._on_event)
        bookkeeper.on_settled_late = self._go_on_with
        return Open(
            tasks=tasks,
            bookkeeper=bookkeeper,
            names_taken=names_taken,
            run_number=run_number,
            polls_before=self._session.calls.task_calls,
        )

    @property
    def _open(self) -> Open:
        """What is open, also while it is being closed."""
        if self._opened is None:
            raise _not_open()
        return self._opened

    def _require_open(self) -> Open:
        """What is open, for a task of the loop that it lives in.

        Raises:
            ConfigurationError: It is not open (any more), or lives in another loop.
        """
        opened = self._open
        if opened.is_closing or self._host is None or self._host.has_ended:
            raise _not_open()
        if self._host.is_elsewhere:
            raise _elsewhere()
        return opened

    @property
    def _bookkeeper(self) -> Bookkeeper:
        return self._open.bookkeeper

    async def _close_journal(self) -> None:
        """Close the journal when nobody needs it any more. In a task of its own, which no Ctrl-C strikes."""
        with anyio.CancelScope(shield=True):
            if self._open.run_scope is not None:
                await self._open.run_ended.wait()
            self._open.hint_scope.cancel()
            self._last_statistics = self.statistics()
            self._bookkeeper.events.close()
            self._bookkeeper.journal.close()

    def run(self, requests: Requests = ()) -> Outbox:
        """Bring the journal's unfinished items, then `requests`, to their ends.

        Args:
            requests: Any iterable or async iterable, pulled one at a time as places become free. A key that the journal
                knows is not submitted again: its outcome is reported once more. What waits in the journal with a signed
                URL is taken up after them, for they may bring it signed anew.

        Returns:
            An async iterator of `Outcome`, in the order in which they come about. One item's failure is one outcome. It
            raises `AuthenticationError`, `ConfigurationError` or `JournalError` where the batch itself can't go on.
        """
        return self._start(requests)

    def _start(self, requests: Requests, *, retry_after_s: float | None = None) -> Outbox:
        opened = self._require_open()
        if opened.run_scope is not None and not opened.run_ended.is_set():
            raise errors.ConfigurationError("This batch is running. Iterate over one run to its end before the next.")
        source = pulled(requests)
        # Whoever enqueues has given what there is to give: what waits is taken up in its order.
        is_given_more = not isinstance(requests, Sized) or len(requests) > 0
        self._open.may_be_renewed = is_given_more and not self._open.has_enqueued
        self._open.is_rerun = self._open.run_scope is not None
        self._open.run_ended = anyio.Event()
        self._open.run_scope = anyio.CancelScope()
        outbox = Outbox(self._limits.places_first, self._bookkeeper.tell_finished)
        self._open.tasks.start_soon(self._guarded, source, outbox, self._open.run_scope, retry_after_s)
        return outbox

    def follow(self, *, retry_after_s: float = RETRY_AFTER_S) -> Outbox:
        """Like `run`, without an end: it goes on with whatever `enqueue` puts into the journal, until the batch closes.

        Where the vendor takes nothing (no credits, an outage), what waits in the journal goes on waiting there, and
        after a while it is tried again. So is what was SKIPPED for another reason than the budget, and so is what is
        paid for and can't be finished now: a job past `BatchLimits.job_timeout_s` (SUBMITTED), a result that can't be
        fetched or stored (FETCHING). None of that is submitted again.

        Args:
            retry_after_s: That while, in seconds. It grows up to 16 times while trying again fails.

        Returns:
            As `run` does. An item that is tried again has more than one outcome: a paid one an outcome for each reason
            why it can't be finished now, told once and not with each try, and then the one of its end.
        """
        return self._start((), retry_after_s=checked_pause_s(retry_after_s))

    def _new_run(
        self,
        requests: Requests,
        outbox: Outbox,
        poll_plan: PollPlan,
        scope: anyio.CancelScope,
        *,
        retry_after_s: float | None,
    ) -> Run:
        budget = self._budget or CreditBudget(0)
        submission = Submission(
            self._session.calls,
            self._bookkeeper,
            probe=self._probe,
            is_probing=self._is_probing,
            when_full=budget.when_full,
            grace_s=lambda: self.stop_grace_s,
            check_output=output_check(self._output),
            new_hook=lambda: None if self._webhooks is None else Hook.new(self._webhooks),
            has_end=retry_after_s is None,
        )
        self._open.following = None
        if retry_after_s is not None:
            self._open.following = Following(submission, retry_after_s=retry_after_s, find=self._item)
        return Run(
            self._session,
            self._bookkeeper,
            intake=self._intake(requests, follower=self._open.following, may_be_renewed=self._open.may_be_renewed),
            submission=submission,
            outbox=outbox,
            plan=poll_plan,
            scope=scope,
            limits=self._limits,
            output=self._output,
            failed_jobs_are_charged=budget.failed_jobs_are_charged,
            uncertain_wait_s=None if self._webhooks is None else self._webhooks.wait_s,
            take_up_again=None if self._open.following is None else self._go_on_with,
            retries=None if self._open.following is None else self._open.following.retries,
        )

    async def enqueue(
        self,
        requests: Requests,
        *,
        on_conflict: Callable[[Conflict], None] | None = None,
        on_repeat: Callable[[ExportRequest], None] | None = None,
    ) -> int:
        """Take requests into the journal without submitting any: `follow`, a later `run`, or `hitpaw resume` does.

        Args:
            requests: Any iterable or async iterable.
            on_conflict: Told of each request whose key stands for another video, and which is left out; without it,
                the first one is raised.
            on_repeat: Told of each request that stands for the same video as an earlier one of these.

        Returns:
            How many were new.

        Raises:
            InvalidRequestError: A key stands for another video in this journal.
        """
        self._require_open()
        self._open.has_enqueued = True
        intake = self._intake(requests)
        try:
            return await intake.admit_all(on_conflict, on_repeat)
        finally:
            if self._open.following is not None:
                self._open.following.wake()

    async def take_in(self, request: ExportRequest) -> None:
        """As `enqueue`, for one request, if the budget has room for it beside all that waits; see `BackgroundBatch`."""
        self._require_open()
        probe = self._probe if self._is_probing else None
        await take_in(self._bookkeeper, request, probe=probe, enqueue=self.enqueue)

    async def promise_waiting(self) -> None:
        """Count what waits in the journal as promised: `take_in` takes in what the budget has room for beside it."""
        self._require_open()
        await promise_waiting(self._bookkeeper)

    async def plan(self, requests: Requests = ()) -> BatchPlan:
        """What `run` would submit, skip and reject, and what it would cost. Costs nothing and changes nothing."""
        self._require_open()
        return await plan(
            self._bookkeeper,
            requests,
            probe=self._probe,
            is_probing=self._is_probing,
            probes=self._limits.submissions,
        )

    def notify(self, token: str, webhook: Webhook) -> None:
        """Take a webhook that came in on the path `token`. It is a hint: the task call decides.

        Args:
            token: The last part of the path.
            webhook: What the body said.
        """
        self._open.hints.put(Hint(digest_of(token), webhook.job_id))

    async def uncertain(self) -> AsyncIterator[Outcome]:
        """The items whose export's answer was lost: perhaps charged, never sent again on their own."""
        self._require_open()
        async for item in reconciling.uncertain_items(self._bookkeeper):
            yield outcome_of(item)

    async def find(self, key: str) -> Outcome | None:
        """How an item stands, whatever its state; None where the journal has no such key."""
        self._require_open()
        item = await self._item(key)
        return None if item is None else outcome_of(item)

    async def key_of(self, request: ExportRequest) -> str:
        """The key under which the journal has a request: its own, unless an earlier version took it in by another."""
        if request.former_key is None:
            return request.key
        known = await self._bookkeeper.journal.do(lambda store: find_known(store, request))
        return request.key if known is None else known.key

    async def _item(self, key: str) -> Item | None:
        return await self._bookkeeper.journal.do(lambda store: store.get(key))

    async def bind(self, key: str, job_id: str) -> Outcome:
        """Give an UNCERTAIN item the job id that was found for it. The vendor is asked first; the next run goes on.

        Raises:
            InvalidRequestError: The key is not UNCERTAIN, or the job id can't be one.
            JournalError: The job id stands at another item.
            JobNotFoundError: The vendor doesn't know the job id.
        """
        self._require_open()
        item = await reconciling.bind(self._bookkeeper, self._session.calls, key, job_id)
        self._go_on_with(item)
        return outcome_of(item)

    async def give_up(self, key: str) -> Outcome:
        """Give an UNCERTAIN item up: it is FAILED, and what it may have cost counts as spent.

        Raises:
            InvalidRequestError: The key is not UNCERTAIN.
        """
        self._require_open()
        item = await reconciling.give_up(self._bookkeeper, key)
        if self._open.active_run is not None and self._open.active_run.has(key):
            self._open.active_run.settled(key)
        outcome = outcome_of(item)
        self._bookkeeper.tell_finished(outcome)
        return outcome

    async def resubmit(self, key: str) -> Outcome:
        """Queue an UNCERTAIN item anew: the next run pays again, and the journal says that a person chose so.

        Raises:
            InvalidRequestError: The key is not UNCERTAIN.
        """
        self._require_open()
        item = await reconciling.resubmit(self._bookkeeper, key)
        self._go_on_with(item)
        return outcome_of(item)

    async def again(self, key: str, *, pay_again: bool = False, video_url: str | None = None) -> Outcome:
        """Look again at an item that has ended; the next run goes on with it. By itself that costs nothing.

        Of a FAILED item, and of a DONE one whose file was deleted, the job is asked for again, with the charge that it
        has. A REJECTED item is queued again.

        Args:
            key: The item's key.
            pay_again: Whether a FAILED or UNCERTAIN item is submitted anew, and paid anew. The journal says that a
                person chose so, and what it cost before counts as spent.
            video_url: The source's URL as a whole, where it had a query: the journal forgets that of what has ended.

        Raises:
            InvalidRequestError: The journal has no such key, or there is nothing to look at again.
        """
        item = await reconciling.again(self._bookkeeper, key, pay_again=pay_again, video_url=video_url)
        self._go_on_with(item)
        return outcome_of(item)

    async def cancel(self, key: str) -> Outcome:
        """Cancel an item that has not been submitted: it is REJECTED, nothing was sent, and no run submits it.

        `again` queues it anew. What is paid for, what is being submitted and what is UNCERTAIN is never cancelled.

        Raises:
            InvalidRequestError: The journal has no such key, or it can't be cancelled (any more).
            JournalError: It could not be written down: whether it is cancelled is unknown.
        """
        opened = self._require_open()
        item = await cancelled(
            self._bookkeeper, key, run=opened.active_run, following=opened.following, run_number=opened.run_number
        )
        outcome = outcome_of(item)
        self._bookkeeper.tell_finished(outcome)
        return outcome

    async def items(self, *states: ItemState | str, after: str | None = None, limit: int = 100) -> ItemsPage:
        """List the journal's items page by page: those in one of these states, or all.

        Raises:
            InvalidRequestError: A state is unknown, `after` is not from a page, or `limit` is not from 1 to 1000.
        """
        self._require_open()
        return await page_of(self._bookkeeper, states, after=after, limit=limit)

    async def keys(self, prefix: str = "", *, limit: int = 100) -> list[str]:
        """The keys in the journal that begin so, in their order; no more than `limit`."""
        return await self._bookkeeper.journal.do(lambda store: store.keys(prefix, limit))

    async def note(self, name: str) -> str | None:
        """A text that was kept in the journal with `set_note`; None where there is none."""
        self._require_open()
        return await self._bookkeeper.journal.do(lambda store: store.setting(NOTE_PREFIX + name))

    async def set_note(self, name: str, text: str) -> None:
        """Keep a text in the journal, e.g. the settings that a later process needs to resume."""
        self._require_open()
        await self._bookkeeper.journal.do(lambda store: store.set_setting(NOTE_PREFIX + name, text))

    def statistics(self) -> BatchStatistics:
        """Where the batch stands, over all runs of its journal; once it is closed, where it stood then."""
        if self._opened is None and self._last_statistics is not None:
            return self._last_statistics
        return self._bookkeeper.statistics(polls=self._session.calls.task_calls - self._open.polls_before)

    def events(self, *, buffer_max: int = BUFFERED_EVENTS_MAX) -> EventStream:
        """What happens from now on: a snapshot, the items that are under way, then each event, until the batch closes.

        Any number of readers may listen, each at its own pace; none holds the batch up.

        Args:
            buffer_max: Events of passing interest that wait for this reader. Of more, the oldest are dropped, and the
                next one that the reader gets says how many were.

        Returns:
            An async iterator of `BatchEvent`. Use it as `with batch.events() as events:`.
        """
        self._require_open()
        under_way = None if self._open.active_run is None else self._open.active_run.under_way
        return self._bookkeeper.listen(self.statistics(), under_way, buffer_max=buffer_max)

    def _intake(self, requests: Requests, *, follower: Following | None = None, may_be_renewed: bool = False) -> Intake:
        return Intake(
            self._bookkeeper,
            requests,
            run=self._open.run_number,
            template=None if self._output is None else self._template,
            names_taken=self._open.names_taken,
            follower=follower,
            may_be_renewed=may_be_renewed,
        )

    async def _follow_hints(self) -> None:
        with self._open.hint_scope:
            await self._open.hints.follow_all(
                self._bookkeeper,
                self._session.calls,
                lambda: self._open.active_run,
                on_bound=self._go_on_with,
                pause_s=self._session.poll.interval_max_s,
                rest_s=self._session.poll.interval_min_s,
            )

    def _go_on_with(self, item: Item) -> None:
        """Have the run take up what was settled: what is in flight, and anything if it follows the journal."""
        if self._open.active_run is not None and self._open.active_run.has(item.key):
            self._open.active_run.settled(item.key)
        elif self._open.following is None:
            return  # the next run takes it up
        elif item.state is ItemState.QUEUED and item.run != self._open.run_number:
            self._open.following.wake()  # it is found in the journal, as work that has come in is
        else:
            self._open.following.adopt(item)

    def _recover(self, store: JournalStore) -> tuple[int, Books]:
        return recover(store, now=self._clock())

    async def _guarded(
        self, requests: Requests, outbox: Outbox, scope: anyio.CancelScope, retry_after_s: float | None
    ) -> None:
        failure: BaseException | None = None
        try:
            if self._open.is_rerun or self._bookkeeper.is_in_doubt:
                # The run before may have ended in the middle of things, as a process may.
                self._open.run_number = await self._bookkeeper.reopen(self._recover)
            poll_plan = await recalled_plan(self._bookkeeper.journal, self._session.poll)
            self._open.active_run = self._new_run(requests, outbox, poll_plan, scope, retry_after_s=retry_after_s)
            failure = await self._open.active_run.work()
        except Exception as error:  # noqa: BLE001 (a bug of ours: the reader must see it, not wait for ever)
            failure = internal_error(error)
        finally:
            outbox.close(failure)
            detail = None if failure is None else excerpt(f"{type(failure).__name__}: {failure}")
            self._bookkeeper.emit(EventKind.ENDED, detail=detail, statistics=self.statistics())
            self._open.active_run = None
            self._open.following = None
            self._open.run_ended.set()


def _not_open() -> errors.ConfigurationError:
    return errors.ConfigurationError(
        "This batch is not open. Use it within `async with hitpaw.batch(...) as batch:`; what its journal has is kept."
    )


def _elsewhere() -> errors.ConfigurationError:
    return errors.ConfigurationError(
        "This batch was opened in another event loop. Open, use and leave it within one, e.g. `asyncio.run(main())`."
    )
