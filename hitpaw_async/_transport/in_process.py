"""A client whose calls end in this process: an ASGI application answers them, and no socket is opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx

__all__ = ["ASGIApp", "app_client"]

ASGIApp: TypeAlias = Callable[..., Awaitable[None]]


def app_client(app: ASGIApp) -> httpx.AsyncClient:
    """A client that reaches `app`, whatever host its URLs name.

    If `app` raises `ConnectionRefusedError`, no connection came about; any other `ConnectionError` breaks it.
    """
    return httpx.AsyncClient(transport=_AppTransport(app), trust_env=False)


class _AppTransport(httpx.AsyncBaseTransport):
    """Gives a broken connection the names that a network's would have."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionRefusedError:
            raise httpx.ConnectError("refused in this process", request=request) from None
        except ConnectionError:
            raise httpx.ReadError("broken in this process", request=request) from None
