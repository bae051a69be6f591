"""What does a result cost to fetch? CPU per GB of downloads over TLS, and how long the event loop keeps others waiting.

`python -m benchmarks.download`. The server is a process of its own. Ours is `AsyncHitPaw.download`; httpx reads
`aiter_raw` and writes each chunk, as people do; curl runs as processes of their own. They take turns, all write to the
same file system, and each file is synced to the disk, within what is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from unittest import mock

import anyio
import anyio.to_thread
import attrs
import httpx

from benchmarks.file_server import CERTIFICATE, file_server
from benchmarks.measures import Goal, Options, Result, Row, quartiles
from benchmarks.peers import API_KEY
from hitpaw_async import AsyncHitPaw, DownloadPolicy
from hitpaw_async._transport import tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["Contestant", "measure", "run"]

TOGETHER: Final = 8
BYTES_ALONE: Final = 200 << 20
BYTES_TOGETHER: Final = 48 << 20
"""Of each file, where several are fetched at once."""
BYTES_QUICK: Final = 1 << 20
TICK_S: Final = 0.005

Fetch: TypeAlias = "Callable[[str, Path], Awaitable[object]]"
Contestant: TypeAlias = "Callable[[ssl.SSLContext], AbstractAsyncContextManager[Fetch]]"


@attrs.frozen
class Figures:
    """One run of one contestant."""

    cpu_s_per_gb: float
    lags_ms: list[float]
    """How late each tick of another task came."""

    def lag_ms(self, share: float) -> float:
        """The lag that this share of all ticks does not exceed."""
        return sorted(self.lags_ms)[round(share * (len(self.lags_ms) - 1))]


@asynccontextmanager
async def _ours(context: ssl.SSLContext) -> AsyncIterator[Fetch]:
    policy = DownloadPolicy(trusted_hosts=["localhost"])
    with mock.patch.object(tls, "_BUILT", [context]):
        async with AsyncHitPaw(api_key=API_KEY, max_connections=TOGETHER, download=policy) as hitpaw:
            yield hitpaw.download


@asynccontextmanager
async def _httpx(context: ssl.SSLContext) -> AsyncIterator[Fetch]:
    async with httpx.AsyncClient(verify=context, headers={"accept-encoding": "identity"}) as client:

        async def fetch(url: str, path: Path) -> None:
            with path.open("wb") as file:
                async with client.stream("GET", url) as response:
                    async for chunk in response.aiter_raw():
                        file.write(chunk)
                file.flush()
                await anyio.to_thread.run_sync(os.fsync, file.fileno())

        yield fetch


@asynccontextmanager
async def _curl(_: ssl.SSLContext) -> AsyncIterator[Fetch]:
    def fetch(url: str, path: Path) -> None:
        subprocess.run(["curl", "--silent", "--cacert", CERTIFICATE, "--output", path, url], check=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())

    async def fetch_in_thread(url: str, path: Path) -> None:
        await anyio.to_thread.run_sync(fetch, url, path)

    yield fetch_in_thread


def _cpu_s() -> float:
    """CPU of this process, and of those that it started and waited for: the server is none of them yet."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


async def _tick(lags_ms: list[float]) -> None:
    while True:
        began_s = time.perf_counter()
        await anyio.sleep(TICK_S)
        lags_ms.append((time.perf_counter() - began_s - TICK_S) * 1e3)


async def run(contestant: Contestant, url: str, folder: Path, *, downloads: int, size_bytes: int) -> Figures:
    """Fetch `url` so many times at once."""
    lags_ms: list[float] = []
    async with (
        contestant(ssl.create_default_context(cafile=CERTIFICATE)) as fetch,
        anyio.create_task_group() as ticking,
    ):
        ticking.start_soon(_tick, lags_ms)
        began_s = _cpu_s()
        async with anyio.create_task_group() as tasks:
            for number in range(downloads):
                tasks.start_soon(fetch, f"{url}/{size_bytes}", folder / str(number))
        cpu_s = _cpu_s() - began_s
        ticking.cancel_scope.cancel()
    return Figures(cpu_s / (size_bytes * downloads / 1e9), lags_ms)


def _contestants() -> dict[str, Contestant]:
    contestants: dict[str, Contestant] = {"ours": _ours, "httpx": _httpx}
    if shutil.which("curl") is not None:
        contestants["curl"] = _curl
    return contestants


def measure(options: Options) -> Result:
    """The rows of this question; those beside curl only where there is one."""
    sizes_bytes = {1: BYTES_ALONE, TOGETHER: BYTES_TOGETHER}
    samples: dict[tuple[str, int], list[Figures]] = {}
    contestants = _contestants()
    with file_server() as url:
        for _ in range(options.rounds):
            for downloads, size_bytes in sizes_bytes.items():
                size = BYTES_QUICK if options.is_quick else size_bytes
                for name, contestant in contestants.items():
                    with tempfile.TemporaryDirectory() as folder:
                        figures = anyio.run(_once, contestant, url, Path(folder), downloads, size)
                        assert [path.stat().st_size for path in Path(folder).iterdir()] == [size] * downloads
                    samples.setdefault((name, downloads), []).append(figures)
    return Result(rows=[*_cpu_rows(samples), *_lag_rows(samples)])


async def _once(contestant: Contestant, url: str, folder: Path, downloads: int, size_bytes: int) -> Figures:
    return await run(contestant, url, folder, downloads=downloads, size_bytes=size_bytes)


def _cpu_rows(samples: dict[tuple[str, int], list[Figures]]) -> list[Row]:
    goals = {"httpx": Goal.at_most(round(1 / 3, 3)), "curl": Goal.at_most(1.2)}
    return [
        Row(
            name=f"download-cpu-{peer}" if downloads == 1 else f"download-cpu-{peer}-{downloads}",
            measure=f"CPU per GB of downloads over TLS, synced to disk, {downloads} at once",
            unit="s",
            ours=[figures.cpu_s_per_gb for figures in samples["ours", downloads]],
            peer_name={"httpx": "httpx `aiter_raw`"}.get(peer, peer),
            peer=[figures.cpu_s_per_gb for figures in peers],
            goal=goals[peer],
        )
        for (peer, downloads), peers in samples.items()
        if peer != "ours"
    ]


def _lag_rows(samples: dict[tuple[str, int], list[Figures]]) -> list[Row]:
    """How late other tasks come. Beside curl the loop is idle: what is left there is the machine."""
    rows = []
    for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        for peer in ("httpx", "curl"):
            if (peer, TOGETHER) in samples:
                is_goal = peer == "httpx" and label == "p99"
                rows.append(
                    Row(
                        name=f"download-lag-{label}" if peer == "httpx" else f"download-lag-{label}-{peer}",
                        measure=f"loop lag, {label}, {TOGETHER} downloads at once",
                        unit="ms",
                        ours=[figures.lag_ms(share) for figures in samples["ours", TOGETHER]],
                        peer_name={"httpx": "httpx `aiter_raw`"}.get(peer, f"an idle loop beside {peer}"),
                        peer=[figures.lag_ms(share) for figures in samples[peer, TOGETHER]],
                        goal=Goal.at_most(0.5) if is_goal else None,
                    )
                )
    return rows


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.download", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    for row in measure(Options(rounds=given.rounds)).rows:
        low, median, high = quartiles(row.ratios)
        ours, peer = statistics.median(row.ours), statistics.median(row.peer)
        print(f"{row.name:<24} {ours:7.2f} {peer:7.2f} {row.unit:<2}  {median:.2f} [{low:.2f}, {high:.2f}]", flush=True)


if __name__ == "__main__":
    main()
