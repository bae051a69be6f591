"""Only what certainly has not been submitted is cancelled, and it stays so."""

from __future__ import annotations

import pytest

from hitpaw_async._core.cancelling import cancel
from hitpaw_async._core.itemstate import Cancelled, Item, Problem, advance, may_pass
from hitpaw_async._core.renewal import is_waiting
from hitpaw_async.models import ItemState
from tests.core.values import JOB_ID, a_request

NOW = 1_700_000_000.0
PASSING = Problem("TransportError", "The source could not be reached.")
WAITING = (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED)


def an_item(state: ItemState, problem: Problem | None = None) -> Item:
    job_id = JOB_ID if state in (ItemState.SUBMITTED, ItemState.FETCHING, ItemState.DONE, ItemState.FAILED) else None
    return Item(key="a", request=a_request(), state=state, job_id=job_id, problem=problem)


@pytest.mark.parametrize("state", WAITING)
def test_what_waits_is_cancelled_and_no_run_takes_it_up(state: ItemState) -> None:
    item = an_item(state)
    event = cancel(item, is_in_hand=False, at=NOW)
    assert isinstance(event, Cancelled)
    after = advance(item, event)
    assert (after.state, after.finished_at, after.spent_credits) == (ItemState.REJECTED, NOW, 0)
    assert not is_waiting(after)
    assert not may_pass(after.problem)


@pytest.mark.parametrize("state", [state for state in ItemState if state not in WAITING])
@pytest.mark.parametrize("is_in_hand", [True, False])
def test_what_may_have_been_submitted_or_has_ended_is_not(state: ItemState, is_in_hand: bool) -> None:
    assert isinstance(cancel(an_item(state), is_in_hand=is_in_hand, at=NOW), str)


@pytest.mark.parametrize("state", [ItemState.QUEUED, ItemState.RESERVED])
def test_what_a_run_has_in_hand_is_not(state: ItemState) -> None:
    assert isinstance(cancel(an_item(state), is_in_hand=True, at=NOW), str)


def test_what_was_refused_for_a_passing_reason_is_cancelled() -> None:
    assert isinstance(cancel(an_item(ItemState.REJECTED, PASSING), is_in_hand=False, at=NOW), Cancelled)
