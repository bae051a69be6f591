"""The local side: names that exist, disks that are full, parts that dead processes left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async._transport import HTTPPool
from hitpaw_async.download import Downloader
from hitpaw_async.download.part_file import PartFile, prepare_target, remove_abandoned
from hitpaw_async.errors import DownloadError
from tests.download.downloads import fetch, names, only, policy
from tests.support.http_server import CLIP, VIDEO, Act, Origin, Seen, file, head, says, sends

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    Serve = Callable[..., Origin]

pytestmark = pytest.mark.anyio


async def test_an_existing_file_is_refused_before_anything_is_fetched(serve: Serve, tmp_path: Path) -> None:
    origin = serve(file(CLIP))
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="overwrite=True") as caught:
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert caught.value.is_taken
    only(tmp_path, "clip.mp4", b"mine")
    assert origin.seen == []


async def test_an_existing_file_is_replaced_on_request_and_only_by_a_whole_one(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    with pytest.raises(DownloadError):
        await fetch(serve(says("404 Not Found")).url, tmp_path / "clip.mp4", overwrite=True)
    only(tmp_path, "clip.mp4", b"mine")
    await fetch(serve(file(CLIP)).url, tmp_path / "clip.mp4", overwrite=True)
    only(tmp_path, "clip.mp4", CLIP)


async def test_a_file_that_appears_meanwhile_is_not_replaced(serve: Serve, tmp_path: Path) -> None:
    def act(connection: socket.socket, seen: Seen) -> None:
        (tmp_path / "clip.mp4").write_bytes(b"mine")
        file(CLIP)(connection, seen)

    with pytest.raises(DownloadError, match="exists already") as caught:
        await fetch(serve(act).url, tmp_path / "clip.mp4")
    assert caught.value.is_taken
    only(tmp_path, "clip.mp4", b"mine")


@pytest.mark.parametrize("overwrite", [False, True])
async def test_of_two_downloads_to_one_target_neither_publishes_garbage(
    serve: Serve, tmp_path: Path, *, overwrite: bool
) -> None:
    together = threading.Barrier(2)

    def act(content: bytes) -> Callable[[socket.socket, Seen], None]:
        def act(connection: socket.socket, seen: Seen) -> None:
            together.wait(5)
            file(content)(connection, seen)

        return act

    results: list[Path | DownloadError] = []

    async def one(url: str) -> None:
        try:
            results.append(await fetch(url, tmp_path / "clip.mp4", overwrite=overwrite))
        except DownloadError as error:
            results.append(error)

    contents = (VIDEO, VIDEO[::-1])
    async with anyio.create_task_group() as tasks:
        for content in contents:
            tasks.start_soon(one, serve(act(content)).url)
    refusals = [str(result) for result in results if isinstance(result, DownloadError)]
    assert len(refusals) == (0 if overwrite else 1)
    assert all("exists already" in refusal for refusal in refusals)
    assert names(tmp_path) == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() in contents


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room"), (errno.EFBIG, "choose another folder"), (errno.EIO, "Choose another name or folder")],
)
async def test_a_disk_that_fails_ends_the_download_at_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    really = os.write

    def write(descriptor: int, data: memoryview) -> int:
        if os.fstat(descriptor).st_size > 1_000_000:
            raise OSError(number, os.strerror(number))
        return really(descriptor, data[:300_000])

    origin = serve(file(VIDEO))
    monkeypatch.setattr("hitpaw_async.download.part_file.os.write", write)
    with pytest.raises(DownloadError, match=advice) as caught:
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert not caught.value.is_gone
    assert not caught.value.is_taken
    assert len(origin.seen) == 1
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_file_that_the_system_does_not_let_grow_ends_the_download(tmp_path: Path) -> None:
    program = f"""
import resource
from pathlib import Path
from hitpaw_async.download.part_file import PartFile
from hitpaw_async.errors import DownloadError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
part = PartFile(Path({str(tmp_path)!r}, "clip.mp4"))
part.open()
try:
    part.write(bytes(5000))
except DownloadError as error:
    print(error)
part.discard()
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert "does not allow a file as large" in shown
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("n" * 256, "Choose a shorter name"),
        ("a\0b", "characters that no file has"),
        ("a\ud800", "characters that no file has"),
        ("taken/clip.mp4", "not a folder"),
        ("taken/folder/clip.mp4", "not a folder"),
        ("folder", "is not a file"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_target_that_cannot_be_is_refused_before_anything_is_fetched(
    serve: Serve, tmp_path: Path, name: str, advice: str, *, overwrite: bool
) -> None:
    (tmp_path / "taken").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    origin = serve(file(CLIP))
    with pytest.raises(DownloadError, match=advice):
        await fetch(origin.url, tmp_path / name, overwrite=overwrite)
    assert origin.seen == []
    assert names(tmp_path) == ["folder", "taken"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has special files")
async def test_a_special_file_is_never_replaced(serve: Serve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DownloadError, match="is not a file"):
        await fetch(serve(file(CLIP)).url, tmp_path / "pipe", overwrite=True)


@pytest.mark.parametrize("name", ["n" * 255, "長" * 85])
async def test_the_longest_name_that_the_system_takes_will_do(serve: Serve, tmp_path: Path, name: str) -> None:
    await fetch(serve(file(CLIP)).url, tmp_path / name)
    only(tmp_path, name, CLIP)


async def test_a_change_of_the_working_directory_does_not_move_the_target(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    path = await fetch(
        serve(file(CLIP)).url, Path("out/clip.mp4"), on_progress=lambda *_: os.chdir(tmp_path / "elsewhere")
    )
    assert path == Path("out/clip.mp4")
    only(tmp_path / "out", "clip.mp4", CLIP)


async def test_a_result_has_the_rights_of_an_ordinary_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    await fetch(serve(file(CLIP)).url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert (tmp_path / "clip.mp4").stat().st_nlink == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames without links")
async def test_a_file_system_without_hard_links_will_do(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr("hitpaw_async.download.part_file.os.link", link)
    await fetch(serve(file(CLIP)).url, tmp_path / "clip.mp4")
    only(tmp_path, "clip.mp4", CLIP)

    def act(connection: socket.socket, seen: Seen) -> None:
        (tmp_path / "other.mp4").write_bytes(b"mine")
        file(CLIP)(connection, seen)

    with pytest.raises(DownloadError, match="exists already"):
        await fetch(serve(act).url, tmp_path / "other.mp4")
    assert (tmp_path / "other.mp4").read_bytes() == b"mine"
    assert names(tmp_path) == ["clip.mp4", "other.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a descriptor is")
async def test_file_and_folders_are_synced_before_it_counts(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, synced = os.fsync, []

    def fsync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), (tmp_path / "a/b/clip.mp4").exists()))
        really(descriptor)

    monkeypatch.setattr("hitpaw_async.download.part_file.os.fsync", fsync)
    await fetch(serve(file(CLIP)).url, tmp_path / "a" / "b" / "clip.mp4")
    part, folder = synced[-2:]
    assert {path for path, _ in synced[:-2]} == {tmp_path, tmp_path / "a"}
    assert part[0].name.endswith(".part")
    assert not part[1]
    assert folder == (tmp_path / "a" / "b", True)


def part_of(target: Path, content: bytes) -> PartFile:
    part = PartFile(prepare_target(target, overwrite=False))
    part.open()
    part.write(content)
    return part


def test_a_part_that_another_program_changed_is_not_published(tmp_path: Path) -> None:
    part = part_of(tmp_path / "clip.mp4", b"whole")
    next(tmp_path.iterdir()).write_bytes(b"who")
    with pytest.raises(DownloadError, match="Another program"):
        part.publish(overwrite=False)
    part.discard()
    part.discard()
    assert names(tmp_path) == []


def test_a_part_in_use_is_not_taken_for_abandoned(tmp_path: Path) -> None:
    part = part_of(tmp_path / "clip.mp4", b"whole")
    remove_abandoned(tmp_path)
    part.publish(overwrite=False)
    part.discard()
    only(tmp_path, "clip.mp4", b"whole")


def test_a_discarded_part_is_not_opened_again(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "clip.mp4")
    part.discard()
    part.open()
    assert names(tmp_path) == []


def test_a_part_that_is_taken_for_abandoned_at_birth_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process tidies between the creation of a part and its locking."""
    from hitpaw_async.download import part_file  # noqa: PLC0415 (patched)

    really, calls = part_file._try_lock, []

    def locks(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            remove_abandoned(tmp_path)
        really(descriptor)

    monkeypatch.setattr(part_file, "_try_lock", locks)
    part = part_of(tmp_path / "clip.mp4", b"whole")
    part.publish(overwrite=False)
    part.discard()
    only(tmp_path, "clip.mp4", b"whole")
    assert len(calls) == 3


@contextmanager
def another_process_that_downloads(target: Path) -> Iterator[None]:
    """A process in the middle of a download. It dies in the end, without a chance to clean up."""
    program = f"""
import os
from pathlib import Path
from hitpaw_async.download.part_file import PartFile
part = PartFile(Path({str(target)!r}))
part.open()
part.write(b"half")
print("written", flush=True)
input()
os._exit(9)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait(10)


async def test_the_parts_of_a_dead_process_are_removed_and_never_continued(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".notes.part").write_bytes(b"somebody else's")
    with another_process_that_downloads(tmp_path / "clip.mp4"):
        await fetch(serve(file(CLIP)).url, tmp_path / "first.mp4")
        assert [name for name in names(tmp_path) if name.startswith(".clip.mp4.")] != []
    origin = serve(file(CLIP))
    await fetch(origin.url, tmp_path / "clip.mp4")
    assert origin.ranges == [None]
    assert names(tmp_path) == [".notes.part", "clip.mp4", "first.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == CLIP


async def test_a_folder_is_looked_through_once(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of a hundred thousand results may go to one folder."""
    looked: list[Any] = []
    monkeypatch.setattr("hitpaw_async.download.downloader.remove_abandoned", looked.append)
    pool = HTTPPool(max_connections=4)
    downloader = Downloader(pool, policy())
    origin = serve(file(CLIP))
    for number in range(3):
        await downloader.download(origin.url, tmp_path / f"{number}.mp4")
    await pool.aclose()
    assert looked == [tmp_path]


@pytest.mark.parametrize(
    ("act", "content", "is_whole"),
    [
        (file(CLIP), CLIP, True),
        (file(CLIP), CLIP[:-1], False),
        (file(CLIP), None, False),
        (says("404 Not Found"), CLIP, False),
        (sends(head("200 OK", transfer_encoding="chunked") + b"0\r\n\r\n"), b"", False),
        (sends(b""), CLIP, False),
    ],
)
async def test_a_file_is_whole_only_where_it_is_as_long_as_the_result(
    serve: Serve, tmp_path: Path, act: Act, content: bytes | None, *, is_whole: bool
) -> None:
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    pool = HTTPPool(max_connections=4)
    assert await Downloader(pool, policy()).is_whole(serve(act).url, tmp_path / "clip.mp4") is is_whole
    await pool.aclose()
