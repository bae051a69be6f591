"""Bodies read by a worker thread: TLS is verified, framing is HTTP's, and a thread that is broken off ends at once."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import pytest

from hitpaw_async import errors
from hitpaw_async._transport import BulkStream, HTTPPool, bulk, tls
from hitpaw_async._transport.proxies import Proxies
from tests.download.downloads import fetch, names, open_files
from tests.support.http_server import CLIP, VIDEO, Act, Origin, Seen, file, head, says, sends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.anyio

PEM = Path(__file__).parent.parent / "tls" / "loopback.pem"
ENOUGH_S = 10.0
AT_ONCE_S = 2.0
LONG_S = 8.0


class SecureOrigin(Origin):
    """The same behind TLS, with a certificate for `localhost` and `cdn.example.com`."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def _serve(self, connection: socket.socket) -> None:
        self.context.load_cert_chain(PEM)
        try:
            secure = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return  # The client didn't trust it, or went away.
        super()._serve(secure)

    def at(self, host: str) -> str:
        return f"https://{host}:{self.port}/results/clip.mp4?signature=s3cret"


@pytest.fixture
def serve_securely() -> Iterator[Callable[..., SecureOrigin]]:
    origins: list[SecureOrigin] = []

    def start(*acts: Act) -> SecureOrigin:
        origins.append(SecureOrigin(*acts))
        origins[-1].__enter__()
        return origins[-1]

    yield start
    for origin in origins:
        origin.__exit__(None, None, None)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=PEM)
    monkeypatch.setattr(tls, "_BUILT", [context])


@pytest.fixture(params=["by a thread", "on the loop"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "on the loop":
        monkeypatch.setattr(bulk, "is_possible", lambda: False)


@pytest.fixture
async def pool() -> AsyncIterator[HTTPPool]:
    made = HTTPPool(max_connections=2)
    with anyio.fail_after(ENOUGH_S):
        yield made
    with anyio.CancelScope(shield=True):
        await made.aclose()


async def read(pool: HTTPPool, url: str, **settings: Any) -> bytes:
    async with pool.get(url, is_bulk=True, **settings) as stream:
        return b"".join([chunk async for chunk in stream.chunks()])


@pytest.mark.usefixtures("trusted", "both_ways")
async def test_a_result_comes_whole_over_tls(serve_securely: Callable[..., SecureOrigin], tmp_path: Path) -> None:
    origin = serve_securely(file(VIDEO))
    target = tmp_path / "clip.mp4"
    await fetch(origin.at("localhost"), target, settings={"trusted_hosts": ["localhost"]})
    assert target.read_bytes() == VIDEO


@pytest.mark.usefixtures("trusted", "both_ways")
async def test_tls_is_verified_for_the_host_not_for_the_address(
    serve_securely: Callable[..., SecureOrigin], pool: HTTPPool
) -> None:
    origin = serve_securely(file(CLIP))
    assert await read(pool, origin.at("cdn.example.com"), address="127.0.0.1") == CLIP
    assert origin.seen[0].headers["host"] == f"cdn.example.com:{origin.port}"
    with pytest.raises(errors.TransportError, match="certificate is not trusted"):
        await read(pool, origin.at("other.example.com"), address="127.0.0.1")
    assert len(origin.seen) == 1


@pytest.mark.usefixtures("both_ways")
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    serve_securely: Callable[..., SecureOrigin], pool: HTTPPool
) -> None:
    origin = serve_securely(file(CLIP))
    with pytest.raises(errors.TransportError, match="certificate is not trusted") as caught:
        await read(pool, origin.at("localhost"))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert origin.seen == []


@pytest.mark.usefixtures("trusted", "both_ways")
async def test_a_body_cut_off_within_tls_breaks_off(
    serve_securely: Callable[..., SecureOrigin], pool: HTTPPool
) -> None:
    origin = serve_securely(sends(head("200 OK", content_length=len(CLIP)) + CLIP[:-1]))
    with pytest.raises(errors.TransportError, match="closed the connection"):
        await read(pool, origin.at("localhost"))


@pytest.mark.usefixtures("trusted")
async def test_a_download_that_waits_keeps_no_other_waiting(
    serve_securely: Callable[..., SecureOrigin], pool: HTTPPool
) -> None:
    def fall_silent(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(VIDEO)) + VIDEO[:1_500_000])
        silent.released.wait(ENOUGH_S)

    silent, brisk = serve_securely(fall_silent), serve_securely(file(VIDEO))
    async with pool.get(silent.at("localhost"), is_bulk=True) as stream, anyio.create_task_group() as tasks:
        assert isinstance(stream, BulkStream)
        begun = anyio.Event()

        async def wait_for_more() -> None:
            await stream.copy(lambda _: anyio.from_thread.run_sync(begun.set), block_time_max_s=ENOUGH_S)

        tasks.start_soon(wait_for_more)
        await begun.wait()
        with anyio.fail_after(ENOUGH_S / 2):
            assert await read(pool, brisk.at("localhost")) == VIDEO
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("trusted")
async def test_what_came_before_tls_broke_off_is_kept(
    serve_securely: Callable[..., SecureOrigin], pool: HTTPPool
) -> None:
    taken: list[bytes] = []
    origin = serve_securely(sends(head("200 OK", content_length=len(VIDEO)) + VIDEO[:1_500_000]))
    async with pool.get(origin.at("localhost"), is_bulk=True) as stream:
        assert isinstance(stream, BulkStream)
        with pytest.raises(errors.TransportError, match="closed the connection"):
            await stream.copy(lambda block: taken.append(bytes(block)), block_time_max_s=ENOUGH_S)
    assert b"".join(taken) == VIDEO[:1_500_000]


BODIES: dict[str, tuple[bytes, bytes]] = {
    "with its length": (head("200 OK", content_length=5) + b"video", b"video"),
    "longer than announced": (head("200 OK", content_length=5) + b"video and more", b"video"),
    "in chunks": (head("200 OK", transfer_encoding="chunked") + b"3\r\nvid\r\n2;x=y\r\neo\r\n0\r\n\r\n", b"video"),
    "in chunks, with a length": (
        head("200 OK", content_length=99, transfer_encoding="chunked") + b"5\r\nvideo\r\n0\r\n\r\n",
        b"video",
    ),
    "after a hint": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + head("200 OK", content_length=5) + b"video", b"video"),
    "empty": (head("200 OK", content_length=0), b""),
    "to the end of the connection": (head("200 OK") + b"video", b"video"),
}


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
async def test_a_body_is_what_http_says_it_is(kind: str, piece_bytes: int, pool: HTTPPool) -> None:
    raw, body = BODIES[kind]

    def in_pieces(connection: socket.socket, _: Seen) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(raw), piece_bytes):
            connection.sendall(raw[start : start + piece_bytes])

    with Origin(in_pieces) as origin:
        assert await read(pool, origin.url) == body


BROKEN: dict[str, bytes] = {
    "no response": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nvideo",
    "a bad chunk": head("200 OK", transfer_encoding="chunked") + b"zz\r\nvideo",
    "a missing chunk": head("200 OK", transfer_encoding="chunked") + b"5\r\nvideo\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000,
    "a short body": head("200 OK", content_length=6) + b"video",
}


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("kind", BROKEN)
async def test_what_breaks_the_rules_is_a_transport_error(kind: str, pool: HTTPPool) -> None:
    with Origin(sends(BROKEN[kind])) as origin, pytest.raises(errors.TransportError, match="violated HTTP") as caught:
        await read(pool, origin.url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("raw", [b"", head("200 OK", content_length=6) + b"vid"], ids=["head", "body"])
async def test_silence_is_borne_for_so_long(raw: bytes, pool: HTTPPool) -> None:
    def fall_silent(connection: socket.socket, _: Seen) -> None:
        connection.sendall(raw)
        origin.released.wait(ENOUGH_S)

    with Origin(fall_silent) as origin, pytest.raises(errors.TransportError, match=r"No data|did not come"):
        await read(pool, origin.url, read_timeout_s=0.05)


def waiting_at(where: str) -> tuple[Origin, str]:
    """An origin that falls silent, and what to ask of it."""

    def fall_silent(connection: socket.socket, _: Seen) -> None:
        if where == "body":
            connection.sendall(head("200 OK", content_length=len(VIDEO)) + VIDEO[:1_500_000])
        origin.released.wait(ENOUGH_S)

    origin = Origin(fall_silent)
    scheme = "https" if where == "handshake" else "http"
    return origin, f"{scheme}://127.0.0.1:{origin.port}/"


@pytest.mark.usefixtures("trusted", "both_ways")
@pytest.mark.parametrize("where", ["handshake", "head", "body"])
async def test_a_thread_that_waits_is_broken_off_at_once(where: str, tmp_path: Path) -> None:
    origin, url = waiting_at(where)
    threads = threading.active_count()
    with origin:
        with anyio.move_on_after(0.2) as scope:
            await fetch(url, tmp_path / "clip.mp4", settings={"read_timeout_s": LONG_S})
        late_s = anyio.current_time() - scope.deadline
    assert scope.cancelled_caught
    assert late_s < AT_ONCE_S
    assert names(tmp_path) == []
    assert open_files(tmp_path) == []
    assert threading.active_count() <= threads + 3, "idle workers stay; none hangs"


@pytest.mark.usefixtures("both_ways")
async def test_a_download_that_is_broken_off_closes_its_connection(pool: HTTPPool) -> None:
    gone = threading.Event()

    def watch(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(VIDEO)) + b"vid")
        if not connection.recv(1):
            gone.set()

    with Origin(watch) as origin:
        with anyio.CancelScope() as scope:
            async with pool.get(origin.url, is_bulk=True) as stream:
                async for _ in stream.chunks():
                    scope.cancel()
        assert await anyio.to_thread.run_sync(gone.wait, ENOUGH_S)
    assert pool._gate.value == 2


async def test_what_came_before_it_broke_off_is_kept() -> None:
    taken: list[bytes] = []
    pool = HTTPPool(max_connections=1)
    with Origin(sends(head("200 OK", content_length=len(VIDEO)) + VIDEO[:1_500_000])) as origin:
        async with pool.get(origin.url, is_bulk=True) as stream:
            assert isinstance(stream, BulkStream)
            with pytest.raises(errors.TransportError):
                await stream.copy(lambda block: taken.append(bytes(block)), block_time_max_s=ENOUGH_S)
    assert b"".join(taken) == VIDEO[:1_500_000]
    assert [len(block) for block in taken] == [1 << 20, 1_500_000 - (1 << 20)]
    await pool.aclose()


async def test_a_block_that_takes_too_long_is_left(pool: HTTPPool) -> None:
    def drip(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(VIDEO)))
        while not origin.released.is_set():
            connection.sendall(b"x")
            time.sleep(0.01)

    with Origin(drip) as origin:
        async with pool.get(origin.url, is_bulk=True) as stream:
            assert isinstance(stream, BulkStream)
            with pytest.raises(TimeoutError):
                await stream.copy(lambda _: None, block_time_max_s=0.05)
        origin.released.set()


async def test_progress_is_told_on_the_event_loop(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    here = threading.get_ident()

    def tell(done: int, total: int | None) -> None:
        assert threading.get_ident() == here
        told.append((done, total))

    with Origin(file(VIDEO)) as origin:
        await fetch(origin.url, tmp_path / "clip.mp4", on_progress=tell)
    assert told == [(1 << 20, len(VIDEO)), (2 << 20, len(VIDEO)), (len(VIDEO), len(VIDEO))]


def through_a_client() -> HTTPPool:
    return HTTPPool(
        max_connections=1,
        http_client=httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"video"))),
    )


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"video"})


def through_an_app() -> HTTPPool:
    return HTTPPool(max_connections=1, http_client=httpx.AsyncClient(transport=httpx.ASGITransport(_app)))


@pytest.mark.parametrize("make", [through_a_client, through_an_app], ids=["a caller's client", "an app"])
async def test_no_thread_goes_past_a_callers_client_or_an_app(make: Callable[[], HTTPPool]) -> None:
    pool = make()
    async with pool.get("https://cdn.example.com/", is_bulk=True) as stream:
        assert not isinstance(stream, BulkStream)
        assert b"".join([chunk async for chunk in stream.chunks()]) == b"video"


async def test_no_thread_goes_past_a_mock(respx_mock: Any, pool: HTTPPool) -> None:
    respx_mock.get("https://cdn.example.com/").respond(content=b"video")
    async with pool.get("https://cdn.example.com/", is_bulk=True) as stream:
        assert not isinstance(stream, BulkStream)


async def test_no_thread_goes_past_a_proxy() -> None:
    with Origin(says("200 OK", b"video")) as proxy:
        proxies = Proxies.chosen(f"http://127.0.0.1:{proxy.port}", trust_env=False)
        pool = HTTPPool(max_connections=1, proxies=proxies)
        assert await read(pool, "http://cdn.example.com/a.mp4") == b"video"
        await pool.aclose()
    assert [seen.path for seen in proxy.seen] == ["http://cdn.example.com/a.mp4"]
