"""Questions over aiohttp, which asks for less CPU than httpcore (extra `fast`; asyncio alone).

Only what costs nothing and need not be watched goes this way. Exports stay on lanes, whose phases can be watched;
downloads stay with their threads, which cost less still. aiohttp is driven directly: through httpx's objects
(`httpx-aiohttp`) it costs what a lane does.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpcore
import httpx

from hitpaw_async import errors
from hitpaw_async._transport.lanes import KEEPALIVE_EXPIRY_S
from hitpaw_async._transport.senders import is_patched
from hitpaw_async._transport.streams import ByteStream
from hitpaw_async._transport.tls import tls_context

try:
    import aiohttp
    from multidict import CIMultiDict
    from yarl import URL
except ImportError:
    raise errors.MissingExtraError("transport='aiohttp'", "fast") from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from hitpaw_async._transport.outgoing import Outgoing
    from hitpaw_async._transport.senders import LaneSender

__all__ = ["FastSender"]


class FastSender:
    """Sends questions over aiohttp, all else over lanes.

    Args:
        lanes: It is closed with this.
    """

    def __init__(self, lanes: LaneSender) -> None:
        self.lanes = lanes
        self._session: aiohttp.ClientSession | None = None

    @property
    def tells_progress(self) -> bool:
        return self.lanes.tells_progress

    async def send(self, outgoing: Outgoing) -> ByteStream:
        _require_asyncio()
        is_question = outgoing.body is not None and outgoing.watch is None and outgoing.address is None
        if not is_question or is_patched() or self.lanes.is_proxied(outgoing):
            return await self.lanes.send(outgoing)
        target = outgoing.target()
        session = self._session or await self._opened()
        headers = CIMultiDict(
            (name.decode("ascii"), value.decode("ascii")) for name, value in outgoing.raw_headers(target)
        )
        with _mapped():
            response = await session.post(
                URL(outgoing.url, encoded=True), data=outgoing.body, headers=headers, allow_redirects=False
            )
        source = _Body(response.content)

        async def close() -> None:
            # Read to its end, it has given its connection back by now.
            response.close()

        return ByteStream(outgoing.url, response.status, httpx.Headers(response.raw_headers), source, close)

    async def _opened(self) -> aiohttp.ClientSession:
        tls = await tls_context()
        if self._session is None:
            # How many are sent at once is the gate's business, and how long they may take the deadline's.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_EXPIRY_S, ssl=tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self.lanes.aclose()


class _Body:
    """A body's chunks, with httpcore's exceptions."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with _mapped():
            chunk = await self._content.readany()
        if not chunk:
            raise StopAsyncIteration
        return chunk


@contextmanager
def _mapped() -> Iterator[None]:
    """Give what fails the name that it has on lanes."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
        raise httpcore.ConnectError from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise httpcore.RemoteProtocolError from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpcore.ReadError from error


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
