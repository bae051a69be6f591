"""A caller's own `httpx.AsyncClient`: taken everywhere, never closed, and told no more than it needs."""

from __future__ import annotations

import json
import logging
import pickle
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import httpcore
import httpx
import pytest

import hitpaw_async.simulator
from hitpaw_async import ConfigurationError, ExportRequest, HitPawError, ItemState, SubmissionUnknownError, VideoFacts
from hitpaw_async.media import probe
from hitpaw_async.simulator import Simulator, serve
from tests.client.callers import API_KEY, ONE_ATTEMPT, REQUEST, a_client
from tests.client.fault_server import JOB_ID, Fault, FaultServer, unused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

VENDOR = "http://vendor.example.com"
CDN = "https://93.184.216.34"
"""An address needs no name server."""
RESULT_URL = f"{CDN}/enhanced.mp4?Signature=s1gn4ture"
SOURCE_URL = f"{CDN}/clip.mp4"
CLIP = (Path(hitpaw_async.simulator.__file__).parent / "samples" / "bbb_360p_5s.mp4").read_bytes()
SECRETS = (API_KEY, "s1gn4ture", "mine")


@attrs.define
class World:
    """The vendor and the rest of the world, behind any client."""

    requests: list[httpx.Request] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/clip.mp4":
            return self._clip(request.headers.get("range", ""))
        if request.url.path == "/enhanced.mp4":
            return httpx.Response(200, content=ENHANCED)
        data = {"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL}
        return httpx.Response(200, json={"code": 200, "data": data}, headers={"Set-Cookie": "from-the-vendor=1"})

    def _clip(self, asked: str) -> httpx.Response:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if found is None:
            return httpx.Response(200, content=CLIP)
        first, last = int(found[1]), min(int(found[2]), len(CLIP) - 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(CLIP)}", "ETag": '"one"'}
        return httpx.Response(206, content=CLIP[first : last + 1], headers=headers)

    def paths(self) -> list[str]:
        return [request.url.path.rpartition("/")[2] for request in self.requests]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def _no_other_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be sent but by the caller's client."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a transport of the library's own")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "__init__", refuse)


ENHANCED = b"enhanced" * 64
SETTINGS: dict[str, dict[str, Any]] = {
    "base_url": {"base_url": "https://mine.example.com/api"},
    "headers": {"headers": {"X-Mine": "mine", "ApiKey": "mine", "User-Agent": "mine"}},
    "cookies": {"cookies": {"session": "mine"}},
    "params": {"params": {"mine": "1"}},
    "auth": {"auth": ("mine", "mine")},
    "timeout": {"timeout": 1e-9},
    "redirects": {"follow_redirects": True, "max_redirects": 1},
}


@pytest.mark.usefixtures("_no_other_client")
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
async def test_its_settings_change_no_request(settings: dict[str, Any], world: World, tmp_path: Path) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(world), **settings) as mine:
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            job = await hitpaw.enhance(REQUEST)
            await hitpaw.download(job, tmp_path / "enhanced.mp4")
        assert not mine.is_closed
    assert [str(request.url) for request in world.requests] == [
        f"{VENDOR}/api/v3/video-enhancer/export",
        f"{VENDOR}/api/v3/video-enhancer-api/task",
        RESULT_URL,
    ]
    for request in world.requests:
        assert {"x-mine", "cookie"}.isdisjoint(request.headers)
        assert request.headers["user-agent"] == "hitpaw-async"
        # None: the deadline around the call alone counts.
        assert all(limit is None or limit >= 5.0 for limit in request.extensions["timeout"].values())
    export, task, result = world.requests
    assert export.headers["apikey"] == task.headers["apikey"] == API_KEY
    assert ("authorization" in export.headers) == ("auth" in settings)
    assert {"apikey", "authorization"}.isdisjoint(result.headers)


@pytest.mark.usefixtures("_no_other_client")
async def test_it_is_taken_by_the_client_the_batch_the_probe_and_the_download(world: World, tmp_path: Path) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as mine:
        facts = await probe(SOURCE_URL, http_client=mine)
        assert (facts.width, facts.height) == (640, 360)
        probed = len(world.requests)
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            async with hitpaw.batch(output=tmp_path, probe=True) as batch:
                request = ExportRequest(SOURCE_URL, model=17, resolution="1280x720")
                [outcome] = [outcome async for outcome in batch.run([request])]
        assert not mine.is_closed
    assert outcome.state is ItemState.DONE
    assert outcome.path is not None
    assert await anyio.Path(outcome.path).read_bytes() == ENHANCED
    assert set(world.paths()[:probed]) == {"clip.mp4"}
    assert set(world.paths()[probed:]) == {"clip.mp4", "export", "task", "enhanced.mp4"}
    assert {request.headers.get("apikey") for request in world.requests if request.method == "GET"} == {None}


async def test_its_hooks_see_the_calls_and_may_add_to_them(world: World) -> None:
    seen: list[tuple[str, int]] = []

    async def sign(request: httpx.Request) -> None:
        request.headers["X-Trace"] = "7"

    async def note(response: httpx.Response) -> None:
        seen.append((response.request.headers["X-Trace"], response.status_code))

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [sign], "response": [note]}
    async with httpx.AsyncClient(transport=httpx.MockTransport(world), event_hooks=hooks) as mine:
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            await hitpaw.enhance(REQUEST)
    assert seen == [("7", 200), ("7", 200)]


async def test_a_hook_that_raises_leaves_the_export_unknown_and_tells_no_secret() -> None:
    async def check(response: httpx.Response) -> None:
        response.raise_for_status()

    with FaultServer(Fault.GATEWAY_502) as server:
        async with httpx.AsyncClient(event_hooks={"response": [check]}) as mine:
            async with a_client(server.url, http_client=mine) as hitpaw:
                with pytest.raises(SubmissionUnknownError) as caught:
                    await hitpaw.export(REQUEST)
    assert len(server.exports) == 1
    assert caught.value.__context__ is None
    assert API_KEY.encode() not in pickle.dumps(caught.value)


async def test_a_redirect_is_not_followed_although_it_would() -> None:
    with FaultServer() as elsewhere, FaultServer(Fault.REDIRECT, redirect_to=elsewhere.url) as server:
        async with httpx.AsyncClient(follow_redirects=True) as mine, a_client(server.url, http_client=mine) as hitpaw:
            with pytest.raises(ConfigurationError):
                await hitpaw.export(REQUEST)
    assert (len(server.exports), elsewhere.connections) == (1, 0)


async def test_one_that_is_closed_is_named_and_nothing_counts_as_sent(world: World) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as mine:
        hitpaw = a_client(VENDOR, http_client=mine)
        await hitpaw.task(JOB_ID)
    for call in (hitpaw.export(REQUEST), hitpaw.task(JOB_ID)):
        with pytest.raises(ConfigurationError, match="http_client is closed"):
            await call
    assert world.paths() == ["task"]


async def test_its_log_shows_no_signature_of_ours_and_all_of_the_callers(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as mine:
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            await hitpaw.download(await hitpaw.enhance(REQUEST), tmp_path / "enhanced.mp4")
        shown = [record.getMessage() for record in caplog.records if record.name == httpx.__name__]
        await mine.get(f"{CDN}/enhanced.mp4?theirs=1")
    assert [text.split()[3] for text in shown][-1] == f"{CDN}/enhanced.mp4?***"
    assert len(shown) == 3
    assert not [text for text in caplog.messages for secret in SECRETS if secret in text]
    assert "enhanced.mp4?theirs=1" in caplog.messages[-1]


async def test_its_proxy_is_used() -> None:
    with FaultServer() as proxy:
        async with httpx.AsyncClient(proxy=proxy.url) as mine, a_client(VENDOR, http_client=mine) as hitpaw:
            job = await hitpaw.export(REQUEST)
    assert job.job_id == JOB_ID
    assert [request.path for request in proxy.received] == [f"{VENDOR}/api/v3/video-enhancer/export"]


async def test_many_callers_wait_outside_of_its_pool() -> None:
    limits = httpx.Limits(max_connections=2)
    with FaultServer() as server:
        async with httpx.AsyncClient(limits=limits) as mine:
            async with a_client(server.url, http_client=mine, max_connections=2) as hitpaw:
                async with anyio.create_task_group() as tasks:
                    for _ in range(50):
                        tasks.start_soon(hitpaw.task, JOB_ID)
            assert mine._transport._pool.connections  # type: ignore[attr-defined]
    assert len(server.received) == 50
    assert server.connections <= 2


class TestAiohttp:
    """A client whose transport is `httpx-aiohttp`'s. aiohttp is for asyncio alone."""

    @pytest.fixture(params=["asyncio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    async def mine(self) -> AsyncIterator[httpx.AsyncClient]:
        httpx_aiohttp = pytest.importorskip("httpx_aiohttp")
        async with httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport()) as client:
            yield client

    async def test_a_video_is_enhanced_and_downloaded(self, mine: httpx.AsyncClient, tmp_path: Path) -> None:
        facts = VideoFacts(duration_s=30, frame_rate=30, width=640, height=360)
        simulator = Simulator(speed=1000, sources=lambda _: facts)
        async with serve(simulator) as url, a_client(url, http_client=mine) as hitpaw:
            async with hitpaw.batch(output=tmp_path) as batch:
                [outcome] = [outcome async for outcome in batch.run([REQUEST])]
            assert not mine.is_closed
        assert outcome.state is ItemState.DONE
        assert len(simulator.ledger) == 1
        assert outcome.path is not None
        assert outcome.path.stat().st_size == len(simulator.result_bytes)

    async def test_nobody_home_is_certain(self, mine: httpx.AsyncClient) -> None:
        url = f"http://127.0.0.1:{unused_port()}"
        async with a_client(url, http_client=mine, retry=ONE_ATTEMPT) as hitpaw:
            with pytest.raises(HitPawError) as caught:
                await hitpaw.export(REQUEST)
        assert not isinstance(caught.value, SubmissionUnknownError)

    @pytest.mark.parametrize("fault", [Fault.FIN, Fault.RESET, Fault.HEADERS_THEN_FIN, Fault.GATEWAY_502])
    async def test_a_lost_answer_is_unknown_and_not_sent_again(self, fault: Fault, mine: httpx.AsyncClient) -> None:
        with FaultServer(fault, Fault.NONE) as server:
            async with a_client(server.url, http_client=mine) as hitpaw:
                with pytest.raises(SubmissionUnknownError) as caught:
                    await hitpaw.export(REQUEST)
        assert len(server.exports) == 1
        assert not [secret for secret in SECRETS[:2] if secret in f"{caught.value!r} {caught.value}"]

    async def test_a_refusal_is_the_vendors(self, mine: httpx.AsyncClient) -> None:
        with FaultServer(Fault.NO_CREDITS) as server:
            async with a_client(server.url, http_client=mine) as hitpaw:
                with pytest.raises(HitPawError, match="coins"):
                    await hitpaw.export(REQUEST)
        assert json.loads(server.exports[0].body)["model_id"] == 17


class MadeUpError(Exception):
    """What a transport that nobody knows raises inside."""


@pytest.mark.parametrize(
    ("cause", "is_certain"),
    [
        (None, True),
        (ConnectionRefusedError(), True),
        (socket.gaierror(), True),
        (httpcore.ConnectError(), True),
        (ConnectionResetError(), False),
        (BrokenPipeError(), False),
        (TimeoutError(), False),
        (MadeUpError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("kind", [httpx.ConnectError, httpx.ConnectTimeout])
async def test_a_failure_to_connect_is_believed_by_its_cause(
    kind: type[httpx.TransportError], cause: Exception | None, is_certain: bool
) -> None:
    calls = 0

    def fail(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        raise kind("no") from cause

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as mine:
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            with pytest.raises(HitPawError) as caught:
                await hitpaw.export(REQUEST)
    assert isinstance(caught.value, SubmissionUnknownError) is not is_certain
    assert (calls > 1) is is_certain
