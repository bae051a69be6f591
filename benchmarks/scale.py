"""Does a job cost the same with a hundred thousand in flight as with a hundred? Client CPU per job against the width.

All jobs of a run are in flight at once: the first one is asked for when the last one has been accepted. Each width has
a process of its own, with the journal in memory's file system: not the disk is measured, and nobody waits for it. The
peers have one task per job on one shared pool of httpx's default size, and stop where a job already costs a multiple of
ours: wider runs of theirs would take hours.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import ours, peers
from benchmarks.isolated import MEMORY_FOLDER, isolated
from benchmarks.measures import Goal, Options, Result, Row, Series
from benchmarks.stub_server import stub_vendor

__all__ = ["measure"]

SCRIPT: Final = "polls-1"
SECONDS_PER_EXPORT: Final = 0.003
"""More than an export takes, so that the last job is accepted before the first one is asked for."""
POOL: Final = 100
JOBS_MIN: Final = 500

_CLIENTS: Final = {"httpx": peers.httpx_client, "httpx2": peers.httpx2_client, "aiohttp": peers.aiohttp_client}


def measure(options: Options) -> Result:
    """The row and the plot of this question."""
    widths = [5, 10, 20] if options.is_quick else _widths(options.width_max)
    rounds = [min(options.rounds, 5 if width <= 1_000 else 1) for width in widths]
    peer_widths = {"httpx": 1_000} if options.is_quick else {"httpx": 1_000, "httpx2": 1_000, "aiohttp": 10_000}
    with stub_vendor(seed=options.seed) as address:
        common = {"base_url": f"{address}/{SCRIPT}", "jobs_min": 10 if options.is_quick else JOBS_MIN}
        mine = {
            width: [isolated(batch, folder=MEMORY_FOLDER, width=width, **common) for _ in range(count)]
            for width, count in zip(widths, rounds, strict=True)
        }
        series = [_series("ours", {width: sorted(figures)[len(figures) // 2] for width, figures in mine.items()})]
        for client, width_max in peer_widths.items():
            narrow = [width for width in widths if width <= width_max]
            figures = {width: isolated(tasks, client=client, width=width, **common) for width in narrow}
            series.append(_series(f"a task per job, {client}", figures))
    narrow_width, wide_width = widths[1], widths[-1]
    return Result(rows=[_row(mine[narrow_width], mine[wide_width], narrow_width, wide_width)], series=series)


def _widths(width_max: int) -> list[int]:
    return [width for width in (10, 100, 1_000, 10_000) if width < width_max] + [width_max]


def _row(narrow: list[float], wide: list[float], narrow_width: int, wide_width: int) -> Row:
    median = sorted(narrow)[len(narrow) // 2]
    return Row(
        name="cpu-per-job-width",
        measure=f"client CPU per job with {wide_width:,} in flight",
        unit="ms",
        ours=wide,
        peer_name=f"ours, {narrow_width:,} in flight",
        peer=[median] * len(wide),
        goal=Goal.at_most(1.3),
        note="a run of this width takes ten minutes: one against the median of the narrow ones",
    )


def _series(label: str, figures: dict[int, float]) -> Series:
    return Series(plot="cpu-width", label=label, x=[float(width) for width in figures], y=[*figures.values()])


async def batch(base_url: str, width: int, jobs_min: int) -> float:
    """Milliseconds of CPU per job of a batch of ours."""
    jobs, poll_s = max(width, jobs_min), max(0.05, width * SECONDS_PER_EXPORT)
    options: dict[str, Any] = {"in_flight": width, "poll_s": poll_s, "poll_max_s": poll_s, "workers": 8}
    with tempfile.TemporaryDirectory() as folder:
        async with ours.open_batch(base_url, Path(folder) / "journal.db", **options) as opened:
            await ours.finish(opened, ours.requests(20, "warm"))
            began_s = time.process_time()
            await ours.finish(opened, ours.requests(jobs))
            return (time.process_time() - began_s) / jobs * 1e3


async def tasks(base_url: str, client: str, width: int, jobs_min: int) -> float:
    """Milliseconds of CPU per job of a program with a task per job."""
    jobs = max(width, jobs_min)
    async with _CLIENTS[client](base_url, POOL) as post:
        began_s = time.process_time()
        await peers.run_jobs(post, jobs, workers=width, sleep_s=0.05)
        return (time.process_time() - began_s) / jobs * 1e3
