"""What the network does to a download, and that the file is right all the same."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.errors import DownloadError, JobNotFoundError
from tests.download.downloads import fetch, names, only
from tests.support.http_server import (
    CLIP,
    VIDEO,
    Origin,
    Seen,
    cut_off,
    file,
    head,
    redirects,
    reset_connection,
    says,
    sends,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.http_server import Act

    Serve = Callable[..., Origin]

pytestmark = pytest.mark.anyio


async def test_a_result_is_brought_to_disk(serve: Serve, tmp_path: Path) -> None:
    origin = serve(file(VIDEO))
    progress: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "folder" / "clip.mp4"
    path = await fetch(origin.url, target, on_progress=lambda *now: progress.append(now))
    assert path == target
    only(target.parent, "clip.mp4", VIDEO)
    assert progress[-1] == (len(VIDEO), len(VIDEO))
    assert len(progress) == 3
    assert progress == sorted(progress)


async def test_a_chunked_result_is_brought_to_disk(serve: Serve, tmp_path: Path) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (CLIP[:1], CLIP[1:30_000], CLIP[30_000:], b""))
    origin = serve(sends(head("200 OK", transfer_encoding="chunked") + chunks))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)


async def test_a_short_body_is_completed_by_asking_for_the_rest_only(serve: Serve, tmp_path: Path) -> None:
    origin = serve(cut_off(CLIP, 20_000), file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, "bytes=20000-"]
    assert origin.seen[1].headers["if-range"] == '"v1"'


async def test_a_reset_connection_is_completed_by_asking_for_the_rest_only(serve: Serve, tmp_path: Path) -> None:
    on_disk = threading.Event()

    def breaks(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(VIDEO), etag='"v1"') + VIDEO[:2_500_000])
        on_disk.wait(5)
        reset_connection(connection)

    def on_progress(received_bytes: int, _: int | None) -> None:
        if received_bytes > 2_000_000:
            on_disk.set()

    origin = serve(breaks, file(VIDEO))
    await fetch(origin.url, tmp_path / "clip.mp4", on_progress=on_progress)
    only(tmp_path, "clip.mp4", VIDEO)
    assert len(origin.ranges) == 2
    start = int(str(origin.ranges[1]).removeprefix("bytes=").removesuffix("-"))
    assert 2_000_000 < start <= 2_500_000


async def test_a_chunked_body_that_breaks_off_is_completed(serve: Serve, tmp_path: Path) -> None:
    broken = head("200 OK", transfer_encoding="chunked", etag='"v1"') + b"%x\r\n%s\r\n" % (20_000, CLIP[:20_000])
    origin = serve(sends(broken), file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, "bytes=20000-"]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
async def test_without_a_strong_etag_a_download_starts_anew(serve: Serve, tmp_path: Path, etag: str | None) -> None:
    origin = serve(cut_off(CLIP, 20_000, etag=etag), file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, None]


async def test_a_file_that_changed_is_fetched_anew(serve: Serve, tmp_path: Path) -> None:
    changed = CLIP[::-1][:-7]
    origin = serve(cut_off(CLIP, 20_000), file(changed, etag='"v2"'))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", changed)
    assert origin.ranges == [None, "bytes=20000-"]


async def test_a_part_of_another_version_is_not_appended(serve: Serve, tmp_path: Path) -> None:
    """The server ignores If-Range and sends the rest of a file that has changed."""
    changed = CLIP[::-1]
    rest = says(
        "206 Partial Content", changed[20_000:], etag='"v2"', content_range=f"bytes 20000-{len(CLIP) - 1}/{len(CLIP)}"
    )
    origin = serve(cut_off(CLIP, 20_000), rest, file(changed, etag='"v2"'))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", changed)
    assert origin.ranges == [None, "bytes=20000-", None]


async def test_a_server_without_ranges_is_asked_for_all_of_it(serve: Serve, tmp_path: Path) -> None:
    origin = serve(cut_off(CLIP, 20_000), says("200 OK", CLIP))
    progress: list[int] = []
    await fetch(origin.url, tmp_path / "clip.mp4", on_progress=lambda received, _: progress.append(received))
    only(tmp_path, "clip.mp4", CLIP)
    assert progress == [20_000, 0, len(CLIP)]


async def test_a_range_that_cannot_be_satisfied_makes_it_start_anew(serve: Serve, tmp_path: Path) -> None:
    shorter = CLIP[:10_000]
    refused = says("416 Range Not Satisfiable", content_range="bytes */10000")
    origin = serve(cut_off(CLIP, 20_000), refused, says("200 OK", shorter))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", shorter)
    assert origin.ranges == [None, "bytes=20000-", None]


async def test_a_rest_that_comes_in_parts_is_put_together(serve: Serve, tmp_path: Path) -> None:
    middle = says(
        "206 Partial Content", CLIP[20_000:30_000], etag='"v1"', content_range=f"bytes 20000-29999/{len(CLIP)}"
    )
    origin = serve(cut_off(CLIP, 20_000), middle, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, "bytes=20000-", "bytes=30000-"]


async def test_an_expired_url_is_replaced_and_the_download_goes_on(serve: Serve, tmp_path: Path) -> None:
    origin = serve(cut_off(CLIP, 20_000), says("403 Forbidden", b"expired"), file(CLIP))
    asked: list[str] = []

    async def refresh() -> str:
        asked.append("task")
        return origin.url.replace("s3cret", "fresh")

    await fetch(origin.url, tmp_path / "clip.mp4", refresh=refresh)
    only(tmp_path, "clip.mp4", CLIP)
    assert asked == ["task"]
    assert [seen.path.rpartition("=")[2] for seen in origin.seen] == ["s3cret", "s3cret", "fresh"]
    assert origin.ranges[2] == "bytes=20000-"


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
async def test_a_result_that_fresh_urls_do_not_bring_is_gone(serve: Serve, tmp_path: Path, status: str) -> None:
    origin = serve(says(status))
    asked: list[str] = []

    async def refresh() -> str:
        asked.append("task")
        return origin.url

    with pytest.raises(DownloadError, match="no longer exists") as caught:
        await fetch(origin.url, tmp_path / "clip.mp4", refresh=refresh)
    assert caught.value.is_gone
    assert len(asked) == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "is_gone"), [("403 Forbidden", False), ("404 Not Found", True), ("400 Bad", False)])
async def test_a_refused_url_that_cannot_be_replaced_says_what_to_do(
    serve: Serve, tmp_path: Path, status: str, *, is_gone: bool
) -> None:
    origin = serve(says(status))
    with pytest.raises(DownloadError, match="fresh URL") as caught:
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert caught.value.is_gone is is_gone
    assert "s3cret" not in str(caught.value)
    assert len(origin.seen) == 1


async def test_what_the_task_call_raises_is_passed_on(serve: Serve, tmp_path: Path) -> None:
    async def refresh() -> str:
        raise JobNotFoundError(404, None, "no such job")

    with pytest.raises(JobNotFoundError):
        await fetch(serve(says("403 Forbidden")).url, tmp_path / "clip.mp4", refresh=refresh)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(says("503 Busy", b"busy", retry_after=0), id="busy"),
        pytest.param(says("429 Slow Down"), id="too many"),
        pytest.param(says("204 No Content"), id="no content"),
        pytest.param(says("206 Partial Content", CLIP, content_range="bytes 0-9/10"), id="unasked range"),
        pytest.param(says("302 Found"), id="redirect to nowhere"),
        pytest.param(sends(b""), id="closed at once"),
        pytest.param(sends(b"not HTTP at all\r\n\r\n"), id="not HTTP"),
        pytest.param(cut_off(CLIP, 0), id="no body"),
        pytest.param(cut_off(CLIP, len(CLIP) - 1), id="a byte short"),
        pytest.param(says("200 OK"), id="empty"),
        pytest.param(sends(head("200 OK", transfer_encoding="chunked") + b"0\r\n\r\n"), id="empty, chunked"),
        pytest.param(sends(head("200 OK") + CLIP), id="unframed"),
        pytest.param(says("200 OK", b"\x1f\x8b\x08", content_encoding="gzip"), id="compressed"),
        pytest.param(says("200 OK", b"<html>", content_type="text/html; charset=utf-8"), id="page"),
        pytest.param(
            sends(head("200 OK", transfer_encoding="chunked", content_length=5) + b"6\r\n123456\r\n0\r\n\r\n"),
            id="over-long",
        ),
        pytest.param(
            sends(head("200 OK", transfer_encoding="chunked", content_length=7) + b"6\r\n123456\r\n0\r\n\r\n"),
            id="two lengths",
        ),
        pytest.param(sends(head("200 OK", transfer_encoding="chunked") + b"zz\r\n"), id="broken chunk"),
    ],
)
async def test_a_faulty_reply_is_tried_again_and_never_published(serve: Serve, tmp_path: Path, fault: Act) -> None:
    origin = serve(fault, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)

    origin = serve(fault)
    with pytest.raises(DownloadError, match="attempts: 3") as caught:
        await fetch(origin.url, tmp_path / "another.mp4")
    assert len(origin.seen) == 3
    assert not caught.value.is_gone
    assert "s3cret" not in str(caught.value)
    only(tmp_path, "clip.mp4", CLIP)


async def test_what_follows_a_body_is_no_part_of_it(serve: Serve, tmp_path: Path) -> None:
    """Bytes beyond Content-Length are outside the body, and must not become the next reply."""
    evil = head("200 OK", content_length=4) + b"evil"
    origin = serve(sends(head("200 OK", content_length=len(CLIP)) + CLIP + evil), file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    assert origin.seen[0].headers["connection"] == "close"
    only(tmp_path, "clip.mp4", CLIP)


async def test_attempts_that_make_progress_are_not_counted(serve: Serve, tmp_path: Path) -> None:
    """Five broken connections, each of which brought more than a MiB, and two attempts allowed."""

    def a_bit_more(connection: socket.socket, seen: Seen) -> None:
        start = int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        status, named = (
            ("206 Partial Content", {"content_range": f"bytes {start}-{len(long) - 1}/{len(long)}"})
            if start
            else ("200 OK", {})
        )
        connection.sendall(
            head(status, content_length=len(long) - start, etag='"v1"', **named) + long[start:][:1_100_000]
        )

    long = VIDEO + VIDEO
    origin = serve(a_bit_more)
    await fetch(origin.url, tmp_path / "clip.mp4", settings={"attempts_max": 2})
    only(tmp_path, "clip.mp4", long)
    assert len(origin.seen) == 6


async def test_starting_anew_again_and_again_is_no_progress(serve: Serve, tmp_path: Path) -> None:
    origin = serve(cut_off(VIDEO, 2_000_000, etag=None))
    with pytest.raises(DownloadError, match="attempts: 3"):
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert len(origin.seen) == 3


async def test_a_server_that_sends_too_slowly_is_left(serve: Serve, tmp_path: Path) -> None:
    def drips(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(CLIP), etag='"v1"') + CLIP[:20_000])
        while not origin.released.wait(0.01):
            connection.sendall(b"x")

    origin = serve(drips)
    with pytest.raises(DownloadError, match="less than 10485760 bytes a second"):
        await fetch(origin.url, tmp_path / "clip.mp4", settings={"bytes_per_s_min": 10 << 20, "attempts_max": 1})
    assert names(tmp_path) == []


async def test_a_server_that_falls_silent_is_left(serve: Serve, tmp_path: Path) -> None:
    def falls_silent(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(CLIP), etag='"v1"') + CLIP[:20_000])
        origin.released.wait(10)

    origin = serve(falls_silent, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4", settings={"read_timeout_s": 0.1})
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, "bytes=20000-"]


def drips_its_head(connection: socket.socket, _: Seen) -> None:
    """A byte of the head at a time, until the client goes away: never silent, never done."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Pad: ")
    for _turn in range(1000):
        connection.sendall(b"x")
        time.sleep(0.02)


async def test_a_server_whose_head_never_ends_is_left_soon(serve: Serve, tmp_path: Path) -> None:
    origin = serve(drips_its_head)
    with pytest.raises(DownloadError, match=r"attempts: 2\): The head of the response did not come in time") as caught:
        await fetch(origin.url, tmp_path / "clip.mp4", settings={"read_timeout_s": 0.2, "attempts_max": 5})
    assert not caught.value.is_gone, "it is paid for, and a later run may get it"
    assert not caught.value.is_refused
    assert len(origin.seen) <= 2  # A busy machine may not have accepted the first.
    assert names(tmp_path) == []


async def test_a_head_that_does_not_end_once_is_asked_for_again(serve: Serve, tmp_path: Path) -> None:
    origin = serve(drips_its_head, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4", settings={"read_timeout_s": 0.5})
    only(tmp_path, "clip.mp4", CLIP)
    assert len(origin.seen) == 2


async def test_hints_without_end_are_left_too(serve: Serve, tmp_path: Path) -> None:
    def hints(connection: socket.socket, _: Seen) -> None:
        while not origin.released.wait(0.02):
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    origin = serve(hints)
    with pytest.raises(DownloadError, match="did not come in time"):
        await fetch(origin.url, tmp_path / "clip.mp4", settings={"read_timeout_s": 0.2})
    assert len(origin.seen) == 2


async def test_a_server_that_wants_to_be_left_alone_for_hours_ends_the_download(serve: Serve, tmp_path: Path) -> None:
    origin = serve(says("503 Maintenance", retry_after=86_400))
    with pytest.raises(DownloadError, match="HTTP 503"):
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert len(origin.seen) == 1


async def test_redirects_are_followed_up_to_five(serve: Serve, tmp_path: Path) -> None:
    hops = [
        redirects(f"/hop/{number}", status)
        for number, status in enumerate(["301 M", "302 F", "303 S", "307 T", "308 P"])
    ]
    origin = serve(*hops, cut_off(CLIP, 20_000), *hops, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert [seen.path for seen in origin.seen[1:6]] == [f"/hop/{number}" for number in range(5)]

    origin = serve(*hops, redirects("/hop/5"), file(CLIP))
    with pytest.raises(DownloadError, match="more than 5 times"):
        await fetch(origin.url, tmp_path / "another.mp4")
    assert len(origin.seen) == 6
    only(tmp_path, "clip.mp4", CLIP)


async def test_a_host_that_refuses_connections_is_tried_again(serve: Serve, tmp_path: Path) -> None:
    origin = serve(file(CLIP))
    closed = origin.url.replace(f":{origin.port}", ":1")
    with pytest.raises(DownloadError, match="No connection"):
        await fetch(closed, tmp_path / "clip.mp4")
    assert names(tmp_path) == []
