"""What does a job cost? Client CPU of a whole batch beside bare clients that make the same calls on 10 connections.

Ours keeps a journal on disk (FULL), a ledger with a budget, and a poller; each export goes over a fresh connection. The
peers do nothing but the calls, on connections that are kept, and ask again at once. All take turns in one process.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from contextlib import contextmanager, nullcontext
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from benchmarks import ours, peers
from benchmarks.measures import Goal, Options, Result, Row
from benchmarks.stub_server import stub_vendor
from hitpaw_async.batch.journal import sqlite as _sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["measure"]

POLLS: Final = 10
"""Task calls of a job: what one of two minutes takes at `PollPolicy`'s mean interval of 12 s. The fewer there are, the
more our own part weighs, the journal's above all."""
CONNECTIONS: Final = 10
IN_FLIGHT: Final = 400
"""So many that there is always something to do: what is measured is CPU, not waiting."""
FEW_IN_FLIGHT: Final = 64
"""So few that the client waits most of the time: what it does then is shared by fewer jobs."""
WARM_UP_JOBS: Final = 20
FEW: Final = f"ours, {FEW_IN_FLIGHT} in flight"
POLL_S: Final = 0.05
"""So short that each job is asked for again as soon as its turn comes."""


def measure(options: Options) -> Result:
    """The rows of this question."""
    jobs = 20 if options.is_quick else 400
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
    bare = {
        "httpx": peers.httpx_client,
        "httpx2": peers.httpx2_client,
        "aiohttp": peers.aiohttp_client,
        "floor": peers.floor,
    }
    runs: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
        "ours": lambda: _batch(base_url, jobs),
        "ours, transport aiohttp": lambda: _batch(base_url, jobs, transport="aiohttp"),
        FEW: lambda: _batch(base_url, jobs, in_flight=FEW_IN_FLIGHT),
        "ours, journal in WAL": lambda: _batch(base_url, jobs, journal=_Journal.WAL),
        "ours, journal in memory": lambda: _batch(base_url, jobs, journal=_Journal.MEMORY),
        "ours, transport aiohttp, journal in memory": lambda: _batch(
            base_url, jobs, journal=_Journal.MEMORY, transport="aiohttp"
        ),
    }
    runs |= {name: partial(_bare, open_peer, base_url, jobs) for name, open_peer in bare.items()}
    return {name: lambda run=run: asyncio.run(run()) for name, run in runs.items()}


class _Journal(Enum):
    """What a batch keeps its journal in."""

    FILE = auto()
    """As it is: in WAL where SQLite is 3.51.3 or newer, else with a rollback journal."""
    WAL = auto()
    """As it is with SQLite 3.51.3 and newer."""
    MEMORY = auto()


@contextmanager
def _kept_in(journal: _Journal) -> Iterator[Path | None]:
    is_wal = journal is _Journal.WAL
    patch = mock.patch.object(_sqlite, "has_wal_reset_bug", return_value=False) if is_wal else nullcontext()
    with tempfile.TemporaryDirectory() as folder, patch:
        yield None if journal is _Journal.MEMORY else Path(folder) / "journal.db"


async def _bare(open_peer: peers.OpenPeer, base_url: str, jobs: int) -> float:
    async with open_peer(base_url, CONNECTIONS) as post:
        await peers.run_jobs(post, WARM_UP_JOBS, workers=CONNECTIONS)
        began_s = time.process_time()
        await peers.run_jobs(post, jobs, workers=CONNECTIONS)
        return time.process_time() - began_s


async def _batch(
    base_url: str, jobs: int, *, journal: _Journal = _Journal.FILE, in_flight: int = IN_FLIGHT, **client: Any
) -> float:
    with _kept_in(journal) as path:
        options: dict[str, Any] = {"poll_s": POLL_S, "workers": CONNECTIONS, "connections": CONNECTIONS, **client}
        async with ours.open_batch(base_url, path, in_flight=in_flight, **options) as batch:
            await ours.finish(batch, ours.requests(WARM_UP_JOBS, "warm"))
            began_s = time.process_time()
            await ours.finish(batch, ours.requests(jobs))
            return time.process_time() - began_s


def _rows(samples: dict[str, list[float]]) -> list[Row]:
    def row(name: str, mine: str, peer: str, goal: Goal | None = None, note: str = "") -> Row:
        return Row(
            name=name,
            measure=f"client CPU per job (1 export, {POLLS} task calls): {mine}",
            unit="ms",
            ours=samples[mine],
            peer_name=f"{peer}, {CONNECTIONS} connections",
            peer=samples[peer],
            goal=goal,
            note=note,
        )

    fast = "ours, transport aiohttp"
    return [
        row("cpu-per-job", "ours", "httpx", Goal.at_most(1.15)),
        row("cpu-per-job-fast", fast, "httpx", Goal.at_most(0.6)),
        row("cpu-per-job-few", FEW, "httpx"),
        row("cpu-per-job-wal", "ours, journal in WAL", "httpx", note="what SQLite 3.51.3 and newer give"),
        row("cpu-per-job-memory", "ours, journal in memory", "httpx"),
        row("cpu-per-job-fast-memory", f"{fast}, journal in memory", "httpx"),
        row("cpu-per-job-httpx2", "ours", "httpx2"),
        row("cpu-per-job-aiohttp", fast, "aiohttp"),
        row("cpu-per-job-floor", fast, "floor", note="the floor is raw protocols without a client"),
    ]
