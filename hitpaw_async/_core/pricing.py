"""Prices of videos: dated tariff tables, and a quote from the known facts."""

from __future__ import annotations

import datetime
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import CreditQuote, ExportRequest, Resolution, ResolutionLike, VideoFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["V3_TARIFF", "FrameRateBand", "Tariff", "Tier", "estimate"]

RATE_ROUNDING: Final = Fraction(5, 1000)
"""Tolerance above a band's highest frame rate."""


@attrs.frozen
class Tier:
    """A size class: a video belongs to the first tier that holds it, whichever way round it lies."""

    name: str
    long_side: int
    short_side: int

    def holds(self, resolution: Resolution) -> bool:
        """Tell if both sides fit, in either orientation: a portrait costs the same as the landscape."""
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

    def band_index(self, frame_rate: Fraction) -> int:
        """The index of the band that a frame rate belongs to."""
        below = (index for index, band in enumerate(self.bands) if band.rate_max is None or frame_rate <= band.rate_max)
        return next(below, len(self.bands) - 1)

    def likely_rate(self, frame_rate: Fraction) -> Fraction:
        """The rate that is likely to be priced: a band's highest where it is exceeded by rounding alone.

        Telephones and cameras that mean 30 record 30.02.
        """
        edges = (Fraction(band.rate_max) for band in self.bands if band.rate_max is not None)
        return next((edge for edge in edges if edge < frame_rate <= edge * (1 + RATE_ROUNDING)), frame_rate)

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
    """Quote the price of enhancing a video. Pure: nothing is sent.

    Args:
        video: A request (with its own `facts`, unless `facts` is given), or facts alone.
        facts: Known facts of the source, in place of the request's.
        resolution: The target size. Required only with facts that lack the source's size; without it the target is
            taken to be the source's size.
        tariff: The price table.

    Returns:
        `exact` by the second at the target's tier, and `upper`, which a budget reserves: whole minutes, rounded up and
        at least one, at the dearer of the target's and the source's tier. What is unknown is taken at the worst that
        the vendor's limits allow, the source's size included; what parts of the file tell differently, at the worst of
        them. `assumptions` says so. `exact` needs no source size.

    Raises:
        InvalidRequestError: A size has no price, or there is no target size.
    """
    if isinstance(video, ExportRequest):
        known = facts or video.facts or VideoFacts()
        target = Resolution.parse(resolution) if resolution is not None else video.resolution
        told_sizes = (known.resolution, video.original_resolution)
    else:
        known = facts or video
        given = resolution if resolution is not None else known.resolution
        if given is None:
            raise InvalidRequestError(["An estimate needs a target resolution, or the width and height of the source."])
        target = Resolution.parse(given)
        told_sizes = (known.resolution, None)

    target_tier = tariff.tier_index(target)
    # Whether the vendor prices the target or the source is not said, so a source of unknown size is the largest one.
    source_tiers = [tariff.tier_index(size) for size in told_sizes if size is not None] or [len(tariff.tiers) - 1]
    dearest_tier = max(target_tier, *source_tiers)
    assumptions = []
    if not any(told_sizes) and dearest_tier > target_tier:
        assumptions.append(
            f"The source's size is unknown: {tariff.tiers[dearest_tier].name}, the largest that is accepted."
        )
    assumptions += _unknowns(known, tariff, dearest_tier)
    frame_rate = known.priced_frame_rate
    exact: Fraction | None = None
    if known.duration_s is not None and frame_rate is not None:
        minutes = Fraction(str(known.duration_s)) / 60
        exact = minutes * tariff.credits_per_minute(target_tier, _likely_rate(known, tariff))

    worst = _worst(known, tariff, dearest_tier)
    assumptions += worst.reasons
    whole_minutes = max(1, math.ceil(worst.duration_s / 60))
    upper = whole_minutes * tariff.credits_per_minute(worst.tier_index, worst.frame_rate)
    return CreditQuote(exact, upper, tuple(assumptions))


def _likely_rate(known: VideoFacts, tariff: Tariff) -> Fraction | None:
    """The rate that is likely to be priced: a person's figure as it is, a measured one but for its rounding."""
    rate = known.priced_frame_rate
    return rate if rate is None or known.frame_rate_max is None else tariff.likely_rate(rate)


def _unknowns(known: VideoFacts, tariff: Tariff, tier_index: int) -> Iterator[str]:
    if known.duration_s is None:
        yield f"The length is unknown: {tariff.duration_max_s // 60} minutes, the longest allowed."
    if known.priced_frame_rate is None:
        yield f"The frame rate is unknown: the highest rate of the {tariff.tiers[tier_index].name} tier."


@attrs.frozen
class _Worst:
    """The dearest reading of a video's file."""

    duration_s: Fraction
    frame_rate: Fraction | None
    tier_index: int
    reasons: tuple[str, ...]


def _worst(known: VideoFacts, tariff: Tariff, tier_index: int) -> _Worst:
    """The dearest reading of what is known; one sentence for each that raises the price."""
    reasons = []
    longest = Fraction(tariff.duration_max_s)
    duration_s = longest if known.duration_s is None else Fraction(str(known.duration_s))
    if known.duration_max_s is not None:
        # A video of more than the longest is not accepted, and so not charged.
        other_s = min(Fraction(str(known.duration_max_s)), max(longest, duration_s))
        if math.ceil(other_s / 60) > max(1, math.ceil(duration_s / 60)):
            reasons.append(
                f"The file contradicts itself on its length: {float(duration_s):g} s is likely,"
                f" {known.duration_max_s:g} s is the longest that a track, header, edit list or frame count of it says."
            )
        duration_s = max(duration_s, other_s)
    frame_rate = known.priced_frame_rate
    if frame_rate is not None:
        highest = max(frame_rate, known.frame_rate_max or frame_rate)
        likely = _likely_rate(known, tariff)
        if likely is not None and tariff.band_index(highest) > tariff.band_index(likely):
            limit = max(band.rate_max for band in tariff.bands if band.rate_max is not None and band.rate_max < highest)
            reasons.append(
                f"The frame rate may be counted as {float(highest):.6g}, which is above {limit};"
                f" {float(likely):.6g} is likely."
            )
        frame_rate = highest
    if known.resolution_max is not None:
        holding = (index for index, tier in enumerate(tariff.tiers) if tier.holds(known.resolution_max))
        other_tier = next(holding, len(tariff.tiers) - 1)
        if other_tier > tier_index:
            reasons.append(f"One of its tracks has pictures of {known.resolution_max}.")
        tier_index = max(tier_index, other_tier)
    return _Worst(duration_s, frame_rate, tier_index, tuple(reasons))
