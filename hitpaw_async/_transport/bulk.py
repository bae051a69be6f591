"""Large bodies, read by a worker thread straight into one buffer: a third of the CPU of reading them on the event loop.

On the loop each 16 KiB of a TLS body pass through half a dozen calls and as many copies, and everybody else waits
meanwhile. Here a blocking socket fills a block of a mebibyte, which is written from where it was read. Heads and
framing are h11's, as on the other way, so that both judge a server alike.

A thread cannot be cancelled. Breaking it off shuts its socket down from the event loop, which ends whatever read or
write it waits in; its end is awaited before the cancellation goes on.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import h11
import httpcore
import httpx

from hitpaw_async._tasks import in_breakable_thread
from hitpaw_async._transport import network as wire
from hitpaw_async._transport.exceptions import transport_error
from hitpaw_async._transport.response import ByteStream
from hitpaw_async._transport.tls import tls_context
from hitpaw_async._transport.tls_channel import (
    COPYING,
    READ_BYTES,
    TLSChannel,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from hitpaw_async._transport.request import Request, Target

__all__ = ["BulkConnection", "BulkStream", "fetch", "is_possible"]

BLOCK_BYTES: Final = 1 << 20
HEAD_BYTES_MAX: Final = 100 * 1024
"""As httpcore has it."""


T = TypeVar("T")


def is_possible() -> bool:
    """Tell if a socket can be moved from the event loop to a thread. On Windows it stays bound to the loop."""
    return sys.platform != "win32"


class BulkConnection:
    """The blocking half: one connection, one GET. All but `break_off` runs in worker threads, one at a time.

    Args:
        raw: The connected socket. It is closed with this.
        silence_max_s: The longest wait for a read or a write.
    """

    def __init__(self, raw: socket.socket, silence_max_s: float) -> None:
        raw.settimeout(silence_max_s)
        self._socket = raw
        self._channel: socket.socket | TLSChannel = raw
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._received = memoryview(b"")
        """Of the body, what came with the head or is taken out of its framing, and is not handed over yet."""
        self._left_bytes: int | None = None
        """Bytes still to be read of a body whose length is known: past h11, straight from the socket."""
        self._is_ended = False
        self._is_broken_off = False

    def break_off(self) -> None:
        """End whatever a thread waits for. May be called from any thread, at any time."""
        self._is_broken_off = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket. No thread may be using it."""
        self._socket.close()

    def begin(self, outgoing: Request, target: Target, tls: ssl.SSLContext | None) -> h11.Response:
        """Shake hands, send the request, read the head of the response.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: TLS failed.
            httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: There is no response.
        """
        if tls is not None:
            self._shake_hands(tls, target.host)
        request = h11.Request(method="GET", target=target.url.target, headers=outgoing.raw_headers(target))
        head = self._http.send(request) or b""
        self._http.send(h11.EndOfMessage())
        try:
            self._channel.sendall(head)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error
        event = self._next_event()
        while not isinstance(event, h11.Response):
            event = self._next_event()
        self._frame(event)
        return event

    def _shake_hands(self, tls: ssl.SSLContext, server_name: str) -> None:
        try:
            self._channel = TLSChannel(self._socket, tls, server_name)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError from error

    def _require_going_on(self) -> None:
        if self._is_broken_off:
            raise httpcore.ReadError("broken off")

    def _frame(self, response: h11.Response) -> None:
        """If the body's length is known, take the bytes that came with the head out of h11 and bypass it."""
        length = next((value for name, value in response.headers if name == b"content-length"), None)
        if length is None or self._is_chunked(response):
            return
        self._left_bytes = int(length)
        rest, _ = self._http.trailing_data
        self._received = memoryview(rest)[: self._left_bytes]
        self._left_bytes -= len(self._received)

    @staticmethod
    def _is_chunked(response: h11.Response) -> bool:
        return any(name == b"transfer-encoding" for name, _ in response.headers)

    def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpcore.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            data = bytearray(READ_BYTES)
            count = self._receive(memoryview(data))
            if not count and self._http.their_state is h11.SEND_RESPONSE:
                raise httpcore.RemoteProtocolError("disconnected without a response")
            self._http.receive_data(bytes(data[:count]))

    def _receive(self, view: memoryview) -> int:
        self._require_going_on()
        try:
            return self._channel.recv_into(view)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error

    def read_into(self, view: memoryview) -> int:
        """Fill some of `view` with the next bytes of the body; 0 at its end.

        Raises:
            httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: The body breaks off.
        """
        if not self._received and self._left_bytes is None:
            self._unframe()
        if self._received:
            count = min(len(view), len(self._received))
            view[:count] = self._received[:count]
            self._received = self._received[count:]
            return count
        if not self._left_bytes:
            return 0
        count = self._receive(view[: self._left_bytes])
        if not count:
            raise httpcore.RemoteProtocolError("the body is shorter than announced")
        self._left_bytes -= count
        return count

    def _unframe(self) -> None:
        while not self._is_ended and not self._received:
            event = self._next_event()
            if isinstance(event, h11.Data):
                self._received = memoryview(bytes(event.data))
            else:
                self._is_ended = True

    def read(self) -> bytes:
        """The next bytes of the body; none at its end."""
        data = bytearray(READ_BYTES)
        return bytes(data[: self.read_into(memoryview(data))])

    def copy(self, take: Callable[[memoryview], None], *, block_time_max_s: float) -> None:
        """Hand the body to `take`, a block at a time; where it breaks off, also what came of the last one.

        Raises:
            TimeoutError: A block took longer than `block_time_max_s` seconds.
            httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: The body breaks off.
        """
        block = memoryview(bytearray(BLOCK_BYTES))
        COPYING.add(self)
        try:
            while self._copy_block(block, take, time.monotonic() + block_time_max_s):
                pass
        finally:
            COPYING.discard(self)

    def _copy_block(self, block: memoryview, take: Callable[[memoryview], None], deadline: float) -> bool:
        """Hand the next block over. Returns whether there may be more."""
        filled, is_ended = 0, False
        try:
            while filled < BLOCK_BYTES and not is_ended:
                count = self.read_into(block[filled:])
                filled += count
                is_ended = not count
                if time.monotonic() > deadline:
                    raise TimeoutError
        finally:
            if not self._is_broken_off:
                # Where there are others, in pieces: each is a moment for the event loop, as above.
                step = READ_BYTES if len(COPYING) > 1 else BLOCK_BYTES
                for begin in range(0, filled, step):
                    take(block[begin : min(begin + step, filled)])
        return not is_ended


class BulkStream(ByteStream):
    """A response whose body a worker thread can bring straight to where it belongs.

    Args:
        connection: Its head has been read. It is closed with this.
        response: The head.
        url: The request's URL.
        limiter: How many threads may work.
    """

    def __init__(
        self, connection: BulkConnection, response: h11.Response, url: str, limiter: anyio.CapacityLimiter
    ) -> None:
        self._connection = connection
        self._limiter = limiter
        headers = httpx.Headers(response.headers.raw_items())
        super().__init__(url, response.status_code, headers, _Blocks(self), self._close_connection)

    async def copy(self, take: Callable[[memoryview], None], *, block_time_max_s: float) -> None:
        """Hand the body to `take`, in a worker thread, a mebibyte at a time; its exceptions are passed on.

        Args:
            take: Given a view that holds only until it returns. If the body breaks off, it gets the bytes that came.
            block_time_max_s: The most seconds that a block may take.

        Raises:
            TimeoutError: A block took longer.
            TransportError: The body broke off.
        """
        failure = None
        try:
            await self.in_thread(partial(self._connection.copy, take, block_time_max_s=block_time_max_s))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            failure = transport_error(self._url, error)
        if failure is not None:
            raise failure

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do blocking work of the connection, broken off if the caller is cancelled."""
        return await in_breakable_thread(work, self._connection.break_off, self._limiter)

    async def next_chunk(self) -> bytes:
        """Some of the body; nothing at its end."""
        return await self.in_thread(self._connection.read)

    async def _close_connection(self) -> None:
        self._connection.close()


class _Blocks:
    """The body's chunks, for those who read it on the event loop after all."""

    def __init__(self, stream: BulkStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._stream.next_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk


async def fetch(outgoing: Request, limiter: anyio.CapacityLimiter) -> BulkStream:
    """Send a GET over a connection of its own; its response, whose body is still to be read.

    Raises:
        httpx.InvalidURL, httpx.UnsupportedProtocol: The URL can't be used.
        httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: There is no response.
    """
    target = outgoing.target()
    tls = await tls_context() if target.is_secure else None
    opened = await wire.open_wire(
        outgoing.address or target.host,
        target.port,
        tls=None,
        server_name=target.host,
        timeout_s=outgoing.silence_max_s,
        others=outgoing.addresses[1:],
    )
    try:
        raw = opened.get_extra_info("socket")
        connection = BulkConnection(socket.fromfd(raw.fileno(), raw.family, raw.type), outgoing.silence_max_s)
    finally:
        with anyio.CancelScope(shield=True):
            await opened.let_go()
    try:
        begin = partial(connection.begin, outgoing, target, tls)
        response = await in_breakable_thread(begin, connection.break_off, limiter)
    except BaseException:
        connection.close()
        raise
    return BulkStream(connection, response, outgoing.url, limiter)
