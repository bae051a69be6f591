"""The TLS context of the library's own connections: one a process, built once, off the event loop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx

from hitpaw_async._loops import in_thread

if TYPE_CHECKING:
    import ssl

__all__ = ["tls_context"]

_LOCK = threading.Lock()
_BUILT: list[ssl.SSLContext] = []


async def tls_context() -> ssl.SSLContext:
    """The context. Reading the authorities takes 28 to 74 ms: that happens in a worker thread, for the first caller."""
    return _BUILT[0] if _BUILT else await in_thread(_build_once)


def _build_once() -> ssl.SSLContext:
    with _LOCK:
        if not _BUILT:
            context = httpx.create_ssl_context(trust_env=False)
            context.set_alpn_protocols(["http/1.1"])
            _BUILT.append(context)
        return _BUILT[0]
