"""The protocol of a journal's store, with its values and errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

from hitpaw_async.errors import JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from hitpaw_async._core.itemstate import Item

__all__ = [
    "PAGE_ITEMS",
    "WAITING",
    "Books",
    "Cursor",
    "HeldStore",
    "IntentRefusedError",
    "JobIdTakenError",
    "JournalFullError",
    "JournalStore",
    "RowChangedError",
]

PAGE_ITEMS: Final = 256
"""Items that are read at a time, where all of them are wanted."""

WAITING: Final = (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED)
"""States of items that are yet to be submitted: a run takes them up."""


class JobIdTakenError(JournalError):
    """The job id stands at another item already; it is never bound twice."""


class JournalFullError(JournalError):
    """The disk is full, or no file handle is left."""


class RowChangedError(JournalError):
    """Another program has changed an item's row, and what was to be written doesn't fit it any more."""


class IntentRefusedError(JournalError):
    """An intent is not written, so nothing is sent: the disk is full, or no file handle is left.

    The answers to what was sent are written all the same, in the same group.
    """


@attrs.frozen(kw_only=True)
class Books:
    """What a journal adds up to."""

    counts: Mapping[ItemState, int]
    spent_credits: int = 0
    reserved_credits: int = 0

    def count(self, *states: ItemState) -> int:
        """How many items are in one of these states."""
        return sum(self.counts.get(state, 0) for state in states)


@attrs.frozen
class Cursor:
    """A place in the order in which items are taken up: higher priority first, then older first."""

    priority: float = math.inf
    sequence: int = -1


class JournalStore(Protocol):
    """Where items are kept. Every method is synchronous; a change counts once its transaction has ended."""

    is_blocking: bool
    """Whether it touches a disk, so that it belongs in a thread."""

    def transaction(self) -> AbstractContextManager[None]:
        """All changes inside become durable together, or none does."""
        ...

    def add(self, item: Item) -> None:
        """Keep a new item.

        Raises:
            JournalError: Its key or its target is there already.
        """
        ...

    def get(self, key: str) -> Item | None:
        """The item of a key."""
        ...

    def put(self, item: Item) -> None:
        """Replace an item by a newer version of it; an older version changes nothing.

        Raises:
            JobIdTakenError: Its job id stands at another item.
        """
        ...

    def renew(self, item: Item) -> None:
        """Keep an item's request anew, and nothing else of it: its version stays."""
        ...

    def keys(self, prefix: str, limit: int) -> list[str]:
        """Keys that begin so, in their order; no more than `limit`."""
        ...

    def has_target(self, name: str) -> bool:
        """Whether an item has this file name, in any case."""
        ...

    def find_job(self, job_id: str) -> Item | None:
        """The item of a job id."""
        ...

    def find_hook(self, digest: str) -> Item | None:
        """The item whose last attempt has this webhook digest."""
        ...

    def page(self, states: Collection[ItemState], after: Cursor, limit: int) -> list[tuple[Cursor, Item]]:
        """The next items in one of these states, in the order of `Cursor`."""
        ...

    def books(self) -> Books:
        """Counts and sums over all items."""
        ...

    def setting(self, name: str) -> str | None:
        """A text kept beside the items."""
        ...

    def set_setting(self, name: str, value: str) -> None:
        """Keep a text beside the items."""
        ...

    def make_room(self) -> bool:
        """After a `JournalFullError`: free what was set aside for this. False where there is nothing (any more).

        Once the space is freed, no intent is taken: what is left of the disk is for what has been paid for.
        """
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


@runtime_checkable
class HeldStore(Protocol):
    """A store that another program may hold, so that a transaction has to wait."""

    def hurry(self, grace_s: float) -> None:
        """From now on, wait `grace_s` for whoever holds it: the batch is to stop. For any thread."""
        ...
