"""What a benchmark returns: rows of the table, each a ratio with its samples and its goal, and series for the plots."""

from __future__ import annotations

import statistics
from typing import Any, Self

import attrs

__all__ = ["Goal", "Options", "Result", "Row", "Series", "quartiles"]


@attrs.frozen(kw_only=True)
class Options:
    """How thoroughly to measure."""

    rounds: int = 15
    """Rounds of what is measured in pairs."""
    is_quick: bool = False
    """Only whether it works: the figures mean nothing."""
    seed: int = 1
    items: int = 100_000
    """The length of the long batch whose memory is measured."""
    width_max: int = 100_000
    """The most jobs in flight."""


@attrs.frozen
class Goal:
    """What a figure must be at most, or at least."""

    sign: str
    bound: float

    @classmethod
    def at_most(cls, bound: float) -> Self:
        """The figure must not exceed `bound`."""
        return cls("<=", bound)

    @classmethod
    def at_least(cls, bound: float) -> Self:
        """The figure must reach `bound`."""
        return cls(">=", bound)

    def is_reached_by(self, figure: float) -> bool:
        """Whether `figure` will do."""
        return figure <= self.bound if self.sign == "<=" else figure >= self.bound

    @classmethod
    def parse(cls, text: str) -> Self:
        """The goal that `str` wrote."""
        sign, bound = text.split()
        return cls(sign, float(bound))

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"


def quartiles(samples: list[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile; of one sample, three times that."""
    if len(samples) == 1:
        return (samples[0],) * 3
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, median, high


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table."""

    name: str
    """Stable, for whoever compares two runs."""
    measure: str
    unit: str
    """Of `ours` and `peer`; the ratio has none."""
    ours: list[float]
    """One figure a round."""
    peer_name: str = ""
    peer: list[float] = attrs.field(factory=list)
    """One figure a round, from the same rounds; empty where the figure itself is what has a goal."""
    goal: Goal | None = None
    """None: a row for comparison."""
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours over the peer's, round by round; ours alone where there is no peer."""
        if not self.peer:
            return self.ours
        return [ours / peer if peer else float("inf") for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def is_reached(self) -> bool | None:
        """Whether the median ratio is as the goal says; None where there is none."""
        return None if self.goal is None else self.goal.is_reached_by(quartiles(self.ratios)[1])

    def as_json(self) -> dict[str, Any]:
        """Everything, samples included."""
        low, median, high = quartiles(self.ratios)
        return {
            **attrs.asdict(self, filter=lambda attribute, _: attribute.name != "goal"),
            "ratios": self.ratios,
            "ratio": {"median": median, "quartiles": [low, high]},
            "goal": None if self.goal is None else str(self.goal),
            "reached": self.is_reached,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """The row that `as_json` wrote."""
        given = {name: fields[name] for name in ("name", "measure", "unit", "ours", "peer_name", "peer", "note")}
        return cls(goal=None if fields["goal"] is None else Goal.parse(fields["goal"]), **given)


@attrs.frozen(kw_only=True)
class Series:
    """One line of a plot."""

    plot: str
    """The plot that it belongs to."""
    label: str
    x: list[float]
    y: list[float]


@attrs.frozen(kw_only=True)
class Result:
    """What one benchmark found."""

    rows: list[Row]
    series: list[Series] = attrs.field(factory=list)
