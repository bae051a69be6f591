"""How many jobs may be in flight, found out by trying: up while the vendor keeps pace, down when it doesn't.

Additive increase and multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms
for Congestion Avoidance in Computer Networks", Computer Networks and ISDN Systems 17(1), 1989; before the first
congestion it doubles, as V. Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988. Congestion is an HTTP 429, or
exports that take much longer than they used to: L. S. Brakmo and L. L. Peterson, "TCP Vegas", IEEE JSAC 13(8), 1995,
with the long-term mean as the measure, as in Netflix's concurrency-limits (Gradient2).

It only says how many places there are. What a place may spend, and what becomes of it in a crash, is none of its
business. No clock: a round is as many accepted exports as there are places.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["AdaptiveLimit"]

DECREASE: Final = 0.5
TOLERANCE: Final = 2.0
"""Exports may take so many times as long as they used to."""

SHORT_SHARE: Final = 1 / 8
"""How much one export moves the mean of the last few."""

LONG_SHARE: Final = 1 / 256
"""How much one export moves the mean of what is usual."""

SAMPLES_MIN: Final = 16
"""Exports before there is something usual."""

LATENCY_MIN_S: Final = 0.001
"""Below that, latency is noise of ours."""


@attrs.define
class AdaptiveLimit:
    """The number of places, as it follows what exports say.

    Args:
        limit: How many there are at first.
        limit_max: The most there may be.
    """

    _limit: float
    limit_max: int
    _is_doubling: bool = True
    """Until the first congestion."""
    _wait: float = 0.0
    """Accepted exports until a decrease may follow the last one: its effect must show first."""
    _short_s: float = 0.0
    _long_s: float = 0.0
    _samples: int = 0

    @property
    def places(self) -> int:
        """How many jobs may be in flight."""
        return int(self._limit)

    def accepted(self, latency_s: float, *, in_flight: int) -> None:
        """An export was accepted.

        Args:
            latency_s: From its first byte to its answer.
            in_flight: How many places are taken. Where many are free, more of them prove nothing.
        """
        self._wait -= 1
        if self._is_slow(max(latency_s, LATENCY_MIN_S)):
            self._decrease()
        elif 2 * in_flight >= self._limit:
            self._limit = min(self._limit + (1.0 if self._is_doubling else 1 / self._limit), float(self.limit_max))

    def throttled(self) -> None:
        """The vendor said HTTP 429."""
        self._decrease()

    def _is_slow(self, latency_s: float) -> bool:
        self._samples += 1
        if self._samples == 1:
            self._short_s = self._long_s = latency_s
        self._short_s += (latency_s - self._short_s) * SHORT_SHARE
        # At first the plain mean: what is usual must not be what the first one happened to be.
        self._long_s += (latency_s - self._long_s) * max(LONG_SHARE, 1 / self._samples)
        return self._samples > SAMPLES_MIN and self._short_s > TOLERANCE * self._long_s

    def _decrease(self) -> None:
        if self._wait > 0:
            return
        self._is_doubling = False
        self._limit = max(1.0, self._limit * DECREASE)
        self._wait = self._limit
