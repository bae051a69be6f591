from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.rate_limit import BURST_S, Pace


def test_who_asks_seldom_never_waits() -> None:
    pace = Pace(2.0)
    assert [pace.take(now) for now in (0.0, 0.5, 1.0, 7.0)] == [0.0] * 4


def test_a_burst_is_spaced_out() -> None:
    pace = Pace(2.0)
    assert [pace.take(0.0) for _ in range(5)] == pytest.approx([0, 0, 0.5, 1.0, 1.5])


@given(
    rate_hz=st.floats(0.01, 1000),
    gaps_s=st.lists(st.floats(0, 5), min_size=2, max_size=200),
)
def test_no_stretch_of_time_has_more_questions_than_the_rate_and_one_burst(rate_hz: float, gaps_s: list[float]) -> None:
    pace, now, asked_at = Pace(rate_hz), 0.0, []
    for gap_s in gaps_s:
        now += gap_s
        asked_at.append(now + pace.take(now))
    assert asked_at == sorted(asked_at)
    for first in range(0, len(asked_at), 7):
        for last in range(first, len(asked_at), 7):
            allowed = (asked_at[last] - asked_at[first] + BURST_S) * rate_hz + 1
            assert last - first + 1 <= allowed + 1e-6
