"""Real services, started as processes, take videos, are terminated and killed in the middle, and pay once for each.

`python -m tests.integrations.services --videos 200` prints what it saw, the loop's lag included.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import httpx

from hitpaw_async.simulator import Simulator, serve
from tests.integrations.settings import FACTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICES = ("fastapi", "aiohttp")
ROOT = Path(__file__).parents[2]
FORGED = {"job_id": "forged", "status": "COMPLETED", "res_url": "http://127.0.0.1:1/evil.mp4"}


@attrs.define
class Service:
    """A service process that can be stopped and started again on the same port and folder."""

    name: str
    base_url: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    async def start(self, client: httpx.AsyncClient) -> None:
        program = [sys.executable, "-W", "error", "-m", f"tests.integrations.{self.name}_service"]
        self.process = subprocess.Popen(program, cwd=ROOT, env=self.environment)  # noqa: ASYNC220 (a moment)
        with anyio.fail_after(30):
            while True:
                if self.process.poll() is not None:
                    raise RuntimeError(f"the service ended with {self.process.returncode}")
                try:
                    await client.get("/statistics")
                except httpx.TransportError:
                    await anyio.sleep(0.05)
                else:
                    return

    async def stop(self, signal_number: int) -> None:
        assert self.process is not None
        self.process.send_signal(signal_number)
        with anyio.fail_after(30):
            await anyio.to_thread.run_sync(self.process.wait)


@attrs.define
class Findings:
    """What was seen."""

    service: str
    videos: int
    done: int = 0
    charges: dict[str, int] = attrs.field(factory=dict)
    results: int = 0
    forged: int = 0
    settled: int = 0
    finished_events: set[str] = attrs.field(factory=set)
    snapshots: int = 0
    lags: list[dict[str, float]] = attrs.field(factory=list)
    elapsed_s: float = 0.0

    @property
    def lag_p99_ms(self) -> float:
        """The worst of the service's processes."""
        return max(lag.get("p99_ms", 0.0) for lag in self.lags)

    def __str__(self) -> str:
        worst = max(lag.get("max_ms", 0.0) for lag in self.lags)
        return (
            f"{self.service}: {self.done} of {self.videos} videos done, {self.results} files; "
            f"{len(self.charges)} charged, at most {max(self.charges.values())} times; {self.forged} forged webhooks; "
            f"a SIGTERM and a SIGKILL; {self.settled} settled by hand; {len(self.finished_events)} ends and "
            f"{self.snapshots} snapshots over SSE; loop lag p99 {self.lag_p99_ms} ms, at most {worst} ms; "
            f"{self.elapsed_s:.1f} s"
        )


async def exercise(name: str, *, videos: int) -> Findings:
    """Run one service through it all."""
    began_at = time.monotonic()
    simulator = Simulator(credits=videos + 10, speed=20, sources=lambda _: FACTS)
    findings = Findings(name, videos)
    with tempfile.TemporaryDirectory() as folder:
        async with serve(simulator) as vendor_url, _prepared(name, vendor_url, folder) as (service, client):
            await _live_through(service, client, simulator, findings)
            await service.stop(signal.SIGTERM)
        findings.results = len(list(Path(folder, "enhanced").glob("*.mp4")))  # noqa: ASYNC240 (a moment)
    findings.charges = dict(simulator.charges_by_url())
    findings.elapsed_s = time.monotonic() - began_at
    return findings


@asynccontextmanager
async def _prepared(name: str, vendor_url: str, folder: str) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "HITPAW_API_KEY": "key",
        "HITPAW_API_BASE_URL": vendor_url,
        "SERVICE_PORT": str(port),
        "SERVICE_FOLDER": folder,
    }
    service = Service(name, f"http://127.0.0.1:{port}", environment)
    async with httpx.AsyncClient(base_url=service.base_url, timeout=20) as client:
        try:
            await service.start(client)
            yield service, client
        finally:
            if service.process is not None and service.process.poll() is None:
                service.process.kill()
                await anyio.to_thread.run_sync(service.process.wait)


async def _live_through(service: Service, client: httpx.AsyncClient, simulator: Simulator, findings: Findings) -> None:
    third = findings.videos // 3
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read_events, service, findings)
        await _submit(client, range(third))
        await _forge(client, simulator, findings)
        await _until_charged(simulator, third // 2)
        findings.lags.append((await client.get("/lag")).json())
        await service.stop(signal.SIGTERM)
        await service.start(client)
        await _submit(client, range(third, 2 * third))
        await _until_charged(simulator, third + third // 2)
        findings.lags.append((await client.get("/lag")).json())
        await service.stop(signal.SIGKILL)
        await service.start(client)
        await _submit(client, range(findings.videos))
        await _forge(client, simulator, findings)
        await _finish(client, simulator, findings)
        findings.lags.append((await client.get("/lag")).json())
        with anyio.fail_after(10):
            while len(findings.finished_events) < findings.videos // 4:  # noqa: ASYNC110 (it is another task's)
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


def url_of(number: int) -> str:
    return f"https://videos.test/{number}.mp4"


async def _submit(client: httpx.AsyncClient, numbers: range) -> None:
    limiter = anyio.CapacityLimiter(20)

    async def submit(number: int) -> None:
        async with limiter:
            reply = await client.post("/videos", json={"url": url_of(number)})
        assert reply.status_code == 202, reply.text

    async with anyio.create_task_group() as tasks:
        for number in numbers:
            tasks.start_soon(submit, number)


async def _forge(client: httpx.AsyncClient, simulator: Simulator, findings: Findings) -> None:
    """Post what a stranger could: a made-up job, and true jobs on paths that are nobody's."""
    jobs = ["forged", *(charge.job_id for charge in simulator.ledger[:20])]
    for job_id in jobs:
        reply = await client.post(f"/hitpaw/{'x' * 43}", json={**FORGED, "job_id": job_id})
        assert (reply.status_code, reply.json()) == (202, {"ok": True})
        findings.forged += 1


async def _until_charged(simulator: Simulator, charges: int) -> None:
    with anyio.fail_after(60):
        while len(simulator.ledger) < charges:  # noqa: ASYNC110 (the service is another process)
            await anyio.sleep(0.01)


async def _finish(client: httpx.AsyncClient, simulator: Simulator, findings: Findings) -> None:
    """Wait until all is done; settle, as a person would, what the killed process left uncertain."""
    with anyio.fail_after(120):
        while findings.done < findings.videos:
            await anyio.sleep(0.1)
            now = (await client.get("/statistics")).json()
            findings.done = now["done"]
            if now["uncertain"] and not now["unfinished"]:
                await _settle(client, simulator, findings)


async def _settle(client: httpx.AsyncClient, simulator: Simulator, findings: Findings) -> None:
    jobs = {charge.video_url: charge.job_id for charge in simulator.ledger}
    for number in range(findings.videos):
        key = (await client.post("/videos", json={"url": url_of(number)})).json()["key"]
        item = (await client.get(f"/videos/{key}")).json()
        if item["state"] != "uncertain":
            continue
        job_id = jobs.get(url_of(number))
        if job_id is None:
            reply = await client.post(f"/videos/{key}/resubmit")
        else:
            reply = await client.post(f"/videos/{key}/bind", json={"job_id": job_id})
        assert reply.status_code == 200, reply.text
        findings.settled += 1


async def _read_events(service: Service, findings: Findings) -> None:
    """Read the progress as a browser does: connect again whenever the stream ends."""
    async with httpx.AsyncClient(base_url=service.base_url, timeout=None) as client:
        while True:
            try:
                async with client.stream("GET", "/events") as reply:
                    assert reply.headers["content-type"].startswith("text/event-stream")
                    async for line in reply.aiter_lines():
                        _note_line(line, findings)
            except httpx.TransportError:
                await anyio.sleep(0.05)


def _note_line(line: str, findings: Findings) -> None:
    if not line.startswith("data: "):
        return
    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
    findings.snapshots += event["event"] == "snapshot"
    if event["event"] == "finished" and event["state"] == "done":
        findings.finished_events.add(event["key"])


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.integrations.services", description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--service", choices=SERVICES, action="append")
    arguments = parser.parse_args()
    logging.getLogger("hitpaw_async.simulator").setLevel(logging.ERROR)  # it tells of each webhook that finds nobody
    for name in arguments.service or SERVICES:
        sys.stdout.write(f"{await exercise(name, videos=arguments.videos)}\n")


if __name__ == "__main__":
    anyio.run(main)
