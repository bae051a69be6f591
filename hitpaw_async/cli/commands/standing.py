"""Where a batch stands, read from its journal alone, even while it runs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import PAGE_ITEMS, WAITING, Cursor
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.batch.journal.store import Books

__all__ = ["read_books", "statistics_of", "waiting_keys"]


def read_books(journal: Path) -> Books:
    """What a journal adds up to, even while a batch runs on it.

    Raises:
        JournalError: It can't be read.
    """
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        return store.books()


def waiting_keys(journal: Path | None) -> frozenset[str]:
    """The keys of a journal's items that are yet to be submitted; none without a journal.

    Raises:
        JournalError: It can't be read.
    """
    if journal is None:
        return frozenset()
    keys: set[str] = set()
    cursor = Cursor()
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        while rows := store.page(WAITING, cursor, PAGE_ITEMS):
            keys.update(item.key for _, item in rows)
            cursor = rows[-1][0]
    return frozenset(keys)


def statistics_of(books: Books, budget: int | None) -> BatchStatistics:
    """Counts and sums of a journal as a batch's statistics."""
    named = {name: books.count(ItemState(name)) for name in ("done", "failed", "rejected", "skipped", "uncertain")}
    held = books.spent_credits + books.reserved_credits
    return BatchStatistics(
        **named,
        unfinished=sum(books.counts.values()) - sum(named.values()),
        credits_spent=books.spent_credits,
        credits_reserved=books.reserved_credits,
        credits_left=None if budget is None else max(0, budget - held),
    )
