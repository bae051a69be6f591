"""Polls against delay: the learned plan, a fixed interval and exponential backoff on the same jobs, in virtual time.

    python -m benchmarks.polling

A pure simulation of the plan: no network, no event loop. Jobs come and go, so many in flight at once; each policy sees
the same durations. What counts is polls per job times mean detection delay, over the mean duration: it doesn't change
when a policy simply asks more or less often. Counted from the 100th job on.
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._core.durations import Traits
from hitpaw_async._core.poll_plan import PollPlan
from hitpaw_async.policies import PollPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FIXED_S", "WORKLOADS", "Figures", "Policy", "Workload", "measure", "simulate"]

FIXED_S: Final = 10.0
SKIPPED_JOBS: Final = 100
JOBS: Final = 3000
IN_FLIGHT: Final = 32


@attrs.frozen
class SimulatedJob:
    """What a policy may know of a job, and what it may not."""

    traits: Traits
    duration_s: float


@attrs.frozen
class Workload:
    """Jobs of one kind, from one seed."""

    name: str
    draw: Callable[[random.Random, int], SimulatedJob]


@attrs.frozen
class Figures:
    """What a policy came to."""

    polls: float
    """Per job."""
    delay_s: float
    """From the end of a job to the poll that finds it, on average."""
    duration_s: float

    @property
    def product(self) -> float:
        """Polls times delay over duration: half is what any fixed interval comes to."""
        return self.polls * self.delay_s / self.duration_s


class Policy:
    """Says when to ask again, and may learn."""

    def wait_s(self, job: SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        """Seconds to the next poll of a job of this age that was polled so often."""
        raise NotImplementedError

    def saw(self, job: SimulatedJob, from_s: float, to_s: float, *, is_finished: bool) -> None:
        """A poll was answered."""


class Fixed(Policy):
    """Every so many seconds."""

    def wait_s(self, job: SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        return FIXED_S


class Exponential(Policy):
    """Twice as long each time, from 1 s up to 60 s: what generic clients do."""

    def wait_s(self, job: SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        return min(2.0**polls, 60.0)


class Learned(Policy):
    """The plan as the batch uses it."""

    def __init__(self, policy: PollPolicy, seed: int) -> None:
        self._plan = PollPlan(policy)
        self._rng = random.Random(seed)

    def wait_s(self, job: SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        return self._plan.next_wait_s(job.traits, age_s=age_s, in_flight=in_flight, draw=self._rng.random())

    def saw(self, job: SimulatedJob, from_s: float, to_s: float, *, is_finished: bool) -> None:
        learn = self._plan.learn_finished if is_finished else self._plan.learn_running
        learn(job.traits, from_s=from_s, to_s=to_s)


def _lognormal(rng: random.Random, median_s: float, sigma: float) -> float:
    return median_s * math.exp(rng.gauss(0, sigma))


def _any_source(rng: random.Random) -> Traits:
    return Traits(rng.choice(("17/hd", "17/4k", "21/hd", "21/4k")), _lognormal(rng, 90, 0.8))


def _unrelated(median_s: float) -> Callable[[random.Random, int], SimulatedJob]:
    return lambda rng, _: SimulatedJob(_any_source(rng), _lognormal(rng, median_s, 0.6))


_PACE: Final = {"17/hd": 1.2, "17/4k": 3.5, "21/hd": 2.0, "21/4k": 7.0}
"""Seconds of work for a second of video."""


def _predictable(rng: random.Random, _: int) -> SimulatedJob:
    traits = _any_source(rng)
    return SimulatedJob(traits, _PACE[traits.group] * (traits.source_s or 0) * math.exp(rng.gauss(0, 0.3)))


def _memoryless(rng: random.Random, _: int) -> SimulatedJob:
    return SimulatedJob(Traits("17/hd"), rng.expovariate(1 / 240))


def _drifting(rng: random.Random, number: int) -> SimulatedJob:
    median_s = 240 * math.exp(math.sin(2 * math.pi * number / 1000))
    return SimulatedJob(Traits("17/hd"), rng.expovariate(1 / median_s))


def _jumping(rng: random.Random, number: int) -> SimulatedJob:
    return SimulatedJob(Traits("17/hd"), _lognormal(rng, 600 if number // 500 % 2 else 100, 0.4))


def _bimodal(rng: random.Random, _: int) -> SimulatedJob:
    return SimulatedJob(Traits("17/hd"), _lognormal(rng, 60 if rng.random() < 0.5 else 600, 0.25))


WORKLOADS: Final = (
    Workload("unrelated to the source, sigma 0.6, median 240 s", _unrelated(240)),
    Workload("unrelated to the source, sigma 0.6, median 120 s", _unrelated(120)),
    Workload("unrelated to the source, sigma 0.6, median 600 s", _unrelated(600)),
    Workload("length, tier, model predict all but sigma 0.3", _predictable),
    Workload("memoryless, mean 240 s", _memoryless),
    Workload("memoryless and drifting, 90 to 650 s", _drifting),
    Workload("jumping between 100 s and 600 s", _jumping),
    Workload("bimodal, 60 s or 600 s", _bimodal),
)


def simulate(workload: Workload, policy: Policy, *, seed: int, jobs: int = JOBS, in_flight: int = IN_FLIGHT) -> Figures:
    """Run a workload under a policy."""
    rng = random.Random(f"{workload.name} {seed}")
    numbers = iter(range(jobs))
    drawn = (workload.draw(rng, number) for number in range(jobs))
    heap: list[tuple[float, int, float, float, int, SimulatedJob]] = []

    def start(now_s: float) -> None:
        number = next(numbers, None)
        if number is not None:
            job = next(drawn)
            heapq.heappush(heap, (now_s + policy.wait_s(job, 0.0, 0, in_flight), number, now_s, 0.0, 0, job))

    for _ in range(in_flight):
        start(0.0)
    counted: list[tuple[int, float, float]] = []
    while heap:
        now_s, number, began_s, asked_s, polls, job = heapq.heappop(heap)
        age_s, polls = now_s - began_s, polls + 1
        is_finished = age_s >= job.duration_s
        policy.saw(job, asked_s, age_s, is_finished=is_finished)
        if not is_finished:
            due_s = now_s + policy.wait_s(job, age_s, polls, in_flight)
            heapq.heappush(heap, (due_s, number, began_s, age_s, polls, job))
            continue
        if number >= SKIPPED_JOBS:
            counted.append((polls, age_s - job.duration_s, job.duration_s))
        start(now_s)
    polls_mean, delay_s, duration_s = (statistics.fmean(column) for column in zip(*counted, strict=True))
    return Figures(polls_mean, delay_s, duration_s)


def measure(*, rounds: int = 15, jobs: int = JOBS, poll: PollPolicy | None = None) -> Iterator[dict[str, object]]:
    """A row a workload: medians over rounds, the policies interleaved on the same jobs, ratios within a round."""
    for workload in WORKLOADS:
        results: list[tuple[Figures, Figures, Figures]] = []
        for seed in range(rounds):
            learned = simulate(workload, Learned(poll or PollPolicy(), seed), seed=seed, jobs=jobs)
            fixed = simulate(workload, Fixed(), seed=seed, jobs=jobs)
            exponential = simulate(workload, Exponential(), seed=seed, jobs=jobs)
            results.append((learned, fixed, exponential))
        yield {
            "workload": workload.name,
            "learned_product": statistics.median(learned.product for learned, _, _ in results),
            "fixed_product": statistics.median(fixed.product for _, fixed, _ in results),
            "exponential_product": statistics.median(exponential.product for _, _, exponential in results),
            "polls_to_fixed": statistics.median(learned.polls / fixed.polls for learned, fixed, _ in results),
            "delay_to_fixed": statistics.median(learned.delay_s / fixed.delay_s for learned, fixed, _ in results),
            "product_to_fixed": statistics.median(learned.product / fixed.product for learned, fixed, _ in results),
        }


def main() -> None:
    """Print the table."""
    print(
        f"{'':50} {'product':>8} {'fixed':>7} {'expon.':>7} | learned / fixed: {'polls':>6} {'delay':>6} {'product':>8}"
    )
    for row in measure():
        print(
            f"{row['workload']:50} {row['learned_product']:8.3f} {row['fixed_product']:7.3f}"
            f" {row['exponential_product']:7.3f} | {'':16} {row['polls_to_fixed']:6.2f} {row['delay_to_fixed']:6.2f}"
            f" {row['product_to_fixed']:8.2f}"
        )


if __name__ == "__main__":
    main()
