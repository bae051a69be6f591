"""Do the questions come when the answer is there? Polls against delay, and makespan against its bound: rows and plots.

The simulations are `benchmarks.polling` (the plan alone), and `benchmarks.makespan` and `benchmarks.capacity` (a whole
batch in virtual time).
"""

from __future__ import annotations

from typing import Final

from benchmarks import capacity, makespan, polling
from benchmarks.measures import Goal, Options, Result, Row, Series
from benchmarks.stub_vendor import list_scheduled_s
from hitpaw_async import BatchLimits, PollPolicy

__all__ = ["measure"]

_ROWS: Final = (
    ("polls-unrelated", "unrelated to the source, sigma 0.6, median 240 s", "product", Goal.at_most(0.43)),
    ("polls-predicted", "length, tier, model predict all but sigma 0.3", "product", Goal.at_most(0.28)),
    ("polls-predicted-number", "length, tier, model predict all but sigma 0.3", "polls", Goal.at_most(0.8)),
    ("polls-predicted-delay", "length, tier, model predict all but sigma 0.3", "delay_s", Goal.at_most(0.8)),
    ("polls-memoryless", "memoryless, mean 240 s", "product to fixed", Goal.at_most(1.15)),
    ("polls-drifting", "memoryless and drifting, 90 to 650 s", "product to fixed", Goal.at_most(1.15)),
)
_WORDS: Final = {
    "product": "polls x delay / mean duration",
    "product to fixed": "polls x delay",
    "polls": "polls per job",
    "delay_s": "mean delay",
}
IN_FLIGHT: Final = 100
MEAN_S: Final = 300.0
"""Of a job, in the row; the plot has others."""


class _Every(polling.Policy):
    """A fixed interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s

    def wait_s(self, job: polling.SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        return self._interval_s


class _Doubling(polling.Policy):
    """Exponential backoff from 1 s to a ceiling."""

    def __init__(self, ceiling_s: float) -> None:
        self._ceiling_s = ceiling_s

    def wait_s(self, job: polling.SimulatedJob, age_s: float, polls: int, in_flight: int) -> float:
        return min(2.0 ** min(polls, 30), self._ceiling_s)


def measure(options: Options) -> Result:
    """The rows and plots of these questions."""
    rows, series = _makespan(options)
    return Result(rows=[*_polls(options), *rows, *_capacity(options)], series=[*_trade(options), *series])


def _polls(options: Options) -> list[Row]:
    jobs = 150 if options.is_quick else polling.JOBS
    workloads = {workload.name: workload for workload in polling.WORKLOADS}
    simulated = {
        name: [_round(workloads[name], options.seed + number, jobs) for number in range(options.rounds)]
        for name in dict.fromkeys(name for _, name, _, _ in _ROWS)
    }
    return [_poll_row(row, simulated[row[1]]) for row in _ROWS]


def _round(workload: polling.Workload, seed: int, jobs: int) -> tuple[polling.Figures, polling.Figures]:
    learned = polling.simulate(workload, polling.Learned(PollPolicy(), seed), seed=seed, jobs=jobs)
    return learned, polling.simulate(workload, _Every(polling.FIXED_S), seed=seed, jobs=jobs)


def _poll_row(row: tuple[str, str, str, Goal], rounds: list[tuple[polling.Figures, polling.Figures]]) -> Row:
    name, workload, figure, goal = row
    attribute = figure.partition(" ")[0]
    is_paired = figure != "product"
    return Row(
        name=name,
        measure=f"{_WORDS[figure]}; durations: {workload}",
        unit="s" if figure == "delay_s" else "",
        ours=[float(getattr(learned, attribute)) for learned, _ in rounds],
        peer_name=f"every {polling.FIXED_S:g} s" if is_paired else "",
        peer=[float(getattr(fixed, attribute)) for _, fixed in rounds] if is_paired else [],
        goal=goal,
    )


def _trade(options: Options) -> list[Series]:
    """Lines of polls against delay: each point is a policy that asks more or less often."""
    workload = next(workload for workload in polling.WORKLOADS if workload.name == _ROWS[1][1])
    jobs, seed = (150 if options.is_quick else polling.JOBS), options.seed
    means_s = (12.0,) if options.is_quick else (6.0, 8.0, 12.0, 20.0, 32.0)
    lines = {
        "ours, learned": [
            polling.Learned(PollPolicy(interval_mean_s=mean_s, interval_max_s=5 * mean_s), seed) for mean_s in means_s
        ],
        "a fixed interval, 5 to 40 s": [_Every(interval_s) for interval_s in (5.0, 7.0, 10.0, 20.0, 40.0)],
        "exponential backoff up to 30 to 480 s": [_Doubling(ceiling_s) for ceiling_s in (30.0, 60.0, 120.0, 480.0)],
    }
    series = []
    for label, policies in lines.items():
        figures = [polling.simulate(workload, policy, seed=seed, jobs=jobs) for policy in policies]
        x, y = [figure.polls for figure in figures], [figure.delay_s / figure.duration_s * 100 for figure in figures]
        series.append(Series(plot="polls", label=label, x=x, y=y))
    return series


def _makespan(options: Options) -> tuple[list[Row], list[Series]]:
    jobs = 60 if options.is_quick else 10_000
    places = 10 if options.is_quick else IN_FLIGHT
    lengths_s, durations_s = makespan.durations_s(options.seed, jobs, MEAN_S)
    row = Row(
        name="makespan",
        measure=f"makespan of {jobs:,} jobs, {places} in flight, mean {MEAN_S:g} s",
        unit="s",
        ours=[makespan.makespan_s(lengths_s, durations_s, in_flight=places)],
        peer_name="list scheduling's lower bound",
        peer=[list_scheduled_s(durations_s, places)],
        goal=Goal.at_most(1.03),
        note="virtual time, so it is exact",
    )
    series = Series(plot="makespan", label=f"ours, {places} in flight", x=[], y=[])
    for mean_s in (MEAN_S,) if options.is_quick else (60.0, 120.0, 300.0, 900.0, 1800.0):
        lengths_s, durations_s = makespan.durations_s(options.seed, 20 * places, mean_s)
        taken_s = makespan.makespan_s(lengths_s, durations_s, in_flight=places)
        series.x.append(mean_s)
        series.y.append(taken_s / list_scheduled_s(durations_s, places))
    return [row], [series]


def _capacity(options: Options) -> list[Row]:
    """What "auto" finds out, beside who knows and who doesn't."""
    jobs, room = (60, 8) if options.is_quick else (capacity.JOBS, capacity.ROOM)
    rows = []
    for kind, refuses in (("refuses", True), ("slows", False)):
        auto, blind, best, twice = (
            capacity.found(places, refuses=refuses, room=room, jobs=jobs)
            for places in ("auto", BatchLimits().places_first, room, 2 * room)
        )
        vendor = f"a vendor with room for {room} that {'refuses more' if refuses else 'answers the more slowly'}"
        rows += [
            _capacity_row(f"auto-{kind}", vendor, auto, f"{room} in flight, the best there is", best),
            _capacity_row(f"auto-{kind}-default", vendor, auto, "the default, 16 in flight", blind),
            _capacity_row(f"auto-{kind}-twice", vendor, auto, f"{2 * room} in flight", twice),
        ]
        if refuses:
            rows.append(
                Row(
                    name="auto-refused",
                    measure=f'HTTP 429 provoked by {jobs:,} jobs, `jobs_in_flight="auto"`, {vendor}',
                    unit="",
                    ours=[float(auto.refused)],
                    peer_name=f"{2 * room} in flight",
                    peer=[float(twice.refused)],
                )
            )
    return rows


def _capacity_row(name: str, vendor: str, ours: capacity.Found, peer_name: str, peer: capacity.Found) -> Row:
    return Row(
        name=name,
        measure=f'makespan, `jobs_in_flight="auto"`, {vendor}',
        unit="s",
        ours=[ours.makespan_s],
        peer_name=peer_name,
        peer=[peer.makespan_s],
        note="virtual time, so it is exact",
    )
