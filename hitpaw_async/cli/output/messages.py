"""What the program says in sentences: how a batch ended, what is left to do, and what went wrong."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from hitpaw_async._format import at_most, counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from hitpaw_async.batch.events.statistics import BatchStatistics
    from hitpaw_async.cli.ending import Ending

__all__ = [
    "command_on",
    "complain",
    "confirm",
    "hints",
    "is_terminal",
    "statistics_text",
    "summary_text",
    "without_media",
]


def complain(text: str) -> None:
    """Say something on standard error, in the program's name."""
    try:
        sys.stderr.write(f"hitpaw: {text}\n")
        sys.stderr.flush()
    except OSError:
        # Nobody is there to be told; the exit code says it.
        return


def without_media(problem: Exception) -> str:
    """The warning that videos can't be read here, with what to do about it."""
    return (
        "warning: nothing is known of the videos beforehand, so each is priced as 10 minutes of 8K at the highest "
        f"rate, unless the list has duration_s, frame_rate, width and height. {problem}"
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at a standard stream, which may be closed."""
    return stream is not None and not stream.closed and stream.isatty()


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; anything but yes is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def command_on(command: str, journal: Path, *flags: str) -> str:
    """A command about a journal, to be typed as it is."""
    path = f"./{journal}" if str(journal).startswith("-") else str(journal)
    return " ".join(["hitpaw", command, shlex.quote(path), *flags])


def statistics_text(statistics: BatchStatistics) -> str:
    """Where a batch stands, in a sentence or two."""
    parts = [f"{statistics.done} of {counted(statistics.total, 'video')} done"]
    parts += [
        f"{count} {name}"
        for name, count in (
            ("failed", statistics.failed),
            ("rejected", statistics.rejected),
            ("skipped", statistics.skipped),
            ("uncertain", statistics.uncertain),
            ("unfinished", statistics.unfinished),
        )
        if count
    ]
    money = f"{at_most(statistics.credits_spent)} spent"
    if statistics.credits_reserved:
        money += f", {statistics.credits_reserved} reserved"
    if statistics.credits_left is not None:
        money += f", {statistics.credits_left} of the budget left"
    return f"{', '.join(parts)}. {money[0].upper()}{money[1:]}."


def summary_text(ending: Ending) -> str:
    """The last lines of a run for people."""
    lines = [statistics_text(ending.statistics)]
    if ending.statistics.done:
        lines.append(f"Results: {ending.output}")
    lines.append(f"Journal: {ending.journal}")
    return "\n".join(lines)


def hints(ending: Ending) -> Iterator[str]:
    """What is left to do, one sentence or two each."""
    resume = command_on("resume", ending.journal)
    statistics = ending.statistics
    if ending.failure is not None:
        then = f" Then: {resume}" if statistics.unfinished else ""
        yield f"{ending.failure}{then}"
    if ending.is_interrupted or ending.is_unread:
        why = "interrupted" if ending.is_interrupted else "standard output can't be written to"
        yield f"{why}; {statistics.done} of {counted(statistics.total, 'video')} done. Go on with: {resume}"
    if ending.over_budget:
        left = counted(statistics.credits_left or 0, "credit")
        yield (
            f"{counted(ending.over_budget, 'video')} not submitted: {left} of the budget left. "
            f"Raise it: {resume} --budget CREDITS"
        )
    if ending.without_credits:
        yield (
            f"{counted(ending.without_credits, 'video')} not submitted: your HitPaw account has too few credits. "
            f"Buy some, then: {resume}"
        )
    others = statistics.skipped - ending.over_budget - ending.without_credits
    if ending.outage and others > 0:
        yield f"{counted(others, 'video')} not submitted: {ending.outage} Then: {resume}"
    if statistics.uncertain:
        yield (
            f"{counted(statistics.uncertain, 'video')} may have been accepted and charged, and nobody can know. "
            f"Settle it: {command_on('reconcile', ending.journal)}"
        )
    if statistics.unfinished and not (ending.is_interrupted or ending.is_unread or ending.failure):
        yield f"{counted(statistics.unfinished, 'video')} unfinished. Go on with: {resume}"
