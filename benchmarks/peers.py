"""Other clients doing the library's work: the same calls through bare HTTP clients, and one task per job with a sleep.

A peer is opened as a context and gives a `Post`: one JSON call. What it does with a job is written once, here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import aiometer
import attrs
import httpx
import httpx2

from benchmarks.stub_server import EXPORT_PATH, TASK_PATH

__all__ = [
    "API_KEY",
    "OpenPeer",
    "Post",
    "Tally",
    "aiohttp_client",
    "floor",
    "follow",
    "httpx2_client",
    "httpx_client",
    "run_jobs",
    "run_wide",
    "run_wide_aiometer",
]

API_KEY: Final = "key-of-the-benchmark"
HEADERS: Final = {"ApiKey": API_KEY}

Post: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
OpenPeer: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Post]]
"""Takes the vendor's address and the number of connections."""


@asynccontextmanager
async def httpx_client(base_url: str, connections: int) -> AsyncIterator[Post]:
    """Plain httpx: one shared client."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS, limits=limits, timeout=None) as client:

        async def post(path: str, fields: dict[str, Any]) -> dict[str, Any]:
            reply = await client.post(path, json=fields)
            return dict(reply.raise_for_status().json())

        yield post


@asynccontextmanager
async def httpx2_client(base_url: str, connections: int) -> AsyncIterator[Post]:
    """httpx2, the maintained fork."""
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx2.AsyncClient(base_url=base_url, headers=HEADERS, limits=limits, timeout=None) as client:

        async def post(path: str, fields: dict[str, Any]) -> dict[str, Any]:
            reply = await client.post(path, json=fields)
            return dict(reply.raise_for_status().json())

        yield post


@asynccontextmanager
async def aiohttp_client(base_url: str, connections: int) -> AsyncIterator[Post]:
    """Plain aiohttp: one shared session."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

        async def post(path: str, fields: dict[str, Any]) -> dict[str, Any]:
            async with session.post(base_url + path, json=fields) as reply:
                reply.raise_for_status()
                return dict(await reply.json())

        yield post


class _RawCall(asyncio.Protocol):
    """One connection that has at most one call under way."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def call(self, request: bytes) -> asyncio.Future[bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.rpartition(b":")[2]):
            self._received = b""
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def floor(base_url: str, connections: int) -> AsyncIterator[Post]:
    """The floor in Python: raw protocols, no client at all. It reads no more of HTTP than the stub writes."""
    parts = urlsplit(base_url)
    loop = asyncio.get_running_loop()
    free: asyncio.LifoQueue[_RawCall] = asyncio.LifoQueue()
    opened = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(_RawCall, parts.hostname, parts.port)
        opened.append(protocol)
        free.put_nowait(protocol)
    head = (
        f"HTTP/1.1\r\nhost: {parts.netloc}\r\nApiKey: {API_KEY}\r\ncontent-type: application/json\r\ncontent-length: "
    )

    async def post(path: str, fields: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(fields)
        connection = await free.get()
        try:
            answer = await connection.call(f"POST {parts.path}{path} {head}{len(body)}\r\n\r\n{body}".encode())
        finally:
            free.put_nowait(connection)
        return dict(json.loads(answer))

    try:
        yield post
    finally:
        for protocol in opened:
            protocol.close()


def export_fields(number: int) -> dict[str, Any]:
    """What the library sends for the same video."""
    return {
        "video_url": f"https://videos.example/library/{number}.mp4",
        "extension": ".mp4",
        "resolution": [1920, 1080],
        "model_id": 17,
    }


async def _finish(post: Post, number: int, *, sleep_s: float) -> None:
    """One job: an export, then task calls until it is done. Asked again at once where `sleep_s` is 0."""
    exported = await post(EXPORT_PATH, export_fields(number))
    job_id = exported["data"]["job_id"]
    while True:
        if sleep_s:
            await asyncio.sleep(sleep_s)
        task = await post(TASK_PATH, {"job_id": job_id})
        if task["data"]["status"] == "COMPLETED":
            return


async def follow(post: Post, number: int, sleep_s: float, exported: Tally) -> None:
    """One job whose export is counted."""

    async def counting(path: str, fields: dict[str, Any]) -> dict[str, Any]:
        reply = await post(path, fields)
        exported.count += path == EXPORT_PATH
        return reply

    await _finish(counting, number, sleep_s=sleep_s)


async def run_jobs(post: Post, jobs: int, *, workers: int, sleep_s: float = 0) -> None:
    """Finish `jobs` jobs, `workers` at a time; without `sleep_s` it is the calls and nothing else."""
    numbers = iter(range(jobs))

    async def work() -> None:
        for number in numbers:
            await _finish(post, number, sleep_s=sleep_s)

    await asyncio.gather(*(work() for _ in range(workers)))


@attrs.define
class Tally:
    """Jobs that have come so far."""

    count: int = 0


async def run_wide(post: Post, *, in_flight: int, sleep_s: float, finished: Tally) -> None:
    """One task per job, each with its sleep, as the clients of replicate, fal and openai do. Never ends."""
    numbers = itertools.count(1)

    async def work() -> None:
        while True:
            await _finish(post, next(numbers), sleep_s=sleep_s)
            finished.count += 1

    await asyncio.gather(*(work() for _ in range(in_flight)))


async def run_wide_aiometer(post: Post, *, in_flight: int, sleep_s: float, finished: Tally) -> None:
    """The same through `aiometer.run_all`, which begins at most so many jobs at once."""

    async def work(number: int) -> None:
        await _finish(post, number, sleep_s=sleep_s)
        finished.count += 1

    jobs = [partial(work, number) for number in range(10 * in_flight)]
    await aiometer.run_all(jobs, max_at_once=in_flight)
