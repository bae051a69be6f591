"""A moment of a batch, and the screens that it is drawn on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import attrs

if TYPE_CHECKING:
    from hitpaw_async.batch.events.statistics import BatchStatistics

__all__ = ["ESTIMATE_AFTER", "ActiveJob", "Frame", "Screen"]

ESTIMATE_AFTER: Final = 3
"""Items that must have ended before the time left is guessed."""


@attrs.define
class ActiveJob:
    """A job that is under way, as a line of the window."""

    label: str
    word: str
    since: float
    """`time.monotonic()` at its beginning."""


@attrs.frozen(kw_only=True)
class Frame:
    """A moment of the batch, to be drawn."""

    statistics: BatchStatistics
    active: tuple[ActiveJob, ...]
    active_total: int
    now: float
    started_at: float
    ended: int
    """Items that this run has worked on and brought to an end. What was skipped, refused or done before is no work."""

    @property
    def finished(self) -> int:
        """Items that are at an end."""
        return self.statistics.total - self.statistics.unfinished

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.now - self.started_at

    @property
    def per_second(self) -> float | None:
        """Items that this run has worked on and ended a second; None while nobody could say."""
        if self.ended < ESTIMATE_AFTER or self.elapsed_s <= 0:
            return None
        return self.ended / self.elapsed_s

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest may take at the speed so far; None while nobody could say."""
        if self.per_second is None or not self.statistics.unfinished:
            return None
        return self.statistics.unfinished / self.per_second


class Screen(Protocol):
    """Where frames and lines go. Called from threads, one call at a time."""

    def draw(self, frame: Frame, lines: list[str]) -> None:
        """Show lines that stay, and the frame in place of the one before."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...
