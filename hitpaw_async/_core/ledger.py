"""The budget's books: what is reserved, held and spent. Nothing here knows time, jobs or the network.

    reserve ──> settle     accepted: the worst case, or what the vendor says, is spent
       │ └────> release    certainly not accepted: given back
       └──────> hold ────> settle | release, when somebody finds out

Spent and reserved (held ones included) together never exceed the budget, unless the vendor charges more than its own
price table: then the books say so, and nothing further is reserved.
"""

from __future__ import annotations

import attrs

__all__ = ["Ledger"]


@attrs.define
class _Reservation:
    credits: int
    is_held: bool = False


@attrs.define
class Ledger:
    """The books of one budget. `budget` None means: no limit, yet everything is counted."""

    budget: int | None = None
    spent: int = 0
    reserved: int = 0
    """All open reservations, held ones included."""
    held: int = 0
    """The part of `reserved` that may have been charged; only a person, a webhook or `reconcile` can tell."""
    _open: dict[str, _Reservation] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def left(self) -> int | None:
        """What can still be reserved, never below 0; None without a limit."""
        return None if self.budget is None else max(0, self.budget - self.spent - self.reserved)

    @property
    def may_free_up(self) -> bool:
        """Whether a reservation is open that may yet be given back without a person's help."""
        return self.reserved > self.held

    def reserve(self, key: str, credits_upper: int) -> bool:
        """Set `credits_upper` aside for `key`. Returns False, and changes nothing, where it does not fit."""
        assert key not in self._open, f"{key!r} is reserved already"
        assert credits_upper >= 0
        if self.left is not None and credits_upper > self.left:
            return False
        self._open[key] = _Reservation(credits_upper)
        self.reserved += credits_upper
        return True

    def settle(self, key: str, credits_charged: int) -> None:
        """Turn the reservation of `key` into `credits_charged` spent."""
        self._close(key)
        self.spent += credits_charged

    def release(self, key: str) -> None:
        """Give the reservation of `key` back: it was certainly not charged."""
        self._close(key)

    def hold(self, key: str) -> None:
        """Keep the reservation of `key` until somebody knows whether it was charged."""
        reservation = self._open[key]
        if not reservation.is_held:
            reservation.is_held = True
            self.held += reservation.credits

    def spend(self, credits_charged: int) -> None:
        """Count what an earlier run spent."""
        self.spent += credits_charged

    def refund(self, credits_charged: int) -> None:
        """Take back what was counted as spent and was not charged after all."""
        assert 0 <= credits_charged <= self.spent
        self.spent -= credits_charged

    def restore(self, key: str, credits_upper: int, *, is_held: bool) -> None:
        """Enter a reservation of an earlier run, even where the budget was lowered since."""
        assert key not in self._open, f"{key!r} is reserved already"
        self._open[key] = _Reservation(credits_upper)
        self.reserved += credits_upper
        if is_held:
            self.hold(key)

    def _close(self, key: str) -> None:
        reservation = self._open.pop(key)
        self.reserved -= reservation.credits
        if reservation.is_held:
            self.held -= reservation.credits
