"""Decides when to retry a result that its host refuses, and when to believe that it is gone.

A host that hands results out may get them late, cache that it had none, or answer 404, 403 or a text while it is down.
A paid result counts as lost only once it was refused for a good while, not after a number of attempts.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Refusals", "next_look_s"]

PAUSE_FIRST_S: Final = 2.0
PAUSE_MAX_S: Final = 60.0
OLD_S: Final = 24 * 3600.0
"""The age of a job from which its result can't be late any more: it is more probable that it was deleted."""
OLD_SHARE: Final = 0.1
"""Of the time that is looked again, for such a job. An outage may be going on all the same."""


@attrs.frozen
class Refusals:
    """Refusals of one result in a row."""

    first_at: float
    """Time of the first one, in seconds of any clock."""
    count: int


def next_look_s(refusals: Refusals, *, now: float, age_s: float, gone_after_s: float) -> float | None:
    """Return the seconds to wait before the next attempt; None after enough attempts.

    Args:
        refusals: The refusals in a row, the last of them `now`.
        now: By the same clock.
        age_s: How long ago the job was accepted.
        gone_after_s: How long it is looked.
    """
    longest_s = gone_after_s * (OLD_SHARE if age_s > OLD_S else 1.0)
    left_s = refusals.first_at + longest_s - now
    if left_s <= 0:
        return None
    pause_s = min(PAUSE_FIRST_S * 2.0 ** min(refusals.count - 1, 60), PAUSE_MAX_S)
    return min(pause_s, left_s)
