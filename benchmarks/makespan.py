"""Makespan of 10,000 jobs, over that of list scheduling for the same jobs in flight. In virtual time.

    python -m benchmarks.makespan

The bound knows the moment at which a job ends; the batch must ask. What lies between is detection delay: a place is
empty from the end of a job to the poll that finds it. So the ratio is 1 + delay / duration: the longer, the smaller.
"""

from __future__ import annotations

import math
import random
import statistics
from typing import TYPE_CHECKING

import trio
import trio.testing

from benchmarks.stub_vendor import StubCalls, batch_on, list_scheduled_s, requests
from hitpaw_async import BatchLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["durations_s", "makespan_s", "measure"]


def durations_s(seed: int, jobs: int, mean_s: float) -> tuple[list[float], list[float]]:
    """Lengths of sources, and how long their jobs take: the length predicts all but sigma 0.3."""
    rng = random.Random(seed)
    lengths_s = [30 * math.exp(rng.gauss(0, 0.6)) for _ in range(jobs)]
    durations_s = [length_s * math.exp(rng.gauss(0, 0.3)) for length_s in lengths_s]
    scale = mean_s / statistics.fmean(durations_s)
    return lengths_s, [duration_s * scale for duration_s in durations_s]


def makespan_s(lengths_s: list[float], durations_s: list[float], *, in_flight: int) -> float:
    """How long a batch takes, in virtual seconds."""
    by_key: dict[str, float] = {}

    async def run() -> float:
        began_at_s = trio.current_time()
        calls = StubCalls(lambda request: by_key.pop(request.key))
        limits = BatchLimits(jobs_in_flight=in_flight, submissions=16, polls=16)

        def noted() -> Iterator[object]:
            for request, duration_s in zip(requests(iter(lengths_s)), durations_s, strict=True):
                by_key[request.key] = duration_s
                yield request

        async with batch_on(calls, None, limits=limits) as batch:
            async for _ in batch.run(noted()):  # type: ignore[arg-type]
                pass
        return trio.current_time() - began_at_s

    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


def measure(*, jobs: int = 10_000, in_flight: int = 100, rounds: int = 1) -> Iterator[dict[str, object]]:
    """A row a mean duration: the median ratio."""
    for mean_s in (120.0, 300.0, 900.0):
        ratios = []
        for seed in range(rounds):
            lengths_s, lasting_s = durations_s(seed, jobs, mean_s)
            bound_s = list_scheduled_s(lasting_s, in_flight)
            ratios.append(makespan_s(lengths_s, lasting_s, in_flight=in_flight) / bound_s)
        yield {
            "jobs": jobs,
            "in_flight": in_flight,
            "duration_mean_s": mean_s,
            "makespan_to_bound": statistics.median(ratios),
        }


def main() -> None:
    """Print the table."""
    for row in measure():
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
