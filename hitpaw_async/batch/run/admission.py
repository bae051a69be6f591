"""Admission of a request into the journal: by which key it is known, and which video that key stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.itemstate import Item
from hitpaw_async._format import row_text
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ExportRequest

if TYPE_CHECKING:
    from hitpaw_async.batch.journal.group_commit import Pending
    from hitpaw_async.batch.journal.store import JournalStore

__all__ = ["Admission", "Conflict", "Taken", "find_known", "has_come", "key_conflict"]


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


def find_known(store: JournalStore, request: ExportRequest) -> Item | None:
    """The item of a request, also where an earlier version took it in under the key of its spelling."""
    known = store.get(request.key)
    if known is None and request.former_key is not None:
        return store.get(request.former_key)
    return known


def has_come(store: JournalStore, before: Item | None, item: Item) -> bool:
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
