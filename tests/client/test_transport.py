"""One send: how far it got, what it is called when it fails, and that it leaves nothing open behind it."""

from __future__ import annotations

import gc
import gzip
import pickle
import ssl
import tracemalloc
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpcore
import httpx
import pytest
import respx

from hitpaw_async import errors
from hitpaw_async._core.retry import SendProgress
from hitpaw_async._transport import REPLY_BYTES_MAX, Connection, HTTPPool, SendWatch
from hitpaw_async._transport.response import decoded
from hitpaw_async._transport.tls import tls_context
from tests.client.callers import API_KEY, eventually
from tests.client.fault_server import ACCEPTING, Fault, FaultServer, by_name, deadline_s, unused_port
from tests.client.flaky_network import Break, FlakyNetwork

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping

    from hitpaw_async._core.protocol.messages import Reply

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

pytestmark = pytest.mark.anyio

NOT_BEGUN, HEADERS_BEGUN, BODY_BEGUN = SendProgress
ENOUGH_S = 5.0


async def post(pool: HTTPPool, url: str, *, timeout_s: float = 4.0, **settings: Any) -> Reply:
    with anyio.fail_after(ENOUGH_S):
        return await pool.post(
            f"{url}/path?signature=s1gn4ture",
            body=b'{"a":1}',
            headers={"ApiKey": API_KEY},
            timeout_s=timeout_s,
            **settings,
        )


@pytest.fixture
async def pool() -> AsyncIterator[HTTPPool]:
    made = HTTPPool(max_connections=2)
    yield made
    await made.aclose()


async def test_a_request_is_sent_as_it_is_and_nothing_is_added(pool: HTTPPool) -> None:
    with FaultServer() as server:
        reply = await post(pool, server.url, secrets=("x",))
    [received] = server.received
    assert reply.status_code == 200
    assert reply.secrets == ("x",)
    assert received.path == "/path?signature=s1gn4ture"
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


PROGRESS = {
    Break.CONNECT: NOT_BEGUN,
    Break.CONNECT_TIMEOUT: NOT_BEGUN,
    Break.WRITE_HEADERS: HEADERS_BEGUN,
    Break.WRITE_HEADERS_TIMEOUT: HEADERS_BEGUN,
    Break.WRITE_BODY: BODY_BEGUN,
    Break.READ: BODY_BEGUN,
}


@pytest.mark.parametrize(("breaks", "progress"), PROGRESS.items(), ids=lambda value: value.name)
async def test_a_watch_sees_how_far_a_send_got(
    breaks: Break, progress: SendProgress, pool: HTTPPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    FlakyNetwork([breaks], monkeypatch)
    announced: list[SendProgress] = []

    async def announce() -> None:
        announced.append(watch.progress)

    watch = SendWatch(announce)
    with FaultServer() as server, pytest.raises(errors.TransportError):
        await post(pool, server.url, watch=watch)
    assert watch.progress is progress
    assert announced == ([] if progress is NOT_BEGUN else [NOT_BEGUN])


async def test_a_watch_sees_a_refused_connection_and_a_deadline(pool: HTTPPool) -> None:
    watch = SendWatch()
    with pytest.raises(errors.TransportError):
        await post(pool, f"http://127.0.0.1:{unused_port()}", watch=watch)
    assert watch.progress is NOT_BEGUN
    with FaultServer(Fault.HANG) as server, pytest.raises(errors.TransportError, match=r"within 0\.05 s"):
        await post(pool, server.url, watch=watch, timeout_s=0.05)
    assert watch.progress is BODY_BEGUN


WORDS = {
    Fault.FIN: "closed the connection or violated HTTP",
    Fault.RESET: "broke off while reading",
    Fault.HANG: "No answer within",
    Fault.HEADERS_THEN_FIN: "closed the connection or violated HTTP",
    Fault.GARBAGE: "violated HTTP",
    Fault.BAD_GZIP: "content encoding",
}


@pytest.mark.parametrize(("fault", "words"), WORDS.items(), ids=lambda value: getattr(value, "name", None))
async def test_a_failure_is_told_in_our_words(fault: Fault, words: str, pool: HTTPPool) -> None:
    with FaultServer(fault) as server, pytest.raises(errors.HitPawError, match=words) as caught:
        await post(pool, server.url, timeout_s=deadline_s(fault))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "s1gn4ture" not in str(caught.value)
    assert API_KEY.encode() not in pickle.dumps(caught.value)


async def test_an_untrusted_certificate_is_named(pool: HTTPPool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Untrusting(FlakyNetwork):
        async def open_wire(self, host: str, port: int, **settings: Any) -> Any:
            try:
                raise ssl.SSLCertVerificationError("self-signed certificate")
            except ssl.SSLError as error:
                raise httpcore.ConnectError from error

    Untrusting([], monkeypatch)
    with pytest.raises(errors.TransportError, match="certificate is not trusted"):
        await post(pool, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://example.com", "http://", "http://a b", "http://[::1", "http://\x00"]
)
async def test_an_address_that_cannot_be_called_is_a_failure_before_sending(url: str, pool: HTTPPool) -> None:
    watch = SendWatch()
    with pytest.raises(errors.TransportError):
        await post(pool, url, watch=watch)
    assert watch.progress is NOT_BEGUN


async def test_a_header_that_cannot_be_sent_is_a_failure_before_sending(pool: HTTPPool) -> None:
    watch = SendWatch()
    with FaultServer() as server, pytest.raises(errors.HitPawError):
        await pool.post(server.url, body=b"", headers={"ApiKey": "a\r\nb"}, timeout_s=1, watch=watch)
    assert watch.progress < BODY_BEGUN
    assert server.received == []


@by_name([Fault.MEGABYTES, Fault.GZIP_BOMB])
async def test_a_reply_over_a_mebibyte_is_not_read(fault: Fault, pool: HTTPPool) -> None:
    with FaultServer(fault) as server, pytest.raises(errors.ProtocolError, match="larger than 1 MiB"):
        await post(pool, server.url)


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)
    assert len(bomb) < REPLY_BYTES_MAX
    tracemalloc.start()
    try:
        with pytest.raises(errors.ProtocolError, match="larger than 1 MiB"):
            decoded(bomb, "gzip")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


async def test_retry_after_is_read_in_seconds(pool: HTTPPool) -> None:
    with FaultServer(Fault.RATE_LIMIT, retry_after="17") as server:
        assert (await post(pool, server.url)).retry_after_s == 17.0


async def test_the_environments_proxies_are_not_used(pool: HTTPPool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    with FaultServer() as server:
        assert (await post(pool, server.url)).status_code == 200


async def test_a_kept_connection_is_used_again_unless_a_fresh_one_is_asked_for(pool: HTTPPool) -> None:
    with FaultServer() as server:
        for _ in range(3):
            await post(pool, server.url)
        assert server.connections == 1
        for _ in range(2):
            await post(pool, server.url, connection=Connection.FRESH)
        await post(pool, server.url)
        assert server.connections == 3


async def test_callers_beyond_the_connections_wait_outside_httpx() -> None:
    pool = HTTPPool(max_connections=2)
    with FaultServer() as server:
        server.may_answer.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(post, pool, server.url)
            await eventually(lambda: len(server.received) == 2)
            assert pool._gate.value == 0
            assert pool._gate.statistics().tasks_waiting == 4
            server.may_answer.set()
        assert len(server.received) == 6
        assert server.connections == 2
        assert pool._gate.value == 2
        await pool.aclose()


async def test_the_deadline_begins_when_a_connection_may_be_used() -> None:
    pool = HTTPPool(max_connections=1)
    with FaultServer(Fault.HANG, Fault.NONE) as server:
        async with anyio.create_task_group() as tasks:

            async def fail() -> None:
                with pytest.raises(errors.TransportError):
                    await post(pool, server.url, timeout_s=0.6)

            tasks.start_soon(fail)
            await eventually(lambda: server.received)
            # It waits longer for its turn than it may take once it has it.
            assert (await post(pool, server.url, timeout_s=0.4)).status_code == 200
        await pool.aclose()


async def test_a_closed_pool_says_what_to_do(pool: HTTPPool) -> None:
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(errors.ConfigurationError, match="async with"):
        await post(pool, "http://127.0.0.1:1")


async def test_a_pool_that_is_closed_under_a_call_ends_it(pool: HTTPPool) -> None:
    with FaultServer() as server:
        server.may_answer.clear()
        async with anyio.create_task_group() as tasks:

            async def fail() -> None:
                with pytest.raises(errors.TransportError):
                    await post(pool, server.url, timeout_s=1)

            tasks.start_soon(fail)
            assert await anyio.to_thread.run_sync(server.arrived.wait, ENOUGH_S)
            await pool.aclose()


@pytest.mark.parametrize(
    ("error", "progress"),
    [
        (httpx.ConnectError("no"), NOT_BEGUN),
        (httpx.ConnectTimeout("no"), NOT_BEGUN),
        (httpx.PoolTimeout("no"), NOT_BEGUN),
        (httpx.ReadTimeout("no"), BODY_BEGUN),
        (httpx.WriteError("no"), BODY_BEGUN),
        (httpx.RemoteProtocolError("no"), BODY_BEGUN),
        (RuntimeError(f"a bug that shows {API_KEY}"), BODY_BEGUN),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("is_callers", [True, False])
async def test_where_no_events_tell_only_a_failure_to_connect_proves_that_nothing_left(
    error: Exception, progress: SendProgress, pool: HTTPPool, *, is_callers: bool
) -> None:
    announced: list[SendProgress] = []

    async def announce() -> None:
        announced.append(watch.progress)

    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    watch = SendWatch(announce)
    if is_callers:
        pool = HTTPPool(max_connections=1, http_client=httpx.AsyncClient(transport=httpx.MockTransport(fail)))
    with respx.mock(assert_all_called=False) as router:
        router.post("http://vendor.example.com/path").mock(side_effect=error)
        with pytest.raises(errors.TransportError) as caught:
            await post(pool, "http://vendor.example.com", watch=watch)
    assert watch.progress is progress
    assert announced == [NOT_BEGUN]
    assert caught.value.__context__ is None
    assert API_KEY not in str(caught.value)


async def test_where_no_events_tell_a_deadline_counts_as_sent() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    watch = SendWatch()
    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
        pool = HTTPPool(max_connections=1, http_client=client)
        with pytest.raises(errors.TransportError):
            await post(pool, "http://vendor.example.com", watch=watch, timeout_s=0.02)
    assert watch.progress is BODY_BEGUN


async def test_a_callers_client_is_watched_as_well_where_it_is_the_real_thing() -> None:
    async with httpx.AsyncClient() as client:
        pool = HTTPPool(max_connections=1, http_client=client)
        watch = SendWatch()
        with pytest.raises(errors.TransportError):
            await post(pool, f"http://127.0.0.1:{unused_port()}", watch=watch)
        assert watch.progress is NOT_BEGUN
        with FaultServer(Fault.FIN) as server, pytest.raises(errors.TransportError):
            await post(pool, server.url, watch=watch)
        assert watch.progress is BODY_BEGUN


async def test_a_callers_client_follows_no_redirect_and_stays_open() -> None:
    with FaultServer() as elsewhere:
        there = elsewhere.url.replace("127.0.0.1", "localhost")
        with FaultServer(Fault.REDIRECT, redirect_to=there) as server:
            async with httpx.AsyncClient(follow_redirects=True, headers={"X-Mine": "1"}) as client:
                pool = HTTPPool(max_connections=1, http_client=client)
                assert (await post(pool, server.url)).status_code == 307
                await pool.aclose()
                assert not client.is_closed
    assert elsewhere.connections == 0


class AskedTwice(httpx.Auth):
    """An authentication that answers a first refusal, as Digest does."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if (yield request).status_code == 401:
            yield request


async def test_a_callers_client_may_authenticate_by_sending_again() -> None:
    with FaultServer(Fault.BAD_KEY, Fault.NONE) as server:
        async with httpx.AsyncClient(auth=AskedTwice()) as client:
            reply = await post(HTTPPool(max_connections=1, http_client=client), server.url)
    assert reply.status_code == 200
    assert [received.body for received in server.received] == [b'{"a":1}'] * 2


async def test_an_app_is_called_in_process() -> None:
    seen: list[bytes] = []

    async def app(scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"made"})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:  # type: ignore[arg-type]
        reply = await post(HTTPPool(max_connections=1, http_client=client), "http://vendor.example.com")
    assert (reply.status_code, reply.body, seen) == (201, b"made", [b'{"a":1}'])


async def read(pool: HTTPPool, url: str, **settings: Any) -> bytes:
    async with pool.get(url, **settings) as stream:
        assert stream.status_code == 200
        return b"".join([chunk async for chunk in stream.chunks()])


async def test_a_get_streams_the_body_with_no_key() -> None:
    pool = HTTPPool(max_connections=1)
    with FaultServer(Fault.NONE_CHUNKED) as server:
        assert b"COMPLETED" in await read(pool, f"{server.url}/a.mp4", headers={"Range": "bytes=5-"})
        assert pool._gate.value == 1
    [received] = server.received
    assert received.headers["range"] == "bytes=5-"
    assert received.headers["accept-encoding"] == "identity"
    assert "apikey" not in received.headers
    await pool.aclose()


@by_name([Fault.HEADERS_THEN_FIN, Fault.HEADERS_THEN_RESET, Fault.BAD_CHUNK, Fault.FIN])
async def test_a_get_that_breaks_off_is_a_transport_error(fault: Fault, pool: HTTPPool) -> None:
    with FaultServer(fault) as server, pytest.raises(errors.TransportError) as caught:
        await read(pool, f"{server.url}/a?signature=s1gn4ture")
    assert caught.value.__context__ is None
    assert "s1gn4ture" not in str(caught.value)
    assert pool._gate.value == 2


async def test_a_get_that_hears_nothing_ends_after_the_read_timeout(pool: HTTPPool) -> None:
    with FaultServer(Fault.HEADERS_THEN_HANG) as server, pytest.raises(errors.TransportError, match="No data"):
        await read(pool, server.url, read_timeout_s=0.05)


async def test_what_the_reader_of_a_stream_raises_is_left_alone(pool: HTTPPool) -> None:
    with FaultServer() as server:
        with pytest.raises(KeyError):
            async with pool.get(server.url):
                raise KeyError("mine")
        assert pool._gate.value == 2


async def test_a_get_goes_to_the_address_that_was_vetted(pool: HTTPPool) -> None:
    with FaultServer() as server:
        async with pool.get(f"http://cdn.example.com:{server.port}/a.mp4", address="127.0.0.1") as stream:
            assert stream.status_code == 200
    assert server.received[0].headers["host"] == f"cdn.example.com:{server.port}"


@pytest.mark.parametrize(
    ("location", "absolute"),
    [
        ("https://elsewhere.example.com/x", "https://elsewhere.example.com/x"),
        ("/y?z=1", "http://127.0.0.1:{port}/y?z=1"),
        ("//other.example.com/x", "http://other.example.com/x"),
        ("http://[::1", None),
    ],
)
async def test_where_a_redirect_leads_is_absolute_or_unknown(
    location: str, absolute: str | None, pool: HTTPPool
) -> None:
    with FaultServer(Fault.REDIRECT, redirect_to=location) as server:
        async with pool.get(f"{server.url}/a") as stream:
            assert stream.location == (absolute and absolute.format(port=server.port))
    with FaultServer() as server:
        async with pool.get(f"{server.url}/a") as stream:
            assert stream.location is None


READ_IN_PART = {Fault.BAD_GZIP, Fault.GZIP_BOMB, Fault.MEGABYTES}


@pytest.mark.parametrize("anyio_backend", ["trio"])
@by_name(ACCEPTING - READ_IN_PART)
@pytest.mark.slow
async def test_a_call_leaves_no_generator_to_the_garbage_collector(fault: Fault, pool: HTTPPool) -> None:
    await leaves_no_generator(fault, pool)


@pytest.mark.parametrize("anyio_backend", ["trio"])
@by_name(READ_IN_PART)
async def test_a_reply_that_is_given_up_leaves_no_generator_either(fault: Fault, pool: HTTPPool) -> None:
    await leaves_no_generator(fault, pool)


async def leaves_no_generator(fault: Fault, pool: HTTPPool) -> None:
    with warnings.catch_warnings(record=True) as caught, FaultServer(fault) as server:
        warnings.simplefilter("always")
        with suppress(errors.HitPawError):
            await post(pool, server.url, timeout_s=deadline_s(fault))
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_body_that_cannot_be_written_leaves_no_generator_to_the_garbage_collector(
    pool: HTTPPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    FlakyNetwork([Break.WRITE_BODY], monkeypatch)
    with warnings.catch_warnings(record=True) as caught, FaultServer() as server:
        warnings.simplefilter("always")
        with pytest.raises(errors.TransportError):
            await post(pool, server.url)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def is_closed(connection: socket.socket) -> bool:
    """Whether the client has closed its end, once what it sent before has been read."""
    connection.settimeout(0.5)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_a_tls_handshake_that_is_broken_off_leaves_no_socket(how: str, pool: HTTPPool) -> None:
    with FaultServer(Fault.HANG_WITHOUT_READING) as server:
        await tls_context()
        url = server.url.replace("http:", "https:")
        with anyio.move_on_after(0.1 if how == "cancelled" else ENOUGH_S):
            with pytest.raises(errors.TransportError):
                await post(pool, url, timeout_s=0.1 if how == "deadline" else ENOUGH_S)
        assert await anyio.to_thread.run_sync(is_closed, server._sockets[0])
    gc.collect()
