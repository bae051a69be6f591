"""Results of paid jobs, brought to disk safely: the whole file or none, from public addresses, no secret sent along.

A download survives what the network does: it goes on where it stopped (Range and If-Range, only on a strong validator),
starts anew where the file has changed, and asks for a fresh URL where the old one has expired. Across processes it
always starts anew. Received bytes stay in a part file beside the target until it is complete and durable, and
until its first bytes have been looked at: a host may answer with a text in place of a video.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from hitpaw_async import errors
from hitpaw_async._fetch.redirects import ResultSource
from hitpaw_async._fetch.response import UnusableReplyError, expected_body
from hitpaw_async._fetch.vetting import AddressVetting
from hitpaw_async._redact import excerpt
from hitpaw_async._tasks import to_its_end
from hitpaw_async._transport import HTTPPool
from hitpaw_async._urls.addresses import Endpoint
from hitpaw_async.download.file_names import disposed_name, encodable_name, is_elsewhere, name_in_url, safe_name
from hitpaw_async.download.part_file import Part, PartFile, prepare_target, remove_abandoned
from hitpaw_async.download.transfer import Transfer
from hitpaw_async.policies import DownloadPolicy

__all__ = ["Downloader", "target_of", "target_path"]

_FOLDERS_REMEMBERED_MAX: Final = 1024

_RANDOM: Final = random.Random()  # noqa: S311 (jitter, not a secret)


def target_path(target: str | os.PathLike[str], *, suggested_name: str) -> Path:
    """Resolve the path of a result. Reads the disk: call it in a worker thread.

    Args:
        target: A file name, taken as it is; or a folder: one that exists, or a name that ends with a separator.
        suggested_name: The file's name in a folder, e.g. the last part of its URL. It is made safe.

    Raises:
        DownloadError: The target is no path, or not of this machine.
    """
    try:
        text = os.fsdecode(target)
    except (TypeError, ValueError):
        text = ""
    if not text or "\0" in text:
        raise errors.DownloadError(f"{target!r} is not a path. Name a file, or a folder with a final separator.")
    if is_elsewhere(text):
        raise errors.DownloadError(f"A result goes to a file of this machine, not to {excerpt(text)}: copy it there.")
    ends_open = text.endswith(("/", os.sep))
    is_folder = ends_open or os.path.isdir(text)  # noqa: PTH112 (Path.is_dir raises, e.g. for a name that is too long)
    return Path(text, _own_name(suggested_name)) if is_folder else Path(text)


def _own_name(suggested: str) -> str:
    """A name for a file of this machine."""
    return encodable_name(safe_name(suggested), sys.getfilesystemencoding())


async def target_of(url: str, target: str | os.PathLike[str]) -> tuple[Path, bool]:
    """Resolve the path of the result at `url`, and tell if its name is only suggested by the URL's last part.

    Raises:
        DownloadError: The target is no path, or not of this machine.
    """
    path = await to_its_end(partial(target_path, target, suggested_name=name_in_url(url) or "result.mp4"))
    return path, path != Path(os.fsdecode(target))


class Downloader:
    """Fetches results to disk. One a client; downloads may run side by side.

    Args:
        pool: Source of connections.
        policy: The bounds.
        pin_addresses: True if a connection goes to the very address that was vetted. False where the pool's client may
            use a proxy, which resolves names itself: then names are vetted as far as they can be resolved here.
        trusted_origins: Trusted beside the policy's hosts, by scheme, host and port.
        random_source: Source of jitter.
    """

    def __init__(
        self,
        pool: HTTPPool,
        policy: DownloadPolicy,
        *,
        pin_addresses: bool = True,
        trusted_origins: frozenset[Endpoint] = frozenset(),
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
                trusted_origins=trusted_origins,
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
        adopts: bool = False,
        is_named_by_host: bool = False,
        refused_wait_s: float | None = None,
        refresh: Callable[[], Awaitable[str]] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Path:
        """Bring a result to `target`, complete or not at all.

        Args:
            url: URL of the result.
            target: The file to write. Missing folders are made.
            overwrite: True to replace an existing file. A symbolic link is replaced itself, not what it leads to.
            adopts: True to take an existing file for the result, if it has exactly the same content.
            is_named_by_host: True if a name from the host (Content-Disposition) replaces that of `target`.
            refused_wait_s: How long it is looked again for what the host refuses; None as the policy says.
            refresh: Asks for a fresh URL of the same result, for when `url` has expired. Its exceptions are passed on.
            on_progress: Called with the bytes on disk and the bytes in all (None: not known). The former go back to 0
                where the result has to be fetched anew.

        Returns:
            `target`, or the file of the host's name beside it.

        Raises:
            DownloadError: It can't be had, or not be written; `is_gone` tells whether it no longer exists.
        """
        replaces = overwrite or is_named_by_host or (adopts and await self._may_adopt(url, target))
        part = PartFile(await to_its_end(self._prepare, target, replaces))

        async def take_name(headers: Mapping[str, str]) -> None:
            name = disposed_name(headers.get("content-disposition"))
            path = part.target if name is None else part.target.with_name(_own_name(name))
            part.target = await to_its_end(self._prepare, path, overwrite)

        def publish() -> None:
            if not (adopts and part.has_content_of(part.target)):
                part.publish(overwrite=overwrite)

        await self.fill(
            part,
            url,
            publish=publish,
            refused_wait_s=refused_wait_s,
            refresh=refresh,
            on_progress=on_progress,
            on_headers=take_name if is_named_by_host else None,
        )
        return target.with_name(part.target.name)

    async def fill(
        self,
        part: Part,
        url: str,
        *,
        publish: Callable[[], None],
        refused_wait_s: float | None = None,
        refresh: Callable[[], Awaitable[str]] | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
        on_headers: Callable[[Mapping[str, str]], Awaitable[None]] | None = None,
    ) -> None:
        """Bring a result into a part, wherever that is: published, or nothing of it left.

        Args:
            part: Not opened yet. It is discarded in the end.
            url: URL of the result.
            publish: Publishes the part, in a worker thread, once it is whole.
            refused_wait_s: As for `download`, and so are the others.
            refresh: Asks for a fresh URL of the same result.
            on_progress: Called with the bytes there and the bytes in all.
            on_headers: Awaited with the headers of each reply that is going to be read.

        Raises:
            DownloadError: It can't be had.
            HitPawError: The part's exception if it can't be stored.
        """
        transfer = Transfer(
            part=part,
            source=self._source,
            policy=self._policy,
            random_source=self._random,
            url=url,
            refresh=refresh,
            on_progress=on_progress,
            on_headers=on_headers,
            refused_wait_s=self._policy.refused_wait_s if refused_wait_s is None else refused_wait_s,
        )
        try:
            await to_its_end(part.open)
            await transfer.run()
            await to_its_end(publish)
        finally:
            await _discard(part)

    async def _may_adopt(self, url: str, target: Path) -> bool:
        """Tell if it is worth fetching a result to compare it with the existing file."""
        return await to_its_end(target.is_file) and await self.is_whole(url, target)

    async def is_whole(self, url: str, path: Path) -> bool:
        """Tell if `path` is a file as long as the result at `url`. False if either is unknown.

        Raises:
            DownloadError: No download may go to `url`.
        """
        try:
            async with self._source.open(url, {}, turn=0) as stream:
                promise = expected_body(
                    stream.status_code, stream.headers, start=0, validator=None, total=None, now=time.time()
                )
        except (errors.TransportError, UnusableReplyError):
            return False
        return promise.total is not None and promise.total == await to_its_end(_size_bytes, path)

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


async def _discard(part: Part) -> None:
    try:
        await to_its_end(part.discard)
    except BaseException:
        # asyncio's own cancellation breaks through shields: the interrupted thread may not even have begun.
        await to_its_end(part.discard)
        raise
