"""Credits that a result shows were not charged go back into the budget, durably and once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hitpaw_async import BackgroundBatch, BatchLimits, CreditBudget, ItemState, VideoFacts
from hitpaw_async.policies import WhenFull
from tests.batch.laboratory import HALF_A_MINUTE, laboratory, outcomes_of, video
from tests.media.studio import Recipe, make

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

DONE, SKIPPED, FETCHING = ItemState.DONE, ItemState.SKIPPED, ItemState.FETCHING
LENGTHLESS = attrs.evolve(HALF_A_MINUTE, duration_s=None)
WORST, ONE_MINUTE = 10, 1


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    """A result of two seconds."""
    folder = tmp_path / "clips"
    folder.mkdir()
    return make(Recipe(name="result.mp4"), folder).read_bytes()


def lengthless(name: str, **fields: Any) -> Any:
    return video(name, facts=LENGTHLESS, **fields)


async def test_what_a_short_result_rules_out_is_given_back_for_good(tmp_path: Path, clip: bytes) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    async with laboratory(result_bytes=clip) as lab:
        async with lab.hitpaw.batch(journal=journal, output=output, budget=100, probe=False) as batch:
            outcomes = await outcomes_of(batch, lengthless("a"))
            assert (outcomes["a"].state, outcomes["a"].credits) == (DONE, ONE_MINUTE)
            assert batch.statistics().credits_spent == ONE_MINUTE
            assert batch.statistics().credits_left == 99
        async with lab.hitpaw.batch(journal=journal, output=output, budget=100, probe=False) as batch:
            assert batch.statistics().credits_spent == ONE_MINUTE
            outcomes = await outcomes_of(batch, lengthless("a"))
            assert outcomes["a"].credits == ONE_MINUTE
            assert batch.statistics().credits_spent == ONE_MINUTE
    assert lab.charged == {"a": 1}


@pytest.mark.parametrize(
    ("facts", "spent"),
    [(VideoFacts(), 160), (attrs.evolve(LENGTHLESS, frame_rate=None), 40), (HALF_A_MINUTE, ONE_MINUTE)],
    ids=["nothing known", "frame rate unknown", "all known"],
)
async def test_where_more_than_the_length_was_unknown_all_of_it_counts(
    tmp_path: Path, clip: bytes, facts: VideoFacts, spent: int
) -> None:
    async with (
        laboratory(result_bytes=clip) as lab,
        lab.hitpaw.batch(output=tmp_path / "out", budget=200, probe=False) as batch,
    ):
        outcomes = await outcomes_of(batch, video("a", facts=facts))
        assert (outcomes["a"].state, outcomes["a"].credits) == (DONE, spent)


async def test_a_result_that_can_not_be_read_keeps_the_worst_case(tmp_path: Path) -> None:
    async with laboratory() as lab, lab.hitpaw.batch(output=tmp_path / "out", budget=100, probe=False) as batch:
        outcomes = await outcomes_of(batch, lengthless("a"))
        assert (outcomes["a"].state, outcomes["a"].credits) == (DONE, WORST)
        assert batch.statistics().credits_spent == WORST


async def test_where_nothing_is_downloaded_nothing_is_given_back(clip: bytes) -> None:
    async with laboratory(result_bytes=clip) as lab, lab.hitpaw.batch(budget=100, probe=False) as batch:
        outcomes = await outcomes_of(batch, lengthless("a"))
        assert (outcomes["a"].state, outcomes["a"].credits) == (DONE, WORST)


@pytest.mark.parametrize("room", [WORST, WORST + 3])
async def test_the_budget_reaches_for_more_videos(tmp_path: Path, clip: bytes, room: int) -> None:
    """One at a time, each needs ten credits free and costs one: a budget of ten is enough for the first one only."""
    limits = BatchLimits(jobs_in_flight=1)
    async with (
        laboratory(result_bytes=clip) as lab,
        lab.hitpaw.batch(output=tmp_path / "out", budget=room, limits=limits, probe=False) as batch,
    ):
        outcomes = await outcomes_of(batch, *(lengthless(name) for name in "abcdef"))
        states = [outcome.state for outcome in outcomes.values()]
        assert states.count(DONE) == room - WORST + 1
        assert states.count(SKIPPED) == 6 - states.count(DONE)
        assert batch.statistics().credits_spent == states.count(DONE)


async def test_a_run_that_ended_before_the_result_was_counted_gives_it_back_later(tmp_path: Path, clip: bytes) -> None:
    """The process ends when the result has its name, and before the journal says so."""
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    async with laboratory(result_bytes=clip) as lab:
        async with lab.hitpaw.batch(journal=journal, output=output, budget=100, probe=False) as batch:
            outbox = batch.run([lengthless("a")])
            with batch.events() as events:
                async for event in events:
                    if event.state is FETCHING:
                        break
            del outbox
        async with lab.hitpaw.batch(journal=journal, output=output, budget=100, probe=False) as batch:
            assert batch.statistics().credits_spent in (WORST, ONE_MINUTE)
            outcomes = await outcomes_of(batch, lengthless("a"))
            assert (outcomes["a"].state, outcomes["a"].credits) == (DONE, ONE_MINUTE)
            assert batch.statistics().credits_spent == ONE_MINUTE
    assert lab.charged == {"a": 1}


async def test_a_result_that_is_fetched_again_gives_nothing_back_twice(tmp_path: Path, clip: bytes) -> None:
    async with (
        laboratory(result_bytes=clip) as lab,
        lab.hitpaw.batch(journal=tmp_path / "j.db", output=tmp_path / "out", budget=100, probe=False) as batch,
    ):
        first = (await outcomes_of(batch, lengthless("a")))["a"]
        assert first.path is not None
        first.path.unlink()
        await batch.again(first.key)
        again = (await outcomes_of(batch))["a"]
        assert (again.state, again.credits) == (DONE, ONE_MINUTE)
        assert batch.statistics().credits_spent == ONE_MINUTE
    assert lab.charged == {"a": 1}


async def test_a_service_takes_in_what_was_given_back(tmp_path: Path, clip: bytes) -> None:
    budget = CreditBudget(WORST + ONE_MINUTE, when_full=WhenFull.WAIT)
    async with laboratory(result_bytes=clip) as lab:
        batch = lab.hitpaw.batch(journal=tmp_path / "j.db", output=tmp_path / "out", budget=budget, probe=False)
        async with BackgroundBatch(batch) as jobs:
            for name in "ab":
                with jobs.events() as events:
                    key = await jobs.submit(lengthless(name))
                    async for event in events:
                        if event.outcome is not None and event.outcome.key == key:
                            assert event.outcome.state is DONE
                            break
            assert jobs.statistics().credits_spent == 2 * ONE_MINUTE
    assert lab.charged == {"a": 1, "b": 1}
