"""A result's URL, opened: through redirects, each of them checked, and to the very address that was vetted."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import errors
from hitpaw_async._fetch.response import UnusableReplyError
from hitpaw_async._fetch.vetting import AddressVetting, ForbiddenURLError, UnresolvedHostError
from hitpaw_async._redact import redact_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from hitpaw_async._transport import ByteStream, HTTPPool

__all__ = ["ResultSource", "shown_url"]

REDIRECTS: Final = (301, 302, 303, 307, 308)
_SHOWN_CHARS_MAX: Final = 200

_ASK_VENDOR: Final = "Nothing was fetched: ask the vendor's support."
_TRUST_IT: Final = (
    "Nothing was fetched. If that host is yours, name it: `--trusted-host`, or DownloadPolicy.trusted_hosts."
)


def shown_url(url: str) -> str:
    """A result's URL as an error may show it: without its signature, and not much of it."""
    return redact_url(url)[:_SHOWN_CHARS_MAX]


@attrs.frozen(kw_only=True, eq=False)
class ResultSource:
    """Source of a result's bytes. Every request, redirect and retry is vetted anew."""

    pool: HTTPPool
    vetting: AddressVetting
    read_timeout_s: float
    redirects_max: int

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str], *, turn: int) -> AsyncIterator[ByteStream]:
        """Open `url`.

        Args:
            url: Absolute URL.
            headers: Sent beside the standard headers.
            turn: Which of a host's addresses to use, where it has several: counted round.

        Raises:
            DownloadError: It leads where no download may go, or redirects too often.
            TransportError: No response.
            UnusableReplyError: The host can't be resolved just now, or a redirect leads nowhere.
        """
        was_secure = False
        for _ in range(self.redirects_max + 1):
            scheme = url[:6].lower()
            if was_secure and scheme.startswith("http:"):
                raise errors.DownloadError(f"A redirect leads from https to http ({shown_url(url)}). {_ASK_VENDOR}")
            was_secure = scheme == "https:"
            addresses = await self._addresses(url, turn)
            # Not kept: a connection to an address would serve the next host there too, under this host's TLS name.
            sent = {**headers, "connection": "close"}
            async with self.pool.get(
                url, headers=sent, addresses=addresses, read_timeout_s=self.read_timeout_s, is_bulk=True
            ) as stream:
                if stream.status_code not in REDIRECTS:
                    yield stream
                    return
                location = stream.location
            if location is None:
                raise UnusableReplyError("the server redirects without saying where to")
            url = location
        raise errors.DownloadError(
            f"The result's URL redirects more than {self.redirects_max} times ({shown_url(url)}). {_ASK_VENDOR}"
        )

    async def _addresses(self, url: str, turn: int) -> list[str]:
        try:
            return await self.vetting.addresses_of(url, turn=turn)
        except UnresolvedHostError:
            failure: Exception = UnusableReplyError("its host cannot be resolved")
        except ForbiddenURLError as error:
            # What is no URL is not shown: nothing in it can be told from a secret.
            end = f" ({shown_url(url)}). {_TRUST_IT}" if error.is_trustable else f". {_ASK_VENDOR}"
            failure = errors.DownloadError(f"The result's URL {error.reason}{end}")
        raise failure
