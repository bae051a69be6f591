"""A fixed set of seeds, a few random ones that are named, the same run twice, and bugs that must be caught."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.simulation.__main__ import replay_command
from tests.simulation.mutations import MUTATIONS, ROOT, patched, try_out
from tests.simulation.seeds import run_seed

FIXED = 150
RANDOM = 10
UNSEEN = random.SystemRandom()
"""Draws new seeds within the tests: the processes of pytest-xdist must all collect the same ones."""

PLANTED = {
    "resume sends again what was under way": 60,
    "reservations don't count against the budget": 60,
    "an unknown status is final": 60,
}
"""Some of the bugs of `tests.simulation.mutations`, and seeds enough for each: the first few catch it."""


def require_kept(seed: int) -> None:
    report = run_seed(seed)
    story = "\n".join(report.log[-30:])
    assert report.violation is None, f"seed {seed} broke {report.violation}\n{story}\n{replay_command(seed)}"


@pytest.mark.parametrize("tens", range(0, FIXED, 10))
@pytest.mark.slow
def test_no_fixed_seed_breaks_a_promise(tens: int) -> None:
    for seed in range(tens + 1, tens + 11):
        require_kept(seed)


@pytest.mark.parametrize("number", range(RANDOM))
def test_no_new_seed_breaks_a_promise(number: int) -> None:
    require_kept(UNSEEN.randrange(10**6, 10**9))


@pytest.mark.slow
def test_the_seeds_meet_what_they_are_for() -> None:
    """A simulation in which nothing happens keeps every promise."""
    reports = [run_seed(seed) for seed in range(1, 81)]
    told = "\n".join(line for report in reports for line in report.log)
    for happening in ("the process dies", "network: loses", "webhook: ", "person: binds", "disk: commit fails"):
        assert happening in told
    states = {state for report in reports for state, count in report.states if count}
    assert states >= {"done", "failed", "rejected", "skipped", "uncertain"}


@pytest.mark.slow
def test_a_seed_is_the_same_run_in_every_process() -> None:
    digests = [digests_with(hash_seed) for hash_seed in ("0", "4711")]
    assert digests[0] == digests[1] == [run_seed(seed).digest for seed in range(1, 11)]
    assert len(set(digests[0])) == 10


def digests_with(hash_seed: str) -> list[str]:
    """The digests of ten seeds, from a process of its own with its own order of sets."""
    program = "from tests.simulation.seeds import run_seed\nfor seed in range(1, 11): print(run_seed(seed).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_all_planted_bugs_still_fit_the_code() -> None:
    assert len(MUTATIONS) >= 25
    for mutation in MUTATIONS:
        for file, text in patched(mutation).items():
            compile(text, file, "exec")


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.slow
def test_a_planted_bug_is_caught(name: str) -> None:
    (mutation,) = [mutation for mutation in MUTATIONS if mutation.name == name]
    finding = try_out(mutation, seeds_max=PLANTED[name])
    assert finding.invariant is not None, f"{name!r} survived {finding.seeds} seeds"
