"""A journal's items, listed page by page, and those that wait, cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.cancelling import IN_HAND, cancel
from hitpaw_async.batch.journal.store import Cursor
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ItemState, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from hitpaw_async._core.itemstate import Event, Item
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.run.follow import Following
    from hitpaw_async.batch.run.run import Run

__all__ = ["PAGE_MAX", "ItemsPage", "cancelled", "page_of"]

PAGE_MAX = 1000
"""Items on one page."""


@attrs.frozen(kw_only=True)
class ItemsPage:
    """Some items of a journal, by priority and then by age."""

    outcomes: tuple[Outcome, ...]
    """How each stands, whatever its state."""
    after: str | None
    """Give it as `after` for the next page; None: this is the last one."""


async def page_of(
    bookkeeper: Bookkeeper, states: Collection[ItemState | str], *, after: str | None, limit: int
) -> ItemsPage:
    """The next page of the items in one of these states; of all, if none is named.

    Raises:
        InvalidRequestError: A state is unknown, `after` is not from a page, or `limit` is not from 1 to 1000.
    """
    wanted = tuple(map(ItemState, _known(states))) if states else tuple(ItemState)
    if type(limit) is not int or not 1 <= limit <= PAGE_MAX:
        raise InvalidRequestError([f"limit must be a whole number from 1 to {PAGE_MAX}."])
    cursor = _cursor(after)
    rows = await bookkeeper.journal.do(lambda store: store.page(wanted, cursor, limit + 1))
    last = rows[limit - 1][0] if len(rows) > limit else None
    return ItemsPage(
        outcomes=tuple(outcome_of(item) for _, item in rows[:limit]),
        after=None if last is None else f"{last.priority:.0f}:{last.sequence}",
    )


def _known(states: Collection[ItemState | str]) -> Collection[ItemState | str]:
    unknown = [state for state in states if state not in {*ItemState}]
    if unknown:
        raise InvalidRequestError([f"A state is one of {', '.join(ItemState)}, not {ascii(unknown[0])[:60]}."])
    return states


def _cursor(after: str | None) -> Cursor:
    if after is None:
        return Cursor()
    priority, _, sequence = after[:60].partition(":")
    try:
        return Cursor(int(priority), int(sequence))
    except ValueError:
        raise InvalidRequestError(["after must be what the page before gave as its `after`."]) from None


async def cancelled(
    bookkeeper: Bookkeeper, key: str, *, run: Run | None, following: Following | None, run_number: int
) -> Item:
    """Cancel an item that waits, durably: it is REJECTED, and nothing was sent.

    An item that no run has taken up stands in the journal alone, whose transactions decide. One that waits on a run's
    page is taken off it first. One that a run works on is not cancelled: its export may leave at any moment.

    Args:
        bookkeeper: The journal and the ledger.
        key: The item's key.
        run: The run that works on the journal, if one does.
        following: What that run waits for, if it has no end.
        run_number: Its number: an item that waits and has it is in its hands.

    Raises:
        InvalidRequestError: There is no such key, or it can't be cancelled.
        JournalError: It could not be written down.
    """
    while True:
        withdrawn = None if run is None else run.withdraw(key)
        adopted = None if following is None or withdrawn is not None else following.withdraw(key)
        is_free = run is None or withdrawn is not None or adopted is not None
        found: tuple[Item, Item] | str | None = None

        def choose(item: Item, *, is_free: bool = is_free) -> tuple[Item, Event] | str:
            event = cancel(item, is_in_hand=not is_free and item.run == run_number, at=bookkeeper.clock())
            return event if isinstance(event, str) else (item, event)

        try:
            if await bookkeeper.journal.do(lambda store: store.get(key)) is None:
                raise InvalidRequestError([f"The journal has no item with the key {ascii(key)[:80]}."])
            found = await bookkeeper.look_again(key, choose)
        finally:
            if not isinstance(found, tuple):
                if run is not None and withdrawn is not None:
                    run.put_back(withdrawn)
                if following is not None and adopted is not None:
                    following.adopt(adopted)
        if isinstance(found, tuple):
            return found[1]
        if found == IN_HAND and run is not None and run.has_on_page(key):
            continue  # it was taken up while it was asked for
        raise InvalidRequestError([f"The item {ascii(key)[:80]} can't be cancelled. {found}"])
