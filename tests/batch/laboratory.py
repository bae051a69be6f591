"""A batch against the simulator, in one process and without a socket; the simulator counts what is charged."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from hitpaw_async import AsyncHitPaw, DownloadPolicy, ExportRequest, PollPolicy, RetryPolicy, VideoFacts, VideoModel
from hitpaw_async.simulator import FaultScript, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async import BatchScheduler, Outcome

HALF_A_MINUTE = VideoFacts(duration_s=30, frame_rate=Fraction(30), width=640, height=360, container="mp4")
BASE_URL = "http://vendor.test"


def video(name: str | int, **fields: Any) -> ExportRequest:
    """A video that costs one credit (HD, 30 fps, up to a minute), unless `fields` say otherwise."""
    given = {"model": VideoModel.GENERAL_DENOISE_BALANCE, "resolution": "1280x720", "facts": HALF_A_MINUTE}
    return ExportRequest(f"https://videos.test/{name}.mp4", **{**given, **fields})


def facts_lasting(minutes: int) -> VideoFacts:
    return attrs.evolve(HALF_A_MINUTE, duration_s=minutes * 60)


@attrs.define
class Laboratory:
    simulator: Simulator
    hitpaw: AsyncHitPaw

    @property
    def charged(self) -> dict[str, int]:
        """How often each video was charged, by its file name."""
        counts: dict[str, int] = {}
        for charge in self.simulator.ledger:
            name = charge.video_url.rpartition("/")[2].removesuffix(".mp4")
            counts[name] = counts.get(name, 0) + 1
        return counts


@asynccontextmanager
async def laboratory(
    *rules: dict[str, Any], api_key: str = "key", gone_after_s: float = 0.05, **settings: Any
) -> AsyncIterator[Laboratory]:
    faults = FaultScript.parse(json.dumps({"rules": rules})) if rules else None
    given = {"speed": 1000.0, "sources": lambda url: HALF_A_MINUTE, "seed": 1, "api_keys": {"key"}}
    simulator = Simulator(faults=faults, **{**given, **settings})
    transport = httpx.ASGITransport(simulator.app)
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        AsyncHitPaw(
            api_key=api_key,
            base_url=BASE_URL,
            http_client=http_client,
            poll=PollPolicy(interval_min_s=0.005, interval_max_s=0.01),
            download=DownloadPolicy(gone_after_s=gone_after_s, backoff_first_s=0.001, backoff_max_s=0.002),
            retry=RetryPolicy(backoff_first_s=0.001, backoff_max_s=0.002),
        ) as hitpaw,
    ):
        yield Laboratory(simulator, hitpaw)


async def outcomes_of(batch: BatchScheduler, *requests: ExportRequest) -> dict[str, Outcome]:
    """The outcomes of a run by the video's file name."""
    found: dict[str, Outcome] = {}
    async for outcome in batch.run(requests):
        name = outcome.request.video_url.rpartition("/")[2].removesuffix(".mp4")
        assert name not in found, "one outcome a video"
        found[name] = outcome
    return found


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
