"""The TLS context of the library's own connections: one a process, built once, off the event loop.

It trusts the shipped list of authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name in its place: a company's.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, Final

import httpx

from hitpaw_async import errors
from hitpaw_async._tasks import in_thread
from hitpaw_async._transport.authorities import (
    AUTHORITIES_FILE_NAME,
    AUTHORITIES_FOLDER_NAME,
    authorities_from_environment,
    unusable_authorities,
)

if TYPE_CHECKING:
    from hitpaw_async._transport.authorities import Authorities

__all__ = ["tls_context"]

_LOCK: Final = threading.Lock()
_BUILT: Final[list[ssl.SSLContext]] = []


async def tls_context() -> ssl.SSLContext:
    """The context. Reading the authorities takes 28 to 74 ms: that happens in a worker thread, for the first caller.

    Raises:
        TransportError: The environment names authorities that can't be read. As of any failed connection, nothing was
            sent, and it ends no job.
    """
    return _BUILT[0] if _BUILT else await in_thread(_build_once)


def _build_once() -> ssl.SSLContext:
    with _LOCK:
        if not _BUILT:
            try:
                context = _context_for(authorities_from_environment())
            except errors.ConfigurationError as error:
                raise errors.TransportError(str(error)) from None
            context.set_alpn_protocols(["http/1.1"])
            _BUILT.append(context)
        return _BUILT[0]


def _context_for(named: Authorities) -> ssl.SSLContext:
    if not named:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=named.file, capath=named.folder)
    except OSError:  # SSLError is one
        variable, name = (
            (AUTHORITIES_FOLDER_NAME, named.folder) if named.file is None else (AUTHORITIES_FILE_NAME, named.file)
        )
        raise unusable_authorities(variable, str(name), "certificates (PEM)") from None
