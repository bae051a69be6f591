"""A known item that is given again: what of its request is news, and whether it is looked at again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async._core.jobstate import may_pass
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from hitpaw_async._core.jobstate import Item
    from hitpaw_async.models import ExportRequest

__all__ = ["has_whole_url", "is_waiting", "renewed"]

_WAITING: Final = (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED)


def is_waiting(item: Item) -> bool:
    """Whether a run may submit the item by itself: it waits, or what it was refused for may have passed."""
    return item.state in _WAITING or (item.state is ItemState.REJECTED and may_pass(item.problem))


def has_whole_url(item: Item) -> bool:
    """Whether the journal still has all of the source's URL: a query is forgotten once it is needed no more."""
    return not item.request.video_url.endswith("?***")


def renewed(item: Item, given: ExportRequest) -> ExportRequest | None:
    """The request of a known item as it was given again; None where nothing of it is news.

    A fresh signature takes the place of the one before where the item waits, and so does what is known of the source.
    A person's own columns are always the last ones.
    """
    changes: dict[str, Any] = {}
    if is_waiting(item):
        changes = {"video_url": given.video_url, "web_hook_url": given.web_hook_url, "_identity": None}
        if given.facts is not None:
            changes["facts"] = given.facts
    if given.metadata:
        changes["metadata"] = given.metadata
    made = attrs.evolve(item.request, **changes)
    return None if made == item.request else made
