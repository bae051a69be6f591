"""How many jobs are finished in a given time with thousands in flight? Ours, and one task per job on one shared pool.

Jobs last a lognormal time (mean 1.5 s, sigma 0.6), each answer takes 20 ms, and nobody asks for a job more often than
every 0.5 s. Each contestant has a process of its own, which is ended when its time is up. A finished job makes room for
the next one, so that the number in flight stays. A peer that finished none counts as one.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from benchmarks import ours, peers
from benchmarks.isolated import answer, isolated
from benchmarks.measures import Goal, Options, Result, Row
from benchmarks.stub_server import stub_vendor

__all__ = ["measure"]

SCRIPT: Final = "lasting-1.5-0.6-20"
POLL_S: Final = 0.5
POOL: Final = 100
"""Connections of the shared pool: httpx's default."""

_CLIENTS: Final = {"httpx": peers.httpx_client, "httpx2": peers.httpx2_client, "aiohttp": peers.aiohttp_client}


def measure(options: Options) -> Result:
    """The rows of this question."""
    time_s, wide, wider = (1.0, 20, 40) if options.is_quick else (6.0, 2_000, 10_000)
    samples: dict[str, list[float]] = {}
    with stub_vendor(seed=options.seed) as address:
        common = {"base_url": f"{address}/{SCRIPT}", "time_s": time_s}
        for _ in range(options.rounds):
            for name, in_flight in (("2000", wide), ("10000", wider)):
                finished = isolated(batch, in_flight=in_flight, **common)
                samples.setdefault(f"ours-{name}", []).append(finished)
            for name, peer, in_flight, runner in (
                ("httpx-2000", "httpx", wide, "tasks"),
                ("aiometer-2000", "httpx", wide, "aiometer"),
                ("httpx2-10000", "httpx2", wider, "tasks"),
            ):
                finished = isolated(tasks, client=peer, in_flight=in_flight, runner=runner, **common)
                samples.setdefault(name, []).append(max(1, finished))
    return Result(rows=_rows(samples, time_s, wide, wider))


def _rows(samples: dict[str, list[float]], time_s: float, wide: int, wider: int) -> list[Row]:
    def row(name: str, mine: str, peer: str, in_flight: int, peer_name: str, goal: Goal | None) -> Row:
        return Row(
            name=name,
            measure=f"jobs finished in {time_s:g} s with {in_flight:,} in flight",
            unit="jobs",
            ours=samples[mine],
            peer_name=f"{peer_name}, pool of {POOL}",
            peer=samples[peer],
            goal=goal,
        )

    return [
        row("jobs-in-time-2000", "ours-2000", "httpx-2000", wide, "a task per job, httpx", Goal.at_least(5)),
        row("jobs-in-time-2000-aiometer", "ours-2000", "aiometer-2000", wide, "aiometer, httpx", None),
        row("jobs-in-time-10000", "ours-10000", "httpx2-10000", wider, "a task per job, httpx2", Goal.at_least(3)),
    ]


async def batch(base_url: str, in_flight: int, time_s: float) -> int:
    """Jobs that a batch of ours finishes."""
    folder = tempfile.TemporaryDirectory()
    journal = Path(folder.name) / "journal.db"
    options: dict[str, Any] = {"in_flight": in_flight, "poll_s": POLL_S, "workers": 8, "connections": 16}
    async with ours.open_batch(base_url, journal, **options) as opened:
        finished = await ours.finish_in_time(opened, ours.requests(1 << 60), time_s)
    folder.cleanup()
    return finished


async def tasks(base_url: str, client: str, in_flight: int, time_s: float, runner: str) -> int:
    """Jobs that a task per job finishes."""
    run = peers.run_wide_aiometer if runner == "aiometer" else peers.run_wide
    finished = peers.Tally()
    async with _CLIENTS[client](base_url, POOL) as post:
        # A loop of thousands of tasks may be held up for long: a thread says when time is up, and ends it all.
        threading.Timer(time_s, lambda: answer(finished.count)).start()
        await run(post, in_flight=in_flight, sleep_s=POLL_S, finished=finished)
    return finished.count
