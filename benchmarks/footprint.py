"""What does a job in flight hold, and does a batch grow with its length? Beside a program with a task per job.

In flight: what one more job takes of what Python allocates (`benchmarks.memory`, to the byte: the growth from 2,000
jobs to 20,000, and apart from it what is held once), and the growth of the resident set, for which every job is
accepted over real connections and none is due, as it is most of the time. The tasks of the peer sleep: what they would
hold while they wait in a pool is not counted, in their favour.

Length: the peak of a whole process that brings a generator of items to its end, with the journal in a file, for many
items and for ten thousand. The vendor is in the same process, and forgets a job once its end was told.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks import memory, ours, peers
from benchmarks.isolated import MEMORY_FOLDER, isolated, peak_bytes, resident_bytes
from benchmarks.measures import Goal, Options, Result, Row, Series
from benchmarks.stub_server import stub_vendor
from benchmarks.stub_vendor import StubCalls, batch_on, requests
from hitpaw_async import BatchLimits, PollPolicy

__all__ = ["measure"]

SCRIPT: Final = "lasting-1000000-0"
LONG_S: Final = 3600.0
"""No job is asked for while it is measured."""
ROUNDS_MAX: Final = 3
TASKS: Final = "a task per job with a sleep"
PAUSE_S: Final = 0.02
IN_FLIGHT: Final = 64


def measure(options: Options) -> Result:
    """The rows and plots of these questions."""
    resident, series = _resident(options)
    length, line = _length(options)
    return Result(rows=[*_traced(options), resident, length], series=[*series, line])


def _traced(options: Options) -> list[Row]:
    counts, asked_every_s = ([20, 60], 0.1) if options.is_quick else (memory.JOBS, memory.ASKED_EVERY_S)
    rounds = range(min(options.rounds, ROUNDS_MAX))
    held = [
        isolated(memory.bytes_in_flight, folder=MEMORY_FOLDER, counts=counts, asked_every_s=asked_every_s)
        for _ in rounds
    ]
    by_tasks = [isolated(memory.bytes_of_tasks, counts=counts) for _ in rounds]
    mine, theirs = ([memory.bytes_per_job(counts, figures) for figures in both] for both in (held, by_tasks))
    about: dict[str, Any] = {"measure": "memory that one more job in flight takes, tracemalloc", "unit": "bytes"}
    return [
        Row(name="memory-per-job", goal=Goal.at_most(0.1), ours=mine, peer_name=TASKS, peer=theirs, **about),
        Row(name="memory-per-job-bytes", goal=Goal.at_most(1024), ours=mine, **about),
        Row(
            name="memory-once",
            measure="memory held once, however many jobs are in flight, tracemalloc",
            unit="KiB",
            ours=[memory.bytes_once(counts, figures) / 2**10 for figures in held],
        ),
    ]


def _resident(options: Options) -> tuple[Row, list[Series]]:
    counts = [20, 40, 60] if options.is_quick else [500, 1_000, 2_000, 3_000, 4_000]
    held: dict[str, list[list[int]]] = {"ours": [], "a task per job, asleep": []}
    with stub_vendor(seed=options.seed) as address:
        for _ in range(min(options.rounds, ROUNDS_MAX)):
            for rounds, function in zip(held.values(), (held_by_batch, held_by_tasks), strict=True):
                rounds.append(isolated(function, folder=MEMORY_FOLDER, base_url=f"{address}/{SCRIPT}", counts=counts))
    mine, theirs = (
        [max(1, figures[-1] - figures[0]) / (counts[-1] - counts[0]) for figures in rounds] for rounds in held.values()
    )
    row = Row(
        name="memory-per-job-resident",
        measure="resident set per job in flight, over real connections",
        unit="bytes",
        ours=mine,
        peer_name=TASKS,
        peer=theirs,
    )
    x = [float(count) for count in counts]
    lines = {label: [(figure - rounds[-1][0]) / 2**20 for figure in rounds[-1]] for label, rounds in held.items()}
    return row, [Series(plot="memory", label=label, x=x, y=y) for label, y in lines.items()]


def _length(options: Options) -> tuple[Row, Series]:
    """The peak of a long batch over that of a short one, and the way there."""
    short, long = (100, 300) if options.is_quick else (10_000, options.items)
    few = isolated(drained, folder=MEMORY_FOLDER, items=short)
    many = isolated(drained, folder=MEMORY_FOLDER, items=long)
    row = Row(
        name="memory-of-length",
        measure=f"peak of the resident set, {long:,} items through a generator",
        unit="MiB",
        ours=[many["peak"] / 2**20],
        peer_name=f"ours, {short:,} items",
        peer=[few["peak"] / 2**20],
        goal=Goal.at_most(1.2),
        note="" if long >= 1_000_000 else "scaled down from a million items; `--items 1000000` runs them all",
    )
    y = [resident / 2**20 for resident in many["resident"]]
    return row, Series(plot="length", label=f"ours, {IN_FLIGHT} in flight", x=many["items"], y=y)


async def drained(items: int) -> dict[str, Any]:
    """Bring so many items to their end. Returns the peak, and the resident set on the way."""
    calls = StubCalls(lambda _: 0.0)
    limits = BatchLimits(jobs_in_flight=IN_FLIGHT, submissions=32, polls=32)
    poll = PollPolicy(interval_min_s=0.001, interval_max_s=0.001, rate_max_hz=1e6)
    finished, seen, held = 0, [], []
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "journal.db")
        async with batch_on(calls, journal, limits=limits, poll=poll, clock=time.time) as batch:
            async for _ in batch.run(requests(itertools.repeat(30.0, items))):
                finished += 1
                if finished % max(1, items // 50) == 0:
                    seen.append(finished)
                    held.append(resident_bytes())
    return {"peak": peak_bytes(), "items": seen, "resident": held}


async def held_by_batch(base_url: str, counts: list[int]) -> list[int]:
    """The resident set of a batch at each number of jobs in flight."""
    gate, held = memory.Gate(ours.requests(1 << 60)), []
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
