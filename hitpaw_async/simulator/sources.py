"""Sources of the simulator: fetched and measured, or virtual for a test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from enum import StrEnum
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
import attrs

from hitpaw_async._core.limits import SIZE_MAX_BYTES
from hitpaw_async.errors import HitPawError, InternalError, MissingExtraError
from hitpaw_async.models import VideoFacts
from hitpaw_async.simulator.vendor import ErrorCode, RefusedError

if TYPE_CHECKING:
    from starlette.staticfiles import StaticFiles

    from hitpaw_async._transport import ByteStream, HTTPPool

__all__ = ["FILES_PATH", "FactsSource", "FetchedSources", "Source", "SourceMode", "Sources", "VirtualSources"]

FILES_PATH: Final = "/files/"
FETCH_TIMEOUT_S: Final = 120.0
FETCHES_MAX: Final = 3
HOPS_MAX: Final = 5


class SourceMode(StrEnum):
    """Origin of sources, if no facts are given for them."""

    FETCH = "fetch"
    """Each is fetched from its URL and measured."""


FactsSource: TypeAlias = Mapping[str, VideoFacts] | Callable[[str], VideoFacts | None]
"""The facts of a URL; a URL that is not in it, or None, is a URL that is not valid."""


@attrs.frozen
class Source:
    """A source as the vendor has it."""

    facts: VideoFacts
    path: Path | None = None
    """The file; None where there is none because the source is virtual."""
    is_temporary: bool = False
    """True if the file is to be removed when its job is over."""

    async def discard(self) -> None:
        """Remove the file, if it was fetched for this job alone."""
        if self.path is not None and self.is_temporary:
            await anyio.Path(self.path).unlink(missing_ok=True)


class Sources(Protocol):
    """Provider of sources."""

    async def obtain(self, video_url: str, *, origin: str) -> Source:
        """The source behind a URL; `origin` is the simulator's own as the caller knows it.

        Raises:
            RefusedError: 400 / 501016: there is no video.
        """
        ...


@attrs.frozen
class VirtualSources:
    """Sources that are facts alone: no I/O, no thread."""

    _facts: FactsSource

    async def obtain(self, video_url: str, *, origin: str) -> Source:  # noqa: ARG002 (the protocol's)
        """The source that the facts describe."""
        facts = self._facts.get(video_url) if isinstance(self._facts, Mapping) else self._facts(video_url)
        if facts is None:
            raise RefusedError.url_not_valid()
        return Source(facts)


@attrs.frozen
class FetchedSources:
    """Sources fetched over HTTP, or read from the folder that the simulator serves itself."""

    _pool: HTTPPool
    _folder: Path
    _files: StaticFiles | None
    _gate: anyio.Semaphore = attrs.field(init=False, factory=lambda: anyio.Semaphore(FETCHES_MAX))

    async def obtain(self, video_url: str, *, origin: str) -> Source:
        """Fetch a source and measure it."""
        try:
            return await self._obtain(video_url, origin)
        except OSError as error:
            message = f"The simulator could not keep the source: {error.strerror}"
            raise RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, ErrorCode.STORAGE_FAILED, message) from None

    async def _obtain(self, video_url: str, origin: str) -> Source:
        own_path = _own_path(video_url, origin)
        if own_path is not None and self._files is not None:
            path = await anyio.to_thread.run_sync(_find_file, self._files, own_path)
            return await _measured(path, is_temporary=False)
        async with self._gate:
            path = await anyio.to_thread.run_sync(_new_file, self._folder)
            is_usable = False
            try:
                await self._fetch(video_url, path)
                source = await _measured(path, is_temporary=True)
                is_usable = True
            finally:
                if not is_usable:
                    with anyio.CancelScope(shield=True):
                        await anyio.Path(path).unlink(missing_ok=True)
        return source

    async def _fetch(self, video_url: str, path: Path) -> None:
        try:
            with anyio.fail_after(FETCH_TIMEOUT_S):
                url = video_url
                for _ in range(HOPS_MAX + 1):
                    next_url = await self._fetch_hop(url, path)
                    if next_url is None:
                        return
                    url = next_url
        except HitPawError as error:
            raise RefusedError.url_not_valid(str(error)) from None
        except TimeoutError:
            raise RefusedError.url_not_valid("The source did not come in time.") from None
        except ValueError:
            raise RefusedError.url_not_valid("The source's server does not keep to HTTP.") from None
        raise RefusedError.url_not_valid("The source redirects too often.")

    async def _fetch_hop(self, url: str, path: Path) -> str | None:
        """Write the body to `path`; or return the URL that it redirects to."""
        async with self._pool.get(url) as stream:
            if 300 <= stream.status_code < 400 and _is_http(stream.location):
                return stream.location
            if stream.status_code != HTTPStatus.OK:
                raise RefusedError.url_not_valid(f"The source answered HTTP {stream.status_code}.")
            if int(stream.headers.get("content-length", "0")) > SIZE_MAX_BYTES:
                raise _too_large()
            await _write(stream, path)
        return None


async def _write(stream: ByteStream, path: Path) -> None:
    size_bytes = 0
    async with await anyio.open_file(path, "wb") as file:
        async for chunk in stream.chunks():
            size_bytes += len(chunk)
            if size_bytes > SIZE_MAX_BYTES:
                raise _too_large()
            await file.write(chunk)


def _too_large() -> RefusedError:
    return RefusedError.url_not_valid(f"The source has over {SIZE_MAX_BYTES // 10**6} MB.")


def _is_http(url: str | None) -> bool:
    return url is not None and url.startswith(("http://", "https://"))


def _own_path(video_url: str, origin: str) -> str | None:
    parts = urlsplit(video_url)
    is_own = f"{parts.scheme}://{parts.netloc}" == origin and parts.path.startswith(FILES_PATH)
    return unquote(parts.path.removeprefix(FILES_PATH)) if is_own else None


def _find_file(files: StaticFiles, path: str) -> Path:
    try:
        found, status = files.lookup_path(path)
    except (OSError, ValueError):
        found, status = "", None
    if status is None:
        raise RefusedError.url_not_valid("There is no such file in the folder that the simulator serves.")
    return Path(found)


def _new_file(folder: Path) -> Path:
    with tempfile.NamedTemporaryFile(prefix="source-", dir=folder, delete=False) as file:
        return Path(file.name)


async def _measured(path: Path, *, is_temporary: bool) -> Source:
    return Source(await anyio.to_thread.run_sync(_probe, path), path, is_temporary)


def _probe(path: Path) -> VideoFacts:
    """The facts of a file. Without PyAV they are not known: one minute at 30 frames per second is assumed."""
    from hitpaw_async.media import probe_file  # noqa: PLC0415 (for real sources alone)

    try:
        return probe_file(path)
    except MissingExtraError:
        return VideoFacts(duration_s=60.0, frame_rate=Fraction(30), size_bytes=path.stat().st_size or None)
    except InternalError:
        raise
    except HitPawError as error:
        raise RefusedError.url_not_valid(str(error)) from None
