"""Sends a pool's calls through the simulated transport, which tells httpcore's events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitpaw_async._transport.response import ByteStream
from hitpaw_async._transport.senders import Sender

if TYPE_CHECKING:
    import httpx

    from hitpaw_async._transport.request import Request

__all__ = ["TransportSender"]


class TransportSender(Sender):
    """Sends through one transport of httpx's, which is closed with it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    @property
    def tells_progress(self) -> bool:
        return True

    @property
    def is_callers(self) -> bool:
        return True

    async def send(self, outgoing: Request) -> ByteStream:
        response = await self._transport.handle_async_request(outgoing.httpx_request())
        return ByteStream.of_httpx(response, outgoing.url)

    async def retire(self) -> None:
        """Nothing: the vendor is in this process."""

    async def aclose(self) -> None:
        await self._transport.aclose()
