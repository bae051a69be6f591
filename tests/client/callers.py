"""Clients and calls that are quick to fail, and an observer that writes down what it is told."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from hitpaw_async import AsyncHitPaw, PollPolicy, RetryPolicy
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._transport import HTTPPool
from hitpaw_async._transport.senders import StackSender
from hitpaw_async._vendor.calls import VendorCalls
from hitpaw_async._vendor.credentials import ApiKey
from hitpaw_async.models import ExportRequest, Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hitpaw_async._transport.connections import ConnectionStack

API_KEY = "hp-key-7f3c9a5e1b2d4f60"
REQUEST = ExportRequest("https://example.com/video.mp4?Signature=s1gn4ture", model=17, resolution=(1920, 1080))
QUICK_RETRY = RetryPolicy(attempts_max=3, backoff_first_s=0.001, backoff_max_s=0.002)
QUICK_POLL = PollPolicy(interval_min_s=0.001, interval_max_s=0.002)
ONE_ATTEMPT = RetryPolicy(attempts_max=1)


def a_client(base_url: str, **settings: Any) -> AsyncHitPaw:
    defaults = {"api_key": API_KEY, "timeout": 5.0, "retry": QUICK_RETRY, "poll": QUICK_POLL}
    return AsyncHitPaw(base_url=base_url, **{**defaults, **settings})


@asynccontextmanager
async def calls_to(
    base_url: str,
    *,
    timeout_s: float = 5.0,
    retry: RetryPolicy = QUICK_RETRY,
    max_connections: int = 4,
    **pool_settings: Any,
) -> AsyncIterator[VendorCalls]:
    """The vendor's calls on a pool of their own, bounded in time."""
    pool = HTTPPool(max_connections=max_connections, **pool_settings)
    calls = VendorCalls(
        pool,
        base_url=base_url,
        api_key=ApiKey(API_KEY),
        dialect=V3,
        timeout_s=timeout_s,
        retry=retry,
        random_source=random.Random(1),
    )
    try:
        with anyio.fail_after(15):
            yield calls
    finally:
        with anyio.CancelScope(shield=True):
            await pool.aclose()


def lanes_of(pool: HTTPPool) -> ConnectionStack:
    """A pool's own connections."""
    assert isinstance(pool._sender, StackSender)
    return pool._sender.lanes


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is true that tells nobody when it becomes so."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110 (what an event would be for)
            await anyio.sleep(0.001)


async def nothing() -> None:
    """A hook that does nothing."""


@attrs.define
class Notebook:
    """An observer that writes down what it is told, and does what a test wants meanwhile."""

    on_sending: Callable[[], Awaitable[None]] = nothing
    on_not_accepted: Callable[[], Awaitable[None]] = nothing
    on_accepted: Callable[[], Awaitable[None]] = nothing
    entries: list[str] = attrs.field(factory=list)
    job: Job | None = None

    async def sending(self) -> None:
        self.entries.append("sending")
        await self.on_sending()

    async def not_accepted(self) -> None:
        self.entries.append("not accepted")
        await self.on_not_accepted()

    async def accepted(self, job: Job) -> None:
        await self.on_accepted()
        self.entries.append("accepted")
        self.job = job
