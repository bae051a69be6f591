"""The budget's books: what is reserved, held and spent. Nothing here knows time, jobs or the network.

    reserve ──> settle     accepted: the worst case, or what the vendor says, is spent
       │ └────> release    certainly not accepted: given back
       └──────> hold ────> settle_held, when somebody finds out

A service that takes videos in promises their worst case first, so that it takes in no more than it can pay for. A
promise moves no money; it ends with the reservation, or with `forget`.

Spent and reserved (held ones included) together never exceed the budget, unless the vendor charges more than its own
price table: then the books say so, and nothing further is reserved.
"""

from __future__ import annotations

import attrs

__all__ = ["Ledger"]


@attrs.define
class Ledger:
    """The books of one budget. `budget` None means: no limit, yet everything is counted."""

    budget: int | None = None
    spent: int = 0
    reserved: int = 0
    """All open reservations, held ones included. Those of an earlier run come in as held."""
    held: int = 0
    """The part of `reserved` that may have been charged; only a person, a webhook or `reconcile` can tell."""
    _open: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    promised: int = attrs.field(default=0, init=False)
    """All promises. They move no money."""
    _promises: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def left(self) -> int | None:
        """Credits that can still be reserved, never below 0; None without a limit."""
        return None if self.budget is None else max(0, self.budget - self.spent - self.reserved)

    @property
    def unpromised(self) -> int | None:
        """Credits left beside all promises, never below 0; None without a limit."""
        return None if self.left is None else max(0, self.left - self.promised)

    @property
    def may_free_up(self) -> bool:
        """True if a reservation is open that may yet be released without a person's help."""
        return self.reserved > self.held

    def has(self, key: str) -> bool:
        """Tell if credits are promised to, or reserved for, `key`."""
        return key in self._promises or key in self._open

    def promise(self, key: str, credits_upper: int) -> bool:
        """Promise `credits_upper` to `key`. Returns False, and changes nothing, where it does not fit."""
        is_known = self.has(key)
        assert not is_known, f"{key!r} has a promise or a reservation already"
        assert credits_upper >= 0
        if self.unpromised is None:
            return True
        if credits_upper > self.unpromised:
            return False
        self._promises[key] = credits_upper
        self.promised += credits_upper
        return True

    def forget(self, key: str) -> None:
        """End the promise to `key`, where there is one."""
        self.promised -= self._promises.pop(key, 0)

    def reserve(self, key: str, credits_upper: int) -> bool:
        """Set `credits_upper` aside for `key`, beside what is promised to others. Returns False where it doesn't fit.

        Its own promise becomes the reservation. If that fails, nothing changes.
        """
        assert key not in self._open, f"{key!r} is reserved already"
        assert credits_upper >= 0
        promised_to_others = self.promised - self._promises.get(key, 0)
        if self.left is not None and credits_upper > self.left - promised_to_others:
            return False
        self.forget(key)
        self._open[key] = credits_upper
        self.reserved += credits_upper
        return True

    def reopened(self, *, spent: int, held: int) -> Ledger:
        """The books as a journal has them, where a run may have ended in the middle of things; promises stay."""
        books = Ledger(budget=self.budget, spent=spent, reserved=held, held=held)
        books._promises, books.promised = self._promises, self.promised
        return books

    def settle(self, key: str, credits_charged: int) -> None:
        """Turn the reservation of `key` into `credits_charged` spent."""
        self._close(key)
        self.spent += credits_charged

    def release(self, key: str) -> None:
        """Give the reservation of `key` back: it was certainly not charged."""
        self._close(key)

    def hold(self, key: str) -> None:
        """Keep the reservation of `key` until somebody knows whether it was charged."""
        credits_upper = self._open.pop(key)
        self.held += credits_upper

    def settle_held(self, credits_upper: int, credits_charged: int) -> None:
        """Close a held reservation of `credits_upper`: somebody found out what it cost (0: nothing)."""
        assert 0 <= credits_upper <= self.held
        self.held -= credits_upper
        self.reserved -= credits_upper
        self.spent += credits_charged

    def refund(self, credits_charged: int) -> None:
        """Take back what was counted as spent and was not charged after all."""
        assert 0 <= credits_charged <= self.spent
        self.spent -= credits_charged

    def charge(self, credits_charged: int) -> None:
        """Count as spent what was given up as not charged, and may have been after all."""
        assert credits_charged >= 0
        self.spent += credits_charged

    def _close(self, key: str) -> None:
        self.reserved -= self._open.pop(key)
