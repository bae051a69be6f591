"""Foreign exceptions, turned into the library's, in words that hold no secret."""

from __future__ import annotations

import ssl
from typing import Final

import httpcore
import httpx

from hitpaw_async import errors
from hitpaw_async._redact import redact_url

__all__ = ["REFUSED_BEFORE_SENDING", "transport_error"]

REFUSED_BEFORE_SENDING: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
"""What proves that nothing was sent, where nobody watched the send."""

_KINDS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((httpx.ConnectTimeout, httpcore.ConnectTimeout), "No connection in time"),
    ((httpx.ConnectError, httpcore.ConnectError), "No connection"),
    ((httpx.PoolTimeout, httpcore.PoolTimeout), "No free connection in time"),
    ((httpx.TimeoutException, httpcore.TimeoutException), "Nothing came for too long"),
    ((httpx.ReadError, httpcore.ReadError), "The connection broke off while reading"),
    ((httpx.WriteError, httpcore.WriteError), "The connection broke off while writing"),
    ((httpx.RemoteProtocolError, httpcore.RemoteProtocolError), "The server broke off or broke HTTP's rules"),
    ((httpx.DecodingError,), "The reply's content encoding is broken"),
    ((httpx.ProxyError, httpcore.ProxyError), "The proxy refused"),
)


def transport_error(url: str, error: Exception) -> errors.HitPawError:
    """The library's exception for what a transport raised. Our own bugs are raised as they are."""
    if isinstance(error, errors.HitPawError):
        return error
    if isinstance(error, AssertionError):
        raise error
    host = redact_url(url).split("?")[0]
    return errors.TransportError(f"{_explain(error)} ({host}). Check the network and the address.")


def _explain(error: Exception) -> str:
    """What failed, without a word of the foreign text: it may hold whole URLs."""
    for kinds, text in _KINDS:
        if isinstance(error, kinds):
            return f"{text}{_tls_reason(error)}"
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
