"""The videos of a seed: what is told of them, what they really are, and what they cost by a price table of its own.

The table is the vendor's, written down a second time: it must not share a mistake with the library's.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import ExportRequest, VideoFacts

if TYPE_CHECKING:
    import random

__all__ = ["Video", "draw_videos", "real_price", "worst_price"]

TIERS: Final = ((1280, 720), (1920, 1080), (3840, 2160), (7680, 4320))
PRICES: Final = ((30, (1, 2, 3, 4)), (60, (2, 4, 6, 8)), (math.inf, (4, 8, 12, 16)))
"""Credits a minute for each tier, up to a frame rate."""

LARGEST: Final = TIERS[-1]
SIZES: Final = ((1280, 720), (720, 1280), (1920, 1080), (640, 360), (3840, 2160), (7680, 4320))
RATES: Final = (Fraction(24), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60), Fraction(120))


@attrs.frozen(kw_only=True)
class Video:
    """One video, and what becomes of it at the vendor."""

    number: int
    duration_s: float
    frame_rate: Fraction
    source: tuple[int, int]
    target: tuple[int, int]
    told: VideoFacts | None
    """What the request says of it."""
    has_key: bool
    priority: int
    is_unusable: bool
    """The vendor cannot fetch it: refused, never charged."""
    is_unreadable: bool
    """Probing finds no video; where nobody probes, it is one like the others."""
    is_doomed: bool
    """The vendor accepts it, and its job ends in ERROR."""

    @property
    def path(self) -> str:
        return f"/v{self.number}.mp4"

    def request(self, signature: int = 0) -> ExportRequest:
        """The request for it. Another signature is the same video only where the key is given."""
        url = f"https://videos.example{self.path}?sig={signature if self.has_key else 0}"
        key = f"video-{self.number}" if self.has_key else None
        return self._request(url, key)

    def impostor(self) -> ExportRequest:
        """Another video under this one's key."""
        return self._request(f"https://videos.example/other{self.number}.mp4?sig=0", self.request().key)

    def _request(self, url: str, key: str | None) -> ExportRequest:
        return ExportRequest(url, model=17, resolution=self.target, facts=self.told, priority=self.priority, key=key)

    @property
    def breaks_limit(self) -> bool:
        """Whether what is told of it breaks a documented limit: rejected before anything is spent."""
        return self.told is not None and (self.told.duration_s or 0) > 600


def draw_videos(rng: random.Random, count: int) -> tuple[Video, ...]:
    """The videos of a seed."""
    return tuple(_draw(rng, number) for number in range(count))


def _draw(rng: random.Random, number: int) -> Video:
    duration_s = rng.choice((5.0, 30.0, 59.9, 60.0, 60.1, 95.5, 240.0, 600.0))
    frame_rate, source, target = rng.choice(RATES), rng.choice(SIZES), rng.choice(SIZES)
    width, height = source
    told: VideoFacts | None = VideoFacts(duration_s=duration_s, frame_rate=frame_rate, width=width, height=height)
    if rng.random() < 0.06:
        told = VideoFacts(duration_s=700.0)
    elif rng.random() < 0.15:
        lengthless = VideoFacts(frame_rate=frame_rate, width=width, height=height)
        told = rng.choice((None, VideoFacts(duration_s=duration_s), VideoFacts(frame_rate=frame_rate), lengthless))
    return Video(
        number=number,
        duration_s=duration_s,
        frame_rate=frame_rate,
        source=source,
        target=target,
        told=told,
        has_key=rng.random() < 0.7,
        priority=rng.choice((0, 0, 0, 5)),
        is_unusable=rng.random() < 0.06,
        is_unreadable=rng.random() < 0.05,
        is_doomed=rng.random() < 0.1,
    )


def real_price(video: Video) -> int:
    """What the vendor charges: whole minutes at the dearer of source and target, whatever it was told of the source."""
    tier = max(_tier(video.source), _tier(video.target))
    return _minutes(video.duration_s) * _rate(tier, video.frame_rate)


def worst_price(video: Video) -> int:
    """The most it may cost, by what is told of it: what is not told is the worst that is accepted."""
    told = video.told or VideoFacts()
    source = LARGEST if told.width is None or told.height is None else (told.width, told.height)
    duration_s = 600.0 if told.duration_s is None else told.duration_s
    return _minutes(duration_s) * _rate(max(_tier(source), _tier(video.target)), told.frame_rate)


def _minutes(duration_s: float) -> int:
    return max(1, math.ceil(duration_s / 60))


def _tier(size: tuple[int, int]) -> int:
    return next(
        index
        for index, (long_side, short_side) in enumerate(TIERS)
        if max(size) <= long_side and min(size) <= short_side
    )


def _rate(tier: int, frame_rate: Fraction | None) -> int:
    rate = math.inf if frame_rate is None else frame_rate
    return next(prices[tier] for rate_max, prices in PRICES if rate <= rate_max)
