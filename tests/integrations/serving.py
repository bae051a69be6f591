"""Applications behind real servers, the vendor behind another one, and what readers of events see."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import uvicorn

from hitpaw_async import AsyncHitPaw, BackgroundBatch, PollPolicy, RetryPolicy
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.simulator import Simulator, serve
from tests.integrations.settings import FACTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import httpx


@attrs.define
class Vendor:
    """The simulated vendor, and how a service is set up for it."""

    simulator: Simulator
    url: str
    folder: Path
    service_url: str = "http://service.test"
    interval_s: float = 0.02
    budget: int | None = None

    def client(self) -> AsyncHitPaw:
        poll = PollPolicy(interval_min_s=self.interval_s, interval_max_s=self.interval_s)
        return AsyncHitPaw(api_key="key", base_url=self.url, poll=poll, retry=RetryPolicy(backoff_first_s=0.01))

    def batch(self, hitpaw: AsyncHitPaw) -> BackgroundBatch:
        webhooks = WebhookPolicy(base_url=f"{self.service_url}/hitpaw")
        return BackgroundBatch(hitpaw.batch(journal=self.folder / "journal.db", webhooks=webhooks, budget=self.budget))

    def charges(self) -> list[int]:
        return sorted(self.simulator.charges_by_url().values())


@asynccontextmanager
async def vendor(folder: Path, *, budget: int | None = None, **settings: Any) -> AsyncIterator[Vendor]:
    simulator = Simulator(**{"speed": 100.0, "sources": lambda _: FACTS, **settings})
    async with serve(simulator) as url:
        yield Vendor(simulator, url, folder, budget=budget)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[socket.socket, str]]:
    """A socket that listens, and its URL: known before the application is built."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def under_uvicorn(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        with anyio.fail_after(10):
            while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.005)
        yield
        server.should_exit = True


class _nothing:  # noqa: N801 (stands for a method)
    def __enter__(self) -> None:
        """Signals are the test's."""

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""


async def events_until(client: httpx.AsyncClient, is_enough: Callable[[list[dict[str, Any]]], bool]) -> list[Any]:
    """Read `/events` until enough has come, then leave."""
    seen: list[dict[str, Any]] = []
    with anyio.fail_after(20):
        async with client.stream("GET", "/events") as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.headers["cache-control"] == "no-cache"
            async for line in reply.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line.removeprefix("data: ")))
                    if is_enough(seen):
                        break
    return seen


def finished(seen: list[dict[str, Any]]) -> int:
    return sum(event["event"] == "finished" for event in seen)


async def until(is_true: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not is_true():  # noqa: ASYNC110 (what is waited for is the vendor's)
            await anyio.sleep(0.005)
