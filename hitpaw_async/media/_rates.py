"""Frame rates from timestamps: what is exact, what is rounding, what really varies. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["RATE_MAX", "FrameTimes", "average_rate", "peak_rate"]

RATE_MAX: Final = 1000
"""Frames per second above which a figure is a clock's rate (90000, a microsecond's), not a video's."""

VARIATION_MIN: Final = Fraction(2, 100)
"""Excess of a second over the average that counts as variable: cameras that mean "30" stay well under it."""

_NTSC_RATES: Final = tuple(Fraction(1000 * rate, 1001) for rate in (12, 15, 24, 30, 48, 60, 120, 240))


def _in_order(ticks: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(ticks))


@attrs.frozen(kw_only=True)
class FrameTimes:
    """Presentation times of frames, as far as they were read."""

    ticks: tuple[int, ...] = attrs.field(converter=_in_order)
    """One timestamp a frame, earliest first."""
    tick_s: Fraction
    """Length of a tick in seconds: also how coarsely the timestamps are rounded."""
    last_frame_ticks: int = 0
    """Length of the last frame; 0 if it is unknown."""
    is_complete: bool
    """True if these are all of the video's frames."""

    @property
    def span_s(self) -> Fraction:
        """From the first frame to the last, in seconds."""
        return (self.ticks[-1] - self.ticks[0]) * self.tick_s if self.ticks else Fraction(0)

    @property
    def duration_s(self) -> Fraction:
        """From the first frame to the end of the last one, in seconds."""
        return self.span_s + (self.end_tick - self.ticks[-1]) * self.tick_s if self.ticks else Fraction(0)

    @property
    def end_tick(self) -> int:
        """End of the last frame: by its declared length, else by the length of the frame before it."""
        last = self.ticks[-1]
        return last + (self.last_frame_ticks or last - self.ticks[-2 if len(self.ticks) > 1 else -1])

    @property
    def counted_rate(self) -> Fraction | None:
        """Frames by their time, or None where fewer than two differ."""
        return len(self.ticks) / self.duration_s if self.span_s else None


def average_rate(header_rate: Fraction | None, times: FrameTimes, *, is_header_counted: bool) -> Fraction | None:
    """Compute the average frame rate, exact if the file is.

    Args:
        header_rate: Claim of the file.
        times: When frames are shown.
        is_header_counted: True if the claim was computed from a table of all frames.

    Returns:
        The claim, where it is counted or the frames that were read agree with it to one per cent; else what these say.
    """
    claimed = _plausible(header_rate)
    counted = _plausible(times.counted_rate)
    if claimed is not None and (is_header_counted or counted is None or abs(claimed - counted) <= counted / 100):
        counted = claimed
    rounding = 2 * times.tick_s / times.span_s if times.span_s else Fraction(0)
    return None if counted is None else _snapped(counted, min(rounding, Fraction(1, 100)))


def peak_rate(header_rate: Fraction | None, times: FrameTimes, average: Fraction | None) -> Fraction | None:
    """Compute the highest rate over any second of a video whose rate varies.

    Args:
        header_rate: Claim of the file: it counts as well where not all frames were read.
        times: When frames are shown.
        average: The average rate.

    Returns:
        The rate, or None where it is constant or cannot be told.
    """
    peak = _busiest_second((*times.ticks, times.end_tick), times.tick_s) if times.ticks else None
    claimed = _plausible(header_rate)
    if not times.is_complete and claimed is not None:
        peak = max(peak or claimed, claimed)
    peak = _plausible(peak)
    if peak is None or average is None or peak <= average * (1 + VARIATION_MIN):
        return None
    return _snapped(peak, Fraction(1, 100)).limit_denominator(1001)


def _busiest_second(ticks: Sequence[int], tick_s: Fraction) -> Fraction | None:
    """Frames by time over the shortest run of frames that lasts a second, at its highest.

    Time is measured from frame to frame. Counting the frames within a second would give 61 for 60 whenever rounding
    moves two of them together.
    """
    second_ticks = max(1, int(1 / tick_s))
    if second_ticks >= 100:
        second_ticks -= 1  # What lasts a second may be rounded to a tick less.
    frames, span = 0, 1
    start = 0
    for end, tick in enumerate(ticks):
        while start < end and tick - ticks[start + 1] >= second_ticks:
            start += 1
        length = tick - ticks[start]
        if length >= second_ticks and (end - start) * span > frames * length:
            frames, span = end - start, length
    return frames / (span * tick_s) if frames else None


def _plausible(rate: Fraction | None) -> Fraction | None:
    return rate if rate is not None and 0 < rate <= RATE_MAX else None


def _snapped(rate: Fraction, tolerance: Fraction) -> Fraction:
    """The whole or NTSC rate that `rate` is a rounding of, or `rate` itself."""
    nearest = min((Fraction(round(rate)), *_NTSC_RATES), key=lambda candidate: abs(candidate - rate))
    return nearest if abs(nearest - rate) <= rate * max(tolerance, Fraction(1, 100_000)) else rate
