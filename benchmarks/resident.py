"""How does the process grow with jobs in flight? The resident set of a batch, and of a program with a task per job.

Every job is accepted over real connections and none is due, as it is most of the time. What is counted is the growth
from one number of jobs in flight to the next, so that what is there once does not count. The tasks of the peer sleep:
what they would hold while they wait in a pool is not counted, in their favour.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from benchmarks import ours, peers
from benchmarks.isolated import isolated, resident_bytes
from benchmarks.measures import Goal, Options, Result, Row, Series
from benchmarks.stub_server import stub_vendor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hitpaw_async import ExportRequest

__all__ = ["measure"]

SCRIPT: Final = "lasting-1000000-0"
LONG_S: Final = 3600.0
"""No job is asked for while it is measured."""
ROUNDS_MAX: Final = 3
PAUSE_S: Final = 0.02


def measure(options: Options) -> Result:
    """The rows of this question."""
    counts = [20, 40, 60] if options.is_quick else [500, 1_000, 2_000, 3_000, 4_000]
    held: dict[str, list[list[int]]] = {"ours": [], "tasks": []}
    with stub_vendor(seed=options.seed) as address:
        for _ in range(min(options.rounds, ROUNDS_MAX)):
            held["ours"].append(isolated(held_by_batch, base_url=f"{address}/{SCRIPT}", counts=counts))
            held["tasks"].append(isolated(held_by_tasks, base_url=f"{address}/{SCRIPT}", counts=counts))
    per_job = {
        name: [max(1, figures[-1] - figures[0]) / (counts[-1] - counts[0]) for figures in rounds]
        for name, rounds in held.items()
    }
    row = Row(
        name="resident-per-job",
        measure="resident set per job in flight, over real connections",
        unit="bytes",
        ours=per_job["ours"],
        peer_name="a task per job with a sleep",
        peer=per_job["tasks"],
        goal=Goal.at_most(0.1),
    )
    labels = {"ours": "ours", "tasks": "a task per job, asleep"}
    series = [
        Series(
            plot="memory",
            label=labels[name],
            x=[float(count) for count in counts],
            y=[(figure - rounds[-1][0]) / 2**20 for figure in rounds[-1]],
        )
        for name, rounds in held.items()
    ]
    return Result(rows=[row], series=series)


class _Gate:
    """Lets a number of jobs begin."""

    def __init__(self) -> None:
        self.limit = 0

    async def videos(self) -> AsyncIterator[ExportRequest]:
        for number, request in enumerate(ours.requests(1 << 60)):
            while number >= self.limit:
                await anyio.sleep(PAUSE_S)
            yield request


async def held_by_batch(base_url: str, counts: list[int]) -> list[int]:
    """The resident set of a batch at each number of jobs in flight."""
    gate, held = _Gate(), []
    options: dict[str, Any] = {"in_flight": counts[-1] + 1, "poll_s": LONG_S, "workers": 8}
    with tempfile.TemporaryDirectory() as folder:
        async with ours.open_batch(base_url, Path(folder) / "journal.db", **options) as batch:
            batch.run(gate.videos())
            for gate.limit in counts:
                while batch.statistics().credits_spent < gate.limit * ours.CREDITS:
                    await anyio.sleep(PAUSE_S)
                gc.collect()
                held.append(resident_bytes())
    return held


async def held_by_tasks(base_url: str, counts: list[int]) -> list[int]:
    """The resident set of a program with a task per job, at each number of them."""
    tasks: list[asyncio.Task[None]] = []
    exported, held = peers.Tally(), []
    async with peers.aiohttp_client(base_url, connections=10) as post:
        for count in counts:
            while exported.count < count:
                if len(tasks) == exported.count:
                    # A few at a time, so that none waits for the pool for long.
                    numbers = range(len(tasks), min(len(tasks) + 10, count))
                    tasks += [asyncio.create_task(peers.follow(post, number, LONG_S, exported)) for number in numbers]
                await asyncio.sleep(0.001)
            gc.collect()
            held.append(resident_bytes())
        for task in tasks:
            task.cancel()
    return held
