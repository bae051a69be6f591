"""Runs the simulator as a real server: uvicorn, on the running event loop. asyncio only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hitpaw_async.errors import ConfigurationError
from hitpaw_async.simulator.faults import ConnectionDroppedError
from hitpaw_async.simulator.service import Simulator

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["serve"]

STOP_GRACE_S: Final = 1
BACKLOG: Final = 512


@asynccontextmanager
async def serve(simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a simulator, and open it for as long. Signals are left to the program.

    Args:
        simulator: The simulator.
        host: The address to listen on. The simulator fetches whatever URL it is given: keep it on this machine.
        port: The port; 0: any that is free.

    Yields:
        The base URL, once connections are accepted.

    Raises:
        ConfigurationError: The address can't be listened on, or the event loop is not asyncio's.
    """
    _require_asyncio()
    failure: Exception | None = None
    # Opened first: a folder that can't be served is named, whatever the address.
    async with simulator:
        listener = await anyio.to_thread.run_sync(_listen, host, port)
        connections: dict[tuple[str, int], asyncio.Transport] = {}
        config = uvicorn.Config(
            _Breaker(simulator.app, connections),
            http=_protocol_class(connections),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, server, listener)
            try:
                await server.is_accepting.wait()
                yield _base_url(listener)
            except Exception as error:  # noqa: BLE001 (raised below: out of a task group it would come in a group)
                failure = error
            finally:
                server.should_exit = True
    if failure is not None:
        raise failure


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "The simulator's server runs on asyncio alone; in trio, use simulator.app in-process."
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The simulator can't listen on {host}, port {port}: {error}. Choose another address or port."
        ) from None


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _run(server: _Server, listener: socket.socket) -> None:
    # Cancelled in the middle, uvicorn would leave its sockets open: it is told to stop instead.
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_accepting = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.is_accepting.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's."""
        yield


def _protocol_class(connections: dict[tuple[str, int], asyncio.Transport]) -> type[asyncio.Protocol]:
    """A protocol that notes each connection under its peer's address, by which an ASGI scope names it."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if self.client is not None:
                connections[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.client is not None:
                connections.pop(self.client, None)

    return Protocol


class _Breaker:
    """Breaks the connection where the application raises `ConnectionDroppedError`."""

    def __init__(self, app: ASGIApp, connections: dict[tuple[str, int], asyncio.Transport]) -> None:
        self._app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ConnectionDroppedError:
            transport = self._connections.get(tuple(scope["client"]))
            if transport is not None:
                transport.abort()
            # To an application that returns before the connection is gone, uvicorn lends a reply of its own.
            while (await receive())["type"] != "http.disconnect":
                pass
