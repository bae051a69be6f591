"""The budget's books: whatever order things happen in, spent and reserved never exceed the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hitpaw_async._core.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable


def books(ledger: Ledger) -> tuple[int, int, int, int | None]:
    return ledger.spent, ledger.reserved, ledger.held, ledger.left


def test_a_reservation_is_set_aside_and_settled() -> None:
    ledger = Ledger(10)
    assert ledger.reserve("a", 4)
    assert books(ledger) == (0, 4, 0, 6)
    ledger.settle("a", 4)
    assert books(ledger) == (4, 0, 0, 6)


def test_what_the_vendor_did_not_charge_is_given_back() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 4)
    ledger.settle("a", 1)
    assert books(ledger) == (1, 0, 0, 9)


def test_a_released_reservation_costs_nothing() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 10)
    ledger.release("a")
    assert books(ledger) == (0, 0, 0, 10)
    assert ledger.reserve("a", 10)


def test_what_does_not_fit_changes_nothing() -> None:
    ledger = Ledger(10)
    assert ledger.reserve("a", 7)
    assert not ledger.reserve("b", 4)
    assert books(ledger) == (0, 7, 0, 3)
    assert ledger.reserve("b", 3)
    assert not ledger.reserve("c", 1)
    assert ledger.reserve("d", 0)


def test_a_held_reservation_stays_until_somebody_knows() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 4)
    ledger.reserve("b", 5)
    ledger.hold("a")
    assert (*books(ledger), ledger.may_free_up) == (0, 9, 4, 1, True)
    ledger.hold("b")
    assert (*books(ledger), ledger.may_free_up) == (0, 9, 9, 1, False)
    ledger.settle_held(4, 4)
    assert books(ledger) == (4, 5, 5, 1)
    ledger.settle_held(5, 0)
    assert books(ledger) == (4, 0, 0, 6)


def test_what_earlier_runs_left_counts() -> None:
    ledger = Ledger(10, spent=3, reserved=5, held=5)
    assert ledger.left == 2
    assert not ledger.may_free_up
    assert not ledger.reserve("a", 3)
    assert ledger.reserve("a", 2)


def test_a_budget_that_was_lowered_since_leaves_nothing_and_no_less() -> None:
    ledger = Ledger(5, spent=3, reserved=5, held=5)
    assert ledger.left == 0
    assert not ledger.reserve("a", 1)


def test_a_charge_over_the_price_table_is_in_the_books_and_stops_reserving() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 8)
    ledger.settle("a", 20)
    assert books(ledger) == (20, 0, 0, 0)
    assert not ledger.reserve("b", 1)


def test_a_refund_makes_room() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 10)
    ledger.settle("a", 10)
    ledger.refund(10)
    assert books(ledger) == (0, 0, 0, 10)


def test_without_a_budget_everything_fits_and_is_counted() -> None:
    ledger = Ledger()
    assert all(ledger.reserve(str(number), 10**9) for number in range(10))
    assert books(ledger) == (0, 10**10, 0, None)


def test_our_own_mistakes_are_caught_and_change_nothing() -> None:
    ledger = Ledger(10, spent=1)
    ledger.reserve("a", 2)
    before = books(ledger)
    mistakes: list[Callable[[], object]] = [
        lambda: ledger.reserve("a", 1),
        lambda: ledger.reserve("b", -1),
        lambda: ledger.settle("b", 1),
        lambda: ledger.release("b"),
        lambda: ledger.hold("b"),
        lambda: ledger.settle_held(1, 0),
        lambda: ledger.settle_held(-1, 0),
        lambda: ledger.refund(2),
        lambda: ledger.refund(-1),
    ]
    for mistake in mistakes:
        with pytest.raises((AssertionError, KeyError)):
            mistake()
        assert books(ledger) == before


def test_a_reservation_is_closed_once() -> None:
    ledger = Ledger(10)
    ledger.reserve("a", 2)
    ledger.hold("a")
    for close in (ledger.release, ledger.hold, lambda key: ledger.settle(key, 1)):
        with pytest.raises(KeyError):
            close("a")
        assert books(ledger) == (0, 2, 2, 8)


CREDITS = st.integers(0, 40)


class Books(RuleBasedStateMachine):
    """Many items at once, in any order, beside the plainest possible book-keeping."""

    opened = Bundle("opened")
    held = Bundle("held")

    @initialize(budget=st.none() | st.integers(0, 100), spent=CREDITS, held=CREDITS)
    def open(self, budget: int | None, spent: int, held: int) -> None:
        self.budget = None if budget is None else budget + spent + held
        self.ledger = Ledger(self.budget, spent=spent, reserved=held, held=held)
        self.spent, self.earlier = spent, held
        self.sums = {"open": 0, "held": held}
        self.number = 0

    @rule(target=opened, amount=CREDITS)
    def reserve(self, amount: int) -> tuple[str, int] | None:
        room = None if self.budget is None else self.budget - self.spent - sum(self.sums.values())
        self.number += 1
        fits = self.ledger.reserve(f"item {self.number}", amount)
        assert fits == (room is None or amount <= room)
        if not fits:
            return None
        self.sums["open"] += amount
        return f"item {self.number}", amount

    @rule(item=consumes(opened), told=st.none() | CREDITS)
    def settle(self, item: tuple[str, int] | None, told: int | None) -> None:
        if item is not None:
            charged = item[1] if told is None else min(told, item[1])
            self.ledger.settle(item[0], charged)
            self.sums["open"] -= item[1]
            self.spent += charged

    @rule(item=consumes(opened))
    def release(self, item: tuple[str, int] | None) -> None:
        if item is not None:
            self.ledger.release(item[0])
            self.sums["open"] -= item[1]

    @rule(target=held, item=consumes(opened))
    def hold(self, item: tuple[str, int] | None) -> int:
        if item is None:
            return 0
        self.ledger.hold(item[0])
        self.sums["open"] -= item[1]
        self.sums["held"] += item[1]
        return item[1]

    @rule(amount=consumes(held), was_charged=st.booleans())
    def settle_held(self, amount: int, *, was_charged: bool) -> None:
        charged = amount if was_charged else 0
        self.ledger.settle_held(amount, charged)
        self.sums["held"] -= amount
        self.spent += charged

    @rule(share=st.integers(0, 100))
    def refund(self, share: int) -> None:
        amount = self.spent * share // 100
        self.ledger.refund(amount)
        self.spent -= amount

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        assert ledger.spent == self.spent >= 0
        assert ledger.held == self.sums["held"] >= 0
        assert ledger.reserved == sum(self.sums.values()) >= ledger.held
        assert ledger.may_free_up == (self.sums["open"] > 0)
        if self.budget is not None:
            assert ledger.spent + ledger.reserved <= self.budget
            assert ledger.left == self.budget - ledger.spent - ledger.reserved


Books.TestCase.settings = settings(settings.get_profile("repeatable"), max_examples=60, stateful_step_count=40)
TestBooks = Books.TestCase


def test_a_promise_moves_no_money_and_keeps_others_out() -> None:
    ledger = Ledger(10)
    assert ledger.promise("a", 6)
    assert (*books(ledger), ledger.unpromised) == (0, 0, 0, 10, 4)
    assert not ledger.promise("b", 5)
    assert not ledger.reserve("b", 5)
    assert ledger.promise("b", 4)
    assert ledger.unpromised == 0


def test_a_promise_becomes_the_reservation() -> None:
    ledger = Ledger(10)
    ledger.promise("a", 6)
    assert ledger.reserve("a", 6)
    assert (*books(ledger), ledger.promised, ledger.unpromised) == (0, 6, 0, 4, 0, 4)


def test_a_dearer_reservation_than_was_promised_must_fit_beside_the_others() -> None:
    ledger = Ledger(10)
    ledger.promise("a", 4)
    ledger.promise("b", 4)
    assert not ledger.reserve("a", 7)
    assert ledger.promised == 8
    assert ledger.reserve("a", 6)


def test_a_forgotten_promise_gives_room() -> None:
    ledger = Ledger(10)
    ledger.promise("a", 10)
    ledger.forget("a")
    ledger.forget("never promised")
    assert (ledger.promised, ledger.unpromised) == (0, 10)


def test_promises_outlast_what_a_journal_says_anew() -> None:
    ledger = Ledger(10)
    ledger.promise("a", 3)
    ledger.reserve("b", 4)
    again = ledger.reopened(spent=2, held=4)
    assert (*books(again), again.promised, again.unpromised) == (2, 4, 4, 4, 3, 1)


def test_without_a_limit_everything_may_be_promised() -> None:
    ledger = Ledger()
    assert ledger.promise("a", 10**9)
    assert ledger.unpromised is None
