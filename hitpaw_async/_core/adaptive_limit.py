"""Adapts the number of jobs in flight: up while the vendor keeps pace, down when it doesn't.

Before the first congestion it doubles: V. Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988. At congestion it
goes down by a share, and then looks for the place in between by halving the distance to where congestion was, and only
beyond that feels its way, a little and then more: L. Xu, K. Harfoush and I. Rhee, "Binary Increase Congestion Control
for Fast Long-Distance Networks", INFOCOM 2004. One more place a round (D.-M. Chiu and R. Jain, 1989) would be too slow
here, as it is there: a round lasts as long as a job, minutes, so what was given up would be missed for hours.

Congestion is an HTTP 429, or exports that take much longer than they used to: L. S. Brakmo and L. L. Peterson, "TCP
Vegas", IEEE JSAC 13(8), 1995, with the long-term mean as the measure, as in Netflix's concurrency-limits (Gradient2).

It only says how many places there are. What a place may spend, and what becomes of it in a crash, is none of its
business. No clock: a round is as many accepted exports as there are places.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["AdaptiveLimit"]

DECREASE: Final = 1 / 8
"""Share given up at congestion. Source: Xu et al., section V."""

STEP_MIN: Final = 1.0
"""Places a round, once the distance to the last congestion is less."""

STEP_MAX: Final = 32.0
"""Places a round at most. Source: Xu et al., section V."""

TOLERANCE: Final = 2.0
"""Exports may take so many times as long as they used to."""

SHORT_SHARE: Final = 1 / 8
"""Weight of one export in the mean of the last few."""

LONG_SHARE: Final = 1 / 256
"""Weight of one export in the usual mean."""

SETTLING: Final = 16
"""Exports after a decrease until the mean of the last few is one of those since."""

SAMPLES_MIN: Final = 16
"""Exports before there is something usual."""

LATENCY_MIN_S: Final = 0.001
"""Below that, latency is noise of ours."""


@attrs.define
class AdaptiveLimit:
    """Number of jobs allowed in flight, adapted to export latency and HTTP 429.

    Args:
        limit: How many there are at first.
        limit_max: The most there may be.
    """

    _limit: float
    limit_max: int
    _peak: float = math.inf
    """Limit at the last congestion; infinite until the first one."""
    _settling: int = 0
    """Accepted exports until the latency tells of the places that there are now."""
    _short_s: float = 0.0
    _long_s: float = 0.0
    _samples: int = 0

    @property
    def places(self) -> int:
        """Number of jobs that may be in flight."""
        return int(self._limit)

    def accepted(self, latency_s: float, *, in_flight: int) -> None:
        """An export was accepted.

        Args:
            latency_s: From its first byte to its answer.
            in_flight: How many places are taken. If many are free, more of them prove nothing.
        """
        is_slow = self._is_slow(max(latency_s, LATENCY_MIN_S))
        if in_flight <= self._limit:
            self._settling = max(0, self._settling - 1)
        if is_slow and not self._settling:
            self._decrease(in_flight)
        elif not is_slow and 2 * in_flight >= self._limit:
            self._limit = min(self._limit + self._step() / self._limit, float(self.limit_max))

    def throttled(self, *, in_flight: int) -> None:
        """The vendor said HTTP 429.

        Args:
            in_flight: How many places are taken. If these are more than the limit, the last decrease has not taken
                effect yet: ignored.
        """
        self._decrease(in_flight)

    def _step(self) -> float:
        """Places to be added in a round."""
        if math.isinf(self._peak):
            return self._limit
        return min(max(abs(self._peak - self._limit) / (2 if self._limit < self._peak else 1), STEP_MIN), STEP_MAX)

    def _is_slow(self, latency_s: float) -> bool:
        self._samples += 1
        if self._samples == 1:
            self._short_s = self._long_s = latency_s
        self._short_s += (latency_s - self._short_s) * SHORT_SHARE
        # At first the plain mean: what is usual must not be what the first one happened to be.
        self._long_s += (latency_s - self._long_s) * max(LONG_SHARE, 1 / self._samples)
        return self._samples > SAMPLES_MIN and self._short_s > TOLERANCE * self._long_s

    def _decrease(self, in_flight: int) -> None:
        if in_flight > self._limit:
            return
        # What is in flight has met the congestion, not what might have been: M. Allman et al., RFC 5681, section 3.1.
        met = max(float(in_flight), self._limit / 2)
        # Less than last time: there may be less room than there was, and it is given up the sooner.
        is_lower = met < self._peak < math.inf
        self._peak = met * (1 - DECREASE / 2) if is_lower else met
        self._limit = max(1.0, met * (1 - DECREASE))
        self._settling = SETTLING
