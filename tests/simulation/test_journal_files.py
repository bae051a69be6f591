"""Seeds of what happens to a journal's files: nothing is paid twice, and nothing that is paid for is forgotten."""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

if sys.platform == "win32":
    pytest.skip("links and locks of Unix", allow_module_level=True)

from tests.simulation.journal_files import run_seed
from tests.simulation.mutations import MUTATIONS, try_out

UNSEEN = random.SystemRandom()
PLANTED = [mutation for mutation in MUTATIONS if mutation.campaign.endswith("journal_files")]


def played(seed: int) -> Counter[str]:
    handling, violation = run_seed(seed)
    story = "\n".join(handling.log)
    assert violation is None, f"seed {seed} broke {violation}\n{story}"
    return handling.happened


def test_the_fixed_seeds_keep_all_promises_and_meet_what_they_are_for() -> None:
    happened = sum((played(seed) for seed in range(1, 61)), Counter[str]())
    assert happened.keys() >= {
        *("opened", "refused", "refused at last", "looked at", "charged", "said", "not sent", "left", "died"),
        *("backed up", "put back", "replaced", "emptied", "lock removed", "held", "let go", "edited"),
    }
    assert happened["looked at"] > 10


@pytest.mark.parametrize("number", range(5))
def test_new_seeds_keep_all_promises(number: int) -> None:
    played(UNSEEN.randrange(10**6, 10**9))


def test_a_seed_is_the_same_each_time() -> None:
    first, second = (run_seed(7)[0] for _ in range(2))
    assert first.happened == second.happened
    assert first.charges == second.charges


@pytest.mark.slow
@pytest.mark.parametrize("mutation", PLANTED, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_caught(mutation: object) -> None:
    finding = try_out(mutation, seeds_max=100)  # type: ignore[arg-type]
    assert finding.invariant is not None, f"{finding.mutation.name!r} survived {finding.seeds} seeds"
