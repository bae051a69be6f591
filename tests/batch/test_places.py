"""Places of a run: a number that is given, or one that follows the vendor's pace."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async import BatchLimits, ConfigurationError
from hitpaw_async.batch.run.outcome_stream import Outbox
from hitpaw_async.models import ItemState
from tests.batch.laboratory import laboratory, outcomes_of, video

pytestmark = pytest.mark.anyio


async def test_more_places_let_those_in_who_wait() -> None:
    outbox, entered = Outbox(1), []

    async def enter(name: str) -> None:
        await outbox.take_place()
        entered.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(enter, name)
        await anyio.wait_all_tasks_blocked()
        assert len(entered) == 1
        outbox.resize(3)
    assert len(entered) == 3


async def test_fewer_places_are_reached_as_taken_ones_come_back() -> None:
    outbox = Outbox(3)
    for _ in range(3):
        await outbox.take_place()
    outbox.resize(1)
    assert outbox.taken == 3
    outbox.give_back_place()
    outbox.give_back_place()
    assert outbox.taken == 1
    with anyio.move_on_after(0.01) as scope:
        await outbox.take_place()
    assert scope.cancelled_caught
    outbox.give_back_place()
    await outbox.take_place()


@given(st.lists(st.one_of(st.just("take"), st.just("give"), st.integers(1, 9)), max_size=80))
def test_places_are_neither_lost_nor_made_up(steps: list[str | int]) -> None:
    async def walk() -> None:
        outbox, taken, places = Outbox(4), 0, 4
        for step in steps:
            if isinstance(step, int):
                outbox.resize(places := step)
            elif step == "give" and taken:
                outbox.give_back_place()
                taken -= 1
            elif step == "take" and taken < places:
                with anyio.fail_after(1):
                    await outbox.take_place()
                taken += 1
            assert outbox.taken == taken

    anyio.run(walk)


async def test_auto_takes_more_places_while_the_vendor_keeps_pace() -> None:
    most = 0
    async with laboratory(speed=100.0) as lab, lab.hitpaw.batch(limits=BatchLimits(jobs_in_flight="auto")) as batch:
        outbox = batch.run(video(number) for number in range(80))
        async for _ in outbox:
            most = max(most, outbox.taken)
    assert most > 16
    assert len(lab.simulator.ledger) == 80


async def test_auto_takes_fewer_places_after_a_429_and_everything_is_done_once() -> None:
    rule = {"call": "export", "nth": 5, "do": "rate-limit", "retry_after_s": 0}
    async with laboratory(rule) as lab, lab.hitpaw.batch(limits=BatchLimits(jobs_in_flight="auto")) as batch:
        outbox = batch.run(video(number) for number in range(30))
        places = []
        async for outcome in outbox:
            assert outcome.state is ItemState.DONE
            places.append(outbox._count)
    assert min(places) < 16
    assert set(lab.charged.values()) == {1}
    assert len(lab.charged) == 30


async def test_a_budget_holds_however_many_places_there_are() -> None:
    limits = BatchLimits(jobs_in_flight="auto", submissions=20)
    async with laboratory() as lab, lab.hitpaw.batch(budget=10, limits=limits) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(40)))
    assert sum(outcome.state is ItemState.DONE for outcome in outcomes.values()) == 10
    assert len(lab.simulator.ledger) == 10


@pytest.mark.parametrize("value", ["many", 0, 1.5, True, 1_000_001, None])
def test_other_numbers_of_places_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="jobs_in_flight"):
        BatchLimits(jobs_in_flight=value)  # type: ignore[arg-type]


def test_a_hundred_thousand_places_are_allowed() -> None:
    assert BatchLimits(jobs_in_flight=100_000).places_max == 100_000
