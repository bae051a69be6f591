"""A result's URL, opened: through redirects, each of them checked, and to the very address that was vetted."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._addresses import Endpoint, in_turn, is_local_name, is_public, is_unusual_number
from hitpaw_async._framing import UnusableReplyError
from hitpaw_async._redact import redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from hitpaw_async._transport import ByteStream, HTTPPool

__all__ = ["ResultSource", "shown_url"]

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SHOWN_CHARS_MAX: Final = 200

_ASK_VENDOR: Final = "Nothing was fetched: ask the vendor's support."
_TRUST_IT: Final = "Nothing was fetched. If that host is yours, put it in DownloadPolicy.trusted_hosts."


def shown_url(url: str) -> str:
    """A result's URL as an error may show it: without its signature, and not much of it."""
    return redact_url(url)[:_SHOWN_CHARS_MAX]


@attrs.frozen(kw_only=True, eq=False)
class ResultSource:
    """Where bytes come from. Every request, redirect and retry is vetted anew."""

    pool: HTTPPool
    trusted_hosts: frozenset[str]
    """Hosts for which http and private addresses are allowed, as `Endpoint.names` writes them."""
    pin_addresses: bool
    """Whether the connection goes to the vetted address, not to whatever the pool's client makes of the name."""
    read_timeout_s: float
    redirects_max: int

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str], *, turn: int) -> AsyncIterator[ByteStream]:
        """Open `url`.

        Args:
            url: Absolute URL.
            headers: What goes along beside the standard headers.
            turn: Which of a host's addresses to use, where it has several: counted round.

        Raises:
            DownloadError: It leads where no download may go, or redirects too often.
            TransportError: No response.
            UnusableReplyError: The host can't be resolved just now, or a redirect leads nowhere.
        """
        is_secure = False
        for _ in range(self.redirects_max + 1):
            endpoint = _parsed(url)
            if is_secure and not endpoint.is_secure:
                raise errors.DownloadError(f"A redirect leads from https to http ({shown_url(url)}). {_ASK_VENDOR}")
            is_secure = endpoint.is_secure
            address = await self._address(endpoint, url, turn)
            # Not kept: a connection to an address would serve the next host there too, under this host's TLS name.
            sent = {**headers, "connection": "close"}
            async with self.pool.get(url, headers=sent, address=address, read_timeout_s=self.read_timeout_s) as stream:
                if stream.status_code not in _REDIRECTS:
                    yield stream
                    return
                location = stream.location
            if location is None:
                raise UnusableReplyError("the server redirects without saying where to")
            url = location
        raise errors.DownloadError(
            f"The result's URL redirects more than {self.redirects_max} times ({shown_url(url)}). {_ASK_VENDOR}"
        )

    async def _address(self, endpoint: Endpoint, url: str, turn: int) -> str | None:
        """The vetted address to connect to; None where the choice is left to the pool.

        Raises:
            DownloadError: No download may go there.
            UnusableReplyError: The host can't be resolved just now.
        """
        if endpoint.names & self.trusted_hosts:
            return None
        if not endpoint.is_secure:
            raise errors.DownloadError(f"The result's URL is not https ({shown_url(url)}). {_TRUST_IT}")
        if is_unusual_number(endpoint.host):
            raise errors.DownloadError(f"The result's host is a number in disguise ({shown_url(url)}). {_TRUST_IT}")
        addresses = await self._resolved(endpoint)
        if not all(map(is_public, addresses)) or (not addresses and is_local_name(endpoint.host)):
            raise errors.DownloadError(f"The result's URL leads into a private network ({shown_url(url)}). {_TRUST_IT}")
        return addresses[turn % len(addresses)] if self.pin_addresses else None

    async def _resolved(self, endpoint: Endpoint) -> list[str]:
        """The addresses of a host; none where it takes a proxy to resolve it."""
        if endpoint.literal is not None:
            return [endpoint.literal]
        try:
            with anyio.fail_after(self.read_timeout_s):
                answers = await anyio.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        found = in_turn(str(answer[4][0]) for answer in answers)
        if not found and self.pin_addresses:
            raise UnusableReplyError("its host cannot be resolved")
        return found


def _parsed(url: str) -> Endpoint:
    try:
        return Endpoint.parse(url)
    except ValueError as error:
        reason = str(error)
    raise errors.DownloadError(f"The result's URL cannot be used: {reason}. {_ASK_VENDOR}")
