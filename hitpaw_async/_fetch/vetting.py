"""Vets the addresses of untrusted URLs after resolution, at each hop and each attempt.

The connection goes to the vetted address. A name that is resolved twice can be public the first time and private the
second (DNS rebinding), so the address goes along to the connection.
"""

from __future__ import annotations

import socket

import anyio
import attrs

from hitpaw_async._urls.addresses import Endpoint, in_turn, is_local_name, is_public, is_unusual_number

__all__ = ["AddressVetting", "ForbiddenURLError", "UnresolvedHostError"]


class ForbiddenURLError(Exception):
    """A URL may not be fetched. Never leaves the library.

    Attributes:
        reason: Why, to stand behind "the URL".
        is_trustable: True if trusting its host would allow it.
    """

    def __init__(self, reason: str, *, is_trustable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_trustable = is_trustable


class UnresolvedHostError(Exception):
    """A host can't be resolved just now. Never leaves the library."""


@attrs.frozen(kw_only=True)
class AddressVetting:
    """Policy for hosts, and the resolution of their addresses."""

    trusted_hosts: frozenset[str]
    """Hosts for which http and private addresses are allowed, as `Endpoint.names` writes them."""
    pin_addresses: bool
    """True if the connection goes to the vetted address. False if a proxy, or a caller's client, resolves names:
    then they are vetted as far as they can be resolved here."""
    resolve_timeout_s: float
    requires_https: bool = True
    trusted_origins: frozenset[Endpoint] = frozenset()
    """Origins trusted by scheme, host and port: the vendor's own address, and no other port of its host."""

    async def addresses_of(self, url: str, *, turn: int = 0) -> list[str]:
        """The vetted addresses to connect to, the best first; none where the choice is left to the pool.

        Args:
            url: Absolute URL.
            turn: Which of a host's addresses comes first, where it has several: counted round.

        Raises:
            ForbiddenURLError: Nothing may be fetched from there.
            UnresolvedHostError: The host can't be resolved just now.
        """
        endpoint = _parsed(url)
        if endpoint.names & self.trusted_hosts or endpoint in self.trusted_origins:
            return []
        if self.requires_https and not endpoint.is_secure:
            raise ForbiddenURLError("is not https")
        if is_unusual_number(endpoint.host):
            raise ForbiddenURLError("has a number in disguise for a host")
        addresses = await self._resolved(endpoint)
        if not all(map(is_public, addresses)) or (not addresses and is_local_name(endpoint.host)):
            raise ForbiddenURLError("leads into a private network")
        if not self.pin_addresses:
            return []
        first = turn % len(addresses)
        return [*addresses[first:], *addresses[:first]]

    async def _resolved(self, endpoint: Endpoint) -> list[str]:
        """The addresses of a host; none where it takes a proxy to resolve it."""
        if endpoint.literal is not None:
            return [endpoint.literal]
        try:
            with anyio.fail_after(self.resolve_timeout_s):
                answers = await anyio.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        found = in_turn(str(answer[4][0]) for answer in answers)
        if not found and self.pin_addresses:
            raise UnresolvedHostError
        return found


def _parsed(url: str) -> Endpoint:
    try:
        return Endpoint.parse(url)
    except ValueError as error:
        reason = f"cannot be used: {error}"
    raise ForbiddenURLError(reason, is_trustable=False)
