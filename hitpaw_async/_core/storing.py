"""Tells by the latest results if the output can store more: while it can't, nothing is paid for."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["StoreRecord"]

UNSTORED_IN_A_ROW_MAX: Final = 3
"""Results in a row that the disk or the folder did not take. One may be the fault of its name or its size."""


@attrs.define
class StoreRecord:
    """Record of the latest attempts to store results."""

    is_failing: bool = attrs.field(default=False, init=False)
    """True if nothing more may be submitted, until a result is stored or the folder passes a check."""
    _unstored_in_a_row: int = attrs.field(default=0, init=False)

    def not_stored(self) -> bool:
        """A result could not be stored. Returns whether that was one too many, the first time."""
        self._unstored_in_a_row += 1
        if self.is_failing or self._unstored_in_a_row < UNSTORED_IN_A_ROW_MAX:
            return False
        self.is_failing = True
        return True

    def fail(self) -> None:
        """The folder takes nothing at all."""
        self.is_failing = True

    def stored(self) -> bool:
        """A result was stored. Returns whether submitting may go on for that."""
        was_failing = self.is_failing
        self.is_failing, self._unstored_in_a_row = False, 0
        return was_failing

    def give_a_try(self) -> None:
        """Submit again, though no result was stored. The next one that isn't ends it."""
        self.is_failing, self._unstored_in_a_row = False, UNSTORED_IN_A_ROW_MAX - 1
