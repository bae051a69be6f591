from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hitpaw_async import BatchLimits, InvalidRequestError, ItemState, JobNotFoundError, JournalError
from hitpaw_async._core.itemstate import Item
from hitpaw_async.batch.journal.memory import MemoryStore
from tests.batch.laboratory import Laboratory, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hitpaw_async import BatchScheduler

pytestmark = pytest.mark.anyio

LOST = {"call": "export", "url": "lost", "do": "drop", "when": "after", "times": 1}


@asynccontextmanager
async def one_lost(budget: int = 5) -> AsyncIterator[tuple[Laboratory, BatchScheduler]]:
    """A batch with one item done and one whose reply was lost after the charge."""
    async with laboratory(LOST) as lab, lab.hitpaw.batch(budget=budget) as batch:
        await outcomes_of(batch, video("lost", key="lost"), video("done", key="done"))
        yield lab, batch


def job_of(lab: Laboratory, name: str) -> str:
    (job_id,) = (charge.job_id for charge in lab.simulator.ledger if name in charge.video_url)
    return job_id


async def test_uncertain_items_are_listed() -> None:
    async with one_lost() as (_, batch):
        assert [outcome.key async for outcome in batch.uncertain()] == ["lost"]


async def test_a_bound_job_is_finished_by_the_next_run_without_paying_again() -> None:
    async with one_lost() as (lab, batch):
        outcome = await batch.bind("lost", job_of(lab, "lost"))
        assert outcome.state is ItemState.SUBMITTED
        statistics = batch.statistics()
        assert (statistics.credits_spent, statistics.credits_reserved) == (2, 0)
        outcomes = await outcomes_of(batch)
    assert outcomes["lost"].state is ItemState.DONE
    assert lab.charged == {"lost": 1, "done": 1}


async def test_a_job_that_the_vendor_does_not_know_is_not_bound() -> None:
    async with one_lost() as (_, batch):
        with pytest.raises(JobNotFoundError):
            await batch.bind("lost", "no-such-job")
        assert batch.statistics().uncertain == 1


async def test_a_job_of_another_item_is_not_bound() -> None:
    async with one_lost() as (lab, batch):
        with pytest.raises(JournalError, match="stands at the item 'done'"):
            await batch.bind("lost", job_of(lab, "done"))
        assert batch.statistics().uncertain == 1


async def test_what_is_given_up_is_failed_and_counts_as_spent() -> None:
    async with one_lost() as (lab, batch):
        outcome = await batch.give_up("lost")
        statistics = batch.statistics()
        assert await outcomes_of(batch) == {}
    assert outcome.state is ItemState.FAILED
    assert (statistics.credits_spent, statistics.credits_reserved, statistics.failed) == (2, 0, 1)
    assert lab.charged["lost"] == 1


async def test_a_person_may_pay_again_and_both_attempts_count() -> None:
    async with one_lost(budget=3) as (lab, batch):
        await batch.resubmit("lost")
        outcomes = await outcomes_of(batch)
        statistics = batch.statistics()
    assert outcomes["lost"].state is ItemState.DONE
    assert lab.charged["lost"] == 2
    assert (statistics.credits_spent, statistics.credits_left) == (3, 0)


async def test_paying_again_respects_the_budget() -> None:
    async with one_lost(budget=2) as (lab, batch):
        await batch.resubmit("lost")
        outcomes = await outcomes_of(batch)
    assert outcomes["lost"].state is ItemState.SKIPPED
    assert lab.charged["lost"] == 1


@pytest.mark.parametrize("key", ["done", "nobody"])
@pytest.mark.parametrize("verb", ["give_up", "resubmit"])
async def test_only_what_is_uncertain_can_be_settled(key: str, verb: str) -> None:
    async with one_lost() as (_, batch):
        with pytest.raises(InvalidRequestError):
            await getattr(batch, verb)(key)


async def test_what_is_settled_before_the_reader_comes_to_it_is_reported_as_it_is() -> None:
    """Two items were found in the middle of a send, and there is one place: the second waits for the reader."""
    store = MemoryStore()
    for name in ("first", "second"):
        sending = Item(key=name, request=video(name, key=name), state=ItemState.SUBMITTING, reserved_credits=1)
        store.add(sending)
    async with (
        laboratory() as lab,
        lab.hitpaw.batch(journal=store, budget=2, limits=BatchLimits(jobs_in_flight=1)) as batch,
    ):
        outcomes = []
        async for outcome in batch.run():
            outcomes.append((outcome.key, outcome.state))
            if outcome.key == "first":
                await batch.give_up("second")
    assert outcomes == [("first", ItemState.UNCERTAIN), ("second", ItemState.FAILED)]
