"""A long job costs a test no time: with virtual sources, trio's clock may jump."""

from __future__ import annotations

import time

import trio
import trio.testing

from hitpaw_async.models import VideoFacts
from tests.simulator.conversation import client_of, exported, task, virtual
from tests.support.patience import soon


def test_ten_minutes_of_video_pass_in_virtual_time() -> None:
    async def conversation() -> float:
        simulator = virtual(sources=lambda _: VideoFacts(duration_s=600.0))
        async with client_of(simulator) as client:
            job_id = await exported(client)
            began_s = trio.current_time()
            while (await task(client, job_id))["status"] != "COMPLETED":  # noqa: ASYNC110 (that is what polling is)
                await trio.sleep(5)
            return trio.current_time() - began_s

    began_s = time.monotonic()
    took_s = trio.run(conversation, clock=trio.testing.MockClock(autojump_threshold=0))
    assert 200 < took_s < 400
    assert time.monotonic() - began_s < soon(5)
