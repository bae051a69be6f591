"""Results into a bucket, by the `Transfer` that fills files: whole under their names or not there, replacing none."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async._transport import HTTPPool
from hitpaw_async.download import Downloader
from hitpaw_async.errors import DownloadError, StorageError
from hitpaw_async.storage import Bucket, Output
from tests.download.downloads import policy
from tests.storage.servers import READER_ID, READER_SECRET
from tests.support.http_server import Origin, Seen, cut_off, file

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.storage.servers import ObjectServer

pytestmark = pytest.mark.anyio

VIDEO = random.Random(2).randbytes(21_000_001)
"""Three pieces of 8 MiB, the last one not full."""


async def fetch(url: str, output: Bucket, name: str, *, overwrite: bool = False) -> None:
    pool = HTTPPool(max_connections=4)
    try:
        with anyio.fail_after(60):
            part = output.open(name)
            await Downloader(pool, policy()).fill(part, url, publish=lambda: part.publish(overwrite=overwrite))
    finally:
        with anyio.CancelScope(shield=True):
            await pool.aclose()


async def test_a_result_is_whole_under_its_name_and_nothing_else_is_left(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    with Origin(file(VIDEO)) as origin:
        await fetch(origin.url, bucket(), "a/clip 1.mp4")
    assert server.names(prefix) == [f"{prefix}a/clip 1.mp4"]
    assert server.read(f"{prefix}a/clip 1.mp4") == VIDEO
    assert await bucket().size("a/clip 1.mp4") == len(VIDEO)
    assert await bucket().size("a/clip 2.mp4") is None
    assert await bucket().names() == {"a/clip 1.mp4"}
    assert bucket().location("a/clip 1.mp4") == f"{server.url}/{prefix}a/clip 1.mp4"


async def test_a_result_that_breaks_off_is_resumed_within_one_upload(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    def later(sent: int) -> Callable[[socket.socket, Seen], None]:
        def act(connection: socket.socket, seen: Seen) -> None:
            start = int(seen.headers["range"].removeprefix("bytes=").removesuffix("-"))
            named = f"bytes {start}-{len(VIDEO) - 1}/{len(VIDEO)}"
            lines = f'HTTP/1.1 206 Partial Content\r\ncontent-length: {len(VIDEO) - start}\r\netag: "v1"\r\n'
            connection.sendall(f"{lines}content-range: {named}\r\n\r\n".encode() + VIDEO[start : start + sent])

        return act

    with Origin(cut_off(VIDEO, 9_000_000), later(3_000_000), later(5_000_000), file(VIDEO)) as origin:
        await fetch(origin.url, s3_bucket(), "clip.mp4")
        assert len(origin.seen) == 4
    assert s3.read(f"{prefix}clip.mp4") == VIDEO
    assert s3.names(prefix) == [f"{prefix}clip.mp4"]
    assert s3.multiparts() == []


async def test_a_result_that_has_changed_midway_is_begun_anew(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    other = VIDEO[::-1]
    with Origin(cut_off(VIDEO, 9_000_000), file(other, etag='"v2"')) as origin:
        await fetch(origin.url, s3_bucket(), "clip.mp4")
    assert s3.read(f"{prefix}clip.mp4") == other
    assert s3.multiparts() == []


async def test_a_result_that_can_not_be_had_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    with Origin(cut_off(VIDEO, 9_000_000, etag=None)) as origin, pytest.raises(DownloadError):
        await fetch(origin.url, s3_bucket(), "clip.mp4")
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


async def test_a_taken_name_is_not_replaced_unless_somebody_says_so(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    server.put(f"{prefix}clip.mp4", b"somebody's")
    with Origin(file(VIDEO)) as origin:
        with pytest.raises(StorageError) as caught:
            await fetch(origin.url, bucket(), "clip.mp4")
        assert caught.value.is_taken
        assert caught.value.location == f"{server.url}/{prefix}clip.mp4"
        assert server.read(f"{prefix}clip.mp4") == b"somebody's"
        assert server.names(prefix) == [f"{prefix}clip.mp4"]
        await fetch(origin.url, bucket(overwrite=True), "clip.mp4")
        assert server.read(f"{prefix}clip.mp4") == VIDEO
        server.put(f"{prefix}clip.mp4", b"somebody's")
        await fetch(origin.url, bucket(), "clip.mp4", overwrite=True)
    assert server.read(f"{prefix}clip.mp4") == VIDEO
    assert server.names(prefix) == [f"{prefix}clip.mp4"]


async def test_a_part_whose_name_is_taken_is_published_under_another(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    server.put(f"{prefix}clip.mp4", b"somebody's")

    def work() -> None:
        part = bucket().open("clip.mp4")
        part.open()
        part.write(VIDEO[:100])
        with pytest.raises(StorageError):
            part.publish(overwrite=False)
        assert not part.has_content_of("clip.mp4")
        part.name = "clip-2.mp4"
        part.publish(overwrite=False)
        part.discard()
        part.discard()

    await anyio.to_thread.run_sync(work)
    assert server.names(prefix) == [f"{prefix}clip-2.mp4", f"{prefix}clip.mp4"]
    assert server.read(f"{prefix}clip-2.mp4") == VIDEO[:100]


async def test_a_part_knows_that_it_is_there_already(bucket: Callable[..., Bucket]) -> None:
    def work() -> None:
        for _ in range(2):
            part = bucket().open("clip.mp4")
            part.open()
            part.write(VIDEO[:300_000])
            seen.append(part.has_content_of("clip.mp4"))
            if not seen[-1]:
                part.publish(overwrite=False)
            part.discard()

    seen: list[bool] = []
    await anyio.to_thread.run_sync(work)
    assert seen == [False, True]
    assert await bucket().names() == {"clip.mp4"}


async def test_a_cancelled_download_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    arrived, release = threading.Event(), threading.Event()

    def stall(connection: socket.socket, seen: Seen) -> None:
        head = f'HTTP/1.1 200 OK\r\ncontent-length: {len(VIDEO)}\r\netag: "v1"\r\n\r\n'
        connection.sendall(head.encode() + VIDEO[:18_000_000])
        arrived.set()
        release.wait(30)

    with Origin(stall) as origin:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch, origin.url, s3_bucket(), "clip.mp4")
            await anyio.to_thread.run_sync(arrived.wait, 30)
            tasks.cancel_scope.cancel()
        release.set()
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


@pytest.mark.parametrize("size_bytes", [40, 65_536, 65_537, 8 << 20, (8 << 20) + 1, 16 << 20])
async def test_a_result_of_any_size_is_verified(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str, size_bytes: int
) -> None:
    with Origin(file(VIDEO[:size_bytes])) as origin:
        await fetch(origin.url, s3_bucket(), "clip.mp4")
    assert s3.read(f"{prefix}clip.mp4") == VIDEO[:size_bytes]


async def test_what_the_store_has_otherwise_is_not_published(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    def work() -> None:
        part = s3_bucket().open("clip.mp4")
        part.open()
        part.write(VIDEO[:100_000])
        with pytest.raises(StorageError):
            part.has_content_of("none") or part.publish(overwrite=bool(spoil(part._temporary)))
        part.discard()

    def spoil(name: str) -> None:
        s3.put(name, VIDEO[:99_999])

    await anyio.to_thread.run_sync(work)
    assert s3.names(prefix) == []


async def test_a_bucket_that_may_only_be_read_says_what_to_allow(s3: ObjectServer, prefix: str) -> None:
    client = {**s3.client, "access_key_id": READER_ID, "secret_access_key": READER_SECRET}
    with Origin(file(VIDEO)) as origin, pytest.raises(StorageError, match="Allow these credentials") as caught:
        await fetch(origin.url, Bucket(f"{s3.url}/{prefix}", **client), "clip.mp4")
    assert caught.value.is_denied
    assert s3.names(prefix) == []


async def test_videos_are_found_under_a_prefix_in_order(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    for name in ("b.mov", "a/z.mp4", "a/.hidden.mp4", ".cache/x.mp4", "notes.txt", "C.MP4", "empty.mp4"):
        server.put(f"{prefix}raw/{name}", b"" if name == "empty.mp4" else b"x")
    server.put(f"{prefix}raw-2/other.mp4", b"x")
    found = await bucket("raw").videos()
    assert [each.relative for each in found] == ["C.MP4", "a/z.mp4", "b.mov"]
    assert [each.folder for each in found] == ["", "a", ""]
    assert found[0].source.url == f"{server.url}/{prefix}raw/C.MP4"
    first = found[0].identity
    server.put(f"{prefix}raw/C.MP4", b"y")
    again = await bucket("raw").videos()
    assert again[0].identity != first
    assert again[1].identity == found[1].identity


def test_a_bucket_is_an_output() -> None:
    assert isinstance(Bucket("s3://work", skip_signature=True), Output)
