"""Figures of a report, counted from a journal's items. Pure."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import attrs

from hitpaw_async._format import own_columns
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitpaw_async._core.itemstate import Item

__all__ = ["Figures", "Phase", "Reason", "Video", "figures_of", "percentile", "video_of"]

REASON_CHARS_MAX: Final = 400
EXAMPLES_MAX: Final = 5
OWN_CHARS_MAX: Final = 120

TROUBLED: Final = (ItemState.FAILED, ItemState.UNCERTAIN, ItemState.REJECTED, ItemState.SKIPPED)
"""States with a reason, the gravest first."""


@attrs.frozen
class Phase:
    """A stretch of a job's life, in seconds since the epoch."""

    name: str
    """One of waiting, converting, vendor (which of the two is unknown) and downloading."""
    begins_at: float
    ends_at: float


@attrs.frozen(kw_only=True)
class Video:
    """An item of the journal, as a report shows it."""

    name: str
    source: str
    state: ItemState
    credits_spent: int
    credits_charged: int
    """Credits that its accepted export counts as, at `submitted_at`."""
    credits_held: int
    model: str
    resolution: str
    job_id: str
    reason: str
    submitted_at: float | None
    finished_at: float | None
    phases: tuple[Phase, ...]
    own: Mapping[str, str] = attrs.field(factory=dict)
    """A person's own columns."""

    @property
    def took_s(self) -> float | None:
        """Seconds from its submission to its end."""
        if self.submitted_at is None or self.finished_at is None:
            return None
        return max(0.0, self.finished_at - self.submitted_at)


@attrs.frozen(kw_only=True)
class Reason:
    """A common reason for items that are not done."""

    state: ItemState
    text: str
    count: int
    examples: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Figures:
    """Sums of a journal."""

    videos: tuple[Video, ...]
    """In the order of the journal."""
    counts: dict[ItemState, int]
    credits_spent: int
    credits_held: int
    steps: tuple[tuple[float, int], ...]
    """Spent credits over time: moments and running sums."""
    latencies_s: tuple[float, ...]
    """From submission to the result on disk, the shortest first."""
    reasons: tuple[Reason, ...]

    @property
    def phases(self) -> list[Phase]:
        """All phases of all jobs."""
        return [phase for video in self.videos for phase in video.phases]


def video_of(item: Item) -> Video:
    """An item as a report shows it: no query of a URL, no control characters."""
    request = item.request
    source = PurePath(unquote(urlsplit(request.video_url).path)).name
    name = item.target if item.target is not None and item.state is ItemState.DONE else source
    model = request.model_name if request.model is None else request.model.slug
    return Video(
        name=excerpt(name or item.key, chars_max=120),
        source=excerpt(redact_url(request.video_url)),
        state=item.state,
        credits_spent=item.spent_credits,
        credits_charged=item.charged_credits,
        credits_held=item.reserved_credits,
        model=excerpt(model or ""),
        resolution=str(request.resolution),
        job_id=excerpt(item.job_id or ""),
        reason=_reason_of(item),
        submitted_at=item.submitted_at,
        finished_at=item.finished_at,
        phases=_phases_of(item),
        own={_shown(name): _shown(text) for name, text in own_columns(request.metadata).items()},
    )


def _shown(text: str) -> str:
    return excerpt(text, chars_max=OWN_CHARS_MAX)


def _reason_of(item: Item) -> str:
    if item.problem is None:
        return ""
    # Without the job id, which the table of videos has, one reason of many items is one reason.
    message = item.problem.message.replace(item.job_id or "\0", "…")
    return excerpt(message, chars_max=REASON_CHARS_MAX)


def _phases_of(item: Item) -> tuple[Phase, ...]:
    """Known times at which a job waited, was converted and was downloaded."""
    if item.submitted_at is None:
        return ()
    left_vendor_at = item.completed_at or item.finished_at
    marks: list[tuple[str, float | None, float | None]] = [
        ("waiting", item.submitted_at, item.converting_at),
        ("converting", item.converting_at, left_vendor_at),
        ("downloading", item.completed_at, item.finished_at),
    ]
    if item.converting_at is None:
        marks[:2] = [("vendor", item.submitted_at, left_vendor_at)]
    # A clock that was set back makes no phase.
    return tuple(
        Phase(name, begin, end) for name, begin, end in marks if begin is not None and end is not None and end >= begin
    )


def figures_of(videos: Sequence[Video]) -> Figures:
    """The figures of a batch."""
    done = (video.took_s for video in videos if video.state is ItemState.DONE)
    return Figures(
        videos=tuple(videos),
        counts=dict(Counter(video.state for video in videos)),
        credits_spent=sum(video.credits_spent for video in videos),
        credits_held=sum(video.credits_held for video in videos),
        steps=tuple(_steps_of(videos)),
        latencies_s=tuple(sorted(took_s for took_s in done if took_s is not None)),
        reasons=tuple(_reasons_of(videos)),
    )


def _steps_of(videos: Iterable[Video]) -> list[tuple[float, int]]:
    """Spent credits by time. Items given up count at that moment."""
    changes: list[tuple[float, int]] = []
    for video in videos:
        written_off = video.credits_spent - video.credits_charged
        if video.submitted_at is not None:
            changes.append((video.submitted_at, video.credits_charged))
        if written_off:
            changes.append((video.finished_at or video.submitted_at or 0.0, written_off))
    steps, total = [], 0
    for at, credits_more in sorted(changes):
        total += credits_more
        steps.append((at, total))
    return steps


def _reasons_of(videos: Iterable[Video]) -> list[Reason]:
    found: dict[tuple[ItemState, str], list[str]] = {}
    for video in videos:
        if video.state in TROUBLED and video.reason:
            found.setdefault((video.state, video.reason), []).append(video.name)
    reasons = [
        Reason(state=state, text=text, count=len(names), examples=tuple(names[:EXAMPLES_MAX]))
        for (state, text), names in found.items()
    ]
    return sorted(reasons, key=lambda reason: (TROUBLED.index(reason.state), -reason.count))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of the values does not exceed (nearest rank).

    Args:
        ordered: At least one value, the smallest first.
        share: From 0 to 1.
    """
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
