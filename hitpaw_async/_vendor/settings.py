"""Settings of a client: from arguments, else from the environment, checked. Only this module reads the environment.

A key is never taken from a command line: other users of the machine can read that.
"""

from __future__ import annotations

import math
import os
from typing import Final, TypeVar

from hitpaw_async._urls.addresses import is_web_url
from hitpaw_async._validators import checked_number
from hitpaw_async.errors import ConfigurationError
from hitpaw_async.policies import Transport

__all__ = [
    "DEFAULT_BASE_URL",
    "EXPORT_GRACE_S",
    "HOST_NAME",
    "checked_base_url",
    "checked_connections",
    "checked_grace_s",
    "checked_kind",
    "checked_timeout_s",
    "checked_transport",
    "checked_wait_s",
    "host_from_environment",
    "require_no_connections",
]

DEFAULT_BASE_URL: Final = "https://api.hitpaw.com"
"""Source: v3 document, "API Endpoints"."""

EXPORT_GRACE_S: Final = 9.0
"""Seconds to wait for the answer to a sent export if its caller gives up: most come within that time, and a
container that is stopped is killed after 10 s."""

T = TypeVar("T")

HOST_NAME: Final = "HITPAW_API_BASE_URL"
CONNECTIONS_MAX: Final = 10_000
TIMEOUT_MAX_S: Final = 366 * 24 * 3600.0


def host_from_environment() -> str | None:
    """The vendor's address from HITPAW_API_BASE_URL."""
    return os.environ.get(HOST_NAME) or None


def checked_base_url(url: object) -> str:
    """The vendor's address, without a final slash.

    Raises:
        ConfigurationError: It is no address that calls can go to.
    """
    text = url.strip().rstrip("/") if isinstance(url, str) else ""
    if not is_web_url(text) or not text.isprintable() or any(mark in text for mark in "@?# "):
        raise ConfigurationError(
            "base_url must be an http or https URL of a host, without query or password, such as "
            f"{DEFAULT_BASE_URL}. Set it by --base-url or HITPAW_API_BASE_URL."
        )
    return text


def checked_timeout_s(timeout: object, *, name: str = "timeout") -> float:
    """A deadline in seconds.

    Raises:
        ConfigurationError: It is none.
    """
    return float(checked_number(timeout, 0.001, TIMEOUT_MAX_S, name=name))


def checked_wait_s(timeout_s: object) -> float:
    """Check a deadline in seconds; None becomes infinity.

    Raises:
        ConfigurationError: It can't be waited for.
    """
    return math.inf if timeout_s is None else float(checked_number(timeout_s, 0, math.inf, name="timeout_s"))


def checked_grace_s(grace_s: object) -> float:
    """Check the wait for the answer to a sent export, in seconds.

    Raises:
        ConfigurationError: It can't be waited for.
    """
    return float(checked_number(grace_s, 0, TIMEOUT_MAX_S, name="export_grace_s"))


def checked_connections(count: object) -> int:
    """A number of connections.

    Raises:
        ConfigurationError: It is none.
    """
    return int(checked_number(count, 1, CONNECTIONS_MAX, name="max_connections", whole=True))


def checked_kind(value: T | None, kind: type[T], *, name: str) -> T | None:
    """A setting that is a value of one kind, or None.

    Raises:
        ConfigurationError: It is of another kind.
    """
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of the kind {kind.__name__}, not {_shown(value)}.")
    return value


def checked_transport(name: object) -> Transport:
    """Choose the transport of the vendor's calls.

    Raises:
        ConfigurationError: There is no such transport.
    """
    if isinstance(name, str) and name in tuple(Transport):
        return Transport(name)
    shown = repr(name) if isinstance(name, str) else _shown(name)
    raise ConfigurationError(f"transport must be {' or '.join(map(repr, map(str, Transport)))}, not {shown}.")


def require_no_connections(*, has_proxy: bool, transport: Transport) -> None:
    """Refuse settings of connections beside a caller's client, which has its own.

    Raises:
        ConfigurationError: There are some.
    """
    if has_proxy:
        raise ConfigurationError("Give either http_client or proxy and trust_env: a client has its own.")
    if transport is not Transport.HTTPX:
        raise ConfigurationError("Give either http_client or transport: a client has its own.")


def _shown(value: object) -> str:
    return f"{value!r}" if isinstance(value, (int, float)) else f"a {type(value).__name__}"
