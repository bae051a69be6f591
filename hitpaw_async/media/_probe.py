"""The entries: facts about a URL or a path, from a coroutine or from plain code, and a picture out of it."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

import anyio
import anyio.from_thread
import attrs

from hitpaw_async._fetch.vetting import AddressVetting
from hitpaw_async._lacks import loaded
from hitpaw_async._redact import excerpt, redact_url, sealed
from hitpaw_async._tasks import in_cancellable_thread
from hitpaw_async._transport import HTTPClient, HTTPPool
from hitpaw_async._urls.addresses import Endpoint, is_web_url, origins_of, trusted_names
from hitpaw_async.errors import HitPawError, MediaError, TransportError
from hitpaw_async.media._apart import ProcessLimits, Question, facts_apart
from hitpaw_async.media._pictures import Picture, read_picture
from hitpaw_async.media._pyav import load_av
from hitpaw_async.media._ranges import RangeReader
from hitpaw_async.media._reading import read_facts
from hitpaw_async.media._sources import LocalSource, RefusedError
from hitpaw_async.models import VideoFacts

if TYPE_CHECKING:
    from hitpaw_async.media._sources import ByteSource

__all__ = ["probe", "probe_file", "take_picture"]

T = TypeVar("T")

READ_TIMEOUT_MAX_S: Final = 30.0
_LOADED_LATE: Final = ("av", "hitpaw_async._transport")
_URL_START: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@sealed
async def probe(
    source: str | os.PathLike[str],
    *,
    pool: HTTPPool | None = None,
    http_client: HTTPClient | None = None,
    timeout_s: float = 30,
    trusted_hosts: Iterable[str] = (),
    process: ProcessLimits | None = None,
    trusted_origins: Iterable[str] = (),
) -> VideoFacts:
    """Read the facts of a video from its headers and its first pictures.

    A URL is read by ranges, 64 MiB at most. Cancelling ends it at once and leaves no thread at work and no socket open.
    It may be anybody's: it leads to public addresses only, at each redirect as well. A path is never anybody's: read
    only those that you chose.

    Args:
        source: An http or https URL, or a path.
        pool: The connections for a URL; by default one of its own.
        http_client: Your own `httpx.AsyncClient` for a URL, where no pool is given. It is used and never closed.
        timeout_s: How long it may take altogether, in seconds.
        trusted_hosts: Hosts ("host" for all ports, or "host:port") whose private addresses are allowed, for local
            development.
        process: Read it in a process of its own with these limits, for services that probe anybody's files. It costs
            some 0.3 s and 60 MB; what goes wrong in FFmpeg then ends that process alone.
        trusted_origins: URLs whose very scheme, host and port are allowed to be private, such as a vendor's address.

    Returns:
        The facts that could be read; the rest is None.

    Raises:
        MediaError: The source is no video that can be used: absent, empty, truncated, encrypted or of another kind.
        TransportError: The network or the server failed, or the URL leads into a private network: nothing is known
            about the source.
        MissingExtraError: The extra `media` is not installed.
        ConfigurationError: PyAV is of a version that is not known, or cannot be loaded.
    """
    trusted = _Trusted.of(trusted_hosts, trusted_origins)
    return await _read(source, read_facts, pool, http_client, trusted, timeout_s, process)


@sealed
async def take_picture(
    source: str | os.PathLike[str],
    *,
    at_s: float,
    side_max: int = 960,
    pool: HTTPPool | None = None,
    timeout_s: float = 30,
    trusted_hosts: Iterable[str] = (),
) -> Picture:
    """Take the picture of a video at a moment, or its last one, turned and shaped as a player shows it.

    Args:
        source: An http or https URL, which is read by ranges, or a path.
        at_s: The moment, in seconds from the beginning.
        side_max: The longest that a side of the picture may be, in pixels; a larger one is scaled down.
        pool: The connections for a URL; by default one of its own.
        timeout_s: How long it may take altogether, in seconds.
        trusted_hosts: Hosts whose private addresses are allowed.

    Raises:
        MediaError: The source is no video that can be used: absent, empty, truncated, encrypted or of another kind.
        TransportError: The network or the server failed, or the URL leads into a private network.
        MissingExtraError: The extra `media` is not installed.
        ConfigurationError: PyAV is of a version that is not known, or cannot be loaded.
    """
    read = partial(read_picture, at_s=at_s, side_max=side_max)
    return await _read(source, read, pool, None, _Trusted.of(trusted_hosts, ()), timeout_s)


@attrs.frozen
class _Trusted:
    """Whose private addresses are allowed."""

    hosts: frozenset[str]
    origins: frozenset[Endpoint]

    @classmethod
    def of(cls, hosts: Iterable[str], origins: Iterable[str]) -> _Trusted:
        return cls(trusted_names(hosts, setting="trusted_hosts"), origins_of(origins))


async def _read(
    source: str | os.PathLike[str],
    read: Callable[[ByteSource], T],
    pool: HTTPPool | None,
    http_client: HTTPClient | None,
    trusted: _Trusted,
    timeout_s: float,
    process: ProcessLimits | None = None,
) -> T:
    text = os.fspath(source)
    failure: HitPawError | None = None
    with anyio.move_on_after(timeout_s):
        try:
            if not all(map(sys.modules.get, _LOADED_LATE)):
                await in_cancellable_thread(_load)
            if isinstance(source, str) and _URL_START.match(source):
                read_timeout_s = min(timeout_s, READ_TIMEOUT_MAX_S)
                async with _url_reader(source, pool, http_client, trusted, read_timeout_s) as reader:
                    if process is not None:
                        return cast("T", await _facts_apart(reader, process))
                    return await in_cancellable_thread(partial(read, _ThreadSource(reader)))
            if process is not None:
                return cast("T", await facts_apart(Question(path=text), process, _read_nothing))
            return await in_cancellable_thread(partial(_read_local, text, read, anyio.from_thread.check_cancelled))
        except RefusedError as refusal:
            failure = _media_error(text, refusal)
    raise failure or TransportError(
        f"{_shown(text)} was not read in {timeout_s:g} s. Check the network or the disk, or allow more."
    )


def probe_file(path: str | os.PathLike[str]) -> VideoFacts:
    """Read the facts of a local video: `probe` for code that has no event loop.

    Args:
        path: The video file.

    Returns:
        The facts that could be read; the rest is None.

    Raises:
        MediaError: The file is no video that can be used: absent, empty, truncated, encrypted or of another kind.
        MissingExtraError: The extra `media` is not installed.
        ConfigurationError: PyAV is of a version that is not known, or cannot be loaded.
    """
    text = os.fspath(path)
    try:
        return _read_local(text, read_facts, lambda: None)
    except RefusedError as refusal:
        failure = _media_error(text, refusal)
    raise failure


def _load() -> None:
    """Import what takes long, in a thread: an import reads files."""
    load_av()
    loaded("hitpaw_async._transport")


def _media_error(source: str, refusal: RefusedError) -> MediaError:
    return MediaError(f"{_shown(source)} cannot be used as a video. {refusal}")


def _shown(source: str) -> str:
    return redact_url(source) if _URL_START.match(source) else excerpt(source)


def _read_local(path: str, read: Callable[[ByteSource], T], check: Callable[[], object]) -> T:
    load_av()
    with LocalSource(path, check) as source:
        return read(source)


@asynccontextmanager
async def _url_reader(
    url: str,
    pool: HTTPPool | None,
    http_client: HTTPClient | None,
    trusted: _Trusted,
    read_timeout_s: float,
) -> AsyncIterator[RangeReader]:
    if not is_web_url(url):
        raise RefusedError("Only http and https URLs and paths can be read. Give one of these.")
    async with AsyncExitStack() as stack:
        if pool is None:
            from hitpaw_async._transport import HTTPPool  # noqa: PLC0415 (brings httpx)

            pool = HTTPPool(max_connections=1, http_client=http_client)
            stack.push_async_callback(_close, pool)
        vetting = AddressVetting(
            trusted_hosts=trusted.hosts,
            trusted_origins=trusted.origins,
            pin_addresses=pool.can_pin_addresses,
            resolve_timeout_s=read_timeout_s,
            requires_https=False,
        )
        yield await stack.enter_async_context(RangeReader(pool, vetting, url, read_timeout_s))


async def _facts_apart(reader: RangeReader, process: ProcessLimits) -> VideoFacts:
    question = Question(
        size_bytes=reader.size_bytes, sample_bytes_max=reader.sample_bytes_max, visits_max=reader.visits_max
    )
    return await facts_apart(question, process, reader.read_at)


async def _read_nothing(position: int, count: int) -> bytes:
    """Stand for a reader where the process reads its file itself."""
    raise AssertionError(position, count)


async def _close(pool: HTTPPool) -> None:
    with anyio.CancelScope(shield=True):
        await pool.aclose()


class _StoppedError(Exception):
    """The probe was cancelled. Never seen outside: the task that waits for the thread is cancelled as well."""


@attrs.frozen(eq=False)
class _ThreadSource:
    """A reader of the event loop's, for a worker thread of that loop."""

    _reader: RangeReader

    @property
    def size_bytes(self) -> int | None:
        return self._reader.size_bytes

    @property
    def sample_bytes_max(self) -> int:
        return self._reader.sample_bytes_max

    @property
    def visits_max(self) -> int:
        return self._reader.visits_max

    def read_at(self, position: int, count: int) -> bytes:
        return anyio.from_thread.run(self._read_at, position, count)

    async def _read_at(self, position: int, count: int) -> bytes:
        # On asyncio, anyio does not deliver a cancellation that came before this coroutine started; its checkpoints
        # would loop forever.
        if anyio.current_effective_deadline() == -math.inf:
            raise _StoppedError
        return await self._reader.read_at(position, count)
