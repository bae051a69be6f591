"""Which proxy a URL is reached through: one that was given, those of the environment where asked for, or none.

A proxy's URL may hold a password: it is shown to nobody but the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import attrs

from hitpaw_async._redact import redact_url
from hitpaw_async._urls.addresses import is_web_url
from hitpaw_async.errors import ConfigurationError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_PROXIES", "Proxies"]

_ANY: Final = "all"


def _usable(url: object) -> str | None:
    """A proxy's URL, or None where it is none. It raises nothing: a traceback would hold the password."""
    text = url.strip() if isinstance(url, str) else ""
    if not is_web_url(text):
        return None
    parts = urlsplit(text)
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    return text if is_bare and text.isprintable() and " " not in text else None


def _wanted(name: str) -> str:
    return (
        f"{name} must be the http or https URL of a proxy, such as http://proxy.example.com:3128 or "
        "http://USER:PASSWORD@proxy.example.com:3128 (special characters in them as %40)."
    )


@attrs.frozen
class Proxies:
    """Proxies by the scheme of what is reached through them."""

    _by_scheme: Mapping[str, str] = attrs.field(factory=dict, repr=lambda found: str(_shown(found)))
    _exceptions: Mapping[str, str] = attrs.field(factory=dict)
    """Argument of `proxy_bypass_environment`: hosts that are reached directly."""
    _unusable: frozenset[str] = frozenset()
    """The schemes whose proxies can't be used (SOCKS): what they have no part in goes on without them."""

    @classmethod
    def chosen(cls, proxy: str | None, *, trust_env: bool) -> Self:
        """The proxy that was given; else, only where the environment is trusted, what it says.

        The environment's are HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case; HTTP_PROXY only in lower
        case under CGI, where a request could set it.

        Raises:
            ConfigurationError: The URL of the proxy that was given is not usable.
        """
        if proxy is not None:
            url = _usable(proxy)
            del proxy  # Some tools show the local variables of a traceback.
            if url is None:
                raise ConfigurationError(_wanted("proxy"))
            return cls({_ANY: url})
        return cls(*_of_environment()) if trust_env else cls()

    def __bool__(self) -> bool:
        return bool(self._by_scheme)

    def for_url(self, url: str) -> str | None:
        """The proxy for a URL, with its user name and password; None where it is reached directly.

        Raises:
            TransportError: The environment names one that can't be used. Nothing goes past it.
        """
        if not self._by_scheme and not self._unusable:
            return None
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self._exceptions.get("no") and proxy_bypass_environment(host, dict(self._exceptions)):
            return None
        for scheme in (parts.scheme, _ANY):
            if scheme in self._unusable:
                raise TransportError(_wanted(f"{scheme.upper()}_PROXY"))
            if scheme in self._by_scheme:
                return self._by_scheme[scheme]
        return None

    def require_usable(self, url: str) -> None:
        """Refuse an address that lies behind a proxy that can't be used.

        Raises:
            ConfigurationError: It does.
        """
        try:
            self.for_url(url)
        except TransportError as error:
            raise ConfigurationError(str(error)) from None


def _of_environment() -> tuple[Mapping[str, str], Mapping[str, str], frozenset[str]]:
    found = getproxies_environment()
    named: dict[str, str | None] = {}
    for scheme in ("https", "http", _ANY):
        if scheme in found:
            named[scheme] = _usable(found[scheme] if "://" in found[scheme] else f"http://{found[scheme]}")
    by_scheme = {scheme: url for scheme, url in named.items() if url is not None}
    exceptions = {"no": found.get("no", "")}
    return by_scheme, exceptions, frozenset(named.keys() - by_scheme.keys())


def _shown(found: Mapping[str, str]) -> dict[str, str]:
    return {scheme: redact_url(url) for scheme, url in found.items()}


NO_PROXIES: Final = Proxies()
