"""Kept connections: last in, first out; closed in time; never more than allowed; dropped if anything is left unread."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from hitpaw_async import errors
from hitpaw_async._transport import Connection, HTTPPool, SendWatch, tls
from hitpaw_async._transport import connections as lanes
from hitpaw_async._transport import network as wire
from hitpaw_async._transport.tls import tls_context
from tests.client.callers import eventually, lanes_of
from tests.client.fault_server import Fault, FaultServer, unused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpcore

pytestmark = pytest.mark.anyio

ENOUGH_S = 10.0
STEPS_MAX = 80


@pytest.fixture
async def pool() -> AsyncIterator[HTTPPool]:
    made = HTTPPool(max_connections=3)
    with anyio.fail_after(ENOUGH_S):
        yield made
    with anyio.CancelScope(shield=True):
        await made.aclose()


async def post(pool: HTTPPool, url: str, **settings: Any) -> int:
    reply = await pool.post(url, **{"body": b"{}", "headers": {}, "timeout_s": ENOUGH_S, **settings})
    return reply.status_code


async def together(pool: HTTPPool, server: FaultServer, calls: int) -> None:
    """That many calls at once, each on a lane of its own."""
    server.may_answer.clear()
    begun = len(server.received)
    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(post, pool, server.url)
        await eventually(lambda: len(server.received) == begun + calls)
        server.may_answer.set()


async def test_a_lane_is_made_only_where_none_is_free(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await together(pool, server, 3)
        for _ in range(5):
            await post(pool, server.url)
        await together(pool, server, 2)
        assert server.connections == 3
        assert (lanes_of(pool).in_use, lanes_of(pool).idle) == (0, 3)


async def test_the_last_lane_used_is_used_next_so_that_the_others_can_expire(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await together(pool, server, 3)
        oldest, _, newest = lanes_of(pool)._by_age
        before = oldest.expires_at
        for _ in range(3):
            await post(pool, server.url)
        assert list(lanes_of(pool)._by_age)[-1] is newest
        assert oldest.expires_at == before


async def test_a_call_closes_the_lanes_that_have_expired(pool: HTTPPool, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server:
        monkeypatch.setattr(lanes, "KEEPALIVE_EXPIRY_S", 0.0)
        await together(pool, server, 3)
        monkeypatch.undo()
        await post(pool, server.url)
        assert server.connections == 4
        assert lanes_of(pool).idle == 1


async def test_a_lane_that_the_server_has_closed_is_not_used(pool: HTTPPool) -> None:
    with FaultServer() as server:
        assert await post(pool, server.url) == 200
        [lane] = lanes_of(pool)._by_age
        server._sockets[0].shutdown(socket.SHUT_RDWR)
        await eventually(lane.http.has_expired)
        assert await post(pool, server.url) == 200
        assert lane.http.is_closed()
        assert server.connections == 2


async def test_each_origin_has_lanes_of_its_own(pool: HTTPPool) -> None:
    with FaultServer() as one, FaultServer() as other:
        for _ in range(3):
            await post(pool, one.url)
            await post(pool, other.url)
            await post(pool, other.url.replace("127.0.0.1", "localhost"))
        assert (one.connections, other.connections) == (1, 2)
        assert lanes_of(pool).idle == 3


async def test_there_are_never_more_lanes_open_than_connections_allowed(pool: HTTPPool) -> None:
    with FaultServer() as one, FaultServer() as other:
        await together(pool, one, 3)
        oldest = next(iter(lanes_of(pool)._by_age))
        await post(pool, other.url)
        assert oldest.http.is_closed()
        assert lanes_of(pool).idle == 3
        await together(pool, other, 3)
        assert lanes_of(pool).idle == 3
        assert set(lanes_of(pool)._idle) == {(False, "127.0.0.1", other.port)}


async def test_an_exports_fresh_lane_serves_questions_afterwards(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await post(pool, server.url, connection=Connection.FRESH, watch=SendWatch())
        await post(pool, server.url)
        assert server.connections == 1


async def test_a_lane_to_a_given_address_is_never_kept(pool: HTTPPool) -> None:
    with FaultServer() as server:
        async with pool.get(f"http://cdn.example.com:{server.port}/", address="127.0.0.1") as stream:
            assert [chunk async for chunk in stream.chunks()]
        assert (lanes_of(pool).in_use, lanes_of(pool).idle) == (0, 0)


async def test_a_body_that_is_left_unread_takes_its_lane_with_it(pool: HTTPPool) -> None:
    with FaultServer(Fault.HEADERS_THEN_HANG) as server:
        async with pool.get(server.url):
            assert lanes_of(pool).in_use == 1
        assert (lanes_of(pool).in_use, lanes_of(pool).idle) == (0, 0)


async def cancelled_after(steps: int, pool: HTTPPool, url: str, **settings: Any) -> bool:
    """Whether a call was still under way when it was cancelled, that many steps of the loop after it began."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: post(pool, url, **settings))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    return scope.cancelled_caught


@pytest.mark.parametrize("connection", Connection)
async def test_whenever_a_call_is_cancelled_no_lane_is_lost_and_no_reply_is_mixed_up(
    pool: HTTPPool, connection: Connection
) -> None:
    """A lane with another call's reply in it would answer the wrong question."""
    cancelled = 0
    with FaultServer() as server:
        for steps in range(STEPS_MAX):
            watch = SendWatch() if connection is Connection.FRESH else None
            cancelled += await cancelled_after(steps, pool, server.url, connection=connection, watch=watch)
            assert lanes_of(pool).in_use == 0
            assert lanes_of(pool)._opening == 0
            assert lanes_of(pool).idle <= 3
            assert pool._gate.value == 3
            assert all(lane.http.is_idle() for lane in lanes_of(pool)._by_age)
            assert not any(wire.is_readable(lane_socket(lane)) for lane in lanes_of(pool)._by_age)
        assert cancelled
        # The server reads in a thread of its own, a little later.
        got_far = await anyio.to_thread.run_sync(server.arrived.wait, ENOUGH_S)
        assert got_far, "no call got as far as its body: the test would prove little"


def lane_socket(lane: lanes.KeptConnection) -> Any:
    assert isinstance(lane.stream, wire.Wire)
    return lane.stream._socket


async def test_a_call_that_is_cancelled_while_it_is_answered_leaves_a_lane_nobody_uses(pool: HTTPPool) -> None:
    with FaultServer() as server:
        await post(pool, server.url)
        [kept] = lanes_of(pool)._by_age
        server.may_answer.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, pool, server.url)
            await eventually(lambda: len(server.received) == 2)
            tasks.cancel_scope.cancel()
        assert kept.http.is_closed()
        server.may_answer.set()
        assert await post(pool, server.url) == 200
        assert server.connections == 2


async def test_a_deadline_throws_the_lane_away(pool: HTTPPool) -> None:
    with FaultServer(Fault.HANG) as server, pytest.raises(errors.TransportError, match="No answer"):
        await post(pool, server.url, timeout_s=0.05)
    assert (lanes_of(pool).in_use, lanes_of(pool).idle) == (0, 0)


async def test_a_pool_that_is_closed_while_a_lane_is_opened_keeps_none(
    pool: HTTPPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[httpcore.AsyncNetworkStream] = []
    really_open = wire.open_wire

    async def open_wire(*arguments: Any, **settings: Any) -> httpcore.AsyncNetworkStream:
        opened.append(await really_open(*arguments, **settings))
        await pool.aclose()
        return opened[0]

    monkeypatch.setattr(wire, "open_wire", open_wire)
    with FaultServer() as server, pytest.raises(errors.ConfigurationError, match="closed"):
        await post(pool, server.url)
    assert isinstance(opened[0], wire.Wire)
    assert opened[0]._socket is not None
    assert opened[0]._socket.fileno() == -1
    assert lanes_of(pool).in_use == 0


async def test_a_question_goes_out_in_one_piece_and_an_export_in_two(
    pool: HTTPPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watched send must not claim that its headers left before its body where both leave together."""
    sent: list[bytes] = []
    really_send = wire.Wire._send

    async def send(stream: wire.Wire, buffer: bytes, timeout_s: float | None) -> None:
        sent.append(buffer)
        await really_send(stream, buffer, timeout_s)

    monkeypatch.setattr(wire.Wire, "_send", send)
    with FaultServer() as server:
        await post(pool, server.url)
        assert [piece.count(b"{}") for piece in sent] == [1]
        sent.clear()
        await post(pool, server.url, connection=Connection.FRESH, watch=SendWatch())
        assert [piece.count(b"{}") for piece in sent] == [0, 1]


async def test_the_tls_context_is_built_once_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[ssl.SSLContext] = []

    def build(**_: Any) -> ssl.SSLContext:
        built.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return built[-1]

    monkeypatch.setattr("httpx.create_ssl_context", build)
    monkeypatch.setattr(tls, "_BUILT", [])
    seen: list[ssl.SSLContext] = []

    async def ask() -> None:
        seen.append(await tls_context())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert len(built) == 1
    assert seen == built * 5


async def test_two_clients_share_the_tls_context_and_verify_certificates() -> None:
    context = await tls_context()
    assert await tls_context() is context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_a_host_that_nobody_can_resolve_is_no_connection(pool: HTTPPool) -> None:
    watch = SendWatch()
    with pytest.raises(errors.TransportError, match="No connection"):
        await post(pool, f"http://{'a' * 64}.example:{unused_port()}/", watch=watch)
    assert watch.progress == 0
