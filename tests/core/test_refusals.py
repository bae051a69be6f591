from __future__ import annotations

from itertools import pairwise

import pytest

from hitpaw_async._core.refusals import OLD_S, PAUSE_MAX_S, Refusals, next_look_s


def looks(gone_after_s: float, *, age_s: float = 60) -> list[float]:
    """When a result that never comes is looked for, in seconds from the first refusal."""
    now, count, at = 1000.0, 1, [0.0]
    while (wait_s := next_look_s(Refusals(1000.0, count), now=now, age_s=age_s, gone_after_s=gone_after_s)) is not None:
        assert wait_s > 0
        now, count = now + wait_s, count + 1
        at.append(now - 1000)
    return at


def test_pauses_grow_up_to_a_minute() -> None:
    at = looks(900)
    pauses = [after - before for before, after in pairwise(at)]
    assert pauses[:5] == [2, 4, 8, 16, 32]
    assert max(pauses) == PAUSE_MAX_S


@pytest.mark.parametrize("gone_after_s", [0.5, 2, 20, 900, 86_400])
def test_it_is_given_up_by_time_and_not_by_number(gone_after_s: float) -> None:
    at = looks(gone_after_s)
    assert at[-1] == pytest.approx(gone_after_s), "the last look is at the very end"


def test_without_time_it_is_given_up_at_once() -> None:
    assert looks(0) == [0]


@pytest.mark.parametrize(("age_s", "longest_s"), [(0, 900), (OLD_S, 900), (OLD_S + 1, 90), (30 * OLD_S, 90)])
def test_a_result_of_long_ago_is_not_late(age_s: float, longest_s: float) -> None:
    assert looks(900, age_s=age_s)[-1] == pytest.approx(longest_s)


def test_an_outage_that_outlasts_many_looks_is_no_end() -> None:
    assert next_look_s(Refusals(0, 10_000), now=10, age_s=0, gone_after_s=900) == PAUSE_MAX_S
