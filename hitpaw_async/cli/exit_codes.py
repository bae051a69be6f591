"""How the program ends: exit codes, and the errors that stand for one of them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from hitpaw_async import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ExitCode", "InputError", "UsageError", "exit_code_of"]


class ExitCode(IntEnum):
    """The promised exit codes."""

    DONE = 0
    """Every item of the journal is done; or the command did what it is for."""
    INCOMPLETE = 1
    """Some items failed, were rejected, are uncertain or unfinished."""
    USAGE = 2
    """What was typed, set up or given as input can't be used. Nothing was spent."""
    KEY_REFUSED = 3
    NO_CREDITS = 4
    """Budget or credits left items unsubmitted, whatever became of the others."""
    JOURNAL_BUSY = 5
    """Another process works on the journal. Nothing was done."""
    INTERRUPTED = 130
    """Stopped by a signal; the journal can be resumed."""


class UsageError(errors.ConfigurationError):
    """What was typed can't be done as it stands."""


class InputError(UsageError):
    """Rows of the input can't be used.

    Attributes:
        problems: One line each, with the file and the line.
        total: How many there are; `problems` may have fewer.
    """

    problems: tuple[str, ...] = ()
    total: int = 0

    def __init__(self, problems: Sequence[str], total: int) -> None:
        self.problems = tuple(problems)
        self.total = total
        more = "" if total <= len(problems) else f"\n  … and {total - len(problems)} more"
        listed = "".join(f"\n  {problem}" for problem in problems)
        rows = "1 problem" if total == 1 else f"{total} problems"
        super().__init__(f"Nothing was sent or spent: the input has {rows}. Correct it and start again.{listed}{more}")


def exit_code_of(error: errors.HitPawError) -> ExitCode:
    """The exit code that an error stands for where it ends the program."""
    if isinstance(error, errors.AuthenticationError):
        return ExitCode.KEY_REFUSED
    if isinstance(error, (errors.InsufficientCreditsError, errors.BudgetExceededError)):
        return ExitCode.NO_CREDITS
    if isinstance(error, errors.JournalBusyError):
        return ExitCode.JOURNAL_BUSY
    if isinstance(error, (errors.ConfigurationError, errors.InvalidRequestError)):
        return ExitCode.USAGE
    return ExitCode.INCOMPLETE
