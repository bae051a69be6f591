from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from av.stream import Stream

from hitpaw_async._transport import HTTPPool
from hitpaw_async.errors import HitPawError, MediaError, TransportError
from hitpaw_async.media import probe_file
from tests.media import manners
from tests.media.callers import probe
from tests.media.studio import H264, Recipe, make

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from hitpaw_async.media._sources import ByteSource
    from hitpaw_async.models import VideoFacts
    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

SMALL = Recipe(name="plain.mp4")
TABLE_SHARE = 0.1 if hasattr(Stream, "index_entries") else 0.25
"""How much is read of a file with a table of its frames: PyAV shows the table since 17."""
LARGE = {"width": 640, "height": 360, "duration_s": 10, "options": {**H264, "crf": "6", "g": "15"}}


async def facts_of(path: Path) -> VideoFacts:
    return await anyio.to_thread.run_sync(probe_file, path)


@pytest.mark.parametrize(
    ("name", "muxing", "share", "requests_max"),
    [
        ("large.mp4", {}, TABLE_SHARE, 6),
        ("large-faststart.mp4", {"movflags": "faststart"}, TABLE_SHARE, 6),
        ("large.avi", {}, 0.25, 8),
        ("large.mkv", {}, 0.25, 4),
        ("large.ts", {}, 0.35, 10),
        ("large-indexed.mp4", {"movflags": "dash+frag_keyframe+empty_moov+global_sidx"}, 0.25, 8),
        # Each of its twenty fragments must be visited.
        ("large-fragments.mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, 0.5, 30),
    ],
)
@pytest.mark.slow
async def test_a_large_file_is_read_in_small_part(
    name: str, muxing: dict[str, str], share: float, requests_max: int, folder: Path, origin: FileServer
) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name=name, muxing=muxing, **LARGE), folder)  # type: ignore[arg-type]
    size_bytes = path.stat().st_size
    assert size_bytes > 5_000_000
    with anyio.fail_after(20):
        facts = await probe(origin.serve(path.read_bytes()))
    assert facts == await facts_of(path)
    assert origin.bytes_sent < size_bytes * share
    assert len(origin.requests) <= requests_max


async def test_no_key_no_cookie_and_no_compression_is_asked_for(folder: Path, origin: FileServer) -> None:
    await probe(origin.serve(make(SMALL, folder).read_bytes()))
    for request in origin.requests:
        assert set(request.headers) <= {
            "host",
            "accept",
            "accept-encoding",
            "user-agent",
            "range",
            "if-range",
            "connection",
        }
        assert request.headers["accept-encoding"] == "identity"


async def test_a_callers_pool_is_used_and_stays_open(folder: Path, origin: FileServer) -> None:
    url = origin.serve(make(SMALL, folder).read_bytes())
    pool = HTTPPool(max_connections=1)
    try:
        assert await probe(url, pool=pool) == await probe(url, pool=pool)
    finally:
        await pool.aclose()


@pytest.mark.parametrize("manner", [manners.whole, manners.whole_of_unknown_size])
@pytest.mark.parametrize("name", ["plain.mp4", "faststart.mp4", "60.mkv", "stream.ts"])
async def test_a_server_that_ignores_ranges_is_read_on(
    name: str, manner: object, folder: Path, origin: FileServer
) -> None:
    muxing = {"movflags": "faststart"} if name == "faststart.mp4" else {}
    path = await anyio.to_thread.run_sync(make, Recipe(name=name, muxing=muxing), folder)
    with anyio.fail_after(20):
        facts = await probe(origin.serve(path.read_bytes(), manner))  # type: ignore[arg-type]
    told = await facts_of(path)
    assert (facts.frame_rate, facts.width, facts.height) == (told.frame_rate, told.width, told.height)
    assert facts.size_bytes in (told.size_bytes, None)
    assert len(origin.requests) == 1


async def test_a_server_that_ignores_ranges_is_left_as_soon_as_enough_came(folder: Path, origin: FileServer) -> None:
    recipe = Recipe(name="faststart.mp4", muxing={"movflags": "faststart"})
    content = make(recipe, folder).read_bytes() + (40 << 20).to_bytes(4, "big") + b"free" + bytes((40 << 20) - 8)
    with anyio.fail_after(20):
        facts = await probe(origin.serve(content, manners.whole))
    assert facts.size_bytes == len(content)
    assert origin.bytes_sent < 20 << 20


async def test_facts_beyond_the_bound_are_unknown_not_a_refusal(
    folder: Path, origin: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitpaw_async.media._ranges.FETCHED_BYTES_MAX", 1_000_000)
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mkv", **LARGE), folder)  # type: ignore[arg-type]
    for manner in (manners.ranges, manners.whole):
        with anyio.fail_after(10), pytest.raises(TransportError, match="give its facts yourself"):
            await probe(origin.serve(path.read_bytes(), manner))


async def test_requests_are_bounded(folder: Path, origin: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitpaw_async.media._ranges.REQUESTS_MAX", 2)
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mkv", **LARGE), folder)  # type: ignore[arg-type]
    with anyio.fail_after(10), pytest.raises(TransportError, match="2 requests"):
        await probe(origin.serve(path.read_bytes()))
    assert len(origin.requests) == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204])
async def test_a_url_that_cannot_be_had_is_refused(code: int, origin: FileServer) -> None:
    url = origin.serve(b"", manners.status(code))
    with anyio.fail_after(10), pytest.raises(MediaError, match=f"answered HTTP {code}"):
        await probe(url)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
async def test_a_server_in_trouble_leaves_the_facts_unknown(code: int, origin: FileServer) -> None:
    url = origin.serve(b"", manners.status(code))
    with anyio.fail_after(10), pytest.raises(TransportError, match=f"answered HTTP {code}"):
        await probe(url)


async def test_no_connection_leaves_the_facts_unknown() -> None:
    with anyio.fail_after(10), pytest.raises(TransportError):
        await probe("http://127.0.0.1:9/clip.mp4")


def _other_range(exchange: manners.Exchange, content: bytes) -> None:
    exchange.answer(206, content[5:262149], content_range=f"bytes 5-262148/{len(content)}")


def _compressed(exchange: manners.Exchange, content: bytes) -> None:
    manners.ranges(exchange, content, content_encoding="gzip")


def _no_size(exchange: manners.Exchange, content: bytes) -> None:
    manners.ranges(exchange, content, name_size=False)


def _changing(exchange: manners.Exchange, content: bytes) -> None:
    manners.ranges(exchange, content + bytes(len(exchange.origin.requests)))


def _ranges_once(exchange: manners.Exchange, content: bytes) -> None:
    (manners.ranges if len(exchange.origin.requests) == 1 else manners.whole)(exchange, content)


def _too_long(exchange: manners.Exchange, content: bytes) -> None:
    exchange.answer(206, content, content_range=f"bytes 0-9999999/{len(content)}")


def _then_503(exchange: manners.Exchange, content: bytes) -> None:
    (manners.ranges if len(exchange.origin.requests) == 1 else manners.status(503))(exchange, content)


@pytest.mark.parametrize("manner", [_other_range, _compressed, _no_size, _changing, _ranges_once, _too_long, _then_503])
async def test_a_server_that_breaks_the_rules_leaves_the_facts_unknown(
    manner: object, folder: Path, origin: FileServer, capfd: pytest.CaptureFixture[str]
) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]
    with anyio.fail_after(10), pytest.raises(TransportError):
        await probe(origin.serve(path.read_bytes(), manner))  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


async def test_a_changed_file_is_told_by_its_tag(folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]

    def tagged(exchange: manners.Exchange, content: bytes) -> None:
        manners.ranges(exchange, content, etag='"one"')

    await probe(origin.serve(path.read_bytes(), tagged))
    assert [request.headers.get("if-range") for request in origin.requests[:2]] == [None, '"one"']


async def test_redirects_are_followed_and_the_last_address_is_kept(folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mkv", **LARGE), folder)  # type: ignore[arg-type]
    origin.serve(path.read_bytes(), path="/there")
    for hop in range(5):
        origin.serve(b"", manners.redirect(f"/hop{hop + 1}" if hop < 4 else "/there"), path=f"/hop{hop}")
    with anyio.fail_after(10):
        assert await probe(f"{origin.base_url}/hop0") == await facts_of(path)
    paths = [request.path for request in origin.requests]
    assert paths[:6] == ["/hop0", "/hop1", "/hop2", "/hop3", "/hop4", "/there"]
    assert set(paths[6:]) == {"/there"}


async def test_a_redirect_loop_ends(origin: FileServer) -> None:
    url = origin.serve(b"", manners.redirect("/clip"))
    with anyio.fail_after(10), pytest.raises(MediaError, match="redirects more than 5 times"):
        await probe(url)
    assert len(origin.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/clip", ""])
async def test_a_redirect_to_anything_but_the_web_is_refused(target: str, origin: FileServer) -> None:
    url = origin.serve(b"", manners.redirect(target) if target else manners.status(302))
    with anyio.fail_after(10), pytest.raises(MediaError, match="redirects to nothing"):
        await probe(url)
    assert len(origin.requests) == 1


async def test_a_redirect_from_https_to_http_is_refused(folder: Path, origin: FileServer) -> None:
    origin.serve(make(SMALL, folder).read_bytes(), path="/plain")
    url = origin.serve(b"", manners.redirect(f"{origin.base_url}/plain"))

    class Terminating(HTTPPool):
        """As if TLS ended before the origin."""

        def get(self, url: str, **options: object) -> object:  # type: ignore[override]
            return super().get(url.replace("https://", "http://"), **options)  # type: ignore[arg-type]

    pool = Terminating(max_connections=1)
    with anyio.fail_after(10), pytest.raises(MediaError, match="from https to http"):
        await probe(url.replace("http://", "https://"), pool=pool)
    await pool.aclose()
    assert [request.path for request in origin.requests] == ["/clip"]


@pytest.mark.parametrize(
    "manner",
    [manners.ranges, manners.status(404), manners.status(503), manners.redirect("/clip?token=SECRET"), _other_range],
)
async def test_no_error_shows_a_signature_or_a_password(manner: object, origin: FileServer) -> None:
    url = origin.serve(b"<html>", manner).replace("http://", "http://user:PASSWORD@")  # type: ignore[arg-type]
    with anyio.fail_after(10), pytest.raises(HitPawError) as caught:
        await probe(f"{url}?X-Signature=SECRET#SECRET")
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "SECRET" not in str(shown)
        assert "PASSWORD" not in str(shown)
        shown = shown.__cause__ or shown.__context__


def _threads_reading() -> int:
    """Threads of this process that are reading a source."""
    count = 0
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            count += frame.f_code.co_name == "read_facts"
            frame = frame.f_back
    return count


async def _until(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 10)


stalls = pytest.mark.parametrize("manner", [manners.stall_after(0), manners.stall_after(1), manners.stall_amid_body])


@stalls
async def test_cancelling_leaves_no_thread_and_no_socket(manner: object, folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]
    url = origin.serve(path.read_bytes(), manner)  # type: ignore[arg-type]
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(probe, url)
            await _until(origin.is_stalled)
            tasks.cancel_scope.cancel()
    assert _threads_reading() == 0
    await _until(origin.is_disconnected)


@stalls
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_cancellation_leaves_no_thread_and_no_socket(
    manner: object, folder: Path, origin: FileServer
) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]
    url = origin.serve(path.read_bytes(), manner)  # type: ignore[arg-type]
    with anyio.fail_after(10):
        task = asyncio.create_task(probe(url))
        await _until(origin.is_stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert _threads_reading() == 0
    await _until(origin.is_disconnected)


@stalls
async def test_a_server_that_goes_silent_ends_at_the_deadline(manner: object, folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]
    url = origin.serve(path.read_bytes(), manner)  # type: ignore[arg-type]
    with anyio.fail_after(10), pytest.raises(TransportError, match=r"No data|not read in 0\.3 s"):
        await probe(url, timeout_s=0.3)
    assert _threads_reading() == 0
    await _until(origin.is_disconnected)


async def test_probing_takes_no_worker_thread_from_others(folder: Path, origin: FileServer) -> None:
    # A connection may need one, for TLS or a name: probes that held them all while they wait would wait for ever.
    url = origin.serve(make(SMALL, folder).read_bytes())
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1
    with anyio.fail_after(10):
        async with limiter:
            assert (await probe(url)).width == 160


async def test_what_is_cancelled_between_two_reads_reads_no_more(
    folder: Path, origin: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await anyio.to_thread.run_sync(make, Recipe(name="large.mp4", **LARGE), folder)  # type: ignore[arg-type]
    url = origin.serve(path.read_bytes())
    is_between, goes_on = threading.Event(), threading.Event()
    walked = []

    def container_name(source: ByteSource, _: object) -> str:
        is_between.set()
        assert goes_on.wait(10)
        walked.append(source.read_at(4_000_000, 1))
        return "mp4"

    monkeypatch.setattr("hitpaw_async.media._reading.container_name", container_name)
    for source in (url, path):
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(probe, source)
                await _until(is_between)
                tasks.cancel_scope.cancel()
                goes_on.set()
        is_between.clear()
        goes_on.clear()
    assert walked == []
    assert len(origin.requests) == 1
