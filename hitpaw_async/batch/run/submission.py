"""One item from QUEUED to accepted, refused, skipped or uncertain: check, probe, reserve, export."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.giveback import credits_per_minute
from hitpaw_async._core.itemstate import (
    Accepted,
    Intended,
    Item,
    NotAccepted,
    Refused,
    ReplyLost,
    Reserved,
    Skipped,
)
from hitpaw_async._core.limits import broken_limits
from hitpaw_async._core.pricing import estimate
from hitpaw_async._core.protocol.dialect import is_own_word
from hitpaw_async._core.storing import StoreRecord
from hitpaw_async._vendor.calls import StrangeHostError
from hitpaw_async.batch.events.event import EventKind, WaitReason
from hitpaw_async.batch.journal.store import JobIdTakenError
from hitpaw_async.batch.outcomes import problem_of
from hitpaw_async.batch.probe import joined, needs_probe
from hitpaw_async.models import ItemState, VideoFacts
from hitpaw_async.policies import WhenFull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._vendor.calls import VendorCalls
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.probe import Probe
    from hitpaw_async.batch.webhooks import Hook
    from hitpaw_async.models import ExportRequest, Job

__all__ = ["Submission", "Turnstile", "known_facts"]

_LOG = logging.getLogger("hitpaw_async")

FAILURES_IN_A_ROW_MAX: Final = 5
"""Exports in a row that led to no answer of the vendor's. Then the batch submits nothing more in this run: an address
that is wrong, or an outage, must not turn a whole library UNCERTAIN."""

CREDIT_REFUSALS_MAX: Final = 3
"""Exports in a row that were refused for want of credits, each cheaper than the one before. Then the account counts as
empty, and the batch submits nothing more in this run."""


STRANGE_HOST_MAX_S: Final = 3600.0
"""How long a run that follows its journal bears a host that does not answer as the vendor does. A gateway's pages pass;
an address that is wrong does not, and is said again and again meanwhile."""


@attrs.frozen
class Submitted:
    """How far an item got, and why not further."""

    item: Item
    error: errors.HitPawError | None = None
    source_s: float | None = None
    """Length of the source in seconds, where it is known."""
    latency_s: float | None = None
    """From the export's first byte to its answer, where it was accepted."""


class Turnstile:
    """Lets concurrent workers through one point in the order in which they took their tickets."""

    def __init__(self) -> None:
        self._issued = 0
        self._next = 0
        self._passed: set[int] = set()
        self._changed = anyio.Event()

    def take_ticket(self) -> int:
        """A place in the order."""
        self._issued += 1
        return self._issued - 1

    async def wait(self, ticket: int) -> None:
        """Wait until all earlier tickets have passed."""
        while self._next < ticket:
            await self._changed.wait()

    def leave(self, ticket: int) -> None:
        """Pass, or give up one's place; doing it twice does no harm."""
        self._passed.add(ticket)
        while self._next in self._passed:
            self._passed.remove(self._next)
            self._next += 1
        self._changed.set()
        self._changed = anyio.Event()


async def known_facts(request: ExportRequest, *, probe: Probe, is_probing: bool) -> VideoFacts:
    """What is known of a source: what the request says, and where asked, what the source itself says beside it.

    Raises:
        MediaError: The source is not a video that can be read.
    """
    told = request.facts or VideoFacts()
    if not is_probing or not needs_probe(told) or broken_limits(request):
        # What breaks a limit is refused for that; nothing of it is read, least of all a path of this machine.
        return told
    try:
        return joined(told, await probe(request.video_url))
    except errors.TransportError as error:
        # Out of our reach need not be out of the vendor's: the worst case is reserved.
        _LOG.warning("The source of %s can't be read: %s", request.key, error)
        return told


@attrs.define(eq=False)
class _JournalingObserver:
    """Writes down, attempt by attempt, what becomes of one export."""

    bookkeeper: Bookkeeper
    item: Item
    hook_digest: str | None = None
    error: errors.HitPawError | None = None
    sent_at: float = 0.0
    latency_s: float | None = None

    async def sending(self) -> None:
        self.item = await self.bookkeeper.record(self.item, Intended(self.hook_digest))
        self.sent_at = anyio.current_time()

    async def not_accepted(self) -> None:
        self.item = await self.bookkeeper.record(self.item, NotAccepted())

    async def accepted(self, job: Job) -> None:
        bookkeeper = self.bookkeeper
        self.latency_s = anyio.current_time() - self.sent_at
        try:
            self.item = await bookkeeper.record(self.item, Accepted(job.job_id, bookkeeper.clock(), job.credits))
        except JobIdTakenError as error:
            self.item = await bookkeeper.record(self.item, ReplyLost(problem_of(error), bookkeeper.clock()))
            self.error = error
        except errors.JournalError:
            _LOG.critical(
                "The export of %s was accepted as job %s, and the journal could not keep it. Keep this line. Later: "
                "hitpaw reconcile JOURNAL --key %s --job-id %s",
                self.item.key,
                job.job_id,
                self.item.key,
                job.job_id,
            )
            raise


class Submission:
    """Submits items, in the order of their tickets, as far as budget, limits and the vendor allow.

    Args:
        calls: The vendor's calls.
        bookkeeper: Journal and ledger.
        probe: Reads the facts of a source.
        is_probing: Whether unknown facts are read from the sources.
        when_full: What becomes of an item that doesn't fit the budget.
        grace_s: How long a cancelled export waits for its answer.
        check_output: Tries whether the folder for results takes files; None where nothing is fetched.
        new_hook: Makes the path on which a webhook about one export comes in; None where there are no webhooks.
        has_end: Whether the run has one. Without, it stops at the first refusal for want of credits, for what waits is
            tried later, and bears a host for a while that does not answer as the vendor does.
    """

    def __init__(
        self,
        calls: VendorCalls,
        bookkeeper: Bookkeeper,
        *,
        probe: Probe,
        is_probing: bool,
        when_full: WhenFull,
        grace_s: Callable[[], float],
        check_output: Callable[[], Awaitable[None]] | None = None,
        new_hook: Callable[[], Hook | None],
        has_end: bool = True,
    ) -> None:
        self._calls = calls
        self._bookkeeper = bookkeeper
        self._probe = probe
        self._is_probing = is_probing
        self._when_full = when_full
        self._grace_s = grace_s
        self._new_hook = new_hook
        self._check_output = check_output
        self._is_output_checked = check_output is None
        self._stores = StoreRecord()
        self._unstorable: errors.DownloadError | None = None
        """Why nothing more is submitted where results can't be stored."""
        self._failures_in_a_row = 0
        self._credit_refusals_max = CREDIT_REFUSALS_MAX if has_end else 1
        self._credit_refusals = 0
        self._strange_max_s = 0.0 if has_end else STRANGE_HOST_MAX_S
        self._strange_since: float | None = None
        """Since when somebody else answers in the vendor's place."""
        self._too_dear: tuple[int, errors.InsufficientCreditsError] | None = None
        """The lowest price that was refused for want of credits: what costs as much is held back, the rest goes on."""
        self._settled = anyio.Event()
        self._in_flight = 0
        self._refused: deque[anyio.Event] = deque()
        """Who waits for room at the vendor, one after the other."""
        self.turnstile = Turnstile()
        self.is_on_trial = False
        """Whether it was resumed after a stop, and nothing was accepted since."""
        self.stopped_by: errors.HitPawError | None = None
        """Why nothing more is submitted in this run."""

    async def submit(self, item: Item, request: ExportRequest, ticket: int) -> Submitted:
        """Bring a QUEUED item as far as it gets now: SUBMITTED, REJECTED, SKIPPED or UNCERTAIN.

        Raises:
            AuthenticationError: The key was refused; the batch must stop.
            ConfigurationError: The address is wrong; the batch must stop.
            JournalError: Nothing can be written down; the batch must stop.
        """
        assert item.state is ItemState.QUEUED
        try:
            facts = await known_facts(request, probe=self._probe, is_probing=self._is_probing)
            problems = broken_limits(request, facts)
            if problems:
                return await self._refuse(item, errors.InvalidRequestError(problems))
            reserving = Reserved(estimate(request, facts=facts).upper, credits_per_minute(request, facts))
            await self.turnstile.wait(ticket)
            await self._await_storage()
            reserved = await self._reserve(item, reserving)
        except errors.MediaError as error:
            return await self._refuse(item, error)
        except errors.InternalError as error:
            # Nothing is known against the video: a later run tries it again.
            self._count_failure(error)
            return await self._skip(item, error)
        finally:
            self.turnstile.leave(ticket)
        if reserved.error is not None:
            # Not in the turnstile: nothing is held, and the others' skips go into the same transaction.
            return await self._skip(item, reserved.error)
        return attrs.evolve(await self._export(reserved.item, request), source_s=facts.duration_s)

    async def _reserve(self, item: Item, reserving: Reserved) -> Submitted:
        """The item RESERVED, or why nothing can be set aside for it."""
        ledger, credits_upper = self._bookkeeper.ledger, reserving.credits_upper
        while (held_back_by := self._held_back_by(credits_upper)) is None:
            reserved = self._bookkeeper.reserve(item, reserving)
            if reserved is not None:
                return Submitted(reserved)
            if self._when_full is WhenFull.SKIP or not ledger.may_free_up:
                return Submitted(item, errors.BudgetExceededError(credits_upper, ledger.left or 0))
            self._bookkeeper.emit(EventKind.WAITING, item, waiting_for=WaitReason.BUDGET)
            await self._settled.wait()
        return Submitted(item, held_back_by)

    def _held_back_by(self, credits_upper: int) -> errors.HitPawError | None:
        """Why a video of this price is not submitted in this run; None where it is."""
        if self.stopped_by is None and self._too_dear is not None and credits_upper >= self._too_dear[0]:
            return self._too_dear[1]
        return self.stopped_by

    async def _export(self, item: Item, request: ExportRequest) -> Submitted:
        hook = None if request.web_hook_url is not None else self._new_hook()
        observer = _JournalingObserver(self._bookkeeper, item, None if hook is None else hook.digest)
        try:
            await self._require_vendor()
            held_back_by = self._held_back_by(item.reserved_credits)
            if held_back_by is not None:
                return await self._skip(item, held_back_by)
            await self._send(request, observer, None if hook is None else hook.url)
        except errors.SubmissionUnknownError as error:
            self._count_failure(error)
            lost = ReplyLost(problem_of(error), self._bookkeeper.clock())
            return Submitted(await self._bookkeeper.record(observer.item, lost), error)
        except errors.InsufficientCreditsError as error:
            self._count_credit_refusal(item.reserved_credits, error)
            return await self._skip(observer.item, error)
        except (errors.TransportError, errors.RateLimitError, errors.InternalError) as error:
            self._count_failure(error)
            return await self._skip(observer.item, error)
        except errors.AuthenticationError:
            raise
        except (errors.APIError, errors.InvalidRequestError) as error:
            if is_of_gateway := isinstance(error, errors.APIError) and not is_own_word(error):
                # It says nothing of the video: a later run tries again.
                self._count_failure(error)
            else:
                self._failures_in_a_row = 0
            return await (self._skip if is_of_gateway else self._refuse)(observer.item, error)
        finally:
            self._announce_settled()
        self._failures_in_a_row = self._credit_refusals = 0
        self.is_on_trial = False
        return Submitted(observer.item, observer.error, latency_s=observer.latency_s)

    async def _require_vendor(self) -> None:
        """Find out at no cost whether the vendor is there, before the first export.

        A run that goes on without an end bears a gateway's pages for a while: what is paid for goes on meanwhile.

        Raises:
            TransportError: Somebody else answers, which may pass.
            ConfigurationError: Somebody else answers: the batch must stop.
        """
        try:
            await self._calls.require_vendor()
        except StrangeHostError as error:
            now = anyio.current_time()
            self._strange_since = now if self._strange_since is None else self._strange_since
            if now - self._strange_since >= self._strange_max_s:
                raise errors.ConfigurationError(str(error)) from None
            passing = errors.TransportError(f"{error} It is asked again after a pause.")
            _LOG.warning("%s", passing)
            self.stop(passing)
            raise passing from None
        self._strange_since = None

    async def _send(self, request: ExportRequest, observer: _JournalingObserver, url: str | None) -> None:
        """Export it, when the vendor has room for it."""
        while True:
            try:
                await self._calls.export(request, observer=observer, web_hook_url=url, grace_s=self._grace_s)
            except errors.RateLimitError:
                if not await self._room_came(observer.item):
                    raise
            else:
                return

    async def _await_storage(self) -> None:
        """Before the first item, try the folder for results; if it fails later, wait for those that may be stored."""
        if not self._is_output_checked:
            self._is_output_checked = True
            await self._try_output()
        while self.is_storage_failing and self._in_flight:
            await self._settled.wait()

    async def _try_output(self) -> None:
        assert self._check_output is not None
        try:
            await self._check_output()
        except errors.DownloadError as error:
            self._stores.fail()
            self._stop_for_storage(error)

    @property
    def is_storage_failing(self) -> bool:
        """Whether nothing is submitted because results can't be stored: what is paid for is tried, nothing is added."""
        return self.stopped_by is not None and self.stopped_by is self._unstorable

    def not_stored(self, error: errors.DownloadError) -> None:
        """A result could not be stored: after a few in a row, nothing more is paid for."""
        if self._stores.not_stored():
            self._stop_for_storage(error)

    def stored(self) -> None:
        """A result was stored: that was mended."""
        if self._stores.stored():
            self._lift_for_storage()

    async def try_storing(self) -> None:
        """Submit again where results couldn't be stored and none is left to be tried: if the folder takes a file."""
        self._stores.give_a_try()
        self._lift_for_storage()
        await self._try_output()

    async def wait_for_storage(self) -> None:
        """Wait until results can be stored again, or are not even tried."""
        while self.is_storage_failing:
            await self._settled.wait()

    def _stop_for_storage(self, error: errors.DownloadError) -> None:
        self._unstorable = errors.DownloadError(
            f"Not submitted: results can't be stored. {error} Then run again: what is paid for is fetched first.",
            is_unstored=True,
        )
        self.stop(self._unstorable)

    def _lift_for_storage(self) -> None:
        if self.is_storage_failing:
            self.stopped_by = None
        self._unstorable = None
        self._announce_settled()

    @property
    def is_idle(self) -> bool:
        """Whether no job of ours is at the vendor or on its way to disk."""
        return not self._in_flight

    def took_off(self) -> None:
        """A job is at the vendor."""
        self._in_flight += 1

    def landed(self) -> None:
        """A job is not at the vendor any more: there is room for one, or if it was the last, nothing to wait for."""
        self._in_flight -= 1
        if self.is_storage_failing:
            self._announce_settled()
        while self._refused:
            self._refused.popleft().set()
            if self._in_flight:
                break

    async def _room_came(self, item: Item) -> bool:
        """After HTTP 429, wait until a job of ours makes room. False where there is none, or nothing is submitted."""
        if not self._in_flight or self.stopped_by is not None:
            return False
        self._bookkeeper.emit(EventKind.WAITING, item, waiting_for=WaitReason.VENDOR)
        room = anyio.Event()
        self._refused.append(room)
        await room.wait()
        return self.stopped_by is None

    def stop(self, error: errors.HitPawError) -> None:
        """Submit nothing more in this run."""
        if self.stopped_by is None:
            self.stopped_by = error
            self._bookkeeper.emit(EventKind.STOPPED, detail=str(error))
            self._announce_settled()
            while self._refused:
                self._refused.popleft().set()

    def resume(self) -> None:
        """Submit again after a stop. The next failure stops it once more."""
        self.stopped_by = self._unstorable
        self._failures_in_a_row = FAILURES_IN_A_ROW_MAX - 1
        self.is_on_trial = True

    def _count_credit_refusal(self, credits_upper: int, error: errors.InsufficientCreditsError) -> None:
        if self._too_dear is not None and credits_upper >= self._too_dear[0]:
            return  # it was under way when a cheaper one was refused
        self._credit_refusals += 1
        if self._credit_refusals >= self._credit_refusals_max:
            self.stop(error)
            return
        self._too_dear = (credits_upper, error)
        _LOG.warning("%s Until then, only videos that cost less than %d are submitted.", error, credits_upper)
        self._announce_settled()

    def look_for_room(self) -> None:
        """Credits may have been given back: let those who wait for room in the budget look again."""
        self._announce_settled()

    def _announce_settled(self) -> None:
        self._settled.set()
        self._settled = anyio.Event()

    def _count_failure(self, error: errors.HitPawError) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW_MAX:
            self.stop(error)

    async def _refuse(self, item: Item, error: errors.HitPawError) -> Submitted:
        refused = Refused(problem_of(error), self._bookkeeper.clock())
        return Submitted(await self._bookkeeper.record(item, refused), error)

    async def _skip(self, item: Item, error: errors.HitPawError) -> Submitted:
        skipped = Skipped(problem_of(error), self._bookkeeper.clock())
        return Submitted(await self._bookkeeper.record(item, skipped), error)
