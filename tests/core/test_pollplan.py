from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.pollplan import next_wait_s
from hitpaw_async.errors import ConfigurationError
from hitpaw_async.policies import PollPolicy


@pytest.mark.parametrize(
    ("age_s", "wait_s"), [(0, 5), (1, 5), (50, 5), (60, 6), (85, 8.5), (100, 10), (101, 10), (10**9, 10)]
)
def test_the_interval_is_a_tenth_of_the_age_within_the_bounds(age_s: float, wait_s: float) -> None:
    assert next_wait_s(PollPolicy(), age_s=age_s, draw=0) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("draw", "jitter", "wait_s"), [(0, 0.1, 10), (0.5, 0.1, 9.5), (0.5, 0, 10), (0.5, 0.6, 7), (0.9, 1, 5)]
)
def test_jitter_only_shortens_and_never_below_the_floor(draw: float, jitter: float, wait_s: float) -> None:
    assert next_wait_s(PollPolicy(jitter=jitter), age_s=1000, draw=draw) == pytest.approx(wait_s)


@given(
    floor=st.floats(0.001, 86400),
    span=st.floats(0, 86400),
    jitter=st.floats(0, 1),
    age_s=st.floats(0, 1e9),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_every_wait_is_within_the_bounds(floor: float, span: float, jitter: float, age_s: float, draw: float) -> None:
    policy = PollPolicy(interval_min_s=floor, interval_max_s=min(floor + span, 86400), jitter=jitter)
    wait_s = next_wait_s(policy, age_s=age_s, draw=draw)
    assert policy.interval_min_s <= wait_s <= policy.interval_max_s
    assert wait_s <= next_wait_s(policy, age_s=age_s + 1, draw=draw) + 1e-9


@given(age_s=st.floats(50, 1e6), draw=st.floats(0, 1, exclude_max=True))
def test_an_answer_is_late_by_at_most_a_tenth_of_the_jobs_age(age_s: float, draw: float) -> None:
    policy = PollPolicy(interval_min_s=5, interval_max_s=86400)
    assert next_wait_s(policy, age_s=age_s, draw=draw) <= age_s / 10 + 1e-6


def test_a_ceiling_below_the_floor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="interval_max_s"):
        PollPolicy(interval_min_s=10, interval_max_s=5)
