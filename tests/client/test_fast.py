"""Questions over aiohttp: the same words for what fails, the same bounds, and never an export."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from hitpaw_async import AsyncHitPaw, Transport, errors
from hitpaw_async._transport import Connection, HTTPPool, SendWatch
from hitpaw_async._transport import aiohttp as fast
from hitpaw_async._transport.aiohttp import AiohttpSender
from tests.client.callers import API_KEY, ONE_ATTEMPT, REQUEST, a_client, eventually
from tests.client.fault_server import JOB_ID, Fault, FaultServer, by_name, deadline_s, unused_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ENOUGH_S = 5.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pool() -> AsyncIterator[HTTPPool]:
    made = HTTPPool(max_connections=2, transport=Transport.AIOHTTP)
    with anyio.fail_after(2 * ENOUGH_S):
        yield made
    with anyio.CancelScope(shield=True):
        await made.aclose()


def sender_of(pool: HTTPPool) -> AiohttpSender:
    assert isinstance(pool._sender, AiohttpSender)
    return pool._sender


async def post(pool: HTTPPool, url: str, **settings: Any) -> Any:
    defaults = {"body": b'{"a":1}', "headers": {"ApiKey": API_KEY}, "timeout_s": ENOUGH_S}
    return await pool.post(f"{url}/path?signature=s1gn4ture%2F", **{**defaults, **settings})


async def test_a_question_is_sent_as_it_is_and_nothing_is_added(pool: HTTPPool) -> None:
    with FaultServer() as server:
        reply = await post(pool, server.url)
        await post(pool, server.url)
    assert reply.status_code == 200
    received = server.received[0]
    assert server.connections == 1
    assert received.path == "/path?signature=s1gn4ture%2F"
    assert received.body == b'{"a":1}'
    assert received.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "hitpaw-async",
        "content-type": "application/json",
        "apikey": API_KEY,
        "content-length": "7",
    }


WORDS = {
    Fault.FIN: "closed the connection or violated HTTP",
    Fault.RESET: "broke off while reading",
    Fault.HANG: "No answer within",
    Fault.HEADERS_THEN_FIN: "closed the connection or violated HTTP",
    Fault.GARBAGE: "violated HTTP",
    Fault.BAD_GZIP: "content encoding",
    Fault.MEGABYTES: "larger than 1 MiB",
    Fault.GZIP_BOMB: "larger than 1 MiB",
}


@pytest.mark.parametrize(("fault", "words"), WORDS.items(), ids=lambda value: getattr(value, "name", None))
async def test_a_failure_is_told_in_our_words(fault: Fault, words: str, pool: HTTPPool) -> None:
    with FaultServer(fault) as server, pytest.raises(errors.HitPawError, match=words) as caught:
        await post(pool, server.url, timeout_s=deadline_s(fault))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "s1gn4ture" not in str(caught.value)
    assert pool._gate.value == 2


async def test_a_refused_connection_is_told_in_our_words(pool: HTTPPool) -> None:
    with pytest.raises(errors.TransportError, match="No connection"):
        await post(pool, f"http://127.0.0.1:{unused_port()}")


@by_name([Fault.REDIRECT])
async def test_a_redirect_is_not_followed(fault: Fault, pool: HTTPPool) -> None:
    with FaultServer() as elsewhere, FaultServer(fault, redirect_to=elsewhere.url) as server:
        assert (await post(pool, server.url)).status_code == 307
    assert elsewhere.connections == 0


async def test_an_export_stays_on_lanes_where_its_phases_are_watched(pool: HTTPPool) -> None:
    with FaultServer(Fault.FIN) as server, pytest.raises(errors.TransportError):
        await post(pool, server.url, watch=SendWatch())
    assert len(server.received) == 1
    assert sender_of(pool)._session is None


async def test_a_client_exports_once_and_asks() -> None:
    with FaultServer() as server:
        async with a_client(server.url, transport="aiohttp") as hitpaw:
            job = await hitpaw.export(REQUEST)
            assert (await hitpaw.task(job.job_id)).job_id == JOB_ID
        assert len(server.exports) == 1


async def test_a_call_that_is_cancelled_takes_its_connection_with_it(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await post(pool, server.url)
        server.may_answer.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, pool, server.url)
            await eventually(lambda: len(server.received) == 2)
            tasks.cancel_scope.cancel()
        assert pool._gate.value == 2
        server.may_answer.set()
        assert (await post(pool, server.url)).status_code == 200
        assert server.connections == 2


async def test_a_closed_pool_leaves_nothing_open(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await post(pool, server.url)
        session = sender_of(pool)._session
        await pool.aclose()
    assert session is not None
    assert session.closed
    with pytest.raises(errors.ConfigurationError, match="closed"):
        await post(pool, server.url)


async def test_a_pool_that_is_closed_while_the_first_question_opens_a_session_leaves_none(
    pool: HTTPPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_open, context = anyio.Event(), fast.tls_context

    async def late() -> ssl.SSLContext:
        await may_open.wait()
        return await context()

    monkeypatch.setattr(fast, "tls_context", late)
    with FaultServer() as server:
        asked = asyncio.ensure_future(post(pool, server.url))
        await anyio.wait_all_tasks_blocked()
        await pool.aclose()
        may_open.set()
        with pytest.raises(errors.ConfigurationError, match="closed"):
            await asked
    assert server.connections == 0
    assert sender_of(pool)._session is None


async def test_a_question_that_met_a_stale_connection_is_asked_again_on_a_fresh_one(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await post(pool, server.url)
        await post(pool, server.url, connection=Connection.FRESH)
    assert server.connections == 2


async def test_a_mock_is_respected(pool: HTTPPool, respx_mock: Any) -> None:
    route = respx_mock.post("https://vendor.example.com/path").respond(json={})
    assert (await post(pool, "https://vendor.example.com")).status_code == 200
    assert route.call_count == 1


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_it_says_so_before_anything_is_sent() -> None:
    with FaultServer() as server:
        async with a_client(server.url, transport="aiohttp", retry=ONE_ATTEMPT) as hitpaw:
            with pytest.raises(errors.ConfigurationError, match="asyncio alone"):
                await hitpaw.export(REQUEST)
            with pytest.raises(errors.ConfigurationError, match="asyncio alone"):
                await hitpaw.task(JOB_ID)
    assert server.connections == 0


def test_without_its_extra_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hitpaw_async._transport.aiohttp")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(errors.MissingExtraError, match=r"pip install 'hitpaw-async\[fast\]'"):
        AsyncHitPaw(api_key=API_KEY, transport="aiohttp")


@pytest.mark.parametrize("name", ["httpx2", "", None, 7])
def test_another_transport_is_refused(name: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="transport must be 'httpx' or 'aiohttp'"):
        AsyncHitPaw(api_key=API_KEY, transport=name)


async def test_a_callers_client_has_a_transport_of_its_own() -> None:
    async with httpx.AsyncClient() as mine:
        with pytest.raises(errors.ConfigurationError, match="either http_client or transport"):
            AsyncHitPaw(api_key=API_KEY, transport=Transport.AIOHTTP, http_client=mine)


async def test_whenever_a_call_is_cancelled_no_slot_is_lost(pool: HTTPPool) -> None:
    with FaultServer() as server:
        for steps in range(40):
            task = asyncio.ensure_future(post(pool, server.url))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert pool._gate.value == 2
        assert (await post(pool, server.url)).status_code == 200
