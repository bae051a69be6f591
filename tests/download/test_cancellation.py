"""Whenever a download is cancelled: no file under its name that is not whole, no part, no open file."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async import _tasks as _loops
from hitpaw_async.download import downloader as download
from hitpaw_async.download import transfer as _transfer
from hitpaw_async.download.part_file import PartFile
from tests.download.downloads import fetch, names, only, open_files
from tests.support.http_server import VIDEO, Origin, Seen, file, head

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Serve = Callable[..., Origin]

pytestmark = pytest.mark.anyio


def assert_whole_or_absent(folder: Path) -> None:
    if names(folder):
        only(folder, "clip.mp4", VIDEO)


def stops_in_the_middle(origin: Callable[[], Origin]) -> Callable[[socket.socket, Seen], None]:
    def act(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head("200 OK", content_length=len(VIDEO), etag='"v1"') + VIDEO[:1_500_000])
        origin().released.wait(10)

    return act


async def test_a_download_cancelled_in_the_middle_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    origin: Origin = serve(stops_in_the_middle(lambda: origin))
    with anyio.CancelScope() as scope:
        await fetch(origin.url, tmp_path / "clip.mp4", on_progress=lambda *_: scope.cancel())
    assert scope.cancelled_caught
    assert names(tmp_path) == []
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("moment", range(1, 9))
async def test_a_download_cancelled_at_any_step_is_whole_or_absent(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    origin = serve(file(VIDEO))
    steps: list[object] = []
    really = download.to_its_end

    async def counted(work: Callable[..., Any], *arguments: object) -> Any:
        steps.append(work)
        if len(steps) == moment:
            scope.cancel()
        return await really(work, *arguments)

    for module in (download, _transfer):
        monkeypatch.setattr(module, "to_its_end", counted)
    with anyio.CancelScope() as scope:
        await fetch(origin.url, tmp_path / "clip.mp4")
    assert_whole_or_absent(tmp_path)
    assert open_files(tmp_path) == []
    assert scope.cancel_called is (len(steps) >= moment)


async def test_what_a_callback_raises_is_passed_on_and_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the caller's own")

    origin: Origin = serve(stops_in_the_middle(lambda: origin))
    with pytest.raises(RuntimeError, match="the caller's own"):
        await fetch(origin.url, tmp_path / "clip.mp4", on_progress=fails)
    assert names(tmp_path) == []
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("method", ["open", "write", "publish", "discard"])
async def test_a_task_cancelled_by_asyncio_while_a_thread_works_is_whole_or_absent(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """`asyncio.timeout` and Ctrl-C break through anyio's shields: the thread works on behind the task's back."""
    origin = serve(file(VIDEO))
    entered, go_on = threading.Event(), threading.Event()
    really = getattr(PartFile, method)

    def held(self: PartFile, *arguments: Any, **options: Any) -> Any:
        entered.set()
        go_on.wait(10)
        return really(self, *arguments, **options)

    monkeypatch.setattr(PartFile, method, held)
    task = asyncio.ensure_future(fetch(origin.url, tmp_path / "clip.mp4"))
    await anyio.to_thread.run_sync(entered.wait, 10)
    monkeypatch.setattr(PartFile, method, really)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_whole_or_absent(tmp_path)
    assert open_files(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a descriptor is")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_file_is_not_closed_while_a_thread_that_was_left_behind_writes_to_it(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would go to the next file that is opened, and the bytes with it."""
    entered, discarded, go_on = threading.Event(), threading.Event(), threading.Event()
    really_write, really_discard = os.write, PartFile.discard
    was_open: list[bool] = []

    def write(descriptor: int, data: memoryview) -> int:
        entered.set()
        go_on.wait(10)
        was_open.append(str(tmp_path) in str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        return really_write(descriptor, data)

    def discard(part: PartFile) -> None:
        really_discard(part)
        discarded.set()

    task = asyncio.ensure_future(fetch(serve(file(VIDEO)).url, tmp_path / "clip.mp4"))
    monkeypatch.setattr("hitpaw_async.download.part_file.os.write", write)
    monkeypatch.setattr(PartFile, "discard", discard)
    await anyio.to_thread.run_sync(entered.wait, 10)
    task.cancel()
    assert not await anyio.to_thread.run_sync(discarded.wait, 0.2)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert was_open
    assert all(was_open)
    assert names(tmp_path) == []
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_part_is_discarded_even_where_that_is_interrupted_before_it_begins(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "clip.mp4")
    await anyio.to_thread.run_sync(part.open)
    threads = _loops._THREADS.get()
    busy = [object() for _ in range(int(threads.available_tokens))]
    for borrower in busy:
        threads.acquire_on_behalf_of_nowait(borrower)
    task = asyncio.ensure_future(download._discard(part))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    await asyncio.sleep(0)
    for borrower in busy:
        threads.release_on_behalf_of(borrower)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []
    assert open_files(tmp_path) == []
