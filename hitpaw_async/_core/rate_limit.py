"""A budget of questions per second: when the next one may be asked."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Pace"]

BURST_S: Final = 1.0
"""Unused capacity of this many seconds may be used at once."""


@attrs.define
class Pace:
    """Spaces questions out. The generic cell rate algorithm (ITU-T I.371): one figure, no timer, nothing to refill."""

    rate_hz: float
    _next_at: float = float("-inf")

    def take(self, now: float) -> float:
        """Take the next free moment. Returns how many seconds from `now` it is."""
        self._next_at = max(self._next_at, now - BURST_S) + 1 / self.rate_hz
        return max(0.0, self._next_at - now)
