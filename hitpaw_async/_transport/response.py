"""Responses whose bodies are still to be read, from whatever transport, and small bodies read whole."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import anyio
import attrs
import httpx

from hitpaw_async import errors
from hitpaw_async._transport.exceptions import transport_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["REPLY_BYTES_MAX", "ByteStream", "RawResponse", "decoded", "read_whole", "require_small"]

REPLY_BYTES_MAX: Final = 1 << 20


@attrs.frozen(kw_only=True, eq=False)
class RawResponse:
    """A response, read whole and decoded."""

    status_code: int
    body: bytes
    retry_after: str | None
    """The header, as it came."""


@attrs.define(eq=False)
class _Chunks:
    """A body's raw chunks, as an iterator that can be left at any point.

    httpx and httpcore read through generators within generators. One that is dropped midway is closed late, by nobody
    in particular, and trio complains of it: so after the response is closed, they are run to their end.
    """

    _source: AsyncIterable[bytes]
    _url: str
    _generator: AsyncIterator[bytes] | None = None
    _is_done: bool = False

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self._generator is None:
            self._generator = aiter(self._source)
        failure, chunk = None, b""
        is_done, self._is_done = self._is_done, True
        if is_done:
            raise StopAsyncIteration
        try:
            chunk = await anext(self._generator)
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
            failure = transport_error(self._url, error)
        if failure is not None:
            raise failure
        self._is_done = False
        return chunk

    async def run_out(self) -> None:
        """End what is left, once the response is closed."""
        if self._generator is not None and not self._is_done:
            self._is_done = True
            with suppress(Exception):
                async for _ in self._generator:
                    pass


class ByteStream:
    """A response whose body is still to be read.

    Args:
        url: The request's URL.
        status_code: The HTTP status.
        headers: As they came.
        source: The body's chunks.
        close: Gives the connection back, or closes it if anything was left unread.
        encoding: How the chunks are compressed, although identity was asked for; None reads it from the headers.
    """

    def __init__(
        self,
        url: str,
        status_code: int,
        headers: httpx.Headers,
        source: AsyncIterable[bytes],
        close: Callable[[], Awaitable[None]],
        *,
        encoding: str | None = None,
    ) -> None:
        self.status_code = status_code
        self.headers: Mapping[str, str] = headers
        self.encoding = headers.get("content-encoding", "identity") if encoding is None else encoding
        self._url = url
        self._close = close
        self._chunks = _Chunks(source, url)

    @classmethod
    def of_httpx(cls, response: httpx.Response, url: str) -> Self:
        """A response of one of httpx's clients or transports."""
        # A mock's response may come read already; then it is decoded as well.
        is_read = response.is_stream_consumed
        return cls(
            url,
            response.status_code,
            response.headers,
            response.aiter_bytes() if is_read else _Raw(response),
            response.aclose,
            encoding="identity" if is_read else None,
        )

    @property
    def location(self) -> str | None:
        """Target of a redirect, made absolute; None if it is missing or can't be read."""
        try:
            return str(httpx.URL(self._url).join(self.headers["location"]))
        except (KeyError, httpx.InvalidURL, ValueError):
            return None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it was sent, undecoded. It raises `TransportError` where the body breaks off."""
        return self._chunks

    async def aclose(self) -> None:
        """Close the response, whatever is going on. Its connection is not kept if anything was left unread."""
        with anyio.CancelScope(shield=True):
            await self._close()
            await self._chunks.run_out()


@attrs.frozen(eq=False)
class _Raw:
    """The undecoded chunks of a response of httpx. The generator is made when it is read, and not before."""

    _response: httpx.Response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_raw()


async def read_whole(stream: ByteStream) -> RawResponse:
    """A response with a small body, read and closed.

    Raises:
        TransportError: It breaks off.
        ProtocolError: It is larger than 1 MiB, or compressed in a way that can't be undone.
    """
    received = bytearray()
    try:
        async for chunk in stream.chunks():
            received += chunk
            require_small(received)
    finally:
        await stream.aclose()
    return RawResponse(
        status_code=stream.status_code,
        body=decoded(bytes(received), stream.encoding),
        retry_after=stream.headers.get("retry-after"),
    )


def require_small(received: bytearray) -> None:
    """Refuse what has become too large for a reply.

    Raises:
        ProtocolError: It is larger than 1 MiB.
    """
    if len(received) > REPLY_BYTES_MAX:
        raise _too_large()


def _too_large() -> errors.ProtocolError:
    return errors.ProtocolError(f"The reply is larger than {REPLY_BYTES_MAX >> 20} MiB.")


def decoded(body: bytes, encoding: str) -> bytes:
    """A body that was compressed although identity was asked for, bounded and whole.

    Raises:
        ProtocolError: It is compressed otherwise than by gzip or deflate, is not whole, or is too large.
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity") or not body:
        return body
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise errors.ProtocolError("The reply is compressed in a way that was not asked for.")
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = decompressor.decompress(body, REPLY_BYTES_MAX + 1)
    except zlib.error:
        plain = b""
    if len(plain) > REPLY_BYTES_MAX:
        raise _too_large()
    if not decompressor.eof:
        raise errors.ProtocolError("The reply's content encoding is broken.")
    return plain
