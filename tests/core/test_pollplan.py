from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hitpaw_async._core.durations import Traits
from hitpaw_async._core.poll_plan import PollPlan, next_wait_s
from hitpaw_async.errors import ConfigurationError
from hitpaw_async.policies import PollPolicy


@pytest.mark.parametrize(
    ("age_s", "wait_s"), [(0, 5), (1, 5), (50, 5), (60, 6), (85, 8.5), (100, 10), (101, 10), (10**9, 10)]
)
def test_the_interval_is_a_tenth_of_the_age_within_the_bounds(age_s: float, wait_s: float) -> None:
    assert next_wait_s(PollPolicy(), age_s=age_s, draw=0) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("draw", "jitter", "wait_s"), [(0, 0.1, 10), (0.5, 0.1, 9.5), (0.5, 0, 10), (0.5, 0.6, 7), (0.9, 1, 5)]
)
def test_jitter_only_shortens_and_never_below_the_floor(draw: float, jitter: float, wait_s: float) -> None:
    assert next_wait_s(PollPolicy(jitter=jitter), age_s=1000, draw=draw) == pytest.approx(wait_s)


@given(
    floor=st.floats(0.001, 86400),
    span=st.floats(0, 86400),
    jitter=st.floats(0, 1),
    age_s=st.floats(0, 1e9),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_every_wait_is_within_the_bounds(floor: float, span: float, jitter: float, age_s: float, draw: float) -> None:
    policy = PollPolicy(interval_min_s=floor, interval_max_s=min(floor + span, 86400), jitter=jitter)
    wait_s = next_wait_s(policy, age_s=age_s, draw=draw)
    assert policy.interval_min_s <= wait_s <= policy.interval_max_s
    assert wait_s <= next_wait_s(policy, age_s=age_s + 1, draw=draw) + 1e-9


@given(age_s=st.floats(50, 1e6), draw=st.floats(0, 1, exclude_max=True))
def test_an_answer_is_late_by_at_most_a_tenth_of_the_jobs_age(age_s: float, draw: float) -> None:
    policy = PollPolicy(interval_min_s=5, interval_max_s=86400)
    assert next_wait_s(policy, age_s=age_s, draw=draw) <= age_s / 10 + 1e-6


def test_without_history_the_vendors_ten_seconds_are_the_most() -> None:
    assert next_wait_s(PollPolicy(jitter=0), age_s=10**6, draw=0) == 10
    assert next_wait_s(PollPolicy(interval_min_s=30, jitter=0), age_s=10**6, draw=0) == 30


def test_a_ceiling_below_the_floor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="interval_max_s"):
        PollPolicy(interval_min_s=10, interval_max_s=5)


A = Traits("17/21")
STILL = PollPolicy(jitter=0)


def watched(plan: PollPlan, duration_s: float, *, traits: Traits = A, in_flight: int = 10) -> tuple[int, float]:
    """Follow one job as the batch does. Returns how often it was asked for, and how late its end was found."""
    asked_s, polls = 0.0, 0
    while True:
        wait_s = plan.next_wait_s(traits, age_s=asked_s, in_flight=in_flight, draw=0.5)
        polls += 1
        if asked_s + wait_s >= duration_s:
            plan.learn_finished(traits, from_s=asked_s, to_s=asked_s + wait_s)
            return polls, asked_s + wait_s - duration_s
        plan.learn_running(traits, from_s=asked_s, to_s=asked_s + wait_s)
        asked_s += wait_s


def experienced(*, policy: PollPolicy = STILL, median_s: float = 300, sigma: float = 0.2, jobs: int = 300) -> PollPlan:
    plan, rng = PollPlan(policy), random.Random(1)
    for _ in range(jobs):
        watched(plan, median_s * math.exp(rng.gauss(0, sigma)))
    return plan


def wait_s(plan: PollPlan, age_s: float, *, in_flight: int = 10) -> float:
    return plan.next_wait_s(A, age_s=age_s, in_flight=in_flight, draw=0.5)


def test_before_anything_has_finished_it_keeps_to_the_vendors_interval() -> None:
    plan = PollPlan(STILL)
    plan.learn_running(A, from_s=0, to_s=100)
    assert [wait_s(plan, age_s) for age_s in (0, 60, 100, 10**6)] == [5, 6, 10, 10]


def test_a_job_that_cannot_be_done_yet_is_left_alone_and_one_that_is_due_is_asked_for_often() -> None:
    plan = experienced()
    assert wait_s(plan, 0) == 60
    assert wait_s(plan, 100) > 40
    assert wait_s(plan, 300) < 12


def test_it_learns_from_answers_of_not_yet() -> None:
    plan = experienced()
    before_s = wait_s(plan, 1200)
    for _ in range(50):
        plan.learn_running(A, from_s=1000, to_s=3000)
    assert wait_s(plan, 1200) > 2 * before_s


def test_two_humps_are_both_found() -> None:
    plan, rng = PollPlan(STILL), random.Random(1)
    for _ in range(400):
        watched(plan, rng.choice((60, 600)) * math.exp(rng.gauss(0, 0.15)))
    assert wait_s(plan, 60) < wait_s(plan, 200) / 2
    assert wait_s(plan, 600) < wait_s(plan, 200) / 2


def test_it_follows_a_vendor_that_becomes_slower() -> None:
    plan = experienced(median_s=100, sigma=0.3)
    for _ in range(300):
        watched(plan, 600)
    polls, late_s = watched(plan, 600)
    assert polls <= 30
    assert late_s < 20


def test_how_jobs_used_to_be_is_forgotten() -> None:
    """Jobs of any length came first, all alike afterwards: their beginning is soon asked about seldom again."""
    plan, rng = PollPlan(STILL), random.Random(1)
    for sigma, jobs in ((1.2, 1000), (0.1, 1200)):
        for _ in range(jobs):
            watched(plan, 300 * math.exp(rng.gauss(0, sigma)))
    assert wait_s(plan, 30) > 25
    assert wait_s(plan, 150) > 25


def test_the_floor_is_kept_however_sure_it_is() -> None:
    plan = PollPlan(STILL)
    for _ in range(300):
        watched(plan, 300)
    assert min(wait_s(plan, age_s) for age_s in range(600)) == 5


def test_who_has_more_in_flight_than_the_budget_allows_asks_less_often_beyond_the_ceiling() -> None:
    plan = experienced(policy=PollPolicy(rate_max_hz=10, jitter=0))
    # 10,000 jobs and ten questions a second: each is asked for every 1,000 s on average, 83 times the mean interval.
    few, many = wait_s(plan, 300), wait_s(plan, 300, in_flight=10_000)
    assert many > 60
    assert many > 20 * few
    assert wait_s(PollPlan(PollPolicy(rate_max_hz=10)), 300, in_flight=10_000) == 1000


def test_what_was_learned_survives_being_kept() -> None:
    plan = experienced()
    restored = PollPlan.from_text(STILL, plan.to_text())
    assert restored.finished == 300
    assert len(plan.to_text()) < 4000
    for age_s in (0, 50, 250, 300, 1000):
        assert wait_s(restored, age_s) == pytest.approx(wait_s(plan, age_s), rel=1e-3)


def test_keeping_it_changes_nothing() -> None:
    plan = experienced()
    before = [wait_s(plan, age_s) for age_s in range(0, 1000, 50)]
    plan.to_text()
    assert [wait_s(plan, age_s) for age_s in range(0, 1000, 50)] == pytest.approx(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 99},
        {"bins": [[0.0] * 30] * 2},
        {"bins": [[math.inf] * 30] * 3},
        {"bins": [[-1.0] * 30] * 3},
        {"bins": "no"},
        {"seconds": -1},
        {"durations": {}},
        {"finished": "many"},
    ],
)
def test_a_plan_that_cannot_be_read_begins_anew(changes: dict[str, object]) -> None:
    text = json.dumps({**json.loads(experienced(jobs=3).to_text()), **changes})
    assert PollPlan.from_text(STILL, text).finished == 0
    assert wait_s(PollPlan.from_text(STILL, text), 0) == 5


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "[" * 100_000])
def test_a_text_that_is_none_begins_anew(text: str | None) -> None:
    assert PollPlan.from_text(STILL, text).finished == 0


@example(
    answers=[
        (Traits("a"), 0.0, 5e-41, True),
        (Traits("a"), 0.0, 2062.0, False),
        (Traits("a", 9.0), 0.0, 2062.0, False),
    ],
    asked=(0.0, 0, 0.0),
    jitter=0.0,
)
@given(
    answers=st.lists(
        st.tuples(
            st.builds(Traits, st.sampled_from(("a", "b")), st.none() | st.floats(0.01, 1e5)),
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            st.booleans(),
        ),
        max_size=60,
    ),
    asked=st.tuples(st.floats(0, 1e7), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True)),
    jitter=st.floats(0, 1),
)
def test_whatever_was_learned_the_bounds_hold(
    answers: list[tuple[Traits, float, float, bool]], asked: tuple[float, int, float], jitter: float
) -> None:
    policy = PollPolicy(jitter=jitter)
    plan = PollPlan(policy)
    for traits, from_s, more_s, is_finished in answers:
        learn = plan.learn_finished if is_finished else plan.learn_running
        learn(traits, from_s=from_s, to_s=from_s + more_s)
    age_s, in_flight, draw = asked
    stretch = max(1.0, in_flight / policy.rate_max_hz / policy.interval_mean_s)
    waited_s = plan.next_wait_s(Traits("a", 60), age_s=age_s, in_flight=in_flight, draw=draw)
    assert policy.interval_min_s <= waited_s <= policy.interval_max_s * stretch
    restored = PollPlan.from_text(policy, plan.to_text())
    assert restored.finished == plan.finished


def test_a_new_plan_knows_nothing() -> None:
    told = json.loads(PollPlan(PollPolicy()).to_text())
    assert told["bins"] == [[0.0] * 30] * 3
    assert (told["finished"], told["seconds"]) == (0, 0)


@pytest.mark.parametrize("lengths", [(29, 30, 30), (31, 30, 30), (30, 30, 29), (30, 30), (30, 30, 30, 30)])
def test_a_plan_of_other_bins_begins_anew(lengths: tuple[int, ...]) -> None:
    told = json.loads(PollPlan(PollPolicy()).to_text())
    told |= {"finished": 7, "bins": [[1.0] * length for length in lengths]}
    assert PollPlan.from_text(PollPolicy(), json.dumps(told)).finished == 0


@pytest.mark.parametrize(("figure", "finished"), [(0.0, 7), (1e11, 7), (-0.001, 0), (1e12, 0)])
def test_a_plan_of_impossible_figures_begins_anew(figure: float, finished: int) -> None:
    told = json.loads(PollPlan(PollPolicy()).to_text())
    told |= {"finished": 7, "bins": [[figure] * 30] * 3}
    assert PollPlan.from_text(PollPolicy(), json.dumps(told)).finished == finished
