"""Where items come from: first what the journal still has to do, then the caller's requests, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs

from hitpaw_async._core.itemstate import Item, Reconsidered, Restarted, advance
from hitpaw_async._core.renewal import has_whole_url, is_waiting, renewed
from hitpaw_async._format import row_text
from hitpaw_async._urls.identity import is_signed
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.errors import BudgetExceededError, ConfigurationError, InvalidRequestError
from hitpaw_async.models import ExportRequest, ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.file_names import NamesTaken, NameTemplate
    from hitpaw_async.batch.journal.group_commit import Pending
    from hitpaw_async.batch.journal.store import JournalStore

__all__ = [
    "ALL_WAITING",
    "FRESH",
    "Admission",
    "Conflict",
    "Follower",
    "Intake",
    "Requests",
    "Taken",
    "find_known",
    "key_conflict",
    "pulled",
]

FRESH: Final = (ItemState.QUEUED,)
ALL_WAITING: Final = ((ItemState.SKIPPED,), FRESH)
"""What a follower looks for, in this order: what has come in, after what was skipped."""
_LEFT: Final = (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED, ItemState.REJECTED)
"""What an earlier run left to be submitted. Of what was refused, only that whose reason may have passed."""

Requests: TypeAlias = Iterable[ExportRequest] | AsyncIterable[ExportRequest]


class Follower(Protocol):
    """Who keeps a run open."""

    async def wait_for_vendor(self) -> None:
        """Wait as long as nothing may be submitted."""
        ...

    async def holds_back(self) -> bool:
        """Whether nothing that is not paid for may be taken up; it has waited a while."""
        ...

    async def next_adopted(self) -> Item | None:
        """An item in nobody's hands that is to be taken up as it is, if there is one."""
        ...

    async def next_stages(self) -> list[Collection[ItemState]]:
        """Wait for work. Returns the states in which the journal has it, in the order in which they are looked for."""
        ...


@attrs.frozen
class Taken:
    """An item to work on or to report, with the request as it was given, where it was."""

    item: Item
    request: ExportRequest | None = None


@attrs.frozen
class Admission:
    """A request that the journal was asked to take in, in its turn. The answer comes with those of a whole group."""

    request: ExportRequest
    pending: Pending[tuple[Item | None, Item, Item | None]]


@attrs.frozen
class Conflict:
    """A request whose key stands for another video in the journal."""

    request: ExportRequest
    error: InvalidRequestError


class Intake:
    """One run's source of items.

    Args:
        bookkeeper: The journal and its counts.
        requests: The caller's input, pulled lazily.
        run: The number of this opening of the journal.
        template: How results are named; None where nothing is downloaded.
        names_taken: File names in the output folder, which no item may have.
        follower: Keeps the run open for what comes into the journal later; None ends it.
        may_be_renewed: Whether `requests` may bring fresh signatures. What waits with an older one is taken up after
            them then.
    """

    def __init__(
        self,
        bookkeeper: Bookkeeper,
        requests: Requests,
        *,
        run: int,
        template: NameTemplate | None,
        names_taken: NamesTaken,
        follower: Follower | None = None,
        may_be_renewed: bool = False,
    ) -> None:
        self._bookkeeper = bookkeeper
        self._journal = bookkeeper.journal
        self._run = run
        self._template = template
        self._names_taken = names_taken
        self._follower = follower
        self._stages: list[Collection[ItemState]] = [
            # What the last process left in the middle of a send was found UNCERTAIN when the journal was opened.
            (ItemState.UNCERTAIN,),
            (ItemState.SUBMITTED, ItemState.FETCHING),
            *([_LEFT] if follower is None else ((ItemState.REJECTED,), *ALL_WAITING)),
        ]
        self._may_be_renewed = may_be_renewed and follower is None
        """Whether what is signed waits for the input's end."""
        self._has_input_ended = False
        """Whether what waited for it is looked for: what is queued may be in this run's hands then."""
        self._cursor = Cursor()
        self._found_uncertain: dict[str, int] = {}
        """What was taken up in the first stage, and its version as far as it is known here: a webhook or a person may
        move it into a later one."""
        self._page: list[Item] = []
        self._requests = pulled(requests)
        self._opened_at = bookkeeper.clock()

    async def next(self) -> Taken | Admission | None:
        """The next item to work on or to report, or the admission of the next request; None at the end."""
        while True:
            if self._follower is not None:
                adopted = await self._adopted(self._follower)
                if adopted is not None:
                    return Taken(adopted)
            if self._page:
                return Taken(await self._as_it_is_now(self._page.pop()))
            if self._stages:
                if not await self._turn_page(self._stages[0]):
                    self._stages.pop(0)
                    self._cursor = Cursor()
                continue
            async for request in self._requests:
                return self._begin(request)
            if self._may_be_renewed:
                self._may_be_renewed, self._has_input_ended = False, True
                self._stages = [_LEFT]
                continue
            if self._follower is None:
                return None
            self._stages = await self._follower.next_stages()

    def withdraw(self, key: str) -> Item | None:
        """Take an item off the page: it is in nobody's hands then. None if it is not there."""
        found = next((item for item in self._page if item.key == key), None)
        if found is not None:
            self._page.remove(found)
        return found

    def has_on_page(self, key: str) -> bool:
        """Whether an item is on the page."""
        return any(item.key == key for item in self._page)

    def put_back(self, item: Item) -> None:
        """Give an item out next that was withdrawn."""
        self._page.append(item)

    async def _adopted(self, follower: Follower) -> Item | None:
        """An item that is to be taken up as it is; None once what comes next may be."""
        while True:
            await follower.wait_for_vendor()
            adopted = await follower.next_adopted()
            if adopted is not None and not self._is_at_hand(adopted):
                return adopted
            if self._is_next_paid_for or not await follower.holds_back():
                return None

    @property
    def _is_next_paid_for(self) -> bool:
        """Whether what comes next is at the vendor already."""
        if self._page:
            return self._page[-1].state is not ItemState.QUEUED
        return bool(self._stages) and self._stages[0] not in (*ALL_WAITING, FRESH)

    async def _as_it_is_now(self, item: Item) -> Item:
        """An item from a page. Nobody but this run changes it, unless it is UNCERTAIN: somebody may have settled it."""
        if item.state is not ItemState.UNCERTAIN:
            return item
        now = await self._journal.do(lambda store: store.get(item.key)) or item
        self._found_uncertain[now.key] = now.version
        return now

    def _is_at_hand(self, item: Item) -> bool:
        """Whether an item is on the page, which gives it out as it is then, or was given out from there just so."""
        is_on_page = any(other.key == item.key for other in self._page)
        return is_on_page or self._found_uncertain.get(item.key) == item.version

    def _begin(self, request: ExportRequest) -> Admission:
        if not isinstance(request, ExportRequest):
            raise ConfigurationError(f"A batch takes ExportRequest values, not {type(request).__name__}.")
        take = self._journal.begin(lambda store: self._take(store, request), then=self._note_admitted)
        return Admission(request, take)

    def _note_admitted(self, answer: tuple[Item | None, Item, Item | None]) -> None:
        before, item, taken = answer
        self._note(before, taken or item)

    def _note(self, before: Item | None, after: Item) -> None:
        """Count an item that was taken in, or that is to be submitted after all."""
        if before is None:
            self._bookkeeper.note_new(after)
        elif before.state is not after.state:
            self._bookkeeper.note_change(before, after)

    async def admitted(self, admission: Admission) -> Taken | Conflict | None:
        """What came of an admission; None where this run has taken it up before.

        A known key is not new: its outcome is reported again, once a run.

        Raises:
            JournalError: The journal could not take it in.
        """
        request = admission.request
        before, item, taken = await admission.pending.outcome()
        if before is not None and item.request.fingerprint != request.fingerprint:
            return Conflict(request, key_conflict(item.request, request))
        return None if taken is None else Taken(taken, request)

    async def admit_all(
        self,
        on_conflict: Callable[[Conflict], None] | None = None,
        on_repeat: Callable[[ExportRequest], None] | None = None,
    ) -> int:
        """Take all requests in without taking any up, many in one transaction. Returns how many were new.

        Args:
            on_conflict: Told of each request whose key stands for another video, which is left out; None: it is raised.
            on_repeat: Told of each request that stands for the same video as an earlier one of these.

        Raises:
            InvalidRequestError: A key stands for another video.
        """
        added = 0
        group: list[ExportRequest] = []
        async for request in self._requests:
            group.append(request)
            if len(group) == PAGE_ITEMS:
                added += await self._admit_group(group, on_conflict, on_repeat)
                group = []
        return added + await self._admit_group(group, on_conflict, on_repeat)

    async def _admit_group(
        self,
        group: list[ExportRequest],
        on_conflict: Callable[[Conflict], None] | None,
        on_repeat: Callable[[ExportRequest], None] | None,
    ) -> int:
        tried: list[tuple[Item | None, Item]] = []

        def admit(store: JournalStore) -> list[tuple[Item | None, Item]]:
            tried[:] = [self._admit(store, request, run=0) for request in group]
            return tried

        def find_out() -> None:
            for before, item in tried:
                if before is not item:
                    has_come = partial(_has_come, before=before, item=item)
                    self._bookkeeper.ask_later(has_come, partial(self._note, before, item))

        with self._bookkeeper.changing():
            # Counted in their turn, before a run that finds them in the journal counts them on; all of them are, also
            # those behind a conflict.
            rows = await self._journal.begin(admit, then=self._note_all, otherwise=find_out).outcome()
        for request, (before, item) in zip(group, rows, strict=True):
            if item.request.fingerprint == request.fingerprint:
                is_news = before is None or (before.queued_at or 0.0) < self._opened_at
                if on_repeat is not None and not is_news:
                    on_repeat(request)
            else:
                error = key_conflict(item.request, request)
                if on_conflict is None:
                    raise error
                on_conflict(Conflict(request, error))
        return sum(before is None for before, _ in rows)

    def _note_all(self, rows: list[tuple[Item | None, Item]]) -> None:
        for before, item in rows:
            self._note(before, item)

    def _take(self, store: JournalStore, request: ExportRequest) -> tuple[Item | None, Item, Item | None]:
        """Admit a request; last, the item as this run takes it up, None where it did before or it is another video."""
        before, item = self._admit(store, request, run=self._run)
        if before is None:
            return None, item, item
        if item.run == self._run or item.request.fingerprint != request.fingerprint:
            return before, item, None
        if is_waiting(item):
            taken = self._taken_up(item)
        else:
            taken = attrs.evolve(item, run=self._run, version=item.version + 1)
        store.put(taken)
        return before, item, taken

    def _taken_up(self, item: Item) -> Item:
        """An item that an earlier run left, as this one takes it up."""
        if item.state is ItemState.REJECTED:
            return advance(item, Reconsidered(self._run))
        return advance(item, Restarted(self._run, self._bookkeeper.clock()))

    def _admit(self, store: JournalStore, request: ExportRequest, *, run: int) -> tuple[Item | None, Item]:
        """The item of a request as the journal knew it, and as it is from now on."""
        known = find_known(store, request)
        if known is not None:
            return known, self._given_again(store, known, request, run=run)
        target = None
        if self._template is not None:
            free = (
                name
                for name in self._template.candidates(request)
                if name not in self._names_taken and not store.has_target(name)
            )
            target = next(free)
        now = self._bookkeeper.clock()
        item = Item(key=request.key, request=request, target=target, queued_at=now, run=run)
        store.add(item)
        return None, item

    def _given_again(self, store: JournalStore, item: Item, request: ExportRequest, *, run: int) -> Item:
        """A known item, with what is news about it; queued again where a passing reason kept it from being submitted.

        An item that this run has in hand may be among them: its version stays, so that nothing of it is lost.
        """
        if item.request.fingerprint != request.fingerprint:
            return item
        news = renewed(item, request)
        if news is not None:
            item = attrs.evolve(item, request=news)
            store.renew(item)
        if not run and item.state is ItemState.REJECTED and is_waiting(item):
            item = advance(item, Reconsidered())
            store.put(item)
        return item

    async def _turn_page(self, states: Collection[ItemState]) -> bool:
        """Take the next page up, durably: a request for one of its keys must find it taken. False at the end."""
        if self._follower is not None and states == FRESH:
            # What has come in since may go before the rest, and what is taken up already is known by its run.
            self._cursor = Cursor()
        self._cursor, taken = await self._journal.do(lambda store: self._take_up(store, states, self._cursor))
        for before, after in taken:
            self._bookkeeper.note_change(before, after)
        self._found_uncertain |= {after.key: after.version for _, after in taken if after.state is ItemState.UNCERTAIN}
        self._page = [after for _, after in reversed(taken)]
        return bool(taken)

    def _take_up(
        self, store: JournalStore, states: Collection[ItemState], cursor: Cursor
    ) -> tuple[Cursor, list[tuple[Item, Item]]]:
        while rows := store.page(states, cursor, PAGE_ITEMS):
            cursor = rows[-1][0]
            taken: list[tuple[Item, Item]] = []
            for _, item in rows:
                if self._was_given_out(item) or not self._is_anew(item):
                    continue
                if item.state is not ItemState.UNCERTAIN:
                    after = self._taken_up(item)
                    store.put(after)
                    taken.append((item, after))
                elif item.run == self._run:
                    # Found in the middle of a send when the journal was opened. Older ones were reported before.
                    taken.append((item, item))
            if taken:
                return cursor, taken
        return cursor, []

    def _was_given_out(self, item: Item) -> bool:
        """Whether an item that was found UNCERTAIN is in somebody's hands, or has been reported.

        It is not once it is SKIPPED and waits to be tried again, or was REJECTED and queued again for no run.
        """
        is_tried_again = self._follower is not None and item.state is ItemState.SKIPPED
        return item.key in self._found_uncertain and item.run == self._run and not is_tried_again

    def _is_anew(self, item: Item) -> bool:
        """Whether a run that looks again and again may take an item up: it is in nobody's hands, and worth a try."""
        if item.state is ItemState.REJECTED and not (is_waiting(item) and has_whole_url(item)):
            return False
        if self._may_be_renewed and is_waiting(item) and is_signed(item.request.video_url):
            return False
        if item.run != self._run:
            return True
        if self._follower is None:
            return not self._has_input_ended
        if item.state is ItemState.SKIPPED:
            return item.problem is None or item.problem.kind != BudgetExceededError.__name__
        # Taken up, it stays QUEUED until its intent.
        return item.state is not ItemState.QUEUED


def find_known(store: JournalStore, request: ExportRequest) -> Item | None:
    """The item of a request, also where an earlier version took it in under the key of its spelling."""
    known = store.get(request.key)
    if known is None and request.former_key is not None:
        return store.get(request.former_key)
    return known


def _has_come(store: JournalStore, before: Item | None, item: Item) -> bool:
    """Whether this very change is in the journal, and not a later admission of the same key."""
    found = store.get(item.key)
    if found is None or before is not None:
        return found is not None and found.version >= item.version
    return found.queued_at == item.queued_at


def key_conflict(known: ExportRequest, request: ExportRequest) -> InvalidRequestError:
    """Why a request is not taken in whose key stands for another video."""
    key = f"The key {ascii(request.key)[:80]}{row_text(request.metadata)}"
    other = f"another video in this journal{row_text(known.metadata)}"
    return InvalidRequestError([f"{key} stands for {other}. Give each video its own key."])


def pulled(requests: Requests) -> AsyncIterator[ExportRequest]:
    """Any input as an async iterator, pulled one at a time.

    Raises:
        ConfigurationError: It can't be iterated over.
    """
    if isinstance(requests, str) or not isinstance(requests, (Iterable, AsyncIterable)):
        raise ConfigurationError(
            f"The videos must be an iterable of ExportRequest, sync or async, not {type(requests).__name__}."
        )
    if isinstance(requests, AsyncIterable):
        return aiter(requests)
    return _Pulled(iter(requests))


@attrs.define
class _Pulled(AsyncIterator[ExportRequest]):
    """A plain iterator, pulled one at a time."""

    _iterator: Iterator[ExportRequest]

    async def __anext__(self) -> ExportRequest:
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None
