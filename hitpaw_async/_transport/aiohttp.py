"""Questions over aiohttp, which asks for less CPU than httpcore (extra `fast`; asyncio alone).

Only what costs nothing and need not be watched goes this way. Exports stay on lanes, whose phases can be watched;
downloads stay with their threads, which cost less still. aiohttp is driven directly: through httpx's objects
(`httpx-aiohttp`) it costs what a lane does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpcore

from hitpaw_async import errors
from hitpaw_async._lacks import unloadable
from hitpaw_async._transport.connections import KEEPALIVE_EXPIRY_S, closed_error
from hitpaw_async._transport.request import Connection
from hitpaw_async._transport.response import RawResponse, decoded, require_small
from hitpaw_async._transport.senders import Sender, is_patched
from hitpaw_async._transport.tls import tls_context

try:
    import aiohttp
    from yarl import URL
except (ImportError, OSError, MemoryError) as error:
    raise unloadable(
        error, purpose="transport='aiohttp'", name="aiohttp", extra="fast", modules=("aiohttp", "yarl")
    ) from None

if TYPE_CHECKING:
    from hitpaw_async._transport.request import Request
    from hitpaw_async._transport.response import ByteStream
    from hitpaw_async._transport.senders import StackSender

__all__ = ["AiohttpSender"]


class AiohttpSender(Sender):
    """Sends questions over aiohttp, all else over lanes.

    Args:
        lanes: It is closed with this.
    """

    def __init__(self, lanes: StackSender) -> None:
        self.lanes = lanes
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    @property
    def tells_progress(self) -> bool:
        return self.lanes.tells_progress

    async def send(self, outgoing: Request) -> ByteStream:
        _require_asyncio()
        return await self.lanes.send(outgoing)

    async def ask(self, outgoing: Request) -> RawResponse:
        _require_asyncio()
        # aiohttp takes whatever connection it has kept.
        is_for_lanes = outgoing.watch is not None or outgoing.connection is Connection.FRESH
        if is_for_lanes or is_patched() or self.lanes.is_proxied(outgoing):
            return await self.lanes.ask(outgoing)
        session = self._session or await self._opened()
        try:
            return await _ask(session, outgoing)
        except (aiohttp.ClientError, OSError) as error:
            raise _named_as_on_lanes(error) from error

    async def _opened(self) -> aiohttp.ClientSession:
        tls = await tls_context()
        if self._is_closed:
            raise closed_error()
        if self._session is None:
            # How many are sent at once is the gate's business, and how long they may take the deadline's.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_EXPIRY_S, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session

    async def retire(self) -> None:
        # aiohttp closes a connection itself on which more came than was asked for.
        await self.lanes.retire()

    async def aclose(self) -> None:
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self.lanes.aclose()


async def _ask(session: aiohttp.ClientSession, outgoing: Request) -> RawResponse:
    # aiohttp adds Host and Content-Length as lanes have them.
    response = await session.post(
        URL(outgoing.url, encoded=True), data=outgoing.body, headers=outgoing.named_headers(), allow_redirects=False
    )
    try:
        received, content = bytearray(), response.content
        while not content.at_eof():
            received += await content.readany()
            require_small(received)
    finally:
        # Read to its end, it has given its connection back by now.
        response.close()
    encoding = _header(response, "content-encoding") or "identity"
    return RawResponse(
        status_code=response.status,
        body=decoded(bytes(received), encoding),
        retry_after=_header(response, "retry-after"),
    )


def _header(response: aiohttp.ClientResponse, name: str) -> str | None:
    """A header's value; those of one that comes several times are joined, as httpx has it."""
    values = response.headers.getall(name, ())
    return ", ".join(values) if values else None


def _named_as_on_lanes(error: aiohttp.ClientError | OSError) -> Exception:
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ClientSSLError():
            return httpcore.ConnectError()
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return httpcore.RemoteProtocolError()
        case _:
            return httpcore.ReadError()


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        is_asyncio = False
    else:
        is_asyncio = True
    if not is_asyncio:
        raise errors.ConfigurationError(
            "transport='aiohttp' runs on asyncio alone. On trio leave it out: the default is made for both."
        )
