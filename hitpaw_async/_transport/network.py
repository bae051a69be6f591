"""Bytes to and from one server: a connection as httpcore reads and writes it, opened so that nothing is left behind."""

from __future__ import annotations

import select
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpcore
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable, Iterator, Sequence

    from anyio.abc import ByteStream

__all__ = ["Wire", "WireBackend", "is_readable", "open_wire"]

_POLLABLE: Final = hasattr(select, "poll")
NEXT_ADDRESS_S: Final = 0.25
"""Seconds to wait for one address of a host before the next is tried beside it (RFC 8305, section 8)."""


class Wire(httpcore.AsyncNetworkStream):
    """A connection. Without a timeout it arms no timer: a deadline stands around the whole call."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._socket: socket.socket | None = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 (not Django's)
        self._held = bytearray()
        self.is_joining = False
        """True if writes go out in one piece once an answer is awaited. Not if each write counts."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            # As httpcore has it: a server may have answered, and gone, before it has read the whole request.
            with suppress(httpcore.WriteError):
                await self._send(held, timeout)
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            try:
                if timeout is None:
                    return await self._stream.receive(max_bytes)
                with anyio.fail_after(timeout):
                    return await self._stream.receive(max_bytes)
            except anyio.EndOfStream:
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self.is_joining:
            self._held += buffer
        elif buffer:
            await self._send(buffer, timeout)

    async def _send(self, buffer: bytes, timeout_s: float | None) -> None:
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            if timeout_s is None:
                await self._stream.send(buffer)
                return
            with anyio.fail_after(timeout_s):
                await self._stream.send(buffer)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                stream = await TLSStream.wrap(
                    self._stream, ssl_context=ssl_context, hostname=server_hostname, standard_compatible=False
                )
        except BaseException:
            # httpcore closes the connection where the handshake fails, not where it is cancelled.
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise
        return Wire(stream)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def let_go(self) -> None:
        """Close this handle of the connection, and leave the connection to whoever has another."""
        # Before 4.16, anyio on asyncio ends what can be sent over the connection as it closes a handle.
        transport = getattr(self._stream, "_transport", None)
        if transport is not None:
            transport.abort()
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # While it is idle: what waits there can only be the server's end of the connection.
            return is_readable(self._socket)
        return self._socket if info == "socket" else None


@contextmanager
def _mapped(on_timeout: type[Exception], on_error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise on_timeout from error
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream) as error:
        raise on_error from error


def is_readable(connection: socket.socket | None) -> bool:
    """Tell if reading would not block; also true of a closed socket."""
    if connection is None or (descriptor := connection.fileno()) < 0:
        return True
    if not _POLLABLE:  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def open_wire(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    server_name: str,
    timeout_s: float | None,
    others: Sequence[str] = (),
) -> Wire:
    """Connect, and shake hands where `tls` is given. Broken off at any point, it leaves no socket open.

    Args:
        host: A name, or an address.
        port: The port.
        tls: How to shake hands; None does not.
        server_name: The name that TLS verifies.
        timeout_s: How long all of it may take.
        others: More addresses of the host: if one does not answer soon, the next is tried beside it (RFC 8305).

    Raises:
        httpcore.ConnectTimeout: It took too long.
        httpcore.ConnectError: There is no connection, or TLS failed.
    """
    try:
        with anyio.fail_after(timeout_s):
            stream: ByteStream
            if others:
                stream = await _first_connected((host, *others), port)
                if tls is not None:
                    stream = await _shake_hands(stream, tls, server_name)
            elif tls is None:
                stream = await anyio.connect_tcp(host, port)
            else:
                # HTTP says itself where a body ends; servers that skip the closing handshake are common.
                stream = await anyio.connect_tcp(
                    host, port, ssl_context=tls, tls_hostname=server_name, tls_standard_compatible=False
                )
    except TimeoutError as error:
        raise httpcore.ConnectTimeout from error
    except (OSError, UnicodeError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise httpcore.ConnectError from error
    return Wire(stream)


async def _first_connected(addresses: Sequence[str], port: int) -> ByteStream:
    """Connect to the address that answers first; each gets its turn when the one before failed, or is slow."""
    connected: list[ByteStream] = []
    failures: list[OSError] = []

    async def attempt(address: str, failed: anyio.Event) -> None:
        try:
            stream = await anyio.connect_tcp(address, port)
        except OSError as error:
            failures.append(error)
            failed.set()
        else:
            connected.append(stream)
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                with anyio.move_on_after(NEXT_ADDRESS_S):
                    await failed.wait()
    except BaseException:
        await _close_all(connected)
        raise
    await _close_all(connected[1:])
    if not connected:
        raise failures[-1]
    return connected[0]


async def _close_all(streams: Sequence[ByteStream]) -> None:
    """Close streams, also while the caller is cancelled."""
    with anyio.CancelScope(shield=True):
        for stream in streams:
            await anyio.aclose_forcefully(stream)


async def _shake_hands(stream: ByteStream, tls: ssl.SSLContext, server_name: str) -> ByteStream:
    try:
        return await TLSStream.wrap(stream, ssl_context=tls, hostname=server_name, standard_compatible=False)
    except BaseException:
        await _close_all([stream])
        raise


class WireBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore's own pools, which proxies and mocks need."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        assert local_address is None
        assert not socket_options
        return await open_wire(host, port, tls=None, server_name=host, timeout_s=timeout)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
