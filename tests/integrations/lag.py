"""How late an event loop is: measured inside a service, while it works."""

from __future__ import annotations

import time

import anyio

INTERVAL_S = 0.005


class LagMeter:
    """Sleeps for a moment again and again, and notes how much longer it took."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []

    async def run(self) -> None:
        while True:
            began_at = time.perf_counter()
            await anyio.sleep(INTERVAL_S)
            self._lags_s.append(time.perf_counter() - began_at - INTERVAL_S)

    def figures(self) -> dict[str, float]:
        """Milliseconds, since the start."""
        lags = sorted(self._lags_s)
        if not lags:
            return {"samples": 0}
        at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        figures = {
            name: round(1000 * lags[min(len(lags) - 1, int(share * len(lags)))], 2) for name, share in at.items()
        }
        return {**figures, "samples": len(lags)}
