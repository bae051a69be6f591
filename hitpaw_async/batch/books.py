"""Every change of an item goes through here: the table allows it, the journal keeps it, the ledger follows.

The ledger follows only after the change is durable. So what a crash leaves behind is never more generous than what the
running batch believed: money that was given back on paper is never lent out again before the paper is dry.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hitpaw_async._core.itemstate import (
    Accepted,
    AskedAgain,
    Bound,
    Cancelled,
    Event,
    GaveUp,
    Item,
    Refused,
    ReplyLost,
    Reserved,
    Resubmitted,
    Saved,
    Skipped,
    VendorFailed,
    advance,
)
from hitpaw_async._redact import redact_url
from hitpaw_async.batch.events.event import BatchEvent, EventKind
from hitpaw_async.batch.events.hub import EventHub
from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.batch.journal.store import JobIdTakenError
from hitpaw_async.errors import JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hitpaw_async._core.ledger import Ledger
    from hitpaw_async.batch.events.hub import EventStream
    from hitpaw_async.batch.journal.group_commit import Journal
    from hitpaw_async.batch.journal.store import Books, JournalStore
    from hitpaw_async.models import Outcome

__all__ = ["Bookkeeper", "follow"]

_KINDS: Final = {
    ItemState.QUEUED: EventKind.QUEUED,
    ItemState.RESERVED: EventKind.RESERVED,
    ItemState.SUBMITTING: EventKind.SUBMITTING,
    ItemState.SUBMITTED: EventKind.SUBMITTED,
    ItemState.UNCERTAIN: EventKind.UNCERTAIN,
    ItemState.FETCHING: EventKind.DOWNLOADING,
}
"""How a change into a state is told. The end of an item is told with its outcome, by `tell_finished`."""


def _label_of(item: Item) -> str | None:
    """What to call an item on a screen: its result's file name, else its source's."""
    return item.target or _source_name(item.request.video_url)


def _source_name(url: str) -> str | None:
    path, _, _ = redact_url(url).partition("?")
    return path.rpartition("/")[2] or None


def follow(ledger: Ledger, before: Item, event: Event, after: Item) -> None:
    """Let the ledger follow a change that is durable."""
    match event:
        case Accepted():
            ledger.settle(before.key, after.charged_credits)
        case ReplyLost():
            ledger.hold(before.key)
        case Refused() | Skipped():
            ledger.forget(before.key)
            if before.reserved_credits or before.state is not ItemState.QUEUED:
                ledger.release(before.key)
        case Cancelled():
            ledger.forget(before.key)
        case VendorFailed() | Saved():
            ledger.refund(before.charged_credits - after.charged_credits)
        case Bound() | GaveUp() | Resubmitted():
            ledger.settle_held(before.reserved_credits, before.reserved_credits)
        case AskedAgain():
            ledger.charge(after.charged_credits - before.charged_credits)
        case _:
            # The others move no money: Reserved was entered when it was asked for.
            pass


def _settle(store: JournalStore, key: str, event: Event) -> tuple[Item | None, Item | None]:
    item = store.get(key)
    if item is None or item.state is not ItemState.UNCERTAIN:
        return item, None
    after = advance(item, event)
    store.put(after)
    return item, after


def _has_become(store: JournalStore, after: Item) -> bool:
    """Whether a change of an item is in the journal, or one that came after it."""
    item = store.get(after.key)
    return item is not None and item.version >= after.version


def _change(store: JournalStore, key: str, event: Event) -> tuple[Item, Item]:
    item = store.get(key)
    assert item is not None, f"{key!r} is in flight and not in the journal"
    after = advance(item, event)
    store.put(after)
    return item, after


def _look_again(
    store: JournalStore, key: str, choose: Callable[[Item], tuple[Item, Event] | str]
) -> tuple[Item, Event, Item] | str:
    before = store.get(key)
    assert before is not None, f"{key!r} was in the journal, and is no more"
    chosen = choose(before)
    if isinstance(chosen, str):
        return chosen
    item, event = chosen
    after = advance(item, event)
    store.put(after)
    if item.request != before.request:
        store.renew(after)
    return before, event, after


class Bookkeeper:
    """The journal and the ledger of one batch, kept in step.

    Args:
        journal: Where every change becomes durable.
        ledger: The books of the budget.
        books: What the journal added up to when it was opened.
        clock: Seconds since the epoch.
        on_event: Told of every event.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        books: Books,
        *,
        clock: Callable[[], float],
        on_event: Callable[[BatchEvent], None] | None,
    ) -> None:
        self.journal = journal
        self.ledger = ledger
        self.clock = clock
        self._counts = {state: books.count(state) for state in ItemState}
        self._told_books = ledger.spent, ledger.reserved
        self.events = EventHub(on_event)
        self.is_in_doubt = False
        """Whether a change may be in the journal that the ledger hasn't followed. The next `reopen` sets that right."""
        self.on_settled_late: Callable[[Item], None] = lambda _: None
        """Told of an item that was settled by a change that had failed, as far as its caller knew."""
        self._changes_begun = 0
        self._changes_ended = 0

    async def record(self, item: Item, event: Event) -> Item:
        """Make a change durable, and let the ledger and the listeners follow.

        Raises:
            JobIdTakenError: The job id stands at another item.
            JournalError: It could not be written: whether it happened is unknown.
        """
        after = advance(item, event)
        with self.changing():
            await self.journal.put(after)
            follow(self.ledger, item, event, after)
            self._note(item.state, after)
        return after

    async def change(self, key: str, event: Event) -> Item:
        """As `record`, for who doesn't hold the item: it is looked up in the same transaction.

        Raises:
            JournalError: It could not be written: whether it happened is unknown.
        """
        with self.changing():
            before, after = await self.journal.do(lambda store: _change(store, key, event))
            follow(self.ledger, before, event, after)
            self._note(before.state, after)
        return after

    async def settle(self, key: str, event: Event) -> tuple[Item | None, Item | None]:
        """Make a change of an UNCERTAIN item durable, looked up in the same transaction.

        A webhook and a person may settle the same item at the same moment: the first one does, the other one is told.

        Returns:
            The item before and after. After is None where it was not UNCERTAIN, both are where there is no such item.

        Raises:
            JobIdTakenError: The job id stands at another item.
            JournalError: It could not be written: whether it happened is unknown.
        """
        tried: list[tuple[Item | None, Item | None]] = []

        def settle(store: JournalStore) -> tuple[Item | None, Item | None]:
            tried[:] = [_settle(store, key, event)]
            return tried[0]

        def note(changed: tuple[Item | None, Item | None]) -> None:
            before, after = changed
            if before is not None and after is not None:
                if not self.is_in_doubt:
                    # Otherwise the ledger may not know of the item's hold; the next run reads the journal's books.
                    follow(self.ledger, before, event, after)
                self._note(before.state, after)

        def note_late(after: Item) -> None:
            note(tried[0])
            self.on_settled_late(after)

        def find_out() -> None:
            for _, after in tried:
                if after is not None:
                    self.ask_later(partial(_has_become, after=after), partial(note_late, after))

        with self.changing():
            return await self.journal.begin(settle, then=note, otherwise=find_out).outcome()

    def ask_later(self, has_happened: Callable[[JournalStore], bool], note: Callable[[], None]) -> None:
        """After a transaction that failed: a COMMIT that raised may have happened. If it has, let follow what follows.

        Nobody waits for it: whoever asked for the change may be gone, and a run that follows the journal goes on.
        """
        with suppress(JournalError):  # the journal is closed: the next opening counts anew
            self.journal.begin(has_happened, then=lambda happened: note() if happened else None)

    async def look_again(self, key: str, choose: Callable[[Item], tuple[Item, Event] | str]) -> tuple[Item, Item] | str:
        """Make the change durable that `choose` finds for an item as it is now; or why there is none.

        Args:
            key: The item's key, which the journal has.
            choose: The item, perhaps with its request anew, and the event; or a sentence.

        Raises:
            JournalError: It could not be written: whether it happened is unknown.
        """
        with self.changing():
            found = await self.journal.do(lambda store: _look_again(store, key, choose))
            if not isinstance(found, str):
                before, event, after = found
                if not self.is_in_doubt:
                    follow(self.ledger, before, event, after)
                self._note(before.state, after)
                return before, after
        return found

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around a change of the journal and what follows it: `reopen` must not read the books in between."""
        self._changes_begun += 1
        try:
            yield
        except JobIdTakenError:
            raise
        except BaseException:
            # It may have happened, and nothing has followed.
            self.is_in_doubt = True
            raise
        finally:
            self._changes_ended += 1

    async def reopen(self, recover: Callable[[JournalStore], tuple[int, Books]]) -> int:
        """Go on from what the journal says, where a run may have ended in the middle of things.

        Args:
            recover: Takes up what was left in the middle; returns the number of this opening and the books.

        Returns:
            The number of this opening.
        """
        while True:
            begun = self._changes_begun
            was_quiet = begun == self._changes_ended
            run, books = await self.journal.do(recover)
            if was_quiet and begun == self._changes_begun:
                break
        self.ledger = self.ledger.reopened(spent=books.spent_credits, held=books.reserved_credits)
        self._counts = {state: books.count(state) for state in ItemState}
        self.is_in_doubt = False
        return run

    def reserve(self, item: Item, reserving: Reserved) -> Item | None:
        """Set the worst case aside, in memory: a crash before the intent leaves it QUEUED. None: it doesn't fit."""
        if not self.ledger.reserve(item.key, reserving.credits_upper):
            return None
        after = advance(item, reserving)
        self._note(item.state, after)
        return after

    def note_new(self, item: Item) -> None:
        """Count an item that the journal has just taken in."""
        self._note(None, item)

    def note_change(self, before: Item, after: Item) -> None:
        """Count a change that moved no money and is durable already."""
        self._note(before.state, after)

    def emit(self, kind: EventKind, item: Item | None = None, **fields: Any) -> None:
        """Tell those who listen of something that happened. Costs next to nothing where nobody does."""
        if not self.events.wants(kind):
            self.events.pass_over(kind, fields.get("key") if item is None else item.key)
            return
        if item is not None:
            fields = {"key": item.key, "state": item.state, "label": _label_of(item), "job_id": item.job_id, **fields}
        self.events.emit(self._event(kind, number=self.events.number + 1, **fields))

    def label(self, item: Item) -> str | None:
        """What to call an item on a screen."""
        return _label_of(item)

    def listen(
        self,
        statistics: BatchStatistics,
        under_way: Callable[[BatchEvent], Iterable[BatchEvent]] | None,
        *,
        buffer_max: int,
    ) -> EventStream:
        """A new reader's stream, which begins with where the batch stands.

        Args:
            statistics: Where it stands.
            under_way: Says of a snapshot how each item at the vendor stands; None where no run is under way.
            buffer_max: Events of passing interest that wait for this reader.
        """
        snapshot = self._event(EventKind.SNAPSHOT, number=self.events.number, statistics=statistics)
        return self.events.open(snapshot, () if under_way is None else under_way(snapshot), buffer_max=buffer_max)

    def tell_finished(self, outcome: Outcome) -> None:
        """Tell those who listen how an item ended."""
        if not self.events.wants(EventKind.FINISHED):
            self.events.pass_over(EventKind.FINISHED, outcome.key)
            return
        job_id = None if outcome.job is None else outcome.job.job_id
        label = outcome.path.name if outcome.path is not None else _source_name(outcome.request.video_url)
        self.emit(EventKind.FINISHED, key=outcome.key, label=label, state=outcome.state, job_id=job_id, outcome=outcome)

    def statistics(self, *, polls: int) -> BatchStatistics:
        """Where the batch stands."""
        named = (ItemState.DONE, ItemState.FAILED, ItemState.REJECTED, ItemState.SKIPPED, ItemState.UNCERTAIN)
        done, failed, rejected, skipped, uncertain = (self._counts[state] for state in named)
        return BatchStatistics(
            done=done,
            failed=failed,
            rejected=rejected,
            skipped=skipped,
            uncertain=uncertain,
            unfinished=sum(count for state, count in self._counts.items() if state not in named),
            credits_spent=self.ledger.spent,
            credits_reserved=self.ledger.reserved,
            credits_left=self.ledger.left,
            polls=polls,
        )

    def _event(self, kind: EventKind, **fields: Any) -> BatchEvent:
        """An event that happens now, with the books as they stand."""
        ledger = self.ledger
        return BatchEvent(
            kind=kind,
            at=self.clock(),
            spent_credits=ledger.spent,
            reserved_credits=ledger.reserved,
            left_credits=ledger.left,
            **fields,
        )

    def _note(self, before: ItemState | None, after: Item) -> None:
        if before is not None:
            self._counts[before] -= 1
        self._counts[after.state] += 1
        kind = _KINDS.get(after.state)
        is_told = before is after.state is ItemState.QUEUED  # it waits, as it did before a run took it up
        if kind is not None and not is_told:
            self.emit(kind, after)
        books = self.ledger.spent, self.ledger.reserved
        if books != self._told_books:
            self._told_books = books
            self.emit(EventKind.BUDGET)
