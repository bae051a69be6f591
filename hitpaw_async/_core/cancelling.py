"""Whether an item may be cancelled: only what certainly has not been submitted is. Pure.

A cancelled item is REJECTED, and not SKIPPED: a later run, and a service after a pause, take SKIPPED items up again.
"""

from __future__ import annotations

from typing import Final, assert_never

from hitpaw_async._core.itemstate import Cancelled, Item, Problem, may_pass
from hitpaw_async.models import ItemState

__all__ = ["IN_HAND", "cancel"]

IN_HAND: Final = "It is being submitted at the moment. Look at it again in a while."

_PROBLEM: Final = Problem("ItemCancelledError", "Cancelled before it was submitted: nothing was sent or charged.")


def cancel(item: Item, *, is_in_hand: bool, at: float) -> Cancelled | str:
    """The event that cancels an item; or why it can't be, as a sentence.

    Args:
        item: The item, as its journal has it.
        is_in_hand: Whether a run has it in hand: its export may leave at any moment.
        at: Seconds since the epoch.
    """
    match item.state:
        case ItemState.QUEUED | ItemState.RESERVED if is_in_hand:
            why_not = IN_HAND
        case ItemState.QUEUED | ItemState.RESERVED | ItemState.SKIPPED:
            return Cancelled(_PROBLEM, at)
        case ItemState.REJECTED if may_pass(item.problem):
            return Cancelled(_PROBLEM, at)
        case ItemState.SUBMITTING:
            why_not = "Its export is under way, and may be accepted."
        case ItemState.SUBMITTED | ItemState.FETCHING:
            why_not = "It is paid for: its job goes on, and its result is fetched."
        case ItemState.UNCERTAIN:
            why_not = "It may have been accepted and charged. Settle it: bind its job, or give it up."
        case ItemState.DONE | ItemState.FAILED | ItemState.REJECTED:
            why_not = "It has ended."
        case _ as unreachable:
            assert_never(unreachable)
    return why_not
