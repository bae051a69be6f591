"""Figures as shapes: SVG path data in a box of 1000 x 1000 units, and the words along its sides. Pure.

The box is stretched to the page's width, so words stand beside it as HTML: in it, a phone would shrink them.
"""

from __future__ import annotations

import bisect
import datetime
import heapq
import math
from typing import TYPE_CHECKING, Final, Self

import attrs

from hitpaw_async._format import counted, span
from hitpaw_async.report._figures import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitpaw_async.report._figures import Figures, Phase, Video

__all__ = ["CreditsChart", "LatencyChart", "TimeAxis", "Timeline"]

SIDE: Final = 1000
TICKS: Final = 5
IDLE_SHARE_MAX: Final = 0.05
"""A pause longer than this share of the busy time is drawn as short as this: nothing happened in it."""
STEPS_MAX: Final = 400
OWN_ROWS_MAX: Final = 60
"""More jobs than this share rows."""
SHAPES_MAX: Final = 5000
BINS: Final = 24
_CLOCK_MIN_S: Final = 240
"""Below it, axes tell the seconds since the beginning, not the time of day."""


@attrs.frozen
class TimeAxis:
    """Horizontal axis of moments, with pauses between runs of a batch shortened.

    `moments` and `places` are the ends of stretches: within one, time runs evenly.
    """

    moments: tuple[float, ...]
    places: tuple[float, ...]
    breaks: tuple[float, ...] = ()
    """Positions of the shortened pauses."""

    @classmethod
    def over(cls, phases: Sequence[Phase]) -> Self:
        """An axis over all phases; there must be one."""
        busy = _merged(phases)
        busy_s = sum(end - begin for begin, end in busy)
        pause_max = max(1.0, IDLE_SHARE_MAX * busy_s)
        moments, lengths, breaks = [busy[0][0]], [0.0], []
        for (begin, end), following in zip(busy, [*busy[1:], None], strict=True):
            moments.append(end)
            lengths.append(lengths[-1] + end - begin)
            if following is not None:
                pause = following[0] - end
                moments.append(following[0])
                lengths.append(lengths[-1] + min(pause, pause_max))
                if pause > pause_max:
                    breaks.append((lengths[-1] + lengths[-2]) / 2)
        whole = lengths[-1] or 1.0
        return cls(
            tuple(moments),
            tuple(SIDE * length / whole for length in lengths),
            tuple(SIDE * length / whole for length in breaks),
        )

    def place(self, moment: float) -> float:
        """Return the position of a moment, from 0 to 1000."""
        return _between(moment, self.moments, self.places)

    @property
    def tells_time(self) -> bool:
        """True if its labels are times of day, not seconds since the beginning."""
        return self.moments[-1] - self.moments[0] >= _CLOCK_MIN_S

    @property
    def ticks(self) -> list[str]:
        """Words for evenly spaced places along the axis: the time in UTC, or seconds since the beginning."""
        moments = [_between(SIDE * tick / (TICKS - 1), self.places, self.moments) for tick in range(TICKS)]
        if not self.tells_time:
            return [_seconds(moment - moments[0]) for moment in moments]
        times = [datetime.datetime.fromtimestamp(moment, datetime.UTC) for moment in moments]
        form = "%H:%M:%S" if times[0].date() == times[-1].date() else "%d %b %H:%M"
        return [moment.strftime(form) for moment in times]


def _seconds(seconds: float) -> str:
    """A length on an axis, where neighbours must not read alike."""
    return f"{seconds:.1f} s" if 0 < seconds < 10 else span(seconds)


def _merged(phases: Sequence[Phase]) -> list[tuple[float, float]]:
    """Stretches in which something was going on."""
    merged: list[tuple[float, float]] = []
    for begin, end in sorted((phase.begins_at, phase.ends_at) for phase in phases):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _between(value: float, given: Sequence[float], wanted: Sequence[float]) -> float:
    """A value of one scale on another, by the ends of stretches of both."""
    right = min(max(1, bisect.bisect_left(given, value)), len(given) - 1)
    low, high = given[right - 1], given[right]
    share = 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    return wanted[right - 1] + share * (wanted[right] - wanted[right - 1])


@attrs.frozen(kw_only=True)
class CreditsChart:
    """Credits spent over time."""

    line: str
    area: str
    budget_height: float | None
    """Height of the budget's line; None if it is out of sight or there is none."""
    credits_max: int

    @classmethod
    def of(cls, figures: Figures, axis: TimeAxis, budget: int | None) -> Self:
        """The chart; something must have been spent."""
        spent = figures.steps[-1][1]
        # A budget far above what was spent would press the line down to the floor.
        is_in_sight = budget is not None and spent <= budget <= 2 * spent
        top = budget if is_in_sight and budget is not None else spent
        corners = [f"M0 {SIDE}"]
        thinned = figures.steps[:: math.ceil(len(figures.steps) / STEPS_MAX)]
        for at, total in (*thinned, figures.steps[-1]):
            corners.append(f"H{axis.place(at):.1f}V{SIDE - SIDE * total / (top or 1):.1f}")
        line = "".join(corners) + f"H{SIDE}"
        return cls(
            line=line,
            area=f"{line}V{SIDE}Z",
            budget_height=SIDE - SIDE * budget / (top or 1) if is_in_sight and budget is not None else None,
            credits_max=top,
        )


@attrs.frozen(kw_only=True)
class Timeline:
    """Phases of each job over time: a row a job, or shared rows if they are many."""

    shapes: dict[str, str]
    """Path data by the phase's name."""
    rows: int
    jobs: int
    shown: int

    @classmethod
    def of(cls, figures: Figures, axis: TimeAxis) -> Self:
        """The timeline, of evenly picked jobs where they are too many for a page."""
        jobs = sorted((video for video in figures.videos if video.phases), key=lambda video: video.submitted_at or 0.0)
        few = min(len(jobs), SHAPES_MAX)
        shown = [jobs[index * len(jobs) // few] for index in range(few)]
        lanes = [*range(few)] if few <= OWN_ROWS_MAX else _lanes(shown)
        rows = max(lanes) + 1
        shapes: dict[str, list[str]] = {}
        for lane, video in zip(lanes, shown, strict=True):
            for name, shape in _row_shapes(video, axis, top=SIDE * lane / rows, height=SIDE / rows):
                shapes.setdefault(name, []).append(shape)
        drawn = {name: "".join(parts) for name, parts in shapes.items()}
        return cls(shapes=drawn, rows=rows, jobs=len(jobs), shown=few)


def _lanes(videos: Sequence[Video]) -> list[int]:
    """A row for each job, in the order of their beginnings: the first that is free."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes = []
    for video in videos:
        while busy and busy[0][0] <= video.phases[0].begins_at:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (video.phases[-1].ends_at, lane))
        lanes.append(lane)
    return lanes


def _row_shapes(video: Video, axis: TimeAxis, *, top: float, height: float) -> list[tuple[str, str]]:
    made = []
    for phase in video.phases:
        begin, end = axis.place(phase.begins_at), axis.place(phase.ends_at)
        width = max(end - begin, 0.6)
        made.append((phase.name, f"M{begin:.1f} {top:.1f}h{width:.1f}v{0.9 * height:.2f}h-{width:.1f}z"))
    return made


@attrs.frozen(kw_only=True)
class LatencyChart:
    """Histogram of jobs by duration."""

    bars: str
    median_place: float
    slow_place: float
    """Position of the 95th percentile."""
    ticks: tuple[str, ...]
    jobs_max: int
    """Jobs of the highest bar."""
    summary: str

    @classmethod
    def of(cls, latencies_s: Sequence[float]) -> Self:
        """The chart of at least one latency, the shortest first."""
        median, slow = percentile(latencies_s, 0.5), percentile(latencies_s, 0.95)
        # A single job that took a day must not press all others into one bar: it is counted in the last one.
        longest = min(latencies_s[-1], 3 * slow) or 1.0
        counts = [0] * BINS
        for took_s in latencies_s:
            counts[min(BINS - 1, int(BINS * took_s / longest))] += 1
        high = max(counts)
        width = SIDE / BINS
        bars = "".join(
            f"M{width * index:.1f} {SIDE}v-{SIDE * count / high:.1f}h{width * 0.9:.1f}V{SIDE}z"
            for index, count in enumerate(counts)
            if count
        )
        ticks = [_seconds(longest * tick / (TICKS - 1)) for tick in range(TICKS)]
        if latencies_s[-1] > longest:
            ticks[-1] = f"{ticks[-1]} and longer"
        return cls(
            bars=bars,
            median_place=SIDE * min(1.0, median / longest),
            slow_place=SIDE * min(1.0, slow / longest),
            ticks=tuple(ticks),
            jobs_max=high,
            summary=f"{counted(len(latencies_s), 'video')}: half took up to {_seconds(median)}, 95 of 100 up to "
            f"{_seconds(slow)}, the longest {_seconds(latencies_s[-1])}.",
        )
