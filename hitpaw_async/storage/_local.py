"""Local files and folders, looked at without holding up the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from hitpaw_async.errors import StorageError
from hitpaw_async.storage import _files
from hitpaw_async.storage._protocols import LocalVideo
from hitpaw_async.storage._threads import in_thread

__all__ = ["local_video", "local_videos"]


async def local_video(path: str | os.PathLike[str]) -> LocalVideo:
    """A file as it is now, with what its content is: a few reads, whatever its size.

    Raises:
        StorageError: It is no file, is empty, can't be read, or is being changed.
    """
    return await in_thread(partial(_files.read_video, path))


async def local_videos(
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
