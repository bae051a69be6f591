"""Local files and folders, looked at without holding up the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio

from hitpaw_async.errors import StorageError
from hitpaw_async.storage import _files
from hitpaw_async.storage._protocols import LocalVideo
from hitpaw_async.storage._threads import in_thread

_THREADS_AT_ONCE: Final = 2

__all__ = ["find_videos", "local_video", "local_videos"]


async def local_video(path: str | os.PathLike[str]) -> LocalVideo:
    """A file as it is now, with what its content is: a few reads, whatever its size.

    Raises:
        StorageError: It is no file, is empty, can't be read, or is being changed.
    """
    return await in_thread(partial(_files.read_video, path))


async def local_videos(paths: Sequence[str | os.PathLike[str]]) -> list[LocalVideo | StorageError]:
    """Files as they are now, or what is wrong with each: many at once take less time than one by one."""

    def read(path: str | os.PathLike[str]) -> LocalVideo | StorageError:
        try:
            return _files.read_video(path)
        except StorageError as error:
            return error

    def read_some(first: int) -> None:
        for number in range(first, len(paths), _THREADS_AT_ONCE):
            found[number] = read(paths[number])

    found: dict[int, LocalVideo | StorageError] = {}
    async with anyio.create_task_group() as tasks:
        for first in range(min(len(paths), _THREADS_AT_ONCE)):
            tasks.start_soon(in_thread, partial(read_some, first))
    return [found[number] for number in range(len(paths))]


async def find_videos(
    folder: str | os.PathLike[str],
    chosen: _files.Chosen | None = None,
    *,
    on_problem: Callable[[StorageError], None] | None = None,
) -> list[_files.FoundFile]:
    """The videos in a folder and the folders in it: each folder's own first, all by name.

    Hidden files and folders are left alone. Links are followed, and no folder is visited twice.

    Args:
        folder: Where to begin.
        chosen: Which names are taken; by default those with a video's ending.
        on_problem: Told, in a worker thread, of folders in it that can't be read; without it, that is raised.

    Raises:
        StorageError: The folder can't be read.
    """
    return await in_thread(lambda: list(_files.walk(folder, chosen, on_problem=on_problem)))
