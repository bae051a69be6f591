"""Memory per job in flight, against a task per job; and the peak of many items, against that of few.

    python -m benchmarks.memory              20,000 jobs in flight; 100,000 items against 10,000
    python -m benchmarks.memory --million    a million items against ten thousand (some minutes)

Journals are SQLite files. What the stub vendor itself keeps is taken off. `tracemalloc` counts Python's allocations.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from benchmarks.stub_vendor import StubCalls, batch_on, requests
from hitpaw_async import BatchLimits, PollPolicy

if TYPE_CHECKING:
    from hitpaw_async import ExportRequest

__all__ = ["bytes_in_flight", "bytes_of_tasks", "measure", "peak_bytes"]

AGES_S: Final = 1e6
"""Longer than anything is measured."""

FEW_POLLS: Final = PollPolicy(interval_min_s=3600, interval_max_s=3600)


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def bytes_in_flight(jobs: int) -> float:
    """Bytes a job that is at the vendor costs the batch, its request included."""

    async def run(journal: str) -> float:
        calls = StubCalls(lambda _: AGES_S)
        limits = BatchLimits(jobs_in_flight=jobs, submissions=100)
        tracemalloc.start()
        async with batch_on(calls, journal, limits=limits, poll=FEW_POLLS, clock=time.time) as batch:
            before = _traced()
            outcomes = batch.run(requests(itertools.repeat(30.0, jobs)))
            while calls.running < jobs:
                await anyio.sleep(0.1)
            await anyio.sleep(1)
            calls.forget_jobs()
            held = _traced() - before
            assert outcomes is not None
        tracemalloc.stop()
        return held / jobs

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(run, str(Path(folder) / "journal.db"))


def bytes_of_tasks(jobs: int) -> float:
    """The same where each job has a task that asks and sleeps: what generic clients do."""

    async def follow(calls: StubCalls, request: ExportRequest) -> None:
        job_id = f"job-{request.key[:32]}"
        while True:
            calls.task_calls += 1
            await anyio.sleep(3600)
            await calls.task(job_id)

    async def run() -> float:
        calls = StubCalls(lambda _: AGES_S)
        tracemalloc.start()
        before = _traced()
        async with anyio.create_task_group() as tasks:
            for request in requests(itertools.repeat(30.0, jobs)):
                tasks.start_soon(follow, calls, request)
            while calls.task_calls < jobs:
                await anyio.sleep(0.1)
            held = _traced() - before
            tasks.cancel_scope.cancel()
        tracemalloc.stop()
        return held / jobs

    return anyio.run(run)


def peak_bytes(items: int, *, in_flight: int = 1000) -> int:
    """The most that a batch of so many items holds at any time, over what it holds before the first."""

    async def run(journal: str) -> int:
        calls = StubCalls(lambda _: 0.0)
        limits = BatchLimits(jobs_in_flight=in_flight, submissions=200, polls=200)
        poll = PollPolicy(interval_min_s=0.001, interval_max_s=0.001, rate_max_hz=1e6)
        async with batch_on(calls, journal, limits=limits, poll=poll, clock=time.time) as batch:
            tracemalloc.start()
            async for _ in batch.run(requests(itertools.repeat(30.0, items))):
                pass
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return peak

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(run, str(Path(folder) / "journal.db"))


def measure(*, jobs: int = 20_000, few: int = 10_000, many: int = 100_000) -> dict[str, float]:
    """All figures."""
    ours, tasks = bytes_in_flight(jobs), bytes_of_tasks(jobs)
    peak_few, peak_many = peak_bytes(few), peak_bytes(many)
    return {
        "jobs_in_flight": jobs,
        "bytes_per_job": ours,
        "bytes_per_job_of_tasks": tasks,
        "job_to_task": ours / tasks,
        "items_few": few,
        "items_many": many,
        "peak_bytes_few": peak_few,
        "peak_bytes_many": peak_many,
        "peak_many_to_few": peak_many / peak_few,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    for name, value in measure(many=1_000_000 if arguments.million else 100_000).items():
        print(f"{name:24} {value:14,.2f}")


if __name__ == "__main__":
    main()
