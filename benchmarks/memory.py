"""Memory per job in flight, against a task per job; and the peak of many items, against that of few.

    python -m benchmarks.memory              2,000 to 20,000 jobs in flight; 100,000 items against 10,000
    python -m benchmarks.memory --million    a million items against ten thousand (half an hour)

Per job is what one more job holds: the slope between two numbers of jobs in flight, for ours and for the tasks alike.
What is held once, however many jobs there are, is a figure of its own. Every job has been accepted and asked for at
least once, and every source has another length: a batch that has been under way for a while. Journals are SQLite
files. The stub vendor keeps nothing. `tracemalloc` counts Python's allocations.
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
    from collections.abc import AsyncIterator, Iterator

    from hitpaw_async import ExportRequest, Job

__all__ = ["JOBS", "Gate", "bytes_in_flight", "bytes_of_tasks", "bytes_once", "bytes_per_job", "measure", "peak_bytes"]

AGES_S: Final = 1e6
"""Longer than anything is measured."""

ASKED_EVERY_S: Final = 30.0
PAUSE_S: Final = 0.1

JOBS: Final = [2_000, 20_000]
"""In flight, fewest and most: what one more job holds is the growth between the two."""


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _videos() -> Iterator[ExportRequest]:
    """Endlessly many, each of another length: what is alike by chance would be held once."""
    return requests(30 + number / 1024 for number in itertools.count())


class _Noting(StubCalls):
    """Counts the jobs that have been asked for."""

    def __init__(self, jobs_max: int) -> None:
        super().__init__(lambda _: AGES_S)
        self.asked_for = 0
        self._was_asked_for = bytearray(jobs_max + 1)

    async def task(self, job_id: str) -> Job:
        number = int(job_id.split("-")[1])
        self.asked_for += not self._was_asked_for[number]
        self._was_asked_for[number] = 1
        return await super().task(job_id)


class Gate:
    """Lets a number of jobs begin."""

    def __init__(self, videos: Iterator[ExportRequest]) -> None:
        self.limit = 0
        self._videos = videos

    async def videos(self) -> AsyncIterator[ExportRequest]:
        """The videos, as far as the limit allows."""
        for number, request in enumerate(self._videos):
            while number >= self.limit:
                await anyio.sleep(PAUSE_S)
            yield request


def bytes_in_flight(counts: list[int], *, asked_every_s: float = ASKED_EVERY_S) -> list[int]:
    """What a batch holds with each of so many jobs in flight, each of which has been asked for and goes on."""

    async def run(journal: str) -> list[int]:
        calls, gate, held = _Noting(counts[-1]), Gate(_videos()), []
        limits = BatchLimits(jobs_in_flight=counts[-1] + 1, submissions=16, polls=16)
        poll = PollPolicy(interval_min_s=asked_every_s, interval_max_s=asked_every_s, rate_max_hz=1e6)
        tracemalloc.start()
        async with batch_on(calls, journal, limits=limits, poll=poll, clock=time.time) as batch:
            before = _traced()
            batch.run(gate.videos())
            for gate.limit in counts:
                while calls.asked_for < gate.limit:
                    await anyio.sleep(PAUSE_S)
                held.append(_traced() - before)
        tracemalloc.stop()
        return held

    with tempfile.TemporaryDirectory() as folder:
        return anyio.run(run, str(Path(folder) / "journal.db"))


def bytes_of_tasks(counts: list[int]) -> list[int]:
    """The same where each job has a task that asks and sleeps: what generic clients do."""

    async def follow(calls: StubCalls, request: ExportRequest) -> None:
        job_id = f"job-{request.key}"
        while True:
            calls.task_calls += 1
            await anyio.sleep(AGES_S)
            await calls.task(job_id)

    async def run() -> list[int]:
        calls, videos, held = StubCalls(lambda _: AGES_S), _videos(), []
        tracemalloc.start()
        before = _traced()
        async with anyio.create_task_group() as tasks:
            for count in counts:
                for request in itertools.islice(videos, count - calls.task_calls):
                    tasks.start_soon(follow, calls, request)
                while calls.task_calls < count:
                    await anyio.sleep(PAUSE_S)
                held.append(_traced() - before)
            tasks.cancel_scope.cancel()
        tracemalloc.stop()
        return held

    return anyio.run(run)


def bytes_per_job(counts: list[int], held: list[int]) -> float:
    """What one more job holds: the growth from the smallest number of jobs to the largest, over the difference."""
    return (held[-1] - held[0]) / (counts[-1] - counts[0])


def bytes_once(counts: list[int], held: list[int]) -> float:
    """What is held however many jobs there are: workers, tables and plans."""
    return held[0] - counts[0] * bytes_per_job(counts, held)


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


def measure(*, few: int = 10_000, many: int = 100_000) -> dict[str, float]:
    """All figures."""
    held, held_by_tasks = bytes_in_flight(JOBS), bytes_of_tasks(JOBS)
    ours, tasks = bytes_per_job(JOBS, held), bytes_per_job(JOBS, held_by_tasks)
    peak_few, peak_many = peak_bytes(few), peak_bytes(many)
    return {
        "bytes_per_job": ours,
        "bytes_per_job_of_tasks": tasks,
        "job_to_task": ours / tasks,
        "bytes_once": bytes_once(JOBS, held),
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
