"""A local file on its way to the vendor: whole and verified or nothing at all, on both event loops, in two clouds."""

from __future__ import annotations

import datetime
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import httpx
import pytest

from hitpaw_async._urls.sources import parse_bucket
from hitpaw_async.errors import StorageError
from hitpaw_async.storage import Bucket, LocalVideo, Staged, StagedObject, Staging, local_video
from hitpaw_async.storage._objects import ObjectWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.storage.servers import ObjectServer

pytestmark = pytest.mark.anyio

CONTENT = random.Random(3).randbytes(20_000_000)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "höliday 1.MP4"
    path.write_bytes(CONTENT)
    return path


class Announcements:
    """What a journal would have written down, and what the store held at that moment."""

    def __init__(self, names: Callable[[], list[str]] | None = None) -> None:
        self.made: list[StagedObject] = []
        self.names_then: list[list[str]] = []
        self._names = names

    async def __call__(self, made: StagedObject) -> None:
        if self._names is not None:
            self.names_then.append(await anyio.to_thread.run_sync(self._names))
        self.made.append(made)


async def fetched(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers=headers)


async def test_a_file_is_fetched_by_its_link_and_gone_when_it_is_removed(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    staging = bucket()
    staged = await staging.link(await local_video(clip))
    whole, part = await fetched(staged.url), await fetched(staged.url, Range="bytes=1000-1009")
    assert whole.content == CONTENT
    assert whole.headers["content-type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, CONTENT[1000:1010])
    assert staged.object_key is not None
    assert staged.object_key.startswith(staging.url)
    assert staged.expires_at is not None
    left = staged.expires_at - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=23) < left <= datetime.timedelta(hours=24)
    await staging.remove(staged.object_key)
    await staging.remove(staged.object_key)
    assert server.names(prefix) == []


async def test_the_key_is_announced_before_the_first_byte_and_when_it_is_verified(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    announced = Announcements(lambda: server.names(prefix))
    video = attrs.evolve(await local_video(clip), announce=announced)
    staged = await bucket().link(video)
    begun, whole = announced.made
    assert not begun.is_whole
    assert whole.is_whole
    assert begun.object_key == whole.object_key == staged.object_key
    assert whole.etag == staged.etag
    assert whole.digest == video.digest
    assert announced.names_then[0] == []
    assert len(announced.names_then[1]) == 1


async def test_nothing_is_sent_where_the_announcement_fails(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    async def refuse(made: StagedObject) -> None:
        raise OSError("the journal's disk is full")

    with pytest.raises(OSError, match="disk is full"):
        await bucket().link(attrs.evolve(await local_video(clip), announce=refuse))
    assert server.names(prefix) == []


async def test_what_was_made_is_used_again_and_signed_anew(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    announced = Announcements()
    video = attrs.evolve(await local_video(clip), announce=announced)
    first = await bucket().link(video)
    restored = StagedObject.from_json(announced.made[-1].to_json())
    again = await bucket().link(attrs.evolve(video, earlier=restored))
    assert again.object_key == first.object_key
    assert len(announced.made) == 2
    assert len(server.names(prefix)) == 1
    assert (await fetched(again.url, Range="bytes=0-9")).content == CONTENT[:10]


@pytest.mark.parametrize("what", ["not whole", "another content", "gone", "replaced", "elsewhere"])
async def test_what_was_made_is_not_used_again_where_it_is_not_the_same(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, prefix: str, what: str
) -> None:
    announced = Announcements()
    video = attrs.evolve(await local_video(clip), announce=announced)
    await bucket().link(video)
    earlier = announced.made[-1]
    key = earlier.object_key.partition(f"{server.url}/")[2]
    match what:
        case "not whole":
            earlier = attrs.evolve(earlier, is_whole=False)
        case "another content":
            earlier = attrs.evolve(earlier, digest="0" * 32)
        case "gone":
            await bucket().remove(earlier.object_key)
        case "replaced":
            server.put(key, CONTENT[::-1])
        case _:
            earlier = attrs.evolve(earlier, object_key=earlier.object_key.replace("://", "://other-"))
    again = await bucket().link(attrs.evolve(video, earlier=earlier))
    assert again.object_key not in (earlier.object_key, announced.made[0].object_key)
    assert (await fetched(again.url)).content == CONTENT


async def test_a_link_of_another_key_or_after_its_end_gives_nothing(
    bucket: Callable[..., Bucket], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = bucket()
    staged = await staging.link(await local_video(clip))
    name, _, signature = staged.url.rpartition("=")
    assert (await fetched(f"{name}={signature[:-4]}AAA%3D")).status_code == 403
    monkeypatch.setattr(staging, "link_s", 1.0)
    short = await staging.link(await local_video(clip))
    with anyio.fail_after(30):
        while (await fetched(short.url, Range="bytes=0-9")).status_code != 403:  # noqa: ASYNC110 (the server's clock)
            await anyio.sleep(0.2)


async def test_progress_is_told_in_bytes_and_ends_at_all_of_them(bucket: Callable[..., Bucket], clip: Path) -> None:
    told: list[tuple[int, int]] = []
    loop_thread = threading.get_ident()

    def tell(sent: int, total: int) -> None:
        assert threading.get_ident() == loop_thread
        told.append((sent, total))

    await bucket().link(attrs.evolve(await local_video(clip), on_progress=tell))
    assert [sent for sent, _ in told] == sorted({sent for sent, _ in told})
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_a_cancelled_upload_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    begun = len(s3.multiparts())
    with anyio.CancelScope() as scope:

        def cancel_late(sent: int, total: int) -> None:
            if sent > 12_000_000:
                scope.cancel()

        await s3_bucket().link(attrs.evolve(await local_video(clip), on_progress=cancel_late))
    assert scope.cancelled_caught
    assert s3.names(prefix) == []
    assert len(s3.multiparts()) == begun


async def test_a_callback_that_fails_ends_the_upload_and_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], clip: Path, prefix: str
) -> None:
    def fail(sent: int, total: int) -> None:
        if sent > 12_000_000:
            raise RuntimeError("a bug of the caller's")

    with pytest.raises(RuntimeError, match="a bug of the caller's"):
        await s3_bucket().link(attrs.evolve(await local_video(clip), on_progress=fail))
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


@pytest.mark.parametrize("change", ["longer", "shorter", "rewritten", "replaced", "removed"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_file_that_is_changed_is_refused_and_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], clip: Path, prefix: str, change: str, when: str
) -> None:
    def do() -> None:
        match change:
            case "longer":
                with clip.open("ab") as file:
                    file.write(b"more")
            case "shorter":
                os.truncate(clip, 15_000_000)
            case "rewritten":
                clip.write_bytes(CONTENT[::-1])
                os.utime(clip, ns=(video.modified_ns + 1_000_000, video.modified_ns + 1_000_000))
            case "replaced":
                clip.with_suffix(".new").write_bytes(CONTENT[::-1])
                clip.with_suffix(".new").replace(clip)
            case _:
                clip.unlink()

    def once(sent: int, total: int) -> None:
        if when == "meanwhile" and sent == 1 << 20:
            do()

    video = attrs.evolve(await local_video(clip), on_progress=once)
    if when == "before":
        await anyio.to_thread.run_sync(do)
    if when == "meanwhile" and change in ("replaced", "removed") and os.name != "nt":
        # The file that was opened is read to its end: what has its name by now is another one.
        await s3_bucket().link(video)
        assert s3.read(s3.names(prefix)[0]) == CONTENT
        return
    with pytest.raises(StorageError) as caught:
        await s3_bucket().link(video)
    assert caught.value.is_changed or caught.value.is_missing
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


async def test_an_object_that_is_there_is_linked_and_is_nobodys_to_remove(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    name = "ü a%20b.mp4" if server.url.startswith("s3:") else "a-b.mp4"
    server.put(f"{prefix}raw/{name}", CONTENT[:100])
    staged = await bucket("temp").link_object(parse_bucket(f"{server.url}/{prefix}raw/{name}"))
    assert (await fetched(staged.url)).content == CONTENT[:100]
    assert staged.object_key is None
    with pytest.raises(StorageError) as caught:
        await bucket("temp").link_object(parse_bucket(f"{server.url}/{prefix}raw/none.mp4"))
    assert caught.value.is_missing


async def test_a_name_to_which_azure_takes_no_link_is_refused_in_words(azure: ObjectServer, prefix: str) -> None:
    azure.put(f"{prefix}a b.mp4", CONTENT[:100])
    with pytest.raises(StorageError, match="Rename it"):
        await Bucket(azure.url, **azure.client).link_object(parse_bucket(f"{azure.url}/{prefix}a b.mp4"))


async def test_what_was_staged_elsewhere_is_not_removed_here(bucket: Callable[..., Bucket]) -> None:
    with pytest.raises(StorageError, match="staged elsewhere"):
        await bucket("temp").remove("s3://other/temp/a.mp4")


async def test_a_store_of_ones_own_will_do(clip: Path) -> None:
    class Shelf:
        def __init__(self) -> None:
            self.kept: dict[str, bytes] = {}

        async def link(self, source: LocalVideo) -> Staged:
            self.kept[source.digest] = await anyio.Path(source.path).read_bytes()
            return Staged(f"https://shelf.example/{source.digest}?token=s3cr3t", None, source.digest)

        async def remove(self, object_key: str) -> None:
            self.kept.pop(object_key, None)

    staging = Shelf()
    assert isinstance(staging, Staging)
    staged = await staging.link(await local_video(clip))
    assert "s3cr3t" not in repr(staged)
    assert staged.object_key is not None
    await staging.remove(staged.object_key)
    assert staging.kept == {}


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"object_key": "x"}', "[" * 100_000])
def test_a_record_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        StagedObject.from_json(text)


def test_a_record_of_a_later_version_is_read() -> None:
    made = StagedObject(object_key="s3://work/a.mp4", size_bytes=7, digest="d", etag="e", is_whole=True)
    later: Any = made.to_json().replace("{", '{"colour": "blue", ', 1)
    assert StagedObject.from_json(later) == made


async def test_an_object_that_is_not_what_was_sent_is_removed_and_never_linked(
    server: ObjectServer,
    bucket: Callable[..., Bucket],
    clip: Path,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = ObjectWriter.write

    def spoil(writer: ObjectWriter, data: bytes) -> None:
        write(writer, bytes([data[0] ^ 1]) + data[1:])

    monkeypatch.setattr(ObjectWriter, "write", spoil)
    with pytest.raises(StorageError, match="not what was sent"):
        await bucket().link(await local_video(clip))
    assert server.names(prefix) == []
