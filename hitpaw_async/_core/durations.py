"""Expected duration of a job, learned from the jobs that finished. No clock, no jobs: figures in, figures out.

A regression of the logarithm of the duration on the logarithm of the source's seconds, with an intercept for each group
of jobs (a model and a size class) that starts from what all groups have in common. Robust: what lies far off is pulled
in before it is learned (P. J. Huber, "Robust Estimation of a Location Parameter", Ann. Math. Statist. 35(1), 1964).
It forgets, so that it follows a vendor who becomes faster or slower.
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from hitpaw_async._core.foreign_json import Kinds, figures_of, object_of

__all__ = ["DurationModel", "Traits"]

MEMORY_JOBS: Final = 128.0
"""A group's mean weighs about its last so many jobs."""

GROUPS_MAX: Final = 512
"""Groups kept: models times size classes are far fewer. Beyond that a new group is only counted among all."""

SHRINKAGE_JOBS: Final = 2.0
"""As many jobs of a group must have finished before its own mean weighs as much as what all have in common."""

SLOPE_FIRST: Final = 1.0
"""Before anything is known, twice the seconds take twice as long."""

SLOPE_PRIOR: Final = 2.0
"""Spread (variance of the logarithm times jobs) that outweighs `SLOPE_FIRST`."""

SLOPE_MAX: Final = 1.5

OUTLIER_SCALES: Final = 3.0
"""Residuals are clipped to this many mean deviations (Huber)."""

DURATION_MIN_S: Final = 0.001
DURATION_MAX_S: Final = 1e9
"""No job is expected to take less or longer, whatever was learned: figures in expected durations stay finite."""

SCALE_SHARE: Final = 1 / 32
"""Weight of one job in the mean deviation."""


@attrs.frozen
class Traits:
    """Facts about a job that are known before it runs."""

    group: str
    """Jobs that are alike but for their length: a model and a size class."""
    source_s: float | None = None
    """Length of the source in seconds, where it is known."""


@attrs.define
class _Mean:
    """A forgetting mean of (log seconds of the source, log seconds of the job)."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def add(self, x: float, y: float) -> None:
        self.weight = min(self.weight + 1, MEMORY_JOBS)
        self.x += (x - self.x) / self.weight
        self.y += (y - self.y) / self.weight

    def at(self, x: float, slope: float) -> float:
        return self.y + slope * (x - self.x)


def _seconds(logarithm: float) -> float:
    return math.exp(min(max(logarithm, math.log(DURATION_MIN_S)), math.log(DURATION_MAX_S)))


@attrs.define
class DurationModel:
    """Expects durations, and learns from those that came about."""

    _groups: dict[str, _Mean] = attrs.field(factory=dict)
    _all_known: _Mean = attrs.field(factory=_Mean)
    """All jobs whose source's length is known."""
    _all_unknown: _Mean = attrs.field(factory=_Mean)
    _spread: float = 0.0
    _covariance: float = 0.0
    _scale: float = 1.0
    """Mean deviation of what came about from what was expected (natural logarithms)."""
    _last: tuple[Traits, float | None] | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """Last expectation, kept until something is learned: each poll of a job needs it twice."""

    def expected_s(self, traits: Traits) -> float | None:
        """The duration that half of such jobs exceed, in seconds; None where nothing has finished yet."""
        if self._last is None or self._last[0] != traits:
            self._last = traits, self._expected_s(traits)
        return self._last[1]

    def _expected_s(self, traits: Traits) -> float | None:
        everything = self._everything(traits)
        if not everything.weight:
            # Nothing alike has finished; what is not alike is better than nothing.
            everything = self._all_known if traits.source_s is None else self._all_unknown
            return _seconds(everything.y) if everything.weight else None
        x, slope = _log_source(traits), self._slope()
        expected = everything.at(x, slope)
        own = self._groups.get(_name(traits))
        if own is not None:
            expected += (own.at(x, slope) - expected) * own.weight / (own.weight + SHRINKAGE_JOBS)
        return _seconds(expected)

    def learn(self, traits: Traits, duration_s: float) -> None:
        """A job with these traits took `duration_s` seconds (more than 0)."""
        x, y = _log_source(traits), math.log(duration_s)
        expected_s = self.expected_s(traits)
        if expected_s is not None:
            y = self._pulled_in(y, math.log(expected_s))
        self._last = None
        everything, name = self._everything(traits), _name(traits)
        own = self._groups.get(name)
        if own is not None:
            self._learn_slope(x - own.x, y - own.y)
        elif len(self._groups) < GROUPS_MAX:
            own = self._groups[name] = _Mean()
        everything.add(x, y)
        if own is not None:
            own.add(x, y)

    def _everything(self, traits: Traits) -> _Mean:
        return self._all_unknown if traits.source_s is None else self._all_known

    def _pulled_in(self, y: float, expected: float) -> float:
        reach = OUTLIER_SCALES * self._scale
        residual = y - expected
        self._scale += (min(abs(residual), 3.0) - self._scale) * SCALE_SHARE
        return expected + min(max(residual, -reach), reach)

    def _learn_slope(self, x: float, y: float) -> None:
        """Learn from a job's distance to the means of its group: groups differ in their lengths, too."""
        kept = 1 - 1 / (4 * MEMORY_JOBS)
        self._spread = self._spread * kept + x * x
        self._covariance = self._covariance * kept + x * y

    def _slope(self) -> float:
        slope = (self._covariance + SLOPE_PRIOR * SLOPE_FIRST) / (self._spread + SLOPE_PRIOR)
        return min(max(slope, 0.0), SLOPE_MAX)

    def to_state(self) -> dict[str, Any]:
        """Return the learned state as plain values."""
        return {
            "groups": {name: _rounded(mean) for name, mean in self._groups.items()},
            "known": _rounded(self._all_known),
            "unknown": _rounded(self._all_unknown),
            "slope": [self._spread, self._covariance, self._scale],
        }

    @classmethod
    def from_state(cls, state: object) -> DurationModel:
        """Restore the state that `to_state` returned.

        Raises:
            ValueError: It is no such thing.
        """
        told = object_of(state, _KINDS, required=_KINDS)
        groups = {name: _mean(figures) for name, figures in told["groups"].items()}
        spread, covariance, scale = _finite(told["slope"], 3)
        model = cls(groups, _mean(told["known"]), _mean(told["unknown"]), spread, covariance, scale)
        if len(groups) > GROUPS_MAX or spread < 0 or scale < 0:
            raise ValueError("not what was learned of durations")
        return model


_KINDS: Final[dict[str, Kinds]] = {"groups": (dict,), "known": (list,), "unknown": (list,), "slope": (list,)}


def _name(traits: Traits) -> str:
    return traits.group if traits.source_s is not None else f"{traits.group}?"


def _log_source(traits: Traits) -> float:
    return 0.0 if traits.source_s is None else math.log(max(traits.source_s, 1e-3))


def _rounded(mean: _Mean) -> list[float]:
    return [round(figure, 6) for figure in (mean.weight, mean.x, mean.y)]


def _mean(figures: object) -> _Mean:
    weight, x, y = _finite(figures, 3)
    if not 0 <= weight <= MEMORY_JOBS or abs(x) > 100 or abs(y) > 100:
        raise ValueError("not a mean of logarithms")
    return _Mean(weight, x, y)


def _finite(figures: object, count: int) -> list[float]:
    values = figures_of(figures)
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"not {count} finite figures")
    return values
