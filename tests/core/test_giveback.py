"""What is given back once a result's length is known: never a credit that may have been charged."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async import estimate
from hitpaw_async._core.giveback import credits_at_most, credits_per_minute
from hitpaw_async._core.itemstate import Accepted, Bound, Completed, Intended, Item, ReplyLost, Reserved, Saved, advance
from hitpaw_async._core.ledger import Ledger
from hitpaw_async.batch.books import follow
from hitpaw_async.models import ItemState, VideoFacts
from tests.core.values import JOB_ID, a_request, facts

HD = (1280, 720)
LENGTHLESS = facts(None, 30, HD)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (LENGTHLESS, 2),  # the target's tier is the dearer one
        (facts(None, 30, (3840, 2160)), 3),
        (facts(None, 60, HD), 4),
        (attrs.evolve(LENGTHLESS, frame_rate_max="60"), 4),
        (attrs.evolve(LENGTHLESS, width_max=3840, height_max=2160), 3),
        (facts(30, 30, HD), None),
        (attrs.evolve(LENGTHLESS, duration_max_s=120.0), None),
        (facts(None, None, HD), None),
        (facts(None, 30), None),
        (VideoFacts(), None),
    ],
)
def test_only_an_unknown_length_is_looked_up_later(known: VideoFacts, expected: int | None) -> None:
    assert credits_per_minute(a_request(), known) == expected


def test_a_source_size_that_the_request_tells_is_known() -> None:
    assert credits_per_minute(a_request(original_resolution=HD), facts(None, 30)) == 2


@pytest.mark.parametrize(
    ("result_s", "expected"),
    [
        (None, 20),
        (0.0, 20),
        (-3.0, 20),
        (math.nan, 20),
        (math.inf, 20),
        (0.04, 2),
        (58.9, 2),
        (59.0, 2),
        (59.001, 4),
        (60.0, 4),
        (119.0, 4),
        (119.5, 6),
        (538.0, 18),
        (539.5, 20),
        (600.0, 20),
        (9000.0, 20),
    ],
)
def test_the_minutes_of_the_result_and_a_second_are_charged(result_s: float | None, expected: int) -> None:
    assert credits_at_most(20, minute_credits=2, result_s=result_s) == expected


def test_without_a_price_of_a_minute_all_is_charged() -> None:
    assert credits_at_most(20, minute_credits=None, result_s=1.0) == 20


@given(
    length_s=st.floats(0.1, 600),
    rate=st.sampled_from([24, 30, 60, 120]),
    size=st.sampled_from([HD, (1920, 1080), (3840, 2160), (7680, 4320)]),
    off_s=st.floats(-1, 1),
)
def test_a_source_of_that_length_never_costs_more(length_s: float, rate: int, size: Any, off_s: float) -> None:
    """Whatever is unknown at first: the charge that is left covers the price of the source as it was."""
    request, unknown = a_request(), facts(None, rate, size)
    worst = estimate(request, facts=unknown).upper
    left = credits_at_most(worst, minute_credits=credits_per_minute(request, unknown), result_s=length_s + off_s)
    assert estimate(request, facts=facts(length_s, rate, size)).upper <= left <= worst


def a_paid_item(*, told: int | None = None, is_lost: bool = False) -> tuple[Item, Ledger]:
    """An item that was set aside for with an unknown length, accepted or bound, and completed; and the books."""
    ledger = Ledger(100)
    ledger.reserve("a", 20)
    item = advance(advance(Item(key="a", request=a_request()), Reserved(20, 2)), Intended())
    events = (ReplyLost(_PROBLEM, 1.0), Bound(JOB_ID, 2.0)) if is_lost else (Accepted(JOB_ID, 1.0, told),)
    for event in (*events, Completed(3.0)):
        after = advance(item, event)
        follow(ledger, item, event, after)
        item = after
    return item, ledger


_PROBLEM: Any = None


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_item_and_the_ledger_agree(is_lost: bool) -> None:
    item, ledger = a_paid_item(is_lost=is_lost)
    assert (ledger.spent, ledger.reserved) == (20, 0)
    event = Saved("out/a.mp4", 4.0, result_s=70.0)
    done = advance(item, event)
    follow(ledger, item, event, done)
    assert (done.state, done.charged_credits, done.spent_credits) == (ItemState.DONE, 4, 4)
    assert (ledger.spent, ledger.reserved, ledger.left) == (4, 0, 96)


def test_a_second_result_gives_nothing_back_twice() -> None:
    item, _ = a_paid_item()
    once = advance(item, Saved("out/a.mp4", 4.0, result_s=70.0))
    again = advance(attrs.evolve(once, state=ItemState.FETCHING), Saved("out/a.mp4", 9.0, result_s=70.0))
    assert again.charged_credits == once.charged_credits == 4


@pytest.mark.parametrize("told", [0, 7, 20])
def test_what_the_vendor_told_stays(told: int) -> None:
    item, _ = a_paid_item(told=told)
    assert advance(item, Saved("out/a.mp4", 4.0, result_s=1.0)).charged_credits == told


def test_a_result_that_was_not_read_gives_nothing_back() -> None:
    item, _ = a_paid_item()
    assert advance(item, Saved("out/a.mp4", 4.0)).charged_credits == 20


def test_another_attempt_forgets_what_the_one_before_knew() -> None:
    item = advance(Item(key="a", request=a_request()), Reserved(20, 2))
    again = advance(attrs.evolve(item, state=ItemState.QUEUED), Reserved(160))
    assert again.minute_credits is None
