"""Plans the next poll of a job: often while its end is likely, seldom while it is not.

Asking costs a call, not asking costs delay. With a call worth `lambda` seconds of delay, the best density of questions
at an age is sqrt(hazard / (2 lambda)): J. B. Keller, "Optimum Checking Schedules for Systems Subject to Random
Failure", Management Science 21(3), 1974; the exact schedule that it approximates is R. E. Barlow, L. C. Hunter and
F. Proschan, "Optimum Checking Procedures", J. SIAM 11(4), 1963. So the interval is about sqrt(2 lambda / hazard).

The hazard is learned from every answer, "not yet" included, in bins of the logarithm of age over expected duration:
events over exposure, from a weak prior that knows no ageing, with forgetting. `lambda` is not set: it follows from how
many questions a second the jobs in flight may cost.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Final, Self

from hitpaw_async._core.durations import DurationModel, Traits
from hitpaw_async._core.foreign_json import NUMBER, Kinds, figures_of, object_of

if TYPE_CHECKING:
    from hitpaw_async.policies import PollPolicy

__all__ = ["PollPlan", "next_wait_s"]

AGE_SHARE = 0.1
"""The interval is this share of the job's age: the answer is late by at most a tenth of the job's duration."""

VENDOR_INTERVAL_MAX_S: Final = 10.0
"""Source: the vendor's platform recommends 5 to 10 s for video."""

BIN_WIDTH: Final = 0.2
"""Of the natural logarithm of age over expected duration."""

BIN_FIRST: Final = -3.0
"""The lower edge of the first bin: a twentieth of what is expected. Younger jobs belong to it, too."""

BINS: Final = 30
"""So the last one begins at 18 times what is expected, and never ends."""

PRIOR_JOBS: Final = 3.0
"""The prior weighs as much as so many jobs."""

PRIOR_HAZARD: Final = 0.7
"""Events per expected duration: half of the jobs take longer than what is expected, ln 2 without ageing."""

MEMORY_JOBS: Final = 400.0
"""The hazard weighs about the last so many jobs that finished."""

FRESH_MAX: Final = 32
"""Answers of "not yet" that are gathered before they count: one by one they change little."""

WEIGHT_MAX: Final = 1e9
"""Newer answers weigh more instead of older ones less; at this weight all are scaled down."""

VERSION: Final = 1
_KINDS: Final[dict[str, Kinds]] = {
    "version": (int,),
    "finished": (int,),
    "seconds": NUMBER,
    "bins": (list,),
    "durations": (dict,),
}

_EDGES: Final = (*(math.exp(BIN_FIRST + BIN_WIDTH * number) for number in range(1, BINS)), math.inf)
"""Upper edges of the bins, in expected durations."""

_WIDTHS: Final = tuple(
    upper - lower for lower, upper in itertools.pairwise((0.0, *_EDGES[:-1], math.exp(BIN_FIRST + BIN_WIDTH * BINS)))
)
"""Width of each bin in expected durations; the last one, which never ends, has a nominal width."""


def next_wait_s(policy: PollPolicy, *, age_s: float, draw: float) -> float:
    """Seconds until a job is asked for again where nothing was learned: the vendor's 5 to 10 s.

    Args:
        policy: The floor, the ceiling and the jitter.
        age_s: Seconds since the job was accepted.
        draw: A random number from [0, 1).

    Returns:
        A tenth of the job's age, within the policy's bounds, varied by its jitter (downwards, never under the floor).
    """
    longest_s = min(policy.interval_max_s, max(policy.interval_min_s, VENDOR_INTERVAL_MAX_S))
    interval_s = min(max(age_s * AGE_SHARE, policy.interval_min_s), longest_s)
    return max(policy.interval_min_s, interval_s * (1 - policy.jitter * draw))


class PollPlan:
    """Says when to ask for each of many jobs, and learns from the answers.

    Args:
        policy: The bounds, the mean interval and the budget of questions.
    """

    def __init__(self, policy: PollPolicy) -> None:
        self._policy = policy
        self._durations = DurationModel()
        self._events = [0.0] * BINS
        self._exposure = [0.0] * BINS
        """In expected durations."""
        self._roots = [0.0] * BINS
        """Seconds of exposure over the root of the expected duration: turns roots of bins into roots of hazards."""
        self._seconds = 0.0
        """All exposure."""
        self._weight = 1.0
        self._finished = 0
        self._fresh = 0
        self._densities: list[float] | None = None
        self._mean_density = 0.0

    @property
    def finished(self) -> int:
        """Number of jobs it has learned from."""
        return self._finished

    def next_wait_s(self, traits: Traits, *, age_s: float, in_flight: int, draw: float) -> float:
        """Return the seconds until a job is polled again.

        Args:
            traits: Known facts of it.
            age_s: Seconds since it was accepted; the answer of just now was "not yet".
            in_flight: How many jobs are asked for.
            draw: A random number from [0, 1).

        Returns:
            At least the policy's floor. At most its ceiling, unless the jobs in flight exceed what the budget allows.
        """
        policy = self._policy
        mean_s = max(policy.interval_mean_s, in_flight / policy.rate_max_hz)
        stretch = mean_s / policy.interval_mean_s
        expected_s = self._durations.expected_s(traits)
        if expected_s is None:
            return max(next_wait_s(policy, age_s=age_s, draw=draw), mean_s if stretch > 1 else 0.0)
        # One question is due when the densities since the last one add up to one.
        question = 1 + policy.jitter * (0.5 - draw)
        wait_s = self._until(question * mean_s, age_s / expected_s, expected_s)
        return min(max(wait_s, policy.interval_min_s), policy.interval_max_s * stretch)

    def learn_running(self, traits: Traits, *, from_s: float, to_s: float) -> None:
        """A job that was not finished at age `from_s` was not finished at age `to_s` either."""
        expected_s = self._durations.expected_s(traits)
        if expected_s is None:
            return
        for number, share in _pieces(from_s / expected_s, to_s / expected_s):
            self._expose(number, share, expected_s)
        self._fresh += 1
        if self._fresh == FRESH_MAX:
            self._densities = None

    def learn_finished(self, traits: Traits, *, from_s: float, to_s: float) -> None:
        """A job that was not finished at age `from_s` was at age `to_s`."""
        if not 0 <= from_s < to_s:
            return
        expected_s = self._durations.expected_s(traits)
        if expected_s is not None:
            self._add_event(from_s, to_s, expected_s)
        self._durations.learn(traits, (from_s + to_s) / 2)
        self._finished += 1
        self._densities = None
        self._weight *= 1 + 1 / MEMORY_JOBS
        if self._weight > WEIGHT_MAX:
            self._scale_down()

    def _add_event(self, from_s: float, to_s: float, expected_s: float) -> None:
        """Spread one event over the ages at which it may have happened, by what is known of the hazard there."""
        pieces = list(_pieces(from_s / expected_s, to_s / expected_s))
        likely = [self._hazard(number) * share for number, share in pieces]
        left = total = sum(likely)
        for (number, share), part in zip(pieces, likely, strict=True):
            self._events[number] += self._weight * part / total
            self._expose(number, share * (left - part / 2) / total, expected_s)
            left -= part

    def _expose(self, number: int, share: float, expected_s: float) -> None:
        weighted = self._weight * share
        self._exposure[number] += weighted
        self._roots[number] += weighted * math.sqrt(expected_s)
        self._seconds += weighted * expected_s

    def _hazard(self, number: int) -> float:
        """Events per expected duration in a bin."""
        prior = self._weight * PRIOR_JOBS * _WIDTHS[number]
        return (self._events[number] + prior * PRIOR_HAZARD) / (self._exposure[number] + prior)

    def _refresh(self) -> list[float]:
        densities = [math.sqrt(self._hazard(number)) for number in range(BINS)]
        if self._seconds:
            self._mean_density = math.fsum(map(float.__mul__, densities, self._roots)) / self._seconds
        self._densities, self._fresh = densities, 0
        return densities

    def _until(self, question_s: float, begin: float, expected_s: float) -> float:
        """Seconds from `begin` (in expected durations) until the densities add up to `question_s` mean intervals."""
        densities = self._densities or self._refresh()
        mean_density = self._mean_density * math.sqrt(expected_s) or math.sqrt(PRIOR_HAZARD)
        left = question_s / expected_s * mean_density
        at = begin
        for number in range(_bin(begin), BINS):
            piece = (_EDGES[number] - at) * densities[number]
            if piece >= left:
                return (at + left / densities[number] - begin) * expected_s
            left -= piece
            at = _EDGES[number]
        return math.inf

    def _scale_down(self) -> None:
        for figures in (self._events, self._exposure, self._roots):
            figures[:] = [figure / self._weight for figure in figures]
        self._seconds /= self._weight
        self._weight = 1.0

    def to_text(self) -> str:
        """Return the learned state for a journal: a few kilobytes."""
        self._scale_down()
        bins = [[round(figure, 6) for figure in row] for row in (self._events, self._exposure, self._roots)]
        state = {
            "version": VERSION,
            "finished": self._finished,
            "seconds": round(self._seconds, 3),
            "bins": bins,
            "durations": self._durations.to_state(),
        }
        return json.dumps(state, separators=(",", ":"))

    @classmethod
    def from_text(cls, policy: PollPolicy, text: str | None) -> Self:
        """The plan that `to_text` kept. One of another version, or a damaged one, begins anew: it holds no money."""
        plan = cls(policy)
        try:
            plan._restore(json.loads(text or "{}"))
        except (ValueError, RecursionError):
            return cls(policy)
        return plan

    def _restore(self, state: object) -> None:
        told = object_of(state, _KINDS, required=_KINDS)
        if told["version"] != VERSION:
            raise ValueError("another version")
        rows = [figures_of(row) for row in told["bins"]]
        if [len(row) for row in rows] != [BINS] * 3 or not all(0 <= figure < 1e12 for row in rows for figure in row):
            raise ValueError("not the bins of a plan")
        (seconds,) = figures_of([told["seconds"]])
        if not 0 <= seconds < 1e15:
            raise ValueError("not the exposure of a plan")
        self._durations = DurationModel.from_state(told["durations"])
        self._events, self._exposure, self._roots = rows
        self._seconds, self._finished = seconds, told["finished"]


def _bin(age: float) -> int:
    """The bin of an age in expected durations."""
    if age <= _EDGES[0]:
        return 0
    return min(int((math.log(age) - BIN_FIRST) / BIN_WIDTH), BINS - 1)


def _pieces(begin: float, end: float) -> list[tuple[int, float]]:
    """Yield the length of a stretch of ages in each bin that it crosses."""
    pieces: list[tuple[int, float]] = []
    number = _bin(begin)
    while begin < end:
        upper = min(end, _EDGES[number])
        if upper > begin:
            pieces.append((number, upper - begin))
            begin = upper
        number += 1
    return pieces
