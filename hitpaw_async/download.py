"""Results of paid jobs, brought to disk safely: the whole file or none, from public addresses, no secret sent along.

A download survives what the network does: it goes on where it stopped (Range and If-Range, only on a strong ETag),
starts anew where the file has changed, and asks for a fresh URL where the old one has expired. Across processes it
always starts anew. What is received lies in a part of its own beside the target until it is complete and durable.
"""

from __future__ import annotations

import math
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread
import attrs

from hitpaw_async import errors
from hitpaw_async._addresses import normalized_host
from hitpaw_async._framing import Promise, Remedy, UnusableReplyError, read_promise
from hitpaw_async._names import safe_name
from hitpaw_async._partfile import PartFile, prepare_target, remove_abandoned
from hitpaw_async._source import ResultSource, shown_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from hitpaw_async._transport import ByteStream, HTTPPool

__all__ = ["DownloadPolicy", "Downloader", "safe_name", "target_path"]

_WRITE_BYTES: Final = 1 << 20
_PROGRESS_BYTES_MIN: Final = 1 << 20
"""What an attempt must bring, beyond all before it, to count as progress: then attempts are counted anew."""
_REFRESHES_MAX: Final = 2
"""Fresh URLs asked for in a row, without progress between them."""
_RETRY_AFTER_MAX_S: Final = 300.0
_FOLDERS_REMEMBERED_MAX: Final = 1024

_RANDOM: Final = random.Random()  # noqa: S311 (jitter, not a secret)

T = TypeVar("T")


def _host_names(names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise errors.ConfigurationError("DownloadPolicy.trusted_hosts is a set of hosts, not one text.")
    try:
        return frozenset(map(normalized_host, names))
    except (AttributeError, TypeError, ValueError):
        raise errors.ConfigurationError(
            'DownloadPolicy.trusted_hosts takes "host" or "host:port", without a scheme or a path.'
        ) from None


def _between(low: float, high: float, *, whole: bool = False) -> Callable[[object, attrs.Attribute[Any], object], None]:
    kinds = (int,) if whole else (int, float)

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise errors.ConfigurationError(
                f"DownloadPolicy.{attribute.name} must be {kind} from {low:g} to {high:g}, not {value!r}."
            )

    return check


@attrs.frozen(kw_only=True)
class DownloadPolicy:
    """From where, how much and how patiently results are fetched.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    trusted_hosts: frozenset[str] = attrs.field(default=frozenset(), converter=_host_names)
    """Hosts ("host" for all ports, or "host:port") for which http and private addresses are allowed."""
    size_bytes_max: int = attrs.field(default=1 << 36, validator=_between(1, 1 << 50, whole=True))
    """The largest result that is fetched. By default 64 GiB: the vendor's longest video, ten minutes, at 900 Mbit/s."""
    attempts_max: int = attrs.field(default=5, validator=_between(1, 100, whole=True))
    """Attempts in a row that bring nothing new (less than 1 MiB)."""
    backoff_first_s: float = attrs.field(default=0.5, validator=_between(0, 3600))
    backoff_max_s: float = attrs.field(default=20.0, validator=_between(0, 3600))
    read_timeout_s: float = attrs.field(default=30.0, validator=_between(0.001, 3600))
    """The longest silence that is borne: resolving, connecting, reading."""
    bytes_per_s_min: int = attrs.field(default=8192, validator=_between(1, 1 << 40, whole=True))
    """A server that sends less, measured over each MiB, is left and tried again."""
    redirects_max: int = attrs.field(default=5, validator=_between(0, 5, whole=True))


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


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work to its end, also where the caller is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await anyio.to_thread.run_sync(lambda: work(*arguments))
    raise AssertionError("a shield cancels nothing")


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
            trusted_hosts=policy.trusted_hosts,
            pin_addresses=pin_addresses,
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
        part = PartFile(await _in_thread(self._prepare, target, overwrite))
        transfer = _Transfer(
            part=part,
            source=self._source,
            policy=self._policy,
            random_source=self._random,
            url=url,
            refresh=refresh,
            on_progress=on_progress,
        )
        try:
            await _in_thread(part.open)
            await transfer.run()
            await _in_thread(lambda: part.publish(overwrite=overwrite))
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
        return promise.total is not None and promise.total == await _in_thread(_size_bytes, path)

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
        await _in_thread(part.discard)
    except BaseException:
        # asyncio's own cancellation breaks through shields: the interrupted thread may not even have begun.
        await _in_thread(part.discard)
        raise


@attrs.define(kw_only=True, eq=False)
class _Transfer:
    """One download under way."""

    part: PartFile
    source: ResultSource
    policy: DownloadPolicy
    random_source: random.Random
    url: str
    refresh: Callable[[], Awaitable[str]] | None
    on_progress: Callable[[int, int | None], None] | None
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _etag: str | None = attrs.field(default=None, init=False)
    """The version that the part belongs to, where more of it can be asked for."""
    _total_bytes: int | None = attrs.field(default=None, init=False)
    _best_bytes: int = attrs.field(default=0, init=False)
    """The most that ever was in the part, counted where an attempt failed."""
    _failures: int = attrs.field(default=0, init=False)
    _refusals: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Fill the part with the whole result.

        Raises:
            DownloadError: It can't be had, or not be written.
        """
        while True:
            try:
                await self._attempt()
            except errors.TransportError as error:
                fault = UnusableReplyError(str(error).rstrip("."))
            except UnusableReplyError as error:
                fault = error
            else:
                return
            # Outside the handlers: what is raised from here on doesn't drag along what went before.
            await self._recover(fault)

    async def _attempt(self) -> None:
        start = 0 if self._etag is None else self.part.size_bytes
        headers = {"range": f"bytes={start}-", "if-range": str(self._etag)} if start else {}
        async with self.source.open(self.url, headers, turn=self._failures) as stream:
            promise = read_promise(
                stream.status_code,
                stream.headers,
                start=start,
                etag=self._etag,
                total=self._total_bytes,
                now=time.time(),
            )
            self._require_allowed(promise.total or 0)
            self._etag, self._total_bytes, self._buffer = promise.etag, promise.total, bytearray()
            if promise.start != self.part.size_bytes:
                await _in_thread(self.part.restart)
                self._report()
            await self._receive(stream, promise)
        self._require_whole(promise)

    async def _receive(self, stream: ByteStream, promise: Promise) -> None:
        scope = anyio.CancelScope(deadline=self._write_deadline())

        async def take(chunk: bytes) -> None:
            self._buffer += chunk
            received_bytes = self.part.size_bytes + len(self._buffer)
            if promise.end is not None and received_bytes > promise.end:
                raise UnusableReplyError("the server sent more than it said it would", Remedy.ANEW)
            self._require_allowed(received_bytes)
            if len(self._buffer) >= _WRITE_BYTES:
                scope.deadline = math.inf
                await self._flush()
                scope.deadline = self._write_deadline()

        try:
            await _each_chunk(stream, take, scope)
        except errors.TransportError:
            await self._flush()
            raise
        await self._flush()
        if scope.cancelled_caught:
            raise UnusableReplyError(f"the server sent less than {self.policy.bytes_per_s_min} bytes a second")

    def _write_deadline(self) -> float:
        return anyio.current_time() + _WRITE_BYTES / self.policy.bytes_per_s_min

    async def _flush(self) -> None:
        if self._buffer:
            full, self._buffer = self._buffer, bytearray()
            await _in_thread(self.part.write, full)
            self._report()

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.part.size_bytes, self._total_bytes)

    def _require_allowed(self, size_bytes: int) -> None:
        if size_bytes > self.policy.size_bytes_max:
            raise errors.DownloadError(
                f"The result at {shown_url(self.url)} is larger than the {self.policy.size_bytes_max} bytes allowed. "
                "If that is right, raise DownloadPolicy.size_bytes_max."
            )

    def _require_whole(self, promise: Promise) -> None:
        size_bytes = self.part.size_bytes
        if size_bytes == 0:
            raise UnusableReplyError("the result is empty")
        if promise.total not in (None, size_bytes):
            raise UnusableReplyError("the server sent less than it said it would")

    async def _recover(self, fault: UnusableReplyError) -> None:
        """Wait for the next attempt, or give up."""
        if self.part.size_bytes >= self._best_bytes + _PROGRESS_BYTES_MIN:
            self._best_bytes, self._failures, self._refusals = self.part.size_bytes, 0, 0
        if fault.remedy is Remedy.FRESH_URL:
            await self._renew(fault)
            return
        if fault.remedy is Remedy.ANEW:
            self._etag = None
        self._failures += 1
        retry_after_s = fault.retry_after_s or 0.0
        if self._failures >= self.policy.attempts_max or retry_after_s > _RETRY_AFTER_MAX_S:
            raise errors.DownloadError(
                f"The result at {shown_url(self.url)} could not be fetched (attempts: {self._failures}): "
                f"{fault.reason}. Download it again later: the job is done, so that costs nothing."
            )
        await anyio.sleep(retry_after_s + self._backoff_s(self._failures))

    async def _renew(self, fault: UnusableReplyError) -> None:
        """Ask for a fresh URL, or give up."""
        self._refusals += 1
        if self.refresh is None or self._refusals > _REFRESHES_MAX:
            raise self._refused(fault)
        if self._refusals > 1:
            await anyio.sleep(self._backoff_s(self._refusals))
        self.url = await self.refresh()

    def _refused(self, fault: UnusableReplyError) -> errors.DownloadError:
        is_gone = fault.status_code in (404, 410)
        what = "no longer exists" if is_gone else "was refused: its URL has expired or is not public"
        advice = (
            "Ask the task call for a fresh URL, or download the job instead of the URL."
            if self.refresh is None
            else "Fresh URLs didn't help: ask the vendor's support, the job was paid for."
        )
        return errors.DownloadError(
            f"The result at {shown_url(self.url)} {what} ({fault.reason}). {advice}", is_gone=is_gone
        )

    def _backoff_s(self, failures: int) -> float:
        """Exponential, with full jitter."""
        longest_s = min(self.policy.backoff_max_s, self.policy.backoff_first_s * 2.0 ** min(failures - 1, 60))
        return self.random_source.random() * longest_s


async def _each_chunk(stream: ByteStream, take: Callable[[bytes], Awaitable[None]], scope: anyio.CancelScope) -> None:
    """Hand each chunk of the body to `take`, within `scope`.

    Where `take` raises, the rest of the body is left by cancelling the next read. Generators that are merely dropped
    are closed late, by nobody in particular, and trio complains of them.
    """
    failure: Exception | None = None
    try:
        with scope:
            async for chunk in stream.chunks():
                if failure is None:
                    try:
                        await take(chunk)
                    except Exception as error:  # noqa: BLE001 (raised below)
                        failure = error
                        scope.cancel()
    except errors.TransportError as error:
        failure = failure or error
    if failure is not None:
        raise failure
