"""A vendor with less room than a batch has places, in virtual time."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import trio
import trio.testing

from benchmarks.capacity import Vendor, found
from benchmarks.stub_vendor import batch_over, requests
from hitpaw_async import BatchLimits, EventKind, ItemState, WaitReason

ROOM = 10


@pytest.mark.parametrize("places", ["auto", 3 * ROOM])
def test_a_vendor_that_refuses_more_is_waited_for_and_nothing_is_left_for_later(places: int | Literal["auto"]) -> None:
    outcome = found(places, refuses=True, room=ROOM, jobs=100)
    assert outcome.refused > 0
    assert outcome.runs == 1


@pytest.mark.slow
def test_auto_keeps_a_vendor_busy_whose_room_it_does_not_know() -> None:
    outcome = found("auto", refuses=True, room=40, jobs=400)
    assert outcome.makespan_s <= 1.25 * outcome.bound_s


def test_an_item_that_waits_for_room_says_so_and_one_waits_for_each_job() -> None:
    vendor = Vendor(itertools.repeat(600.0), room=2, refuses=True)

    async def run() -> tuple[list[ItemState], set[WaitReason | None]]:
        async with batch_over(vendor, limits=BatchLimits(jobs_in_flight=6)) as batch:
            with batch.events() as events:
                states = [outcome.state async for outcome in batch.run(requests(iter([30.0] * 8)))]
            waiting = {event.waiting_for async for event in events if event.kind is EventKind.WAITING}
        return states, waiting

    states, waiting = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert states == [ItemState.DONE] * 8
    assert waiting == {WaitReason.VENDOR}


def test_a_vendor_without_any_room_ends_the_batch() -> None:
    vendor = Vendor(itertools.repeat(600.0), room=0, refuses=True)

    async def run() -> list[ItemState]:
        async with batch_over(vendor, limits=BatchLimits(jobs_in_flight=6)) as batch:
            return [outcome.state async for outcome in batch.run(requests(iter([30.0] * 8)))]

    states = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert states == [ItemState.SKIPPED] * 8
