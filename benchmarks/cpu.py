"""What does a job cost? Client CPU of a whole batch beside bare clients that make the same calls on 10 connections.

Ours keeps a journal on disk (FULL), a ledger with a budget, and a poller; each export goes over a fresh connection. The
peers do nothing but the calls, on connections that are kept, and ask again at once. All take turns in one process.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import ours, peers
from benchmarks.measures import Goal, Options, Result, Row
from benchmarks.stub_server import stub_vendor

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measure"]

POLLS: Final = 4
"""Task calls of a job. The fewer, the more our own part weighs; a job of minutes takes more."""
CONNECTIONS: Final = 10
IN_FLIGHT: Final = 64
WARM_UP_JOBS: Final = 20


def measure(options: Options) -> Result:
    """The rows of this question."""
    jobs = 20 if options.is_quick else 200
    samples: dict[str, list[float]] = {}
    with stub_vendor(seed=options.seed) as address:
        contestants = _contestants(f"{address}/polls-{POLLS}", jobs)
        for _ in range(options.rounds):
            for name, contestant in contestants.items():
                gc.collect()
                samples.setdefault(name, []).append(contestant() / jobs * 1e3)
    return Result(rows=_rows(samples))


def _contestants(base_url: str, jobs: int) -> dict[str, Callable[[], float]]:
    """What takes turns; each returns the CPU seconds of `jobs` jobs."""
    clients = {
        "httpx": peers.httpx_client,
        "httpx2": peers.httpx2_client,
        "aiohttp": peers.aiohttp_client,
        "floor": peers.floor,
    }
    bare = {
        name: lambda open_peer=client: asyncio.run(_bare(open_peer, base_url, jobs)) for name, client in clients.items()
    }
    return {
        "ours": lambda: asyncio.run(_batch(base_url, jobs)),
        "ours, in memory": lambda: asyncio.run(_batch(base_url, jobs, is_on_disk=False)),
        **bare,
    }


async def _bare(open_peer: peers.OpenPeer, base_url: str, jobs: int) -> float:
    async with open_peer(base_url, CONNECTIONS) as post:
        await peers.run_jobs(post, WARM_UP_JOBS, workers=CONNECTIONS)
        began_s = time.process_time()
        await peers.run_jobs(post, jobs, workers=CONNECTIONS)
        return time.process_time() - began_s


async def _batch(base_url: str, jobs: int, *, is_on_disk: bool = True, **client: Any) -> float:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.db" if is_on_disk else None
        async with ours.open_batch(base_url, journal, in_flight=IN_FLIGHT, poll_s=0.05, **client) as batch:
            await ours.finish(batch, ours.requests(WARM_UP_JOBS, "warm"))
            began_s = time.process_time()
            await ours.finish(batch, ours.requests(jobs))
            return time.process_time() - began_s


def _rows(samples: dict[str, list[float]]) -> list[Row]:
    def row(name: str, mine: str, peer: str, goal: Goal | None = None, note: str = "") -> Row:
        return Row(
            name=name,
            measure=f"client CPU per job (1 export, {POLLS} task calls), {mine}",
            unit="ms",
            ours=samples[mine],
            peer_name=f"{peer}, {CONNECTIONS} connections",
            peer=samples[peer],
            goal=goal,
            note=note,
        )

    return [
        row("cpu-per-job", "ours", "httpx", Goal.at_most(1.15)),
        row("cpu-per-job-memory-journal", "ours, in memory", "httpx"),
        row("cpu-per-job-httpx2", "ours", "httpx2"),
        row("cpu-per-job-aiohttp", "ours", "aiohttp"),
        row("cpu-per-job-floor", "ours", "floor", note="the floor is raw protocols without a client"),
    ]
