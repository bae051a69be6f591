"""One request, ready to go: what all ways of sending are given."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import attrs
import httpcore
import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from hitpaw_async._transport.send_progress import SendWatch

__all__ = ["Connection", "Request", "StreamedFile", "Target"]

_STANDARD_HEADERS: Final = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "hitpaw-async"}
_PORTS: Final = {"http": 80, "https": 443}


class Connection(Enum):
    """Which connections a request may use."""

    FRESH = "fresh"
    """A new one: an export on a connection that the server is just closing could be lost after it was sent."""
    REUSED = "reused"


@attrs.frozen
class Target:
    """A URL, taken apart once."""

    url: httpcore.URL
    host: str
    """As it is resolved and verified: in ASCII."""
    host_header: bytes
    port: int
    is_secure: bool

    @classmethod
    def of(cls, url: str) -> Target:
        """The target of an absolute URL.

        Raises:
            httpx.InvalidURL: It can't be read.
            httpx.UnsupportedProtocol: It is neither http nor https, or names no host.
        """
        parsed = httpx.URL(url)
        if parsed.scheme not in _PORTS or not parsed.raw_host:
            raise httpx.UnsupportedProtocol("neither http nor https, or without a host")
        port = parsed.port or _PORTS[parsed.scheme]
        return cls(
            url=httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path),
            host=parsed.raw_host.decode("ascii"),
            host_header=parsed.netloc,
            port=port,
            is_secure=parsed.scheme == "https",
        )

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Peer of a kept connection."""
        return (self.is_secure, self.host, self.port)


# The vendor's two endpoints, again and again. Not for downloads: their URLs are signed, and secrets are not hoarded.
_target_of_call: Final = lru_cache(maxsize=16)(Target.of)


@attrs.frozen(eq=False)
class StreamedFile:
    """A body too large to be held. It is sent once: a request that was refused is not sent again by itself."""

    size_bytes: int
    next_block: Callable[[], Awaitable[bytes]] = attrs.field(repr=False)
    """Its next bytes; none at its end."""


@attrs.frozen(kw_only=True, eq=False)
class Request:
    """One request."""

    method: str
    url: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    file: StreamedFile | None = None
    """A body that is read while it is sent."""
    silence_max_s: float
    """The longest wait for a connection, a read or a write. A POST has a deadline around it as well."""
    connection: Connection = Connection.REUSED
    addresses: tuple[str, ...] = ()
    """The IP addresses to connect to, the best first, in place of resolving the host. The host stays what TLS
    verifies."""
    watch: SendWatch | None = None
    is_bulk: bool = False
    """True if the body is large and goes to disk: a worker thread may read it."""

    @property
    def address(self) -> str | None:
        """The best address to connect to; None where the host is resolved."""
        return self.addresses[0] if self.addresses else None

    def target(self) -> Target:
        """Return its target.

        Raises:
            httpx.InvalidURL: The URL can't be read.
            httpx.UnsupportedProtocol: It is neither http nor https, or names no host.
        """
        return Target.of(self.url) if self.body is None else _target_of_call(self.url)

    def named_headers(self) -> dict[str, str]:
        """All headers but those that follow from the URL and the body, by their names in lower case."""
        return {**_STANDARD_HEADERS, **{name.lower(): value for name, value in self.headers.items()}}

    def raw_headers(self, target: Target) -> list[tuple[bytes, bytes]]:
        """All headers as they stand on the wire."""
        lines = [(b"host", target.host_header)]
        lines += [(name.encode("ascii"), value.encode("ascii")) for name, value in self.named_headers().items()]
        if self.file is not None:
            lines.append((b"content-length", b"%d" % self.file.size_bytes))
        elif self.body is not None:
            lines.append((b"content-length", b"%d" % len(self.body)))
        return lines

    def content(self) -> httpx.AsyncByteStream | None:
        """Return the bytes sent after the head."""
        if self.file is not None:
            return _FileBody(self.file)
        return None if self.body is None else Body(self.body)

    def httpx_request(self) -> httpx.Request:
        """The same for transports and clients of httpx."""
        limits: dict[str, float | None] = dict.fromkeys(("connect", "read", "write", "pool"), self.silence_max_s)
        if self.body is not None:
            # The deadline around a POST knows when this process could not have read; these would not.
            limits |= {"read": None, "write": None}
        extensions: dict[str, Any] = {"timeout": limits}
        if self.watch is not None:
            extensions["trace"] = self.watch.trace
        headers = {**_STANDARD_HEADERS, **self.headers}
        if self.file is not None:
            headers["content-length"] = str(self.file.size_bytes)
        request = httpx.Request(self.method, self.url, headers=headers, content=self.body, extensions=extensions)
        content = self.content()
        if content is not None:
            request.stream = content
        if self.address is not None:
            # The Host header was set from the URL when the request was built.
            request.extensions = {**request.extensions, "sni_hostname": request.url.host}
            request.url = request.url.copy_with(host=self.address)
        return request


class Body(httpx.AsyncByteStream):
    """A request's body, read by no generator: where a write fails, nothing is left half done.

    Each reading begins anew: a caller's client may authenticate by sending a request that was refused once more.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces([self._body])


@attrs.define(eq=False)
class _Pieces:
    """An iterator over what is left of a body."""

    _left: list[bytes]

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _FileBody(httpx.AsyncByteStream):
    """A file's blocks, read by no generator either."""

    def __init__(self, file: StreamedFile) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Blocks(self._file)


@attrs.define(eq=False)
class _Blocks:
    """An iterator over the blocks of a file."""

    _file: StreamedFile

    def __aiter__(self) -> _Blocks:
        return self

    async def __anext__(self) -> bytes:
        block = await self._file.next_block()
        if not block:
            raise StopAsyncIteration
        return block
