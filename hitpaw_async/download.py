"""Results of paid jobs, brought to disk safely: the whole file or none, from public addresses, no secret sent along.

A download survives what the network does: it goes on where it stopped (Range and If-Range, only on a strong ETag),
starts anew where the file has changed, and asks for a fresh URL where the old one has expired. Across processes it
always starts anew. What is received lies in a part of its own beside the target until it is complete and durable.
"""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hitpaw_async import errors
from hitpaw_async._framing import UnusableReplyError, read_promise
from hitpaw_async._names import safe_name
from hitpaw_async._partfile import PartFile, in_thread, prepare_target, remove_abandoned
from hitpaw_async._source import ResultSource
from hitpaw_async._transfer import Transfer
from hitpaw_async._vetting import AddressVetting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async._transport import HTTPPool
    from hitpaw_async.policies import DownloadPolicy

__all__ = ["Downloader", "target_of", "target_path"]

_FOLDERS_REMEMBERED_MAX: Final = 1024

_RANDOM: Final = random.Random()  # noqa: S311 (jitter, not a secret)


def target_path(target: str | os.PathLike[str], *, suggested_name: str) -> Path:
    """Where a result goes. Looks at the disk: call it in a worker thread.

    Args:
        target: A file name, taken as it is; or a folder: one that exists, or a name that ends with a separator.
        suggested_name: The file's name in a folder, e.g. the last part of its URL. It is made safe.

    Raises:
        DownloadError: The target is no path.
    """
    try:
        text = os.fsdecode(target)
    except (TypeError, ValueError):
        text = ""
    if not text or "\0" in text:
        raise errors.DownloadError(f"{target!r} is no path. Name a file, or a folder with a final separator.")
    ends_open = text.endswith(("/", os.sep))
    is_folder = ends_open or os.path.isdir(text)  # noqa: PTH112 (Path.is_dir raises, e.g. for a name that is too long)
    return Path(text, safe_name(suggested_name)) if is_folder else Path(text)


async def target_of(url: str, target: str | os.PathLike[str]) -> Path:
    """Where the result at `url` goes; in a folder, by the last part of the URL's path.

    Raises:
        DownloadError: The target is no path.
    """
    suggested_name = PurePosixPath(urlsplit(url).path).name or "result.mp4"
    return await in_thread(partial(target_path, target, suggested_name=suggested_name))


class Downloader:
    """Fetches results to disk. One a client; downloads may run side by side.

    Args:
        pool: Where connections come from.
        policy: The bounds.
        pin_addresses: Whether a connection goes to the very address that was vetted. False where the pool's client may
            use a proxy, which resolves names itself: then names are vetted as far as they can be resolved here.
        random_source: Where jitter comes from.
    """

    def __init__(
        self,
        pool: HTTPPool,
        policy: DownloadPolicy,
        *,
        pin_addresses: bool = True,
        random_source: random.Random | None = None,
    ) -> None:
        self._policy = policy
        self._random = random_source or _RANDOM
        self._source = ResultSource(
            pool=pool,
            vetting=AddressVetting(
                trusted_hosts=policy.trusted_hosts,
                pin_addresses=pin_addresses,
                resolve_timeout_s=policy.read_timeout_s,
            ),
            read_timeout_s=policy.read_timeout_s,
            redirects_max=policy.redirects_max,
        )
        self._tidied: set[Path] = set()

    async def download(
        self,
        url: str,
        target: Path,
        *,
        overwrite: bool = False,
        refresh: Callable[[], Awaitable[str]] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Path:
        """Bring a result to `target`, complete or not at all.

        Args:
            url: Where the result is.
            target: The file to write. Missing folders are made.
            overwrite: Whether an existing file is replaced. A symbolic link is replaced itself, not what it leads to.
            refresh: Asks for a fresh URL of the same result, for when `url` has expired. What it raises is passed on.
            on_progress: Called with the bytes on disk and the bytes in all (None: not known). The former go back to 0
                where the result has to be fetched anew.

        Returns:
            `target`.

        Raises:
            DownloadError: It can't be had, or not be written; `is_gone` tells whether it no longer exists.
        """
        part = PartFile(await in_thread(self._prepare, target, overwrite))
        transfer = Transfer(
            part=part,
            source=self._source,
            policy=self._policy,
            random_source=self._random,
            url=url,
            refresh=refresh,
            on_progress=on_progress,
        )
        try:
            await in_thread(part.open)
            await transfer.run()
            await in_thread(lambda: part.publish(overwrite=overwrite))
        finally:
            await _discard(part)
        return target

    async def is_whole(self, url: str, path: Path) -> bool:
        """Whether `path` is a file as long as the result at `url`. False where either can't be told.

        Raises:
            DownloadError: No download may go to `url`.
        """
        try:
            async with self._source.open(url, {}, turn=0) as stream:
                promise = read_promise(
                    stream.status_code, stream.headers, start=0, etag=None, total=None, now=time.time()
                )
        except (errors.TransportError, UnusableReplyError):
            return False
        return promise.total is not None and promise.total == await in_thread(_size_bytes, path)

    def _prepare(self, target: Path, overwrite: bool) -> Path:  # noqa: FBT001 (called through a thread)
        absolute = prepare_target(target, overwrite=overwrite)
        # Once a folder is enough: only processes that died abandon parts. And 100,000 results may go to one folder.
        if absolute.parent not in self._tidied:
            if len(self._tidied) >= _FOLDERS_REMEMBERED_MAX:
                self._tidied.clear()
            self._tidied.add(absolute.parent)
            remove_abandoned(absolute.parent)
        return absolute


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


async def _discard(part: PartFile) -> None:
    try:
        await in_thread(part.discard)
    except BaseException:
        # asyncio's own cancellation breaks through shields: the interrupted thread may not even have begun.
        await in_thread(part.discard)
        raise
