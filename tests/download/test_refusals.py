"""A host that has no result yet, or something else in its place; names that it gives; files that are there already."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from hitpaw_async._transport import HTTPPool
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.download import Downloader
from hitpaw_async.download import transfer as _transfer
from hitpaw_async.errors import DownloadError
from hitpaw_async.policies import DownloadPolicy
from tests.download.downloads import fetch, names, only, policy
from tests.support.http_server import CLIP, VIDEO, Act, Origin, Seen, file, head, says

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Origin]

pytestmark = pytest.mark.anyio

DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'
LATE = pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(says("404 Not Found", b"not yet", content_type="text/html"), id="404"),
        pytest.param(says("403 Forbidden", DENIED, content_type="application/xml"), id="403"),
        pytest.param(says("410 Gone"), id="410"),
    ],
)
FOREIGN = pytest.mark.parametrize(
    "body",
    [
        pytest.param(says("200 OK", DENIED, content_type="video/mp4"), id="XML"),
        pytest.param(says("200 OK", b"AccessDenied", content_type="application/octet-stream"), id="text"),
        pytest.param(says("200 OK", b'{"code": 403}' * 1000, content_type="video/mp4", etag='"e"'), id="long JSON"),
        pytest.param(says("200 OK", b"<html>" + bytes(3_000_000), etag='"e"'), id="a page of many blocks"),
        pytest.param(says("200 OK", b"\x00"), id="a byte"),
    ],
)


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transfer, "_REFUSED_PAUSE_FIRST_S", 0.02)


@LATE
@pytest.mark.usefixtures("_looks_often")
async def test_a_result_that_comes_late_is_waited_for(serve: Serve, tmp_path: Path, refusal: Act) -> None:
    origin = serve(refusal, refusal, file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4", settings={"refused_wait_s": 10})
    only(tmp_path, "clip.mp4", CLIP)
    assert len(origin.seen) == 3


@LATE
@pytest.mark.usefixtures("_looks_often")
async def test_each_look_is_at_a_fresh_url(serve: Serve, tmp_path: Path, refusal: Act) -> None:
    origin = serve(*[refusal] * 3, file(CLIP))
    asked: list[str] = []

    async def refresh() -> str:
        asked.append(origin.url.replace("s3cret", f"fresh{len(asked)}"))
        return asked[-1]

    await fetch(origin.url, tmp_path / "clip.mp4", refresh=refresh, refused_wait_s=10)
    only(tmp_path, "clip.mp4", CLIP)
    assert [seen.path.rpartition("=")[2] for seen in origin.seen] == ["s3cret", "fresh0", "fresh1", "fresh2"]


@LATE
async def test_the_wait_is_bounded(serve: Serve, tmp_path: Path, refusal: Act) -> None:
    origin = serve(refusal)
    with pytest.raises(DownloadError) as caught:
        await fetch(origin.url, tmp_path / "clip.mp4", settings={"refused_wait_s": 0.3})
    assert caught.value.is_refused
    assert len(origin.seen) == 2
    assert names(tmp_path) == []


@FOREIGN
async def test_something_else_in_place_of_a_video_is_not_published(serve: Serve, tmp_path: Path, body: Act) -> None:
    origin = serve(body)
    with pytest.raises(DownloadError, match="instead of a video") as caught:
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert (caught.value.is_refused, caught.value.is_gone) == (True, False)
    assert names(tmp_path) == []
    assert origin.ranges == [None, None, None]


@FOREIGN
async def test_something_else_in_place_of_a_video_may_pass(serve: Serve, tmp_path: Path, body: Act) -> None:
    origin = serve(body, file(VIDEO))
    asked: list[str] = []

    async def refresh() -> str:
        asked.append("task")
        return origin.url

    await fetch(origin.url, tmp_path / "clip.mp4", refresh=refresh)
    only(tmp_path, "clip.mp4", VIDEO)
    assert asked == ["task"]


def dated(body: bytes, *, sent: int | None = None, **headers: str) -> Act:
    """A file server that tells versions by their dates alone."""

    def act(connection: socket.socket, seen: Seen) -> None:
        is_rest = "range" in seen.headers and seen.headers.get("if-range") == headers.get("last_modified")
        start = int(seen.headers["range"].removeprefix("bytes=").removesuffix("-")) if is_rest else 0
        named = {"content_range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if is_rest else {}
        status = "206 Partial Content" if is_rest else "200 OK"
        connection.sendall(head(status, content_length=len(body) - start, **headers, **named) + body[start:sent])

    return act


@pytest.mark.parametrize("tags", [{}, {"etag": 'W/"v1"'}])
async def test_a_file_whose_date_is_known_is_gone_on_with(serve: Serve, tmp_path: Path, tags: dict[str, str]) -> None:
    headers = {"last_modified": formatdate(1e9, usegmt=True), "date": formatdate(1e9 + 9, usegmt=True), **tags}
    origin = serve(dated(CLIP, sent=20_000, **headers), dated(CLIP, **headers))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)
    assert origin.ranges == [None, "bytes=20000-"]


async def test_a_file_that_changed_between_two_dates_begins_anew(serve: Serve, tmp_path: Path) -> None:
    first, second = (
        {"last_modified": formatdate(at, usegmt=True), "date": formatdate(1e9 + 99, usegmt=True)}
        for at in (1e9, 1e9 + 9)
    )
    other = bytes(reversed(CLIP))
    origin = serve(dated(CLIP, sent=20_000, **first), dated(other, **second))
    await fetch(origin.url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", other)


async def test_a_file_as_young_as_its_reply_begins_anew(serve: Serve, tmp_path: Path) -> None:
    now = formatdate(1e9, usegmt=True)
    origin = serve(dated(CLIP, sent=20_000, last_modified=now, date=now), dated(CLIP, last_modified=now, date=now))
    await fetch(origin.url, tmp_path / "clip.mp4")
    assert origin.ranges == [None, None]


DISPOSITION = {"content_disposition": 'attachment; filename="Holiday 2024.mp4"', "etag": '"v1"'}


async def client_download(origin: Origin, path: str, target: Path | str, **options: bool) -> Path:
    trusted = DownloadPolicy(trusted_hosts={"127.0.0.1"}, backoff_first_s=0, refused_wait_s=0)
    async with AsyncHitPaw(api_key="key", base_url="https://vendor.example", download=trusted) as hitpaw:
        return await hitpaw.download(f"http://127.0.0.1:{origin.port}/{path}", target, **options)


@pytest.mark.parametrize(
    ("path", "name"), [("My%20Film.mp4", "My Film.mp4"), ("%2e%2e", "_"), ("", "result.mp4"), ("a%0ab.mp4", "a_b.mp4")]
)
async def test_a_name_from_the_url_is_decoded(serve: Serve, tmp_path: Path, path: str, name: str) -> None:
    assert await client_download(serve(file(CLIP)), path, tmp_path) == tmp_path / name
    only(tmp_path, name, CLIP)


async def test_the_name_that_the_host_gives_comes_first_in_a_folder(serve: Serve, tmp_path: Path) -> None:
    origin = serve(says("200 OK", CLIP, **DISPOSITION))
    assert await client_download(origin, "x?id=5", f"{tmp_path}/new/") == tmp_path / "new" / "Holiday 2024.mp4"
    only(tmp_path / "new", "Holiday 2024.mp4", CLIP)


async def test_a_file_name_that_was_asked_for_stays(serve: Serve, tmp_path: Path) -> None:
    origin = serve(says("200 OK", CLIP, **DISPOSITION))
    assert await client_download(origin, "x?id=5", tmp_path / "mine.mp4") == tmp_path / "mine.mp4"
    only(tmp_path, "mine.mp4", CLIP)


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_file_of_the_name_that_the_host_gives_is_replaced_only_if_asked(
    serve: Serve, tmp_path: Path, *, overwrite: bool
) -> None:
    (tmp_path / "Holiday 2024.mp4").write_bytes(b"mine")
    origin = serve(says("200 OK", CLIP, **DISPOSITION))
    if overwrite:
        await client_download(origin, "x", tmp_path, overwrite=True)
        only(tmp_path, "Holiday 2024.mp4", CLIP)
        return
    with pytest.raises(DownloadError) as caught:
        await client_download(origin, "x", tmp_path)
    assert caught.value.is_taken
    only(tmp_path, "Holiday 2024.mp4", b"mine")


@pytest.mark.parametrize(
    ("there", "is_ours"),
    [(CLIP, True), (CLIP[:-1] + b"?", False), (b"?" + CLIP[1:], False), (CLIP[:-1], False), (b"", False)],
)
async def test_only_a_file_of_the_same_content_is_taken_for_the_result(
    serve: Serve, tmp_path: Path, there: bytes, *, is_ours: bool
) -> None:
    (tmp_path / "clip.mp4").write_bytes(there)
    pool = HTTPPool(max_connections=4)
    download = Downloader(pool, policy()).download(serve(file(CLIP)).url, tmp_path / "clip.mp4", adopts=True)
    if is_ours:
        assert await download == tmp_path / "clip.mp4"
    else:
        with pytest.raises(DownloadError) as caught:
            await download
        assert caught.value.is_taken
    await pool.aclose()
    only(tmp_path, "clip.mp4", there)


async def test_where_nothing_is_there_a_result_costs_one_request(serve: Serve, tmp_path: Path) -> None:
    origin = serve(file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4", adopts=True)
    only(tmp_path, "clip.mp4", CLIP)
    assert len(origin.seen) == 1
