"""What is charged, and that the ledger counts it whatever becomes of the reply."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from hitpaw_async.models import Resolution, VideoFacts
from hitpaw_async.simulator import Simulator
from hitpaw_async.simulator.faults import ConnectionDroppedError
from tests.simulator.conversation import FACTS, URL, ManualClock, client_of, export, exported, task, virtual

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("facts", "resolution", "price"),
    [
        ({"duration_s": 60, "frame_rate": 30, "width": 640, "height": 360}, [1280, 720], 1),
        ({"duration_s": 60.1, "frame_rate": 30, "width": 640, "height": 360}, [1280, 720], 2),
        ({"duration_s": 5, "frame_rate": Fraction(30000, 1001), "width": 640, "height": 360}, [1920, 1080], 2),
        ({"duration_s": 5, "frame_rate": 31, "width": 640, "height": 360}, [1920, 1080], 4),
        ({"duration_s": 5, "frame_rate": 61, "width": 640, "height": 360}, [1080, 1920], 8),
        ({"duration_s": 600, "frame_rate": 60, "width": 640, "height": 360}, [7680, 4320], 80),
        ({"duration_s": 5, "frame_rate": 25, "width": 3840, "height": 2160}, [1280, 720], 3),
    ],
)
async def test_an_export_costs_what_the_tariff_says(facts: dict[str, Any], resolution: list[int], price: int) -> None:
    simulator = virtual(sources=lambda _: VideoFacts(**facts), credits=100)
    async with client_of(simulator) as client:
        await exported(client, resolution=resolution)
    assert [charge.credits for charge in simulator.ledger] == [price]
    assert simulator.credits_left == 100 - price


async def test_the_ledger_endpoint_tells_charges_and_calls() -> None:
    simulator = virtual(credits=10)
    async with client_of(simulator) as client:
        job_id = await exported(client)
        await export(client, model_id=99)
        await task(client, job_id)
        ledger = (await client.get("/simulator/ledger")).json()
    charge = ledger["charges"][0]
    assert (
        charge.items()
        >= {
            "job_id": job_id,
            "video_url": URL,
            "credits": 2,
            "model_id": 17,
            "resolution": [1920, 1080],
        }.items()
    )
    assert len(ledger["charges"]) == 1
    assert (ledger["credits_left"], ledger["exports_received"], ledger["polls_received"]) == (8, 2, 1)


async def test_the_balance_is_spent_to_the_last_credit_and_no_further() -> None:
    simulator = virtual(credits=5)
    async with client_of(simulator) as client:
        replies = [(await export(client)).status_code for _ in range(4)]
    assert replies == [200, 200, 402, 402]
    assert simulator.credits_left == 1


async def test_a_charge_knows_when_and_what_for() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock)
    async with client_of(simulator) as client:
        await exported(client)
    (charge,) = simulator.ledger
    assert (charge.at_s, charge.resolution, charge.model_id) == (clock.now_s, Resolution.FULL_HD, 17)
    assert "secret" not in repr(charge)


async def test_charging_twice_is_seen() -> None:
    simulator = virtual()
    async with client_of(simulator) as client:
        await exported(client)
        await exported(client)
        await exported(client, video_url="https://videos.example/other.mp4")
    assert simulator.charges_by_url() == {URL: 2, "https://videos.example/other.mp4": 1}


async def test_a_charge_stands_when_the_reply_is_lost() -> None:
    simulator = virtual({"call": "export", "do": "drop", "when": "after"})
    async with client_of(simulator) as client:
        with pytest.raises(ConnectionDroppedError):
            await export(client)
    assert simulator.charges_by_url() == {URL: 1}


async def test_a_charge_stands_when_the_client_leaves_before_the_reply() -> None:
    simulator = virtual({"call": "export", "do": "delay", "when": "after", "delay_s": 1000})
    async with client_of(simulator) as client:
        with anyio.move_on_after(0.05):
            await export(client)
    assert simulator.charges_by_url() == {URL: 1}


async def test_a_client_that_leaves_before_the_call_is_processed_is_not_charged() -> None:
    simulator = virtual({"call": "export", "do": "delay", "delay_s": 1000})
    async with client_of(simulator) as client:
        with anyio.move_on_after(0.05):
            await export(client)
    assert simulator.ledger == ()


async def test_many_exports_at_once_never_overdraw() -> None:
    simulator = Simulator(sources=lambda _: FACTS, credits=21)
    statuses: list[int] = []
    async with client_of(simulator) as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            await anyio.lowlevel.checkpoint()
            statuses.append((await export(client, video_url=f"https://videos.example/{number}.mp4")).status_code)

        for number in range(30):
            tasks.start_soon(one, number)
    assert statuses.count(200) == 10
    assert simulator.credits_left == 1
    assert set(simulator.charges_by_url().values()) == {1}
