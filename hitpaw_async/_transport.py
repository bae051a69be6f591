"""The wire: one call, one send. The only module that imports httpx.

It watches how far a send got (`SendWatch`), puts a deadline around the whole call, bounds what it reads, and turns
every foreign exception into one of the library's, without the original attached: that one carries the request, and the
request carries the key.

Facts of httpx 0.28.1 that shape it: waiting in its pool costs CPU and can leak slots (httpcore #1093), so callers are
gated here and never wait there; its timeouts are per read, so a deadline stands around the call; a reused connection
may be closing just as it is used, so exports always get a fresh one; `AsyncClient` logs whole URLs, so our own requests
go straight to the transport.
"""

from __future__ import annotations

import ssl
import time
import zlib
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.to_thread
import attrs
import httpcore
import httpx

from hitpaw_async import errors
from hitpaw_async._core.protocol import Reply, parse_retry_after
from hitpaw_async._core.retry import SendProgress
from hitpaw_async._proxies import NO_PROXIES, Proxies
from hitpaw_async._redact import redact_url
from hitpaw_async._wire_log import quiet_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

__all__ = ["ByteStream", "Connection", "HTTPClient", "HTTPPool", "SendWatch"]

HTTPClient: TypeAlias = httpx.AsyncClient
"""The type of a caller's own client."""

ASGIApp: TypeAlias = "Callable[..., Awaitable[None]]"

REPLY_BYTES_MAX: Final = 1 << 20
READ_TIMEOUT_S: Final = 30.0
KEEPALIVE_EXPIRY_S: Final = 2.0
"""Well under the 5 s after which common servers close idle connections: the two ends must not race."""

_REFUSED_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

# What respx and other mocks replace. Where they did, no event tells how far a send got.
_UNPATCHED: Final = httpx.AsyncHTTPTransport.handle_async_request


class Connection(Enum):
    """Which connections a request may use."""

    FRESH = "fresh"
    """A new one: an export on a connection that the server is just closing could be lost after it was sent."""
    REUSED = "reused"


@attrs.define(eq=False)
class SendWatch:
    """Sees how far one send got, through httpcore's trace events."""

    before_first_byte: Callable[[], Awaitable[None]] | None = None
    """Awaited once: when the connection stands and before anything is written to it."""
    progress: SendProgress = SendProgress.NOT_BEGUN
    _has_events: bool = False
    _is_announced: bool = False

    async def announce(self) -> None:
        """Run `before_first_byte`, once."""
        if self.before_first_byte is not None and not self._is_announced:
            self._is_announced = True
            await self.before_first_byte()

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take one of httpcore's events. Those of a proxy's CONNECT are not ours."""
        self._has_events = True
        request = info.get("request")
        if request is None or request.method == b"CONNECT":
            return
        if event.endswith(".send_request_headers.started"):
            await self.announce()
            self.progress = max(self.progress, SendProgress.HEADERS_BEGUN)
        elif event.endswith(".send_request_body.started"):
            self.progress = SendProgress.BODY_BEGUN

    def note_failure(self, error: Exception) -> None:
        """Without events (a mock, a transport of the caller's), only a failure to connect proves that nothing left."""
        if not self._has_events and not isinstance(error, _REFUSED_BEFORE_SENDING):
            self.progress = SendProgress.BODY_BEGUN

    def note_deadline(self) -> None:
        """The deadline passed: without events, it counts as sent."""
        if not self._has_events:
            self.progress = SendProgress.BODY_BEGUN


@attrs.define(eq=False)
class _Chunks:
    """A body's raw chunks, as an iterator that can be left at any point.

    httpx reads through generators within generators. One that is dropped midway is closed late, by nobody in
    particular, and trio complains of it: so after the response is closed, they are run to their end.
    """

    _response: httpx.Response
    _url: str
    _generator: AsyncIterator[bytes] | None = None
    _is_done: bool = False

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self._generator is None:
            # A mock's response may come read already; then it is decoded as well.
            is_read = self._response.is_stream_consumed
            self._generator = self._response.aiter_bytes() if is_read else self._response.aiter_raw()
        failure, chunk = None, b""
        is_done, self._is_done = self._is_done, True
        if is_done:
            raise StopAsyncIteration
        try:
            chunk = await anext(self._generator)
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
            failure = _transport_error(self._url, error)
        if failure is not None:
            raise failure
        self._is_done = False
        return chunk

    async def run_out(self) -> None:
        """End what is left, once the response is closed."""
        if self._generator is not None and not self._is_done:
            self._is_done = True
            with anyio.CancelScope(shield=True), suppress(Exception):
                async for _ in self._generator:
                    pass


@attrs.define(eq=False)
class ByteStream:
    """A response whose body is still to be read."""

    _response: httpx.Response
    _url: str
    _chunks: _Chunks = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chunks = _Chunks(self._response, self._url)

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in any case."""
        return self._response.headers

    @property
    def encoding(self) -> str:
        """How the chunks are compressed, although identity was asked for."""
        is_read = self._response.is_stream_consumed
        return "identity" if is_read else self._response.headers.get("content-encoding", "identity")

    @property
    def location(self) -> str | None:
        """Where a redirect leads, made absolute; None where it doesn't say or can't be read."""
        try:
            return str(httpx.URL(self._url).join(self._response.headers["location"]))
        except (KeyError, httpx.InvalidURL, ValueError):
            return None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it was sent, undecoded. It raises `TransportError` where the body breaks off."""
        return self._chunks

    async def aclose(self) -> None:
        """Close the response, whatever is going on. Its connection is not kept if anything was left unread."""
        with anyio.CancelScope(shield=True):
            await self._response.aclose()
            await self._chunks.run_out()


def _transport_error(url: str, error: Exception) -> errors.HitPawError:
    if isinstance(error, errors.HitPawError):
        return error
    if isinstance(error, AssertionError):
        raise error
    host = redact_url(url).split("?")[0]
    return errors.TransportError(f"{_explain(error)} ({host}). Check the network and the address.")


def _explain(error: Exception) -> str:
    """What failed, without a word of the foreign text: it may hold whole URLs."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (httpx.ConnectTimeout, "No connection in time"),
        (httpx.ConnectError, "No connection"),
        (httpx.PoolTimeout, "No free connection in time"),
        (httpx.TimeoutException, "Nothing came for too long"),
        (httpx.ReadError, "The connection broke off while reading"),
        (httpx.WriteError, "The connection broke off while writing"),
        (httpx.RemoteProtocolError, "The server broke off or broke HTTP's rules"),
        (httpx.DecodingError, "The reply's content encoding is broken"),
        (httpx.ProxyError, "The proxy refused"),
    )
    for kind, text in kinds:
        if isinstance(error, kind):
            cause = _tls_reason(error)
            return f"{text}{cause}"
    return f"The call failed with {type(error).__name__}"


def _tls_reason(error: BaseException) -> str:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        if isinstance(seen, ssl.SSLCertVerificationError):
            return ": the server's certificate is not trusted"
        if isinstance(seen, ssl.SSLError):
            return ": TLS failed"
        seen = seen.__cause__ or seen.__context__
    return ""


class HTTPPool:
    """Connections, gated so that nobody ever waits inside httpx.

    They are its own, unless it wraps a caller's client or an ASGI application.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        http_client: HTTPClient | None = None,
        app: ASGIApp | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._max_connections = max_connections
        self._gate = anyio.Semaphore(max_connections)
        self._caller_client = http_client
        self._app_transport = None if app is None else httpx.ASGITransport(app)
        self._proxies = proxies
        self._transports: dict[tuple[bool, Connection, str | None], httpx.AsyncHTTPTransport] = {}
        self._tls_context: ssl.SSLContext | None = None
        self._tls_lock = anyio.Lock()
        self._is_closed = False

    @property
    def can_pin_addresses(self) -> bool:
        """Whether a connection can go to a vetted address: proxies and callers' clients resolve names themselves."""
        return self._caller_client is None and not self._proxies

    async def aclose(self) -> None:
        """Close what this pool owns. A caller's client is never closed."""
        self._is_closed = True
        transports = list(self._transports.values())
        self._transports.clear()
        for transport in transports:
            await transport.aclose()

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        connection: Connection = Connection.REUSED,
        watch: SendWatch | None = None,
        secrets: tuple[str, ...] = (),
        admission: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Send one POST and read its whole reply.

        Args:
            url: Absolute URL.
            body: JSON, encoded.
            headers: Sent as they are, over the standard ones.
            timeout_s: The deadline of the whole call, from the moment a connection may be used.
            connection: Whether a used connection will do.
            watch: Sees how far the send got.
            secrets: What `Reply.excerpt` must not show.
            admission: Awaited when a connection may be used, before the deadline begins: whoever waited for one may
                have to wait for something else by now.

        Raises:
            TransportError: No reply; `watch.progress` tells how far the send got.
            ProtocolError: The reply is larger than 1 MiB.
        """
        watch = watch or SendWatch()
        failure: errors.HitPawError | None = None
        async with self._gate:
            if admission is not None:
                await admission()
            with anyio.move_on_after(timeout_s) as scope:
                try:
                    return await self._post(url, body, headers, timeout_s, connection, watch, secrets)
                except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
                    watch.note_failure(error)
                    failure = _transport_error(url, error)
        if failure is None:
            assert scope.cancelled_caught
            watch.note_deadline()
            failure = errors.TransportError(
                f"No answer within {timeout_s:g} s ({redact_url(url)}). Check the network, or allow more time."
            )
        # Raised outside the handler: the original would hang on as __context__, and its request holds the key.
        raise failure

    async def _post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        connection: Connection,
        watch: SendWatch,
        secrets: tuple[str, ...],
    ) -> Reply:
        request = _request("POST", url, {"content-type": "application/json", **headers}, timeout_s, body, watch)
        if not self._is_watched():
            await watch.announce()
        stream = ByteStream(await self._send(request, connection), url)
        encoding = stream.encoding
        try:
            received = bytearray()
            async for chunk in stream.chunks():
                received += chunk
                if len(received) > REPLY_BYTES_MAX:
                    raise _too_large()
        finally:
            await stream.aclose()
        return Reply(
            status_code=stream.status_code,
            body=_decoded(bytes(received), encoding),
            retry_after_s=parse_retry_after(stream.headers.get("retry-after"), now=time.time()),
            secrets=secrets,
        )

    @asynccontextmanager
    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        address: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> AsyncIterator[ByteStream]:
        """Open one GET for streaming: no key, no cookies, no redirects, identity encoding.

        Args:
            url: Absolute URL.
            headers: E.g. Range.
            address: The IP address to connect to, in place of resolving the URL's host again: what was vetted is what
                is used. The host stays the one that TLS verifies and the Host header names.
            read_timeout_s: The longest silence that is borne, also while connecting.

        Raises:
            TransportError: No response.
        """
        failure: errors.HitPawError | None = None
        async with self._gate:
            stream = None
            try:
                request = _request("GET", url, headers or {}, read_timeout_s, None, None)
                if address is not None:
                    _pin(request, address)
                # A pinned connection is pooled by its address: the next host there would be served without its own
                # certificate being looked at.
                connection = Connection.REUSED if address is None else Connection.FRESH
                stream = ByteStream(await self._send(request, connection), url)
            except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
                failure = _transport_error(url, error)
            if stream is not None:
                try:
                    yield stream
                finally:
                    await stream.aclose()
        if failure is not None:
            raise failure

    def _is_watched(self) -> bool:
        """Whether events will tell when a send begins: only on transports of our own that nobody has replaced."""
        is_ours = self._caller_client is None and self._app_transport is None
        pool_method = httpx.AsyncHTTPTransport.handle_async_request
        return is_ours and pool_method is _UNPATCHED and not _is_pool_patched()

    async def _send(self, request: httpx.Request, connection: Connection) -> httpx.Response:
        if self._is_closed:
            raise errors.ConfigurationError("The client is closed. Open a new one with `async with AsyncHitPaw()`.")
        with quiet_wire():
            if self._caller_client is not None:
                # What the caller's client proves itself with is for the vendor, not for the host of a result.
                auth = None if request.method == "GET" else httpx.USE_CLIENT_DEFAULT
                return await self._caller_client.send(request, stream=True, auth=auth, follow_redirects=False)
            if self._app_transport is not None:
                return await self._app_transport.handle_async_request(request)
            transport = await self._transport(
                is_secure=request.url.scheme == "https",
                connection=connection,
                proxy=self._proxies.for_url(str(request.url)),
            )
            return await transport.handle_async_request(request)

    async def _transport(
        self, *, is_secure: bool, connection: Connection, proxy: str | None = None
    ) -> httpx.AsyncHTTPTransport:
        kind = (is_secure, connection, proxy)
        if kind not in self._transports:
            context = await self._tls() if is_secure or proxy else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            is_fresh = connection is Connection.FRESH
            limits = httpx.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=0 if is_fresh else self._max_connections,
                keepalive_expiry=KEEPALIVE_EXPIRY_S,
            )
            through = _proxy(proxy, context)
            transport = httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False, proxy=through)
            pool = transport._pool  # noqa: SLF001 (httpx has no argument for it)
            pool._network_backend = _TidyBackend(pool._network_backend)  # noqa: SLF001
            self._transports.setdefault(kind, transport)
        return self._transports[kind]

    async def _tls(self) -> ssl.SSLContext:
        """The TLS context: built once, in a thread, because reading the authorities takes 28 to 74 ms."""
        async with self._tls_lock:
            if self._tls_context is None:
                self._tls_context = await anyio.to_thread.run_sync(_new_tls_context)
            return self._tls_context


def _proxy(url: str | None, context: ssl.SSLContext) -> httpx.Proxy | None:
    if url is None:
        return None
    is_secure = url.lower().startswith("https:")
    return httpx.Proxy(url, ssl_context=context if is_secure else None)


def _pin(request: httpx.Request, address: str) -> None:
    """Send `request` to `address`. The Host header was set from the URL when the request was built."""
    request.extensions = {**request.extensions, "sni_hostname": request.url.host}
    request.url = request.url.copy_with(host=address)


def _too_large() -> errors.ProtocolError:
    return errors.ProtocolError(f"The reply is larger than {REPLY_BYTES_MAX >> 20} MiB.")


def _decoded(body: bytes, encoding: str) -> bytes:
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


class _TidyStream(httpcore.AsyncNetworkStream):
    """A connection that is closed where its TLS handshake is cancelled; httpcore closes it only where it fails."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _TidyBackend(httpcore.AsyncNetworkBackend):
    """Makes connections that are closed where their TLS handshake is cancelled."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _TidyStream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Body(httpx.AsyncByteStream):
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


def _new_tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _is_pool_patched() -> bool:
    return httpcore.AsyncConnectionPool.handle_async_request.__module__ != "httpcore._async.connection_pool"


def _request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    timeout_s: float,
    body: bytes | None,
    watch: SendWatch | None,
) -> httpx.Request:
    extensions: dict[str, Any] = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)}
    if watch is not None:
        extensions["trace"] = watch.trace
    standard = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "hitpaw-async"}
    request = httpx.Request(method, url, headers={**standard, **headers}, content=body, extensions=extensions)
    if body is not None:
        request.stream = _Body(body)
    return request
