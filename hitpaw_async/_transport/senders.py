"""Ways to send one request: over the library's own lanes, a caller's client, or any transport of httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

import anyio
import httpcore
import httpx

from hitpaw_async import errors
from hitpaw_async._transport import bulk
from hitpaw_async._transport.connections import KEEPALIVE_EXPIRY_S, ConnectionStack
from hitpaw_async._transport.network import Wire, WireBackend
from hitpaw_async._transport.request import Connection
from hitpaw_async._transport.response import ByteStream, RawResponse, read_whole
from hitpaw_async._transport.tls import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable

    from hitpaw_async._transport.connections import KeptConnection
    from hitpaw_async._transport.proxies import Proxies
    from hitpaw_async._transport.request import Request

__all__ = ["ClientSender", "HTTPClient", "Sender", "StackSender", "is_patched"]

HTTPClient: TypeAlias = httpx.AsyncClient
"""The type of a caller's own client."""

# What respx and other mocks replace. Where they did, requests go through the replacement, and no event tells how far a
# send got.
_UNPATCHED: Final = (
    httpx.AsyncHTTPTransport.handle_async_request,
    httpcore.AsyncConnectionPool.handle_async_request,
    httpcore.AsyncHTTPConnection.handle_async_request,
)


def is_patched() -> bool:
    """Tell if somebody replaced the functions that httpx and httpcore send with."""
    return (
        httpx.AsyncHTTPTransport.handle_async_request,
        httpcore.AsyncConnectionPool.handle_async_request,
        httpcore.AsyncHTTPConnection.handle_async_request,
    ) != _UNPATCHED


class Sender(Protocol):
    """A way to send."""

    @property
    def tells_progress(self) -> bool:
        """True if events will tell when a send begins."""
        ...

    @property
    def is_callers(self) -> bool:
        """True if code of the caller's sends, or answers."""
        return False

    async def send(self, outgoing: Request) -> ByteStream:
        """Send a request; its response, unread. Raises whatever exceptions the transport has."""
        ...

    async def ask(self, outgoing: Request) -> RawResponse:
        """Send a request; its response, read whole. Raises whatever exceptions the transport has.

        Raises:
            ProtocolError: The response is larger than 1 MiB, or compressed in a way that can't be undone.
        """
        return await read_whole(await self.send(outgoing))

    async def retire(self) -> None:
        """Use no connection again that is open now, as far as they are its own."""
        ...

    async def aclose(self) -> None:
        """Close what is its own."""
        ...


class StackSender(Sender):
    """Sends over connections of its own: on lanes, or through httpx's transport where there is a proxy or a mock.

    Args:
        connections_max: The most that are open at once.
        proxies: Which URLs are reached through a proxy.
    """

    def __init__(self, connections_max: int, proxies: Proxies) -> None:
        self.lanes = ConnectionStack(connections_max)
        self._connections_max = connections_max
        self._proxies = proxies
        self._threads: anyio.CapacityLimiter | None = None
        self._others: dict[tuple[Connection, str | None], httpx.AsyncHTTPTransport] = {}

    @property
    def tells_progress(self) -> bool:
        return not is_patched()

    def is_proxied(self, outgoing: Request) -> bool:
        """Tell if a proxy is on the way."""
        return self._proxies.for_url(outgoing.url) is not None

    async def send(self, outgoing: Request) -> ByteStream:
        proxy = self._proxies.for_url(outgoing.url)
        if proxy is not None or is_patched():
            return await self._send_otherwise(outgoing, proxy)
        if outgoing.is_bulk and bulk.is_possible():
            self._threads = self._threads or anyio.CapacityLimiter(self._connections_max)
            return await bulk.fetch(outgoing, self._threads)
        target = outgoing.target()
        if outgoing.watch is not None:
            outgoing.watch.expect_events()
        lane = await self.lanes.take(outgoing, target)
        try:
            response = await lane.http.handle_async_request(_httpcore_request(outgoing, lane))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.lanes.give_back(lane)
            raise

        async def close() -> None:
            try:
                await response.aclose()
            finally:
                await self.lanes.give_back(lane)

        headers, source = httpx.Headers(response.headers), cast("AsyncIterable[bytes]", response.stream)
        return ByteStream(outgoing.url, response.status, headers, source, close)

    async def _send_otherwise(self, outgoing: Request, proxy: str | None) -> ByteStream:
        request = outgoing.httpx_request()
        kind = (outgoing.connection, proxy)
        if kind not in self._others:
            context = await tls_context()
            self._others.setdefault(kind, self._transport(outgoing.connection, proxy, context))
        return ByteStream.of_httpx(await self._others[kind].handle_async_request(request), outgoing.url)

    def _transport(self, connection: Connection, proxy: str | None, tls: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(
            max_connections=self._connections_max,
            max_keepalive_connections=0 if connection is Connection.FRESH else self._connections_max,
            keepalive_expiry=KEEPALIVE_EXPIRY_S,
        )
        through = None
        if proxy is not None:
            through = httpx.Proxy(proxy, ssl_context=tls if proxy.lower().startswith("https:") else None)
        transport = httpx.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False, proxy=through)
        transport._pool._network_backend = WireBackend()  # noqa: SLF001 (httpx has no argument for it)
        return transport

    async def retire(self) -> None:
        await self.lanes.retire()

    async def aclose(self) -> None:
        await self.lanes.aclose()
        for transport in self._others.values():
            await transport.aclose()


def _httpcore_request(outgoing: Request, lane: KeptConnection) -> httpcore.Request:
    target = outgoing.target()
    extensions: dict[str, Any] = {}
    if outgoing.body is None:
        extensions["timeout"] = dict.fromkeys(("read", "write"), outgoing.silence_max_s)
    if outgoing.watch is not None:
        extensions["trace"] = outgoing.watch.trace
    if isinstance(lane.stream, Wire):
        lane.stream.is_joining = outgoing.watch is None
    return httpcore.Request(
        outgoing.method,
        target.url,
        headers=outgoing.raw_headers(target),
        content=outgoing.content(),
        extensions=extensions,
    )


class ClientSender(Sender):
    """Sends through a caller's own client, which is never closed. It may be anything, so nobody knows what it tells."""

    def __init__(self, client: HTTPClient) -> None:
        self._client = client

    @property
    def tells_progress(self) -> bool:
        return False

    @property
    def is_callers(self) -> bool:
        return True

    async def send(self, outgoing: Request) -> ByteStream:
        if self._client.is_closed:
            raise errors.ConfigurationError("The http_client is closed. Keep it open for as long as it is used.")
        # What the caller's client proves itself with is for the vendor, not for the host of a result.
        auth = None if outgoing.body is None else httpx.USE_CLIENT_DEFAULT
        request = outgoing.httpx_request()
        response = await self._client.send(request, stream=True, auth=auth, follow_redirects=False)
        return ByteStream.of_httpx(response, outgoing.url)

    async def retire(self) -> None:
        """Nothing: they are the caller's."""

    async def aclose(self) -> None:
        """Nothing: it is the caller's."""
