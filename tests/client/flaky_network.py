"""A network that fails at one exact point of a send: real HTTP over real sockets, but for the one call that fails."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import attrs
import httpcore

from hitpaw_async._transport import network as wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

__all__ = ["Break", "FlakyNetwork"]


class Break(Enum):
    """Which call of a connection fails."""

    NONE = auto()
    CONNECT = auto()
    CONNECT_TIMEOUT = auto()
    WRITE_HEADERS = auto()
    WRITE_HEADERS_TIMEOUT = auto()
    WRITE_BODY = auto()
    READ = auto()


ON_CONNECT = {Break.CONNECT: httpcore.ConnectError, Break.CONNECT_TIMEOUT: httpcore.ConnectTimeout}
ON_WRITE = {
    (Break.WRITE_HEADERS, 1): httpcore.WriteError,
    (Break.WRITE_HEADERS_TIMEOUT, 1): httpcore.WriteTimeout,
    (Break.WRITE_BODY, 2): httpcore.WriteError,
}


@attrs.define(eq=False)
class _Stream(httpcore.AsyncNetworkStream):
    """A connection whose n-th write, or every read, fails. A connection that could not write can't be read either."""

    inner: httpcore.AsyncNetworkStream
    breaks: Break
    writes: int = 0
    is_broken: bool = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.is_broken or self.breaks is Break.READ:
            raise httpcore.ReadError
        return await self.inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.writes += 1
        if (self.breaks, self.writes) in ON_WRITE:
            self.is_broken = True
            raise ON_WRITE[self.breaks, self.writes]
        await self.inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self.inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class FlakyNetwork:
    """Breaks one connection after another as listed; those after the list are sound.

    Args:
        breaks: What fails, connection by connection.
        monkeypatch: Puts it under every pool's own lanes, which stay the library's.
    """

    def __init__(self, breaks: Iterable[Break], monkeypatch: pytest.MonkeyPatch) -> None:
        self.connects = 0
        self._breaks = iter(breaks)
        self._really_open = wire.open_wire
        monkeypatch.setattr(wire, "open_wire", self.open_wire)

    async def open_wire(self, host: str, port: int, **settings: Any) -> httpcore.AsyncNetworkStream:
        self.connects += 1
        breaks = next(self._breaks, Break.NONE)
        if breaks in ON_CONNECT:
            raise ON_CONNECT[breaks]
        return _Stream(await self._really_open(host, port, **settings), breaks)
