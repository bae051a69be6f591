from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.durations import GROUPS_MAX, DurationModel, Traits

SECONDS = st.floats(0.01, 1e5)
JOBS = st.lists(
    st.tuples(st.builds(Traits, st.sampled_from(("a", "b", "c")), st.none() | SECONDS), SECONDS), max_size=60
)


def taught(*jobs: tuple[Traits, float]) -> DurationModel:
    model = DurationModel()
    for traits, duration_s in jobs:
        model.learn(traits, duration_s)
    return model


def test_nothing_is_expected_before_a_job_has_finished() -> None:
    assert DurationModel().expected_s(Traits("a", 60)) is None


def test_the_first_finished_job_is_believed() -> None:
    assert taught((Traits("a", 60), 100)).expected_s(Traits("a", 60)) == pytest.approx(100)


def test_before_more_is_known_twice_the_length_takes_twice_as_long() -> None:
    assert taught((Traits("a", 60), 100)).expected_s(Traits("a", 120)) == pytest.approx(200)


def test_a_group_without_jobs_is_expected_to_be_like_all() -> None:
    assert taught((Traits("a", 60), 100)).expected_s(Traits("b", 60)) == pytest.approx(100)


def test_what_is_known_of_jobs_of_known_length_serves_those_of_unknown_length() -> None:
    assert taught((Traits("a", 60), 100)).expected_s(Traits("a")) == pytest.approx(100)


def test_it_learns_how_length_and_group_decide() -> None:
    rng = random.Random(1)
    pace = {"a": 1.0, "b": 4.0}
    model = DurationModel()
    for _ in range(300):
        traits = Traits(rng.choice("ab"), rng.uniform(10, 600))
        model.learn(traits, pace[traits.group] * traits.source_s * math.exp(rng.gauss(0, 0.1)))  # type: ignore[operator]
    for group, seconds in (("a", 20), ("a", 500), ("b", 20), ("b", 500)):
        assert model.expected_s(Traits(group, seconds)) == pytest.approx(pace[group] * seconds, rel=0.15)


def test_it_learns_that_length_decides_nothing() -> None:
    rng = random.Random(1)
    model = DurationModel()
    for _ in range(300):
        model.learn(Traits("a", rng.uniform(10, 600)), 100 * math.exp(rng.gauss(0, 0.1)))
    for seconds in (20, 500):
        assert model.expected_s(Traits("a", seconds)) == pytest.approx(100, rel=0.15)


def test_one_absurd_job_changes_little() -> None:
    model = taught(*[(Traits("a"), 100 + number % 10) for number in range(100)])
    before_s = model.expected_s(Traits("a"))
    model.learn(Traits("a"), 1e5)
    assert model.expected_s(Traits("a")) == pytest.approx(before_s, rel=0.05)


def test_it_follows_a_vendor_that_becomes_slower() -> None:
    model = taught(*[(Traits("a"), 100)] * 500, *[(Traits("a"), 300)] * 500)
    assert model.expected_s(Traits("a")) == pytest.approx(300, rel=0.1)


@given(JOBS, st.builds(Traits, st.sampled_from(("a", "b", "d")), st.none() | SECONDS))
def test_what_is_expected_is_a_positive_number_and_survives_being_kept(
    jobs: list[tuple[Traits, float]], asked: Traits
) -> None:
    model = taught(*jobs)
    expected_s = model.expected_s(asked)
    restored = DurationModel.from_state(json.loads(json.dumps(model.to_state())))
    if expected_s is None:
        assert not jobs
        assert restored.expected_s(asked) is None
    else:
        assert 0 < expected_s < math.inf
        assert restored.expected_s(asked) == pytest.approx(expected_s, rel=1e-3)


def test_no_more_groups_are_kept_than_the_bound() -> None:
    model = taught(*[(Traits(f"{number}", 60), 100) for number in range(GROUPS_MAX + 50)])
    assert len(model.to_state()["groups"]) == GROUPS_MAX
    assert model.expected_s(Traits("one more", 60)) == pytest.approx(100)


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": []},
        {"groups": {"a": [1, 2]}},
        {"known": [1, math.nan, 0]},
        {"known": [1e9, 0, 0]},
        {"slope": None},
        {"slope": [-1, 0, 1]},
        {"slope": [1, 0, -1]},
        {"known": [1, 100.5, 0]},
        {"known": [1, 0, -100.5]},
        {"known": [-0.5, 0, 0]},
    ],
)
def test_a_damaged_state_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not"):
        DurationModel.from_state({**DurationModel().to_state(), **changes})


@pytest.mark.parametrize("mean", [[0, 0, 0], [1, 100, -100], [1, -100, 100]])
def test_a_state_at_its_bounds_is_taken(mean: list[float]) -> None:
    assert DurationModel.from_state({**DurationModel().to_state(), "known": mean}).to_state()["known"] == mean


def test_sources_of_less_than_a_second_are_told_apart() -> None:
    lengths = (0.05, 0.2, 0.8, 4.0)
    model = taught(*[(Traits("17/20", length_s), 50 * length_s) for _ in range(40) for length_s in lengths])
    expected = [model.expected_s(Traits("17/20", length_s)) or 0.0 for length_s in lengths]
    assert expected == sorted(set(expected)), "a longer source takes longer"
