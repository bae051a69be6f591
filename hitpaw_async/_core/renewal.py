"""A known item that is given again, or that a person looks at again: what of it is news, and what happens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

import attrs

from hitpaw_async._core.itemstate import AskedAgain, Reconsidered, Resubmitted, may_pass
from hitpaw_async._core.pricing import estimate
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.models import ExportRequest

__all__ = ["has_whole_url", "is_waiting", "look_again", "renewed"]

_WAITING: Final = (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED)


def is_waiting(item: Item) -> bool:
    """Tell if a run may submit the item by itself: it waits, or the reason of its refusal may be gone."""
    return item.state in _WAITING or (item.state is ItemState.REJECTED and may_pass(item.problem))


def has_whole_url(item: Item) -> bool:
    """Tell if the journal still has the source's whole URL: a query is dropped once it is not needed."""
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
    is_the_same = made == item.request and made.metadata == item.request.metadata
    return None if is_the_same else made


def look_again(item: Item, *, pays: bool, has_file: bool) -> AskedAgain | Reconsidered | Resubmitted | str:
    """Choose the event for an item that a person wants retried; or say in a sentence why there is none.

    Args:
        item: The item.
        pays: True if that person accepts to pay again.
        has_file: True if its result is on disk.
    """
    match item.state:
        case ItemState.QUEUED | ItemState.RESERVED | ItemState.SKIPPED:
            why_not = "It waits to be submitted: the next run does it."
        case ItemState.SUBMITTING | ItemState.SUBMITTED | ItemState.FETCHING:
            why_not = "It is under way: the next run goes on with it."
        case ItemState.REJECTED:
            return Reconsidered() if has_whole_url(item) else _URL_FORGOTTEN
        case ItemState.FAILED | ItemState.UNCERTAIN if pays:
            return Resubmitted() if has_whole_url(item) else _URL_FORGOTTEN
        case ItemState.UNCERTAIN:
            why_not = "It may have been accepted, and has no job to ask for. Settle it first: `hitpaw reconcile`."
        case ItemState.FAILED if item.job_id is None:
            why_not = "It was given up without a job: there is nothing to ask for. Only paying again brings it back."
        case ItemState.DONE if has_file:
            why_not = "It is done, and its result is there."
        case ItemState.DONE if item.target is None:
            why_not = "It is done, and its result was not to be downloaded."
        case ItemState.FAILED | ItemState.DONE:
            return AskedAgain(estimate(item.request).upper)
        case _ as unreachable:
            assert_never(unreachable)
    return why_not


_URL_FORGOTTEN: Final = (
    "Its URL had a query, perhaps a signature, which the journal keeps no longer. Give the URL again as a whole "
    "(video_url, --video-url)."
)
