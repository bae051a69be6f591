"""The studio's tests: plain coroutines, for the automatic mode of anyio's plugin or of pytest-asyncio."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
from studio import enhance_library, enhance_one

from hitpaw_async import ItemState

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.testing import HitPawSimulator

URL = "https://videos.example/holiday.mp4"
LIBRARY = [f"https://videos.example/{number}.mp4" for number in range(5)]
TWO_HOURS_S = 7200


async def test_a_job_of_two_hours(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    vendor = hitpaw_simulator.vendor
    vendor.job_duration_s = TWO_HOURS_S
    began_s = time.monotonic()
    assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"
    assert time.monotonic() - began_s < TWO_HOURS_S / 100
    [charge], [job] = vendor.charges, vendor.jobs
    assert (charge.video_url, charge.credits, job.duration_s) == (URL, 1, TWO_HOURS_S)
    assert (tmp_path / "enhanced.mp4").stat().st_size > 0


async def test_a_batch_keeps_to_its_budget(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.job_duration_s = TWO_HOURS_S
    states = await enhance_library(LIBRARY, tmp_path, credits_max=3)
    assert sorted(states.values()) == [*[ItemState.DONE] * 3, *[ItemState.SKIPPED] * 2]
    assert sum(charge.credits for charge in hitpaw_simulator.vendor.charges) == 3
    assert len(list((tmp_path / "out").iterdir())) == 3


async def test_a_lost_reply_is_never_paid_twice(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    vendor = hitpaw_simulator.vendor
    vendor.fail_next("export", "drop", when="after")
    first = await enhance_library(LIBRARY, tmp_path, credits_max=10)
    again = await enhance_library(LIBRARY, tmp_path, credits_max=10)
    assert sorted(first.values()) == sorted(again.values()) == [*[ItemState.DONE] * 4, ItemState.UNCERTAIN]
    assert set(vendor.charges_by_url().values()) == {1}


async def test_a_lost_reply_is_looked_into(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.fail_next("export", "drop", when="after")
    assert await enhance_one(URL, tmp_path) == "Somebody has to look into it."
    assert hitpaw_simulator.vendor.charges_by_url() == {URL: 1}


async def test_a_job_that_fails(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.fail_next("export", "job-error")
    assert await enhance_one(URL, tmp_path) == "This video can't be enhanced."


async def test_a_night_without_a_network(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    vendor = hitpaw_simulator.vendor
    vendor.job_duration_s = TWO_HOURS_S

    async def cut_the_cable() -> None:
        await anyio.sleep(600)
        vendor.is_reachable = False
        await anyio.sleep(6 * 3600)
        vendor.is_reachable = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cut_the_cable)
        began_s = anyio.current_time()
        assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"
        assert anyio.current_time() - began_s > 6 * 3600
    assert vendor.charges_by_url() == {URL: 1}
