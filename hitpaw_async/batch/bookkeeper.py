"""Every change of an item goes through here: the table allows it, the journal keeps it, the ledger follows.

The ledger follows only after the change is durable. So what a crash leaves behind is never more generous than what the
running batch believed: money that was given back on paper is never lent out again before the paper is dry.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.jobstate import (
    Accepted,
    Bound,
    Event,
    GaveUp,
    Item,
    Refused,
    ReplyLost,
    Reserved,
    Resubmitted,
    Skipped,
    VendorFailed,
    advance,
)
from hitpaw_async._core.ledger import Ledger
from hitpaw_async.batch.events import BatchEvent, EventKind
from hitpaw_async.batch.journal import JobIdTakenError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hitpaw_async.batch.journal import Books, Journal, JournalStore

__all__ = ["BatchStatistics", "Bookkeeper", "follow"]

_LOG = logging.getLogger("hitpaw_async")


@attrs.frozen(kw_only=True)
class BatchStatistics:
    """Where a batch stands, over all runs of its journal."""

    done: int = 0
    failed: int = 0
    rejected: int = 0
    skipped: int = 0
    uncertain: int = 0
    unfinished: int = 0
    """Everything else: queued, being submitted, at the vendor, being downloaded."""
    credits_spent: int = 0
    credits_reserved: int = 0
    credits_left: int | None = None
    """What the budget still has; None without a budget."""
    polls: int = 0
    """Task calls of this run."""

    @property
    def total(self) -> int:
        """All items."""
        return self.done + self.failed + self.rejected + self.skipped + self.uncertain + self.unfinished


def follow(ledger: Ledger, before: Item, event: Event, after: Item) -> None:
    """Let the ledger follow a change that is durable."""
    match event:
        case Accepted():
            ledger.settle(before.key, after.charged_credits)
        case ReplyLost():
            ledger.hold(before.key)
        case Refused() | Skipped():
            if before.reserved_credits or before.state is not ItemState.QUEUED:
                ledger.release(before.key)
        case VendorFailed():
            ledger.refund(before.charged_credits - after.charged_credits)
        case Bound() | GaveUp() | Resubmitted():
            ledger.settle_held(before.reserved_credits, before.reserved_credits)
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


class Bookkeeper:
    """The journal and the ledger of one batch, kept in step.

    Args:
        journal: Where every change becomes durable.
        ledger: The books of the budget.
        books: What the journal added up to when it was opened.
        clock: Seconds since the epoch.
        on_event: Told of every change.
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
        self._on_event = on_event
        self.is_in_doubt = False
        """Whether a change may be in the journal that the ledger hasn't followed. The next `reopen` sets that right."""
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

    async def settle(self, key: str, event: Event) -> tuple[Item | None, Item | None]:
        """Make a change of an UNCERTAIN item durable, looked up in the same transaction.

        A webhook and a person may settle the same item at the same moment: the first one does, the other one is told.

        Returns:
            The item before and after. After is None where it was not UNCERTAIN, both are where there is no such item.

        Raises:
            JobIdTakenError: The job id stands at another item.
            JournalError: It could not be written: whether it happened is unknown.
        """
        with self.changing():
            before, after = await self.journal.do(lambda store: _settle(store, key, event))
            if before is not None and after is not None:
                if not self.is_in_doubt:
                    # Otherwise the ledger may not know of the item's hold; the next run reads the journal's books.
                    follow(self.ledger, before, event, after)
                self._note(before.state, after)
        return before, after

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
        self.ledger = Ledger(
            budget=self.ledger.budget,
            spent=books.spent_credits,
            reserved=books.reserved_credits,
            held=books.reserved_credits,
        )
        self._counts = {state: books.count(state) for state in ItemState}
        self.is_in_doubt = False
        return run

    def reserve(self, item: Item, credits_upper: int) -> Item | None:
        """Set the worst case aside, in memory: a crash before the intent leaves it QUEUED. None: it doesn't fit."""
        if not self.ledger.reserve(item.key, credits_upper):
            return None
        after = advance(item, Reserved(credits_upper))
        self._note(item.state, after)
        return after

    def note_new(self, item: Item) -> None:
        """Count an item that the journal has just taken in."""
        self._note(None, item)

    def note_change(self, before: Item, after: Item) -> None:
        """Count a change that moved no money and is durable already."""
        self._note(before.state, after)

    def emit(self, kind: EventKind, item: Item | None = None, **fields: object) -> None:
        """Tell the listener of something that changed no state."""
        if self._on_event is None:
            return
        about = {} if item is None else {"key": item.key, "state": item.state, "label": item.target}
        event = BatchEvent(
            kind=kind,
            at=self.clock(),
            spent_credits=self.ledger.spent,
            reserved_credits=self.ledger.reserved,
            **about,  # type: ignore[arg-type]
            **fields,  # type: ignore[arg-type]
        )
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 (it is not ours)
            # Somebody's display must not decide over somebody's money.
            _LOG.exception("The listener to this batch's events failed.")

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

    def _note(self, before: ItemState | None, after: Item) -> None:
        if before is not None:
            self._counts[before] -= 1
        self._counts[after.state] += 1
        self.emit(EventKind.STATE, after)
