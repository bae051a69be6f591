from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.storing import UNSTORED_IN_A_ROW_MAX, StoreRecord


def test_a_few_in_a_row_end_it_once() -> None:
    record = StoreRecord()
    assert [record.not_stored() for _ in range(UNSTORED_IN_A_ROW_MAX + 3)] == [False, False, True, False, False, False]
    assert record.is_failing


def test_failures_between_successes_end_nothing() -> None:
    record = StoreRecord()
    for _ in range(20):
        assert not any(record.not_stored() for _ in range(UNSTORED_IN_A_ROW_MAX - 1))
        assert not record.stored()
    assert not record.is_failing


def test_a_result_that_is_stored_ends_the_stop() -> None:
    record = StoreRecord()
    record.fail()
    assert record.is_failing
    assert not record.not_stored(), "it was told already"
    assert record.stored()
    assert not record.is_failing
    assert not record.not_stored(), "counted anew"


def test_a_try_ends_with_its_first_failure() -> None:
    record = StoreRecord()
    record.fail()
    record.give_a_try()
    assert not record.is_failing
    assert record.not_stored()


@given(st.lists(st.sampled_from(["stored", "not stored"])))
def test_it_fails_exactly_after_too_many_in_a_row(results: list[str]) -> None:
    record, in_a_row = StoreRecord(), 0
    for result in results:
        if result == "stored":
            assert record.stored() is (in_a_row >= UNSTORED_IN_A_ROW_MAX)
            in_a_row = 0
        else:
            in_a_row += 1
            assert record.not_stored() is (in_a_row == UNSTORED_IN_A_ROW_MAX)
        assert record.is_failing is (in_a_row >= UNSTORED_IN_A_ROW_MAX)


@pytest.mark.parametrize("tries", [1, 5])
def test_each_try_costs_one_result(tries: int) -> None:
    record = StoreRecord()
    for _ in range(tries):
        record.give_a_try()
        assert record.not_stored()
