"""The library doing its work against the stub: a whole batch, with journal, ledger, budget and poller."""

from __future__ import annotations

from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import anyio

from benchmarks.peers import API_KEY
from hitpaw_async import AsyncHitPaw, BatchLimits, CreditBudget, ExportRequest, PollPolicy, VideoFacts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hitpaw_async import BatchScheduler

__all__ = ["finish", "finish_in_time", "open_batch", "requests"]

FACTS: Final = VideoFacts(duration_s=42.5, frame_rate=Fraction(30000, 1001), width=1280, height=720, container="mp4")

RATE_MAX_HZ: Final = 100_000.0
"""No budget of polls: the stub takes any number, and what is measured is the client."""
CREDITS: Final = 2
"""What each of the videos costs."""


def requests(count: int, folder: str = "library") -> Iterator[ExportRequest]:
    """So many videos."""
    for number in range(count):
        url = f"https://videos.example/{folder}/{number}.mp4"
        yield ExportRequest(url, model=17, resolution=(1920, 1080), facts=FACTS)


@asynccontextmanager
async def open_batch(
    base_url: str,
    journal: Path | None,
    *,
    in_flight: int,
    poll_s: float,
    workers: int = 4,
    connections: int = 10,
    poll_max_s: float | None = None,
    **client: Any,
) -> AsyncIterator[BatchScheduler]:
    """A client and a batch on it, within a budget."""
    poll = PollPolicy(interval_min_s=poll_s, interval_max_s=poll_max_s or 2 * poll_s, rate_max_hz=RATE_MAX_HZ)
    limits = BatchLimits(jobs_in_flight=in_flight, submissions=workers, polls=workers, stop_grace_s=0.5)
    async with (
        AsyncHitPaw(api_key=API_KEY, base_url=base_url, max_connections=connections, poll=poll, **client) as hitpaw,
        hitpaw.batch(journal=journal, budget=CreditBudget(10**9), limits=limits) as batch,
    ):
        yield batch


async def finish(batch: BatchScheduler, videos: Iterator[ExportRequest]) -> int:
    """Run a batch to its end. Returns how many are done."""
    done = 0
    async for outcome in batch.run(videos):
        assert outcome.state == "done", outcome.error
        done += 1
    return done


async def finish_in_time(batch: BatchScheduler, videos: Iterator[ExportRequest], time_s: float) -> int:
    """Run a batch for so long. Returns how many were done by then."""
    done = 0
    with anyio.move_on_after(time_s):
        async for outcome in batch.run(videos):
            assert outcome.state == "done", outcome.error
            done += 1
    return done
