"""What has ended is looked at again at no cost; it is paid again only where a person says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hitpaw_async import BackgroundBatch, CreditBudget, InvalidRequestError, ItemState
from hitpaw_async._core.itemstate import AskedAgain, Item, Problem, Reconsidered, Resubmitted
from hitpaw_async._core.renewal import look_again
from hitpaw_async.batch.journal.memory import MemoryStore
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async import BatchEvent

pytestmark = pytest.mark.anyio

FAILED = Item(
    key="a",
    request=video("a", key="a"),
    state=ItemState.FAILED,
    target="a.mp4",
    job_id="job-1",
    charged_credits=2,
    problem=Problem("JobFailedError", "It failed."),
)


def failed(**fields: Any) -> Item:
    return attrs.evolve(FAILED, **fields)


@pytest.mark.parametrize(
    ("fields", "pays", "has_file", "expected"),
    [
        ({}, False, False, AskedAgain(1)),
        ({}, True, False, Resubmitted()),
        ({"job_id": None}, False, False, "nothing to ask for"),
        ({"job_id": None}, True, False, Resubmitted()),
        ({"state": ItemState.DONE}, False, False, AskedAgain(1)),
        ({"state": ItemState.DONE}, True, False, AskedAgain(1)),
        ({"state": ItemState.DONE}, False, True, "its result is there"),
        ({"state": ItemState.DONE}, True, True, "its result is there"),
        ({"state": ItemState.DONE, "target": None}, False, False, "not to be downloaded"),
        ({"state": ItemState.REJECTED}, False, False, Reconsidered()),
        ({"state": ItemState.UNCERTAIN}, False, False, "reconcile"),
        ({"state": ItemState.UNCERTAIN}, True, False, Resubmitted()),
        ({"state": ItemState.QUEUED}, True, False, "waits"),
        ({"state": ItemState.SKIPPED}, True, False, "waits"),
        ({"state": ItemState.SUBMITTED}, True, False, "under way"),
        ({"state": ItemState.FETCHING}, True, False, "under way"),
    ],
)
def test_what_looking_again_does(
    fields: dict[str, Any], pays: bool, has_file: bool, expected: AskedAgain | Reconsidered | Resubmitted | str
) -> None:
    found = look_again(failed(**fields), pays=pays, has_file=has_file)
    if isinstance(expected, str):
        assert isinstance(found, str)
        assert expected in found
    else:
        assert found == expected


@pytest.mark.parametrize(("state", "pays"), [(ItemState.REJECTED, False), (ItemState.FAILED, True)])
def test_a_url_that_was_forgotten_is_not_submitted(state: ItemState, pays: bool) -> None:
    request = attrs.evolve(video("a", key="a"), video_url="https://videos.test/a.mp4?***")
    assert "URL" in str(look_again(failed(state=state, request=request), pays=pays, has_file=False))


async def test_a_failed_job_is_asked_for_again_and_fetched_without_paying(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=tmp_path / "j.db", output=out) as batch:
            await outcomes_of(batch, video("a", key="a"))
        (job_id,) = [charge.job_id for charge in lab.simulator.ledger]
        (out / "a.mp4").unlink()
        async with lab.hitpaw.batch(journal=tmp_path / "j.db", output=out, budget=1) as batch:
            found = await batch.again("a")
            assert (found.state, found.path, found.credits) == (ItemState.SUBMITTED, None, 1)
            assert batch.statistics().credits_spent == 1
            assert batch.statistics().done == 0
            outcome = (await outcomes_of(batch))["a"]
            assert (outcome.state, outcome.path) == (ItemState.DONE, out / "a.mp4")
            assert outcome.job is not None
            assert outcome.job.job_id == job_id
    assert (out / "a.mp4").is_file()
    assert lab.charged == {"a": 1}


async def test_a_done_item_whose_file_is_there_stays_so(tmp_path: Path) -> None:
    async with laboratory() as lab, lab.hitpaw.batch(output=tmp_path) as batch:
        await outcomes_of(batch, video("a", key="a"))
        for pays in (False, True):
            with pytest.raises(InvalidRequestError, match="its result is there"):
                await batch.again("a", pay_again=pays)
        with pytest.raises(InvalidRequestError, match="no item"):
            await batch.again("b")
        assert batch.statistics().done == 1


@pytest.mark.parametrize("charges_failed", [True, False])
async def test_a_job_that_failed_counts_once_however_often_it_is_asked_for(charges_failed: bool) -> None:
    store = MemoryStore()
    budget = CreditBudget(5, failed_jobs_are_charged=charges_failed)
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=store, budget=budget) as batch:
            await outcomes_of(batch, video("a", key="a"))
        for _ in range(2):
            item = store.get("a")
            assert item is not None
            charged = 1 if charges_failed else 0
            problem = Problem("JobFailedError", "It failed.")
            store.put(
                attrs.evolve(
                    item, state=ItemState.FAILED, charged_credits=charged, problem=problem, version=item.version + 1
                )
            )
            async with lab.hitpaw.batch(journal=store, budget=budget) as batch:
                assert batch.statistics().credits_spent == charged
                await batch.again("a")
                assert batch.statistics().credits_spent == 1
                assert (await outcomes_of(batch))["a"].state is ItemState.DONE
                assert batch.statistics().credits_spent == 1
    assert lab.charged == {"a": 1}


async def test_what_failed_is_paid_again_where_a_person_says_so_and_what_it_cost_is_written_off(tmp_path: Path) -> None:
    async with laboratory() as lab:
        store = MemoryStore()
        store.add(failed())
        async with lab.hitpaw.batch(journal=store, budget=3, output=tmp_path) as batch:
            found = await batch.again("a", pay_again=True)
            assert (found.state, found.job, batch.statistics().credits_spent) == (ItemState.QUEUED, None, 2)
            outcome = (await outcomes_of(batch))["a"]
            assert (outcome.state, outcome.credits) == (ItemState.DONE, 3)
            assert batch.statistics().credits_left == 0
        item = store.get("a")
        assert item is not None
        assert (item.resubmissions, item.written_off_credits, item.charged_credits) == (1, 2, 1)
        assert store.find_job("job-1") is None
    assert lab.charged == {"a": 1}


async def test_paying_again_for_what_failed_respects_the_budget() -> None:
    store = MemoryStore()
    store.add(failed())
    async with laboratory() as lab, lab.hitpaw.batch(journal=store, budget=2) as batch:
        await batch.again("a", pay_again=True)
        assert (await outcomes_of(batch))["a"].state is ItemState.SKIPPED
    assert lab.charged == {}


async def test_a_whole_url_brings_back_what_was_signed() -> None:
    store = MemoryStore()
    request = attrs.evolve(video("a", key="a"), video_url="https://videos.test/a.mp4?***")
    store.add(failed(request=request))
    async with laboratory() as lab, lab.hitpaw.batch(journal=store) as batch:
        with pytest.raises(InvalidRequestError, match="another video"):
            await batch.again("a", pay_again=True, video_url="https://videos.test/b.mp4?X-Amz-Signature=1")
        await batch.again("a", pay_again=True, video_url="https://videos.test/a.mp4?X-Amz-Signature=1")
        assert [outcome.state async for outcome in batch.run()] == [ItemState.DONE]
    assert [charge.video_url for charge in lab.simulator.ledger] == ["https://videos.test/a.mp4?X-Amz-Signature=1"]


async def next_ending(events: AsyncIterator[BatchEvent]) -> ItemState | None:
    async for event in events:
        if event.outcome is not None:
            return event.state
    return None


async def test_a_service_looks_again_while_it_runs(tmp_path: Path) -> None:
    async with (
        laboratory() as lab,
        BackgroundBatch(lab.hitpaw.batch(journal=tmp_path / "j.db", output=tmp_path / "out")) as jobs,
    ):
        with jobs.events() as events:
            key = await jobs.submit(video("a"))
            assert await next_ending(events) is ItemState.DONE
            (tmp_path / "out" / "a.mp4").unlink()
            assert (await jobs.again(key)).state is ItemState.SUBMITTED
            assert await next_ending(events) is ItemState.DONE
            assert (tmp_path / "out" / "a.mp4").is_file()
    assert lab.charged == {"a": 1}
