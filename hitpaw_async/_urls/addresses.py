"""Rules for URLs, and for the addresses a download may connect to. Pure: nothing is resolved here.

A result's URL comes from outside. It must not lead into the network that this program runs in, however it is spelt: as
a short, decimal, octal or hexadecimal form, as IPv4 wrapped in IPv6, or as a public name of a private address.

The table is our own: `ipaddress.is_global` says yes to NAT64, 6to4 and `::127.0.0.1`, and changed between the releases
of Python. Source: IANA's special-purpose address registries.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import attrs

from hitpaw_async._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "URL_CHARS_MAX",
    "Endpoint",
    "in_turn",
    "is_local_name",
    "is_public",
    "is_unusual_number",
    "is_web_url",
    "normalized_host",
    "origins_of",
    "trusted_names",
]

URL_CHARS_MAX: Final = 8192
"""Of a URL that is sent to the vendor, comes from it, or is fetched."""

PORT_MAX: Final = 65535
DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa", ".lan")

_NOT_PUBLIC_IPV4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; some clouds keep their metadata there
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by number, yet it is each Azure machine's own platform
        "169.254.0.0/16",  # link-local; most clouds keep their metadata there
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

_IPV6_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is public lies in here; loopback, mapped, link-local, unique local and multicast addresses don't."""
_NOT_PUBLIC_IPV6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address, perhaps a private one, in disguise
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_web_url(text: str) -> bool:
    """Tell if it is the http or https URL of any host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@attrs.frozen
class Endpoint:
    """Scheme, host and port of a URL."""

    is_secure: bool
    host: str
    """In lower case, without brackets and without a final dot."""
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """The endpoint of `url`.

        Stricter than a browser: what two parsers could read in two ways is refused.

        Raises:
            ValueError: It can't be used; the text says why, without showing the URL.
        """
        if not _is_plain_text(url):
            raise ValueError("it is not a URL")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError("it cannot be read") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError("it is neither https nor http")
        if "@" in parts.netloc:
            raise ValueError("it carries a user name or password")
        host, port = _split_authority(parts.netloc)
        return cls(parts.scheme == "https", host, DEFAULT_PORTS[parts.scheme] if port is None else port)

    @property
    def names(self) -> frozenset[str]:
        """Its names in a list of trusted hosts: with and without its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset((host, f"{host}:{self.port}"))

    @property
    def literal(self) -> str | None:
        """The host as an address, where it is written as one."""
        return self.host if _is_literal(self.host) else None


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_plain_text(url: object) -> bool:
    return isinstance(url, str) and len(url) <= URL_CHARS_MAX and url.isprintable() and not {" ", "\\"} & set(url)


def _split_authority(text: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError("its host cannot be read")
    host = match[1].lower().removesuffix(".")
    port = None if match[2] is None else int(match[2])
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("its host cannot be read") from None
    if not host or port == 0 or (port or 0) > PORT_MAX:
        raise ValueError("its host or port cannot be read")
    return host, port


def normalized_host(text: str) -> str:
    """An entry of a list of trusted hosts ("host", "host:port", "::1", "[::1]:8080") as `Endpoint.names` writes it.

    Raises:
        ValueError: It is none of these.
    """
    bare = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    host, port = _split_authority(bare)
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def origins_of(urls: Iterable[str]) -> frozenset[Endpoint]:
    """The schemes, hosts and ports of URLs; of what can't be read as `Endpoint` reads it, none."""
    found: set[Endpoint] = set()
    for url in urls:
        with suppress(ValueError):
            found.add(Endpoint.parse(url))
    return frozenset(found)


def trusted_names(names: Iterable[str], *, setting: str) -> frozenset[str]:
    """A list of trusted hosts, as `Endpoint.names` writes them.

    Args:
        names: "host" for all its ports, or "host:port".
        setting: Name of the list, for the error.

    Raises:
        ConfigurationError: It is no such list.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"{setting} is a set of hosts, not one string.")
    try:
        return frozenset(map(normalized_host, names))
    except (AttributeError, TypeError, ValueError):
        raise ConfigurationError(f'{setting} takes "host" or "host:port", without a scheme or a path.') from None


def is_public(address: str) -> bool:
    """Tell if an IP address is public, so that an untrusted URL may lead to it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return False
        if parsed not in _NAT64:
            return parsed in _IPV6_UNICAST and not any(parsed in network for network in _NOT_PUBLIC_IPV6)
        # Networks without IPv4 reach all of it through these addresses: what counts is the IPv4 address inside.
        parsed = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return not any(parsed in network for network in _NOT_PUBLIC_IPV4)


def is_unusual_number(host: str) -> bool:
    """Tell if a host is a number that resolvers read and `ipaddress` doesn't: `127.1`, `0x7f.1`, `2130706433`."""
    return not _is_literal(host) and _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def is_local_name(host: str) -> bool:
    """Tell if a name is local by convention. Counts only if it cannot be resolved here: behind a proxy."""
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def in_turn(addresses: Iterable[str]) -> list[str]:
    """Each address once, IPv6 and IPv4 by turns: where one family is broken, the next attempt takes the other."""
    unique = list(dict.fromkeys(addresses))
    first_is_ipv6 = bool(unique) and ":" in unique[0]
    leading = [address for address in unique if (":" in address) is first_is_ipv6]
    other = [address for address in unique if (":" in address) is not first_is_ipv6]
    return [address for address in chain.from_iterable(zip_longest(leading, other)) if address is not None]
