"""Foreign exceptions, turned into the library's, in words that hold no secret."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Final

import httpcore
import httpx

from hitpaw_async import errors
from hitpaw_async._errors import internal_error, is_bug
from hitpaw_async._redact import redact_url

__all__ = ["SlowHeadError", "proves_nothing_left", "transport_error"]

_NOT_SENDABLE: Final = (httpx.UnsupportedProtocol, httpx.InvalidURL)
_NOT_CONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_HONEST_CAUSES: Final = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    ConnectionRefusedError,
    socket.gaierror,
)

_KINDS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((httpx.ConnectTimeout, httpcore.ConnectTimeout), "No connection in time"),
    ((httpx.ConnectError, httpcore.ConnectError), "No connection"),
    ((httpx.PoolTimeout, httpcore.PoolTimeout), "No free connection in time"),
    ((httpx.TimeoutException, httpcore.TimeoutException), "No data for too long"),
    ((httpx.ReadError, httpcore.ReadError), "The connection broke off while reading"),
    ((httpx.WriteError, httpcore.WriteError), "The connection broke off while writing"),
    ((httpx.RemoteProtocolError, httpcore.RemoteProtocolError), "The server closed the connection or violated HTTP"),
    ((httpx.DecodingError,), "The reply's content encoding is broken"),
    ((httpx.ProxyError, httpcore.ProxyError), "The proxy refused"),
)

_UNTRUSTED: Final = ": the server's certificate is not trusted"
_UNTRUSTED_ADVICE: Final = (
    "Check the address. Where a company's proxy signs what goes through it, name the file of its authority (PEM) with "
    "SSL_CERT_FILE."
)


class SlowHeadError(errors.TransportError):
    """A response began, or might have, and its head did not come to an end in time."""


def proves_nothing_left(error: Exception) -> bool:
    """Tell if no byte of the request can have left, without having watched the send.

    A failure to connect proves it, but not by its name alone: `httpx-aiohttp` (0.2.0) says `ConnectTimeout` of a server
    that took everything and hung up, too. So the cause is checked as well; an unknown cause proves nothing.
    """
    if isinstance(error, _NOT_SENDABLE):
        return True
    return isinstance(error, _NOT_CONNECTED) and _is_honest(error.__cause__, error)


def _is_honest(cause: BaseException | None, error: Exception) -> bool:
    # respx raises what a test gave it "from" a carrier of its own.
    is_carrier = getattr(cause, "origin", None) is error
    return cause is None or is_carrier or isinstance(cause, _HONEST_CAUSES + _aiohttps())


def _aiohttps() -> tuple[type[Exception], ...]:
    """List the exceptions that aiohttp raises before it writes anything; none if it is not loaded."""
    aiohttp = sys.modules.get("aiohttp")
    return () if aiohttp is None else (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def transport_error(url: str, error: Exception, *, is_callers: bool = False) -> errors.HitPawError:
    """Return the library's exception for a transport's exception.

    Args:
        url: The request's URL.
        error: The exception.
        is_callers: True if code of the caller's is on the way: a client or an application of its own. An assertion of
            that code is raised as it is.
    """
    if isinstance(error, errors.HitPawError):
        return error
    host = redact_url(url).split("?")[0]
    if isinstance(error, AssertionError) and (is_callers or not is_bug(error)):
        raise error
    if is_bug(error):
        if not is_callers:
            return internal_error(error)
        return errors.TransportError(
            f"The http_client that was given failed with {type(error).__name__} ({host}). Look at its hooks, its auth "
            "and its transport."
        )
    reason = _explain(error)
    advice = _UNTRUSTED_ADVICE if reason.endswith(_UNTRUSTED) else "Check the network and the address."
    return errors.TransportError(f"{reason} ({host}). {advice}")


def _explain(error: Exception) -> str:
    """Describe the failure without any of the foreign text, which may hold whole URLs."""
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
            return _UNTRUSTED
        if isinstance(seen, ssl.SSLError):
            return ": TLS failed"
        seen = seen.__cause__ or seen.__context__
    return ""
