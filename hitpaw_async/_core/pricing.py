"""What a video costs: dated tariff tables, and a quote from what is known of the video."""

from __future__ import annotations

import datetime
import math
from fractions import Fraction
from typing import Final

import attrs

from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import CreditQuote, ExportRequest, Resolution, ResolutionLike, VideoFacts

__all__ = ["V3_TARIFF", "FrameRateBand", "Tariff", "Tier", "estimate"]


@attrs.frozen
class Tier:
    """A size class: a video belongs to the first tier that holds it, whichever way round it lies."""

    name: str
    long_side: int
    short_side: int

    def holds(self, resolution: Resolution) -> bool:
        """Whether both sides fit, in either orientation: a portrait costs what the landscape costs."""
        return resolution.long_side <= self.long_side and resolution.short_side <= self.short_side


@attrs.frozen
class FrameRateBand:
    """Credits per minute for each tier, up to a frame rate."""

    rate_max: int | None
    """The highest rate that belongs to it, inclusive; None: every higher one."""
    credits_per_minute: tuple[int, ...]
    """One figure for each of the tariff's tiers, in their order."""


@attrs.frozen(kw_only=True)
class Tariff:
    """A price table as the vendor published it."""

    name: str
    read_on: datetime.date
    """The day on which the table was taken from the vendor's document."""
    source: str
    tiers: tuple[Tier, ...]
    bands: tuple[FrameRateBand, ...]
    duration_max_s: int
    """The longest video that is accepted: the worst case where the length is unknown."""

    def tier_index(self, resolution: Resolution) -> int:
        """The index of the cheapest tier that holds `resolution`.

        Raises:
            InvalidRequestError: None does: the vendor has no price for it.
        """
        for index, tier in enumerate(self.tiers):
            if tier.holds(resolution):
                return index
        largest = self.tiers[-1]
        raise InvalidRequestError(
            [f"{resolution} is larger than the vendor's largest size, {largest.long_side}x{largest.short_side}."]
        )

    def credits_per_minute(self, tier_index: int, frame_rate: Fraction | None) -> int:
        """The rate of a tier at a frame rate; the dearest band where the frame rate is unknown."""
        for band in self.bands:
            if frame_rate is not None and (band.rate_max is None or frame_rate <= band.rate_max):
                return band.credits_per_minute[tier_index]
        return max(band.credits_per_minute[tier_index] for band in self.bands)


V3_TARIFF: Final = Tariff(
    name="v3",
    read_on=datetime.date(2026, 11, 1),
    source='v3 document, "Credit Consumption Rules"',
    tiers=(
        Tier("720P", 1280, 720),
        Tier("1080P", 1920, 1080),
        Tier("4K", 3840, 2160),
        Tier("8K", 7680, 4320),
    ),
    bands=(
        FrameRateBand(30, (1, 2, 3, 4)),
        FrameRateBand(60, (2, 4, 6, 8)),
        FrameRateBand(None, (4, 8, 12, 16)),
    ),
    duration_max_s=600,
)
"""The prices of v3. Its "Maximum Minutes" is how far 600 credits reach, not a limit of a video."""


def estimate(
    video: ExportRequest | VideoFacts,
    *,
    facts: VideoFacts | None = None,
    resolution: ResolutionLike | None = None,
    tariff: Tariff = V3_TARIFF,
) -> CreditQuote:
    """What enhancing a video costs. Pure: it asks nobody.

    Args:
        video: A request (with its own `facts`, unless `facts` is given), or facts alone.
        facts: What is known of the source, in place of the request's.
        resolution: The target size. Required only with facts that lack the source's size; without it the target is
            taken to be the source's size.
        tariff: The price table.

    Returns:
        `exact` by the second at the target's tier, and `upper`, which a budget reserves: whole minutes, rounded up and
        at least one, at the dearer of the target's and the source's tier. What is unknown is taken at its worst, and
        `assumptions` says so.

    Raises:
        InvalidRequestError: A size has no price, or there is no target size.
    """
    if isinstance(video, ExportRequest):
        known = facts or video.facts or VideoFacts()
        target = Resolution.parse(resolution) if resolution is not None else video.resolution
        sizes = (target, known.resolution, video.original_resolution)
    else:
        known = facts or video
        given = resolution if resolution is not None else known.resolution
        if given is None:
            raise InvalidRequestError(["An estimate needs a target resolution, or the width and height of the source."])
        target = Resolution.parse(given)
        sizes = (target, known.resolution, None)

    target_tier = tariff.tier_index(target)
    dearest_tier = max(tariff.tier_index(size) for size in sizes if size is not None)
    frame_rate = known.priced_frame_rate
    assumptions = []
    if known.duration_s is None:
        assumptions.append(f"The length is unknown: {tariff.duration_max_s // 60} minutes, the longest allowed.")
    if frame_rate is None:
        assumptions.append(
            f"The frame rate is unknown: the highest rate of the {tariff.tiers[dearest_tier].name} tier."
        )

    exact: Fraction | None = None
    if known.duration_s is not None and frame_rate is not None:
        minutes = Fraction(str(known.duration_s)) / 60
        exact = minutes * tariff.credits_per_minute(target_tier, frame_rate)
    duration_s = Fraction(str(known.duration_s)) if known.duration_s is not None else tariff.duration_max_s
    whole_minutes = max(1, math.ceil(Fraction(duration_s) / 60))
    upper = whole_minutes * tariff.credits_per_minute(dearest_tier, frame_rate)
    return CreditQuote(exact, upper, tuple(assumptions))
