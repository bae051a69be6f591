"""A video that is given again: under another spelling, signed anew, after a refusal that may have passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from hitpaw_async import BackgroundBatch, BudgetExceededError, InvalidVideoURLError, ItemState
from hitpaw_async._core.itemstate import Item, Problem
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.plan import PlanAction
from tests.batch.laboratory import facts_lasting, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async import ExportRequest

pytestmark = pytest.mark.anyio

NOT_VALID = {"code": 501016, "message": "The video url is not valid"}
EXPIRED = {"call": "export", "url": "=old", "do": "reply", "status": 400, "body": NOT_VALID}
SPELLINGS = (
    "https://videos.test/a.mp4",
    "HTTPS://VIDEOS.test:443/%61.mp4#t=1",
    "https://videos.test./x/../a.mp4?",
    "https://videos.test/a.mp4?X-Amz-Date=1&X-Amz-Signature=1",
    "https://videos.test/a.mp4?X-Amz-Date=2&X-Amz-Signature=2",
)


def spelt(url: str, **fields: object) -> ExportRequest:
    return attrs.evolve(video("a", **fields), video_url=url)


def signed(signature: str, name: str = "a", **fields: object) -> ExportRequest:
    return attrs.evolve(video(name, **fields), video_url=f"https://videos.test/{name}.mp4?X-Amz-Signature={signature}")


@pytest.mark.parametrize("first", range(len(SPELLINGS)))
async def test_one_video_under_many_spellings_is_paid_once(tmp_path: Path, first: int) -> None:
    spellings = [*SPELLINGS[first:], *SPELLINGS[:first]]
    async with laboratory() as lab:
        for chunk in (spellings[:3], spellings[3:], spellings):
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                outcomes = [outcome async for outcome in batch.run([spelt(url) for url in chunk])]
            assert [outcome.state for outcome in outcomes] == [ItemState.DONE]
    assert len(lab.simulator.ledger) == 1


async def test_what_a_query_says_beside_a_signature_tells_videos_apart() -> None:
    urls = [f"https://videos.test/a.mp4?id={number}&X-Amz-Signature={number}" for number in range(3)]
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        outcomes = [outcome async for outcome in batch.run([spelt(url) for url in urls])]
    assert len(outcomes) == len(lab.simulator.ledger) == 3


@pytest.mark.parametrize("state", [ItemState.DONE, ItemState.QUEUED, ItemState.UNCERTAIN])
@pytest.mark.parametrize("way", ["run", "enqueue", "submit"])
async def test_a_journal_of_before_is_recognised_by_the_key_of_its_spelling(state: ItemState, way: str) -> None:
    request = spelt("https://VIDEOS.test/a.mp4")
    former = request.former_key
    assert former is not None
    store = MemoryStore()
    job_id = "job-1" if state is ItemState.DONE else None
    reserved = 1 if state is ItemState.UNCERTAIN else 0
    store.add(Item(key=former, request=request, state=state, job_id=job_id, reserved_credits=reserved))
    async with laboratory() as lab:
        if way == "submit":
            async with BackgroundBatch(lab.hitpaw.batch(journal=store)) as jobs:
                assert await jobs.submit(request) == former
                assert await jobs.status(former) is not None
        else:
            async with lab.hitpaw.batch(journal=store) as batch:
                if way == "enqueue":
                    assert await batch.enqueue([request]) == 0
                else:
                    (outcome,) = [each async for each in batch.run([request])]
                    assert outcome.key == former
                plan = await batch.plan([request])
                assert len(plan.items) == 1
    assert store.keys("", 9) == [former]
    if way != "submit":
        assert len(lab.simulator.ledger) == (state is ItemState.QUEUED and way == "run")
    assert len(lab.simulator.ledger) <= 1


@pytest.mark.parametrize("key", [None, "mine"])
@pytest.mark.parametrize("way", ["run", "enqueue", "both"])
@pytest.mark.parametrize("is_on_disk", [False, True])
async def test_a_fresh_signature_takes_the_place_of_the_one_that_waits(
    tmp_path: Path, key: str | None, way: str, is_on_disk: bool
) -> None:
    store = MemoryStore()
    async with laboratory(EXPIRED) as lab:
        for signature, budget in (("old", 0), ("new", 9)):
            requests = [signed(signature, name, key=key and f"{key}-{name}") for name in "abc"]
            journal = tmp_path / "journal.db" if is_on_disk else store
            async with lab.hitpaw.batch(journal=journal, budget=budget) as batch:
                if way != "run":
                    await batch.enqueue(requests)
                states = [each.state async for each in batch.run(() if way == "enqueue" else requests)]
        assert states == [ItemState.DONE] * 3
        assert {charge.video_url[-3:] for charge in lab.simulator.ledger} == {"new"}
        assert lab.simulator.exports_received == 3


async def test_a_refusal_that_may_have_passed_is_looked_at_again_by_itself(tmp_path: Path) -> None:
    once = {**EXPIRED, "url": "/a.mp4", "times": 1}
    async with laboratory(once) as lab:
        for expected in (ItemState.REJECTED, ItemState.DONE, ItemState.DONE):
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                asked = [] if expected is not ItemState.REJECTED and not lab.charged else [video("a")]
                outcomes = await outcomes_of(batch, *asked)
                assert outcomes["a"].state is expected
                assert batch.statistics().total == 1
    assert lab.charged == {"a": 1}


async def test_a_refusal_is_looked_at_once_in_a_run_and_reported_once() -> None:
    always = {**EXPIRED, "url": "/a.mp4"}
    store = MemoryStore()
    async with laboratory(always) as lab:
        for sent in (1, 2):
            async with lab.hitpaw.batch(journal=store) as batch:
                outcomes = await outcomes_of(batch, video("a"))
            assert isinstance(outcomes["a"].error, InvalidVideoURLError)
            assert lab.simulator.exports_received == sent


async def test_an_expired_signature_that_was_refused_is_replaced_by_a_fresh_one(tmp_path: Path) -> None:
    async with laboratory(EXPIRED) as lab:
        for signature, expected in (("old", ItemState.REJECTED), ("new", ItemState.DONE)):
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                assert (await outcomes_of(batch, signed(signature)))[
                    f"a.mp4?X-Amz-Signature={signature}"
                ].state is expected
    assert lab.simulator.exports_received == 2


async def test_a_limit_that_is_broken_stays_broken() -> None:
    store = MemoryStore()
    async with laboratory() as lab:
        for _ in range(2):
            async with lab.hitpaw.batch(journal=store) as batch:
                outcomes = await outcomes_of(batch, video("a", facts=facts_lasting(11)))
                assert outcomes["a"].state is ItemState.REJECTED
                item = store.get(video("a").key)
                assert item is not None
                assert item.run in (1, 2)
        async with lab.hitpaw.batch(journal=store) as batch:
            assert await outcomes_of(batch) == {}


async def test_a_service_is_given_what_was_refused_again(tmp_path: Path) -> None:
    async with laboratory(EXPIRED) as lab, BackgroundBatch(lab.hitpaw.batch(journal=tmp_path / "j.db")) as jobs:
        with jobs.events() as events:
            for signature, expected in (("old", ItemState.REJECTED), ("new", ItemState.DONE)):
                key = await jobs.submit(signed(signature))
                async for event in events:
                    if event.outcome is not None:
                        assert (event.key, event.state) == (key, expected)
                        break
    assert [charge.video_url[-3:] for charge in lab.simulator.ledger] == ["new"]


async def test_what_was_refused_is_taken_in_again_only_where_the_budget_has_room() -> None:
    store = MemoryStore()
    gone = Problem("MediaError", "HTTP 404", 404)
    store.add(Item(key=video("a").key, request=video("a"), state=ItemState.REJECTED, problem=gone, queued_at=0.0))
    async with laboratory() as lab:
        batch = lab.hitpaw.batch(journal=store, budget=1)
        async with batch:
            await batch.promise_waiting()
            await batch.take_in(video("b"))
            with pytest.raises(BudgetExceededError):
                await batch.take_in(video("a"))
            before = await batch.find(video("a").key)
            assert before is not None
            assert before.state is ItemState.REJECTED, "it stays as it was"
            outcomes = await outcomes_of(batch)
    assert outcomes["b"].state is ItemState.DONE
    assert lab.charged == {"b": 1}


async def test_a_plan_counts_what_would_be_looked_at_again() -> None:
    store = MemoryStore()
    gone = Problem("MediaError", "HTTP 404", 404)
    store.add(Item(key="gone", request=video("a", key="gone"), state=ItemState.REJECTED, problem=gone))
    forgotten = attrs.evolve(video("b", key="b"), video_url="https://videos.test/b.mp4?***")
    store.add(Item(key="b", request=forgotten, state=ItemState.REJECTED, problem=gone))
    async with laboratory() as lab, lab.hitpaw.batch(journal=store) as batch:
        plan = await batch.plan()
        assert [(item.key, item.action) for item in plan.items] == [("gone", PlanAction.SUBMIT)]
        assert [each.key async for each in batch.run()] == ["gone"]
        fresh = signed("new", "b", key="b")
        assert [item.action for item in (await batch.plan([fresh])).items] == [PlanAction.SUBMIT]
        assert [each.key async for each in batch.run([fresh])] == ["b"]


async def test_a_query_is_kept_only_as_long_as_it_may_be_needed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with laboratory(EXPIRED) as lab:
        for signature in ("old", "new"):
            async with lab.hitpaw.batch(journal=path) as batch:
                async for _ in batch.run([signed(signature)]):
                    pass
            assert (b"X-Amz-Signature" in path.read_bytes()) is (signature == "old")


async def test_own_columns_come_back_with_the_outcome_of_every_run(tmp_path: Path) -> None:
    async with laboratory() as lab:
        for title in ("Holiday", "Vacation"):
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                outcomes = await outcomes_of(batch, video("a", metadata={"title": title}))
                assert outcomes["a"].request.metadata == {"title": title}
        async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
            found = await batch.find(video("a").key)
            assert found is not None
            assert found.request.metadata == {"title": "Vacation"}


def test_keys_are_found_by_how_they_begin(tmp_path: Path) -> None:
    for store in (MemoryStore(), SqliteStore(tmp_path / "journal.db")):
        with store.transaction():
            for key in ("b", "ab", "a", "aB", "ä", "a_", "a%"):
                store.add(Item(key=key, request=video(key, key=key)))
        assert store.keys("a", 9) == sorted(["ab", "a", "aB", "a_", "a%"])
        assert store.keys("a_", 9) == ["a_"]
        assert store.keys("", 2) == ["a", "a%"]
        assert store.keys("c", 9) == []
        store.close()
