from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.adaptive_limit import AdaptiveLimit

LIMIT_FIRST = 16
LIMIT_MAX = 1024
ACCEPTED = st.tuples(st.floats(0, 1e4), st.integers(0, 5000))
EVENTS = st.lists(st.none() | ACCEPTED, max_size=300)


def feed(limit: AdaptiveLimit, event: tuple[float, int] | None) -> None:
    if event is None:
        limit.throttled(in_flight=limit.places)
    else:
        limit.accepted(event[0], in_flight=event[1])


@given(EVENTS, st.integers(1, 2000))
def test_whatever_happens_it_stays_between_one_and_the_most(
    events: list[tuple[float, int] | None], limit_max: int
) -> None:
    limit = AdaptiveLimit(1, limit_max)
    for event in events:
        feed(limit, event)
        assert 1 <= limit.places <= limit_max


@given(EVENTS)
def test_a_429_never_raises_it(events: list[tuple[float, int] | None]) -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for event in events:
        before = limit.places
        feed(limit, event)
        if event is None:
            assert limit.places <= before


@given(EVENTS, ACCEPTED)
def test_one_accepted_export_adds_at_most_one_place(
    events: list[tuple[float, int] | None], last: tuple[float, int]
) -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for event in events:
        feed(limit, event)
    before = limit.places
    feed(limit, last)
    assert limit.places <= before + 1


def test_it_doubles_each_round_while_all_is_well() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(LIMIT_FIRST):
        limit.accepted(0.2, in_flight=limit.places)
    assert limit.places == 2 * LIMIT_FIRST
    for _ in range(LIMIT_MAX):
        limit.accepted(0.2, in_flight=limit.places)
    assert limit.places == LIMIT_MAX


def test_places_that_nobody_takes_are_not_added_to() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(1000):
        limit.accepted(0.2, in_flight=2)
    assert limit.places == LIMIT_FIRST


def test_many_429s_at_once_bring_it_down_once() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(20):
        limit.throttled(in_flight=LIMIT_FIRST)
    assert limit.places == LIMIT_FIRST * 7 // 8


def test_429s_that_go_on_once_fewer_are_in_flight_bring_it_further_down() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(100):
        limit.throttled(in_flight=limit.places)
    assert limit.places == 1


def rounds_until(limit: AdaptiveLimit, places: int) -> int:
    rounds = 0
    while limit.places < places:
        for _ in range(limit.places):
            limit.accepted(0.2, in_flight=limit.places)
        rounds += 1
    return rounds


def test_after_a_429_most_of_what_was_given_up_is_back_in_a_few_rounds() -> None:
    limit = AdaptiveLimit(400, LIMIT_MAX)
    limit.throttled(in_flight=400)
    assert limit.places == 350
    assert rounds_until(limit, 390) <= 5


def test_where_congestion_was_it_is_careful_and_beyond_it_bolder_by_the_round() -> None:
    limit = AdaptiveLimit(400, LIMIT_MAX)
    limit.throttled(in_flight=400)
    assert rounds_until(limit, 397) <= 8
    assert 2 <= rounds_until(limit, 400) <= 3, "one place a round"
    assert rounds_until(limit, 410) <= 5
    assert rounds_until(limit, 600) <= 12


def test_exports_that_become_slow_bring_it_down() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(100):
        limit.accepted(0.2, in_flight=limit.places)
    before = limit.places
    for _ in range(200):
        limit.accepted(2.0, in_flight=limit.places)
    assert limit.places <= before * 7 // 8


def test_slow_exports_bring_it_down_once_until_fewer_are_in_flight() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(100):
        limit.accepted(0.2, in_flight=limit.places)
    before = limit.places
    for _ in range(30):
        limit.accepted(2.0, in_flight=before)
    assert before * 7 // 8 <= limit.places < before


def test_a_single_slow_export_changes_nothing() -> None:
    limit = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX)
    for _ in range(100):
        limit.accepted(0.2, in_flight=limit.places)
    before = limit.places
    limit.accepted(1.0, in_flight=limit.places)
    assert limit.places >= before


@pytest.mark.parametrize("capacity", [10, 40, 150, 600])
def test_it_settles_around_what_the_vendor_takes(capacity: int) -> None:
    """A vendor that answers 429 above so many jobs: the places end a little below that."""
    limit, jobs, seen = AdaptiveLimit(LIMIT_FIRST, LIMIT_MAX), deque[int](), []
    for moment in range(120_000):
        while jobs and jobs[0] <= moment:
            jobs.popleft()
        if len(jobs) < limit.places:
            if len(jobs) < capacity:
                jobs.append(moment + 4 * capacity)
                limit.accepted(0.2, in_flight=len(jobs))
            else:
                limit.throttled(in_flight=len(jobs) + 1)
        if moment > 60_000:
            seen.append(limit.places)
    assert capacity * 0.9 - 1 <= sum(seen) / len(seen) <= capacity
    assert max(seen) <= capacity + 2
