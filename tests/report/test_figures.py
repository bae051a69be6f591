"""What a report counts and where it draws it: plain functions."""

from __future__ import annotations

import itertools
import re

import attrs
import pytest

from hitpaw_async import ItemState
from hitpaw_async._core.itemstate import Problem
from hitpaw_async.report._charts import CreditsChart, LatencyChart, TimeAxis, Timeline
from hitpaw_async.report._figures import Phase, figures_of, percentile, video_of
from tests.report.journals import BEGAN_AT, a_done_item, a_library, an_item

NIGHT_S = 40_000.0


def test_a_job_has_the_phases_that_are_known() -> None:
    whole = a_done_item("a")
    phases = [(phase.name, phase.begins_at - BEGAN_AT, phase.ends_at - BEGAN_AT) for phase in video_of(whole).phases]
    assert phases == [("waiting", 0, 5), ("converting", 5, 25), ("downloading", 25, 27)]

    unseen = video_of(attrs.evolve(whole, converting_at=None)).phases
    assert [phase.name for phase in unseen] == ["vendor", "downloading"]
    old = video_of(attrs.evolve(whole, converting_at=None, completed_at=None)).phases
    assert [(phase.name, phase.ends_at - phase.begins_at) for phase in old] == [("vendor", 27)]
    assert video_of(attrs.evolve(whole, finished_at=None, completed_at=None, converting_at=None)).phases == ()
    assert video_of(an_item("b", ItemState.REJECTED)).phases == ()


def test_a_clock_that_was_set_back_makes_no_phase() -> None:
    item = attrs.evolve(a_done_item("a"), completed_at=BEGAN_AT - 100)
    assert [phase.name for phase in video_of(item).phases] == ["waiting", "downloading"]


def test_what_is_spent_is_counted_when_it_is_spent() -> None:
    items = [
        a_done_item("late", at=60, charged_credits=4),
        a_done_item("early", charged_credits=3),
        an_item("given-up", ItemState.FAILED, written_off_credits=5, finished_at=BEGAN_AT + 90),
        an_item("uncertain", ItemState.UNCERTAIN, reserved_credits=2),
    ]
    figures = figures_of([*map(video_of, items)])
    assert [(at - BEGAN_AT, total) for at, total in figures.steps] == [(0, 3), (60, 7), (90, 12)]
    assert (figures.credits_spent, figures.credits_held) == (12, 2)
    assert figures.latencies_s == (27, 27)


def test_one_reason_of_many_items_is_one_reason() -> None:
    def failed(name: str) -> Problem:
        return Problem("JobFailedError", f"HitPaw could not process job job-{name} (https://a.example/b?sig=secret).")

    items = [a_done_item(name, state=ItemState.FAILED, problem=failed(name)) for name in "abcdefg"]
    items.append(an_item("z", ItemState.SKIPPED, problem=Problem("BudgetExceededError", "Too dear.")))
    first, second = figures_of([*map(video_of, items)]).reasons
    assert (first.state, first.count, first.examples) == (ItemState.FAILED, 7, tuple(f"{x}.mp4" for x in "abcde"))
    assert first.text == "HitPaw could not process job … (https://a.example/b?***"
    assert (second.text, second.count) == ("Too dear.", 1)


def test_a_pause_between_two_runs_takes_little_of_the_axis() -> None:
    phases = [Phase("vendor", BEGAN_AT + at, BEGAN_AT + at + 100) for at in (0, 50, NIGHT_S, NIGHT_S + 50)]
    axis = TimeAxis.over(phases)
    places = [axis.place(BEGAN_AT + at) for at in (0, 75, 150, NIGHT_S / 2, NIGHT_S, NIGHT_S + 150)]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == pytest.approx(1000)
    assert places[4] - places[2] < 50
    assert places[1] == pytest.approx(places[2] / 2)
    assert len(axis.breaks) == 1
    assert axis.tells_time
    assert len(axis.ticks) == len(set(axis.ticks)) == 5


def test_the_axis_of_a_moment_is_one() -> None:
    axis = TimeAxis.over([Phase("vendor", BEGAN_AT, BEGAN_AT)])
    assert 0 <= axis.place(BEGAN_AT) <= 1000
    assert not axis.tells_time


def boxes(path: str) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of a path's rectangles."""
    shape = re.compile(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-[\d.]+z")
    return [tuple(map(float, found)) for found in shape.findall(path)]  # type: ignore[misc]


def test_few_jobs_have_rows_of_their_own_and_many_share_them_without_covering_each_other() -> None:
    few = figures_of([video_of(a_done_item(str(number), at=number)) for number in range(3)])
    timeline = Timeline.of(few, TimeAxis.over(few.phases))
    assert (timeline.rows, timeline.jobs) == (3, 3)
    assert [round(box[1]) for box in boxes(timeline.shapes["waiting"])] == [0, 333, 667]

    many = figures_of([video_of(a_done_item(str(number), at=30.0 * (number // 4))) for number in range(400)])
    timeline = Timeline.of(many, TimeAxis.over(many.phases))
    assert (timeline.rows, timeline.shown, timeline.jobs) == (4, 400, 400)
    rows: dict[float, list[tuple[float, float]]] = {}
    for left, top, width, _ in boxes("".join(timeline.shapes.values())):
        rows.setdefault(top, []).append((left, left + width))
    for stretches in rows.values():
        ordered = sorted(stretches)
        assert all(first[1] <= second[0] + 0.7 for first, second in itertools.pairwise(ordered))


def test_a_hundred_thousand_jobs_are_drawn_as_a_bounded_picture() -> None:
    video = video_of(a_done_item("a"))
    figures = attrs.evolve(figures_of([video]), videos=(video,) * 100_000)
    timeline = Timeline.of(figures, TimeAxis.over(video.phases))
    assert (timeline.jobs, timeline.shown) == (100_000, 5000)


@pytest.mark.parametrize(("budget", "height"), [(None, None), (12, 0), (10_000, None), (6, None)])
def test_the_budget_is_drawn_where_it_is_in_sight(budget: int | None, height: float | None) -> None:
    figures = figures_of([video_of(a_done_item(str(number), at=number, charged_credits=3)) for number in range(3)])
    chart = CreditsChart.of(figures, TimeAxis.over(figures.phases), budget)
    assert chart.budget_height == height
    assert chart.line.startswith("M0 1000")
    assert ("V0.0H1000" in chart.line) is (chart.credits_max == 9)


def test_one_job_that_took_a_day_does_not_press_the_others_into_one_bar() -> None:
    chart = LatencyChart.of([*(10.0 + number / 10 for number in range(99)), 86_400.0])
    assert chart.bars.count("M") > 5
    assert chart.ticks[-1].endswith("and longer")
    assert "the longest 24 h 00 min" in chart.summary


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.95, 10), (1.0, 10)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 11)], share) == value


def test_a_library_adds_up() -> None:
    items = a_library(500)
    figures = figures_of([*map(video_of, items)])
    assert sum(figures.counts.values()) == 500
    assert figures.steps[-1][1] == figures.credits_spent == sum(item.spent_credits for item in items)
