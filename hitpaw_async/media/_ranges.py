"""A URL's bytes by position: fetched by ranges, in blocks that are kept, and never more than a bound."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import attrs

from hitpaw_async._fetch.response import content_range
from hitpaw_async._fetch.vetting import AddressVetting, ForbiddenURLError, UnresolvedHostError
from hitpaw_async._redact import redact_url
from hitpaw_async.errors import HitPawError, MediaError, TransportError
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    from hitpaw_async._transport import ByteStream, HTTPPool

__all__ = ["RangeReader"]

BLOCK_BYTES: Final = 1 << 16
FIRST_BLOCKS: Final = 4
AHEAD_BLOCKS_MAX: Final = 8
"""Reading on in sequence asks for twice as many blocks each time, up to this. A jump asks for one."""
FETCHED_BYTES_MAX: Final = 64 << 20
REQUESTS_MAX: Final = 512
REDIRECTS_MAX: Final = 5
REMOTE_SAMPLE_BYTES_MAX: Final = 1 << 20
SMALL_SAMPLE_BYTES: Final = 1 << 19
SMALL_BYTES_MAX: Final = 4 << 20
"""A file up to this size is read whole, where that tells more; one up to four times it is sampled more sparely."""
VISITS_MAX: Final = 32
"""Fragments that are visited one after the other; each may be a request."""

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_TEMPORARY: Final = (408, 425, 429)
_CONTENT_LENGTH: Final = re.compile(r"\d{1,18}", re.ASCII)


@attrs.define(eq=False)
class RangeReader:
    """One URL, read by position. A server that ignores ranges is read on from the start, as far as it must be.

    Each request is vetted anew and goes to the address that was vetted, unless its host is a trusted one.
    """

    _pool: HTTPPool
    _vetting: AddressVetting
    _url: str = attrs.field(repr=False)
    _read_timeout_s: float
    size_bytes: int | None = None
    """The size of the whole, once entered; None where the server doesn't tell."""
    visits_max: int = VISITS_MAX
    _shown: str = attrs.field(init=False)
    _blocks: dict[int, bytes] = attrs.field(init=False, factory=dict)
    _next_block: int = attrs.field(init=False, default=0)
    _ahead_blocks: int = attrs.field(init=False, default=FIRST_BLOCKS)
    _fetched_bytes: int = attrs.field(init=False, default=0)
    _requests: int = attrs.field(init=False, default=0)
    _validator: dict[str, str] = attrs.field(init=False, factory=dict)
    _open: AsyncExitStack = attrs.field(init=False, factory=AsyncExitStack)
    _rest: AsyncIterator[bytes] | None = attrs.field(init=False, default=None)
    """The body of a server that ignores ranges."""
    _received: bytearray = attrs.field(init=False, factory=bytearray)

    @property
    def sample_bytes_max(self) -> int:
        """Bytes of video that may be read to learn facts that headers lack."""
        if self.size_bytes is None or self.size_bytes > 4 * SMALL_BYTES_MAX:
            return REMOTE_SAMPLE_BYTES_MAX
        return SMALL_BYTES_MAX if self.size_bytes <= SMALL_BYTES_MAX else SMALL_SAMPLE_BYTES

    def __attrs_post_init__(self) -> None:
        self._shown = redact_url(self._url)

    async def __aenter__(self) -> Self:
        """Make the first request, and follow redirects.

        Raises:
            MediaError: The URL cannot be had: not found, forbidden, redirected too often or to plain http.
            RefusedError: It is empty.
            TransportError: The network or the server failed, or it leads into a private network.
        """
        for _ in range(REDIRECTS_MAX + 1):
            async with AsyncExitStack() as stack:
                stream, chunks = await stack.enter_async_context(self._get(0, FIRST_BLOCKS * BLOCK_BYTES))
                if stream.status_code not in _REDIRECTS:
                    await self._begin(stream, chunks)
                    if self._rest is not None:
                        self._open = stack.pop_all()
                    return self
                self._url = self._next_hop(stream)
        raise MediaError(f"{self._shown} redirects more than {REDIRECTS_MAX} times. Give the URL that it leads to.")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end.

        Raises:
            TransportError: The network or the server failed, or more would be needed than is ever fetched.
        """
        end = position + count if self.size_bytes is None else min(position + count, self.size_bytes)
        if self._rest is not None:
            await self._read_on(end)
            return bytes(self._received[position:end])
        if position >= end:
            return b""
        first, last = position // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        for block in range(first, last + 1):
            if block not in self._blocks:
                await self._fetch(block, last - block + 1)
        joined = b"".join(self._blocks[block] for block in range(first, last + 1))
        return joined[position - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    @asynccontextmanager
    async def _get(self, position: int, count: int) -> AsyncIterator[tuple[ByteStream, AsyncIterator[bytes]]]:
        """Make one request; its answer, and the body of it."""
        if self._requests >= REQUESTS_MAX or self._fetched_bytes + count > FETCHED_BYTES_MAX:
            raise self._too_much()
        self._requests += 1
        headers = {"range": f"bytes={position}-{position + count - 1}", **self._validator}
        addresses = await self._addresses()
        chunks = None
        try:
            async with self._pool.get(
                self._url, headers=headers, addresses=addresses, read_timeout_s=self._read_timeout_s
            ) as stream:
                chunks = stream.chunks()
                yield stream, chunks
        finally:
            if chunks is not None:
                await _run_out(chunks)

    async def _addresses(self) -> list[str]:
        try:
            return await self._vetting.addresses_of(self._url)
        except UnresolvedHostError:
            failure: HitPawError = TransportError(
                f"The host of {self._shown} cannot be resolved. Check the address and the network."
            )
        except ForbiddenURLError as error:
            hop = "It" if redact_url(self._url) == self._shown else "A redirect of it"
            advice = (
                " If that host is yours, name it in trusted_hosts (`hitpaw probe --trusted-host`)."
                if error.is_trustable
                else ""
            )
            # Nothing is known of the source: where this host leads from here, it need not lead from the vendor's.
            failure = TransportError(f"{self._shown} is not read. {hop} {error.reason}. Give a public URL.{advice}")
        raise failure

    def _too_much(self) -> TransportError:
        return TransportError(
            f"The facts of {self._shown} need more than {FETCHED_BYTES_MAX >> 20} MiB or {REQUESTS_MAX} requests, which"
            " is the most that is read. Serve it by ranges and with its index at the front, or give its facts yourself."
        )

    def _next_hop(self, stream: ByteStream) -> str:
        target = stream.location
        if target is None or urlsplit(target).scheme not in ("http", "https"):
            raise MediaError(f"{self._shown} redirects to nothing that can be read. Give the URL that it leads to.")
        if urlsplit(self._url).scheme == "https" and urlsplit(target).scheme != "https":
            raise MediaError(f"{self._shown} redirects from https to http, which is refused. Give an https URL.")
        return target

    async def _begin(self, stream: ByteStream, chunks: AsyncIterator[bytes]) -> None:
        """Learn the size, and whether the server serves ranges: if not, its one answer is kept open and read on."""
        status = stream.status_code
        if status == 416 and stream.headers.get("content-range", "").strip() == "bytes */0":
            raise RefusedError("It is empty (0 bytes). Upload it again.")
        if status in _TEMPORARY or status >= 500 or status == 416:
            raise TransportError(f"{self._shown} answered HTTP {status}. Try again later.")
        if status not in (200, 206):
            raise MediaError(
                f"{self._shown} answered HTTP {status}. Check that it is public, has not expired and is a video.",
                status_code=status,
            )
        self._require_plain(stream)
        if status == 206:
            self._take_size(stream, position=0)
            self._store(0, await self._body(chunks, min(FIRST_BLOCKS * BLOCK_BYTES, self.size_bytes or 0)))
            return
        length = _CONTENT_LENGTH.fullmatch(stream.headers.get("content-length", ""))
        self.size_bytes = int(length[0]) if length else None
        self._rest = chunks

    def _require_plain(self, stream: ByteStream) -> None:
        if stream.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise TransportError(f"{self._shown} is served compressed, though that was not asked for. Switch that off.")

    def _take_size(self, stream: ByteStream, *, position: int) -> None:
        first, _, whole = content_range(stream.headers) or (None, None, None)
        if whole is None or first != position:
            raise TransportError(f"{self._shown} answered another range than was asked for. Its server is broken.")
        if self.size_bytes not in (None, whole):
            raise self._changed()
        self.size_bytes = whole
        etag = stream.headers.get("etag", "")
        if etag.startswith('"'):
            self._validator = {"if-range": etag}

    def _changed(self) -> TransportError:
        return TransportError(f"{self._shown} changed while it was read, or is no longer served by ranges. Try again.")

    async def _fetch(self, block: int, needed: int) -> None:
        """Get a block, with those after it that are needed, or where reading goes on in sequence."""
        assert self.size_bytes is not None
        self._ahead_blocks = min(2 * self._ahead_blocks, AHEAD_BLOCKS_MAX) if block == self._next_block else 1
        blocks = 1
        while blocks < max(self._ahead_blocks, needed) and block + blocks not in self._blocks:
            blocks += 1
        position = block * BLOCK_BYTES
        count = min(blocks * BLOCK_BYTES, self.size_bytes - position)
        async with self._get(position, count) as (stream, chunks):
            if stream.status_code != 206:
                raise self._changed()
            self._require_plain(stream)
            self._take_size(stream, position=position)
            self._store(block, await self._body(chunks, count))

    async def _body(self, chunks: AsyncIterator[bytes], count: int) -> bytes:
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            self._fetched_bytes += len(chunk)
            if len(body) > count:
                break
        if len(body) != count:
            raise TransportError(f"{self._shown} sent {len(body)} bytes where {count} were due. Its server is broken.")
        return bytes(body)

    def _store(self, block: int, data: bytes) -> None:
        for offset in range(0, len(data), BLOCK_BYTES):
            self._blocks[block] = data[offset : offset + BLOCK_BYTES]
            block += 1
        self._next_block = block

    async def _read_on(self, end: int) -> None:
        assert self._rest is not None
        while len(self._received) < end:
            if end > FETCHED_BYTES_MAX:
                raise self._too_much()
            chunk = await anext(self._rest, None)
            if chunk is None:
                self.size_bytes = len(self._received)
                return
            self._received += chunk


async def _run_out(chunks: AsyncIterator[bytes]) -> None:
    """End a body whose response is closed: trio warns of generators, also of those within httpx, dropped midway."""
    with anyio.CancelScope(shield=True), suppress(TransportError):
        async for _ in chunks:
            pass
