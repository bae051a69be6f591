"""Returns part of a charge once the result is there and its length can be read.

The vendor tells no charge in v3, so the worst case counts as spent. If only the length was unknown of a
source, that is ten minutes, whatever it lasts. A result lasts as long as its source: so the charge was at most the
price of so many whole minutes, at the size and the frame rate that were known.

The rule: such a charge becomes the price of the whole minutes of the result's length and one second, which is more than
containers differ by. It is never more than was set aside, and never less than one minute. It is kept as it is where the
vendor told what it charged, where size or frame rate were unknown as well, where parts of the source contradict each
other on its length, and where the result's length can't be read.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._core.pricing import estimate

if TYPE_CHECKING:
    from hitpaw_async.models import ExportRequest, VideoFacts

__all__ = ["credits_at_most", "credits_per_minute"]

LENGTH_SLACK_S: Final = 1
"""Seconds by which a source may be longer than its result."""

MINUTE_S: Final = 60


def credits_per_minute(request: ExportRequest, facts: VideoFacts) -> int | None:
    """Return the worst price of a whole minute, if only the length is unknown; None otherwise."""
    is_length_unknown = facts.duration_s is None and facts.duration_max_s is None
    is_size_known = facts.resolution is not None or request.original_resolution is not None
    if not is_length_unknown or not is_size_known or facts.priced_frame_rate is None:
        return None
    return estimate(request, facts=attrs.evolve(facts, duration_s=MINUTE_S)).upper


def credits_at_most(charged: int, *, minute_credits: int | None, result_s: float | None) -> int:
    """Return the upper bound that a result's length proves for a charge.

    Args:
        charged: Credits that count as charged.
        minute_credits: Result of `credits_per_minute` when it was set aside.
        result_s: The longest that the result may be said to last, in seconds; None where that can't be read.
    """
    if minute_credits is None or result_s is None or not 0 < result_s < math.inf:
        return charged
    minutes = math.ceil((Fraction(str(result_s)) + LENGTH_SLACK_S) / MINUTE_S)
    return min(charged, minutes * minute_credits)
