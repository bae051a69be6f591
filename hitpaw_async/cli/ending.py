"""How a run ended: the exit code, and what its last words are made of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import errors
from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.cli.exit_codes import ExitCode, exit_code_of
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.models import Outcome

__all__ = ["Ending"]

_BUDGET: Final = errors.BudgetExceededError.__name__
_CREDITS: Final = errors.InsufficientCreditsError.__name__


@attrs.define(kw_only=True)
class Ending:
    """How a run ended, for the exit code and the last words."""

    journal: Path
    output: str
    statistics: BatchStatistics = attrs.field(factory=BatchStatistics)
    failure: errors.HitPawError | None = None
    """What ended the batch, not an item."""
    is_interrupted: bool = False
    is_unread: bool = False
    """Whether standard output can't be written to any more."""
    is_stuck: bool = False
    """Whether a thread still waits for a terminal or a reader."""
    conflicts: int = 0
    """How many were left out because their key stands for another video."""
    unsubmitted: Counter[str] = attrs.field(factory=Counter)
    """How many items were not submitted, by the class of the reason."""
    outage: str = ""
    """The last such reason that was neither budget nor credits."""

    @property
    def over_budget(self) -> int:
        """Items that didn't fit the budget."""
        return self.unsubmitted[_BUDGET]

    @property
    def without_credits(self) -> int:
        """Items for which the account had too few credits."""
        return self.unsubmitted[_CREDITS]

    @property
    def exit_code(self) -> ExitCode:
        """The promised exit code."""
        if self.is_interrupted or self.is_unread:
            return ExitCode.INTERRUPTED
        if self.failure is not None:
            return exit_code_of(self.failure)
        if self.over_budget or self.without_credits:
            return ExitCode.NO_CREDITS
        is_done = self.statistics.done == self.statistics.total and not self.conflicts
        return ExitCode.DONE if is_done else ExitCode.INCOMPLETE

    def note(self, outcome: Outcome) -> None:
        """Count an item that was not submitted."""
        if outcome.state is not ItemState.SKIPPED:
            return
        kind = type(outcome.error).__name__
        self.unsubmitted[kind] += 1
        if kind not in (_BUDGET, _CREDITS):
            self.outage = str(outcome.error)
