"""`VendorStorage`: the vendor's own storage as staging, by presigned PUTs of its platform.

What it answers is not trusted: a file goes to a public https host alone, to the very address that was vetted, and the
key never goes there.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.uploads import UPLOAD_TYPES, PresignedPut, decode_presign, encode_presign, upload_type
from hitpaw_async._fetch.vetting import AddressVetting, ForbiddenURLError, UnresolvedHostError
from hitpaw_async._redact import redact_url, sealed
from hitpaw_async._transport import HTTPPool, StreamedFile
from hitpaw_async._urls.addresses import trusted_names
from hitpaw_async._validators import checked_number
from hitpaw_async._vendor.calls import VendorCalls
from hitpaw_async._vendor.credentials import ApiKey, key_from_environment
from hitpaw_async._vendor.settings import checked_base_url
from hitpaw_async.errors import StorageError
from hitpaw_async.policies import RetryPolicy
from hitpaw_async.storage._check import CHECK_CONTENT, Fetch, Finding, try_link
from hitpaw_async.storage._files import read_video
from hitpaw_async.storage._protocols import LocalVideo, Staged, StagedObject
from hitpaw_async.storage._threads import in_thread
from hitpaw_async.storage._upload import blocks_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PLATFORM_URL", "VendorStorage"]

PLATFORM_URL: Final = "https://api-base.hitpaw.com"
"""Source: platform document."""

_LIFE: Final = datetime.timedelta(days=7)
"""Uploads are deleted after that. Source: platform document."""
_ATTEMPTS_MAX: Final = 3
_KNOWN_LINKS_MAX: Final = 10_000
_MD5: Final = re.compile(r"[0-9a-f]{32}")


class VendorStorage:
    """The vendor's storage. It keeps what it is given for seven days.

    It belongs to the vendor's platform; whether it takes a key of v3 is not documented. `hitpaw doctor` can try.

    Args:
        api_key: The key; by default that of the client that uses it, else from the environment as the client's.
        base_url: The platform's address.
        timeout_s: Deadline of the call that asks for an upload, and the longest silence while sending.
        trusted_hosts: Hosts, or hosts with ports, that may be in a private network or have no TLS; for tests.

    Raises:
        ConfigurationError: A setting is not usable.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str = PLATFORM_URL,
        timeout_s: float = 60.0,
        trusted_hosts: Collection[str] = (),
    ) -> None:
        try:
            self._key = None if api_key is None else ApiKey(api_key)
        finally:
            del api_key  # Some tools show the local variables of a traceback.
        self.base_url = checked_base_url(base_url)
        self._timeout_s = float(checked_number(timeout_s, 1, 3600, name="VendorStorage.timeout_s"))
        self._trusted = trusted_names(trusted_hosts, setting="VendorStorage.trusted_hosts")
        self._make_pool: Callable[[], HTTPPool] = partial(HTTPPool, max_connections=2)
        self._links: dict[str, str] = {}
        """Where what was uploaded is found, by its key: these links are in no journal."""

    def __repr__(self) -> str:
        return f"VendorStorage(base_url={self.base_url!r})" if hasattr(self, "base_url") else "VendorStorage(?)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a VendorStorage can't be copied or pickled: its key would leave it. Make another one.")

    def of_client(self, key: ApiKey, make_pool: Callable[[], HTTPPool]) -> VendorStorage:
        """The same storage as a client uses it: with the client's key, unless it has its own, and its proxies."""
        made = object.__new__(VendorStorage)
        made._key, made._make_pool, made._links = self._key or key, make_pool, self._links
        made.base_url, made._timeout_s, made._trusted = self.base_url, self._timeout_s, self._trusted
        return made

    @sealed
    async def link(self, source: LocalVideo) -> Staged:
        """Upload a file, unless this object has done so already.

        Raises:
            StorageError: It has another ending than the vendor's storage takes, was changed, or was not taken.
            AuthenticationError: The key was refused.
            APIError: The vendor refused the upload for another reason.
            TransportError: The vendor can't be reached.
        """
        content_type = upload_type(source.path.suffix)
        if content_type is None:
            raise StorageError(
                f"The vendor's storage takes {', '.join(UPLOAD_TYPES)} alone, and not {source.path.name!r}. Stage it "
                "in a bucket (s3://, gs://, az://).",
                location=str(source.path),
            )
        earlier = source.earlier
        if earlier is not None and earlier.digest == source.digest and earlier.object_key in self._links:
            return self._staged(earlier.object_key, source, earlier.etag)
        pool = self._make_pool()
        try:
            return await self._upload(pool, source, content_type)
        finally:
            await pool.aclose()

    async def remove(self, object_key: str) -> None:
        """Forget the link. There is no call that removes an upload; the vendor does so after seven days."""
        self._links.pop(object_key, None)

    @sealed
    async def check(self, fetch: Fetch) -> list[Finding]:
        """Try an upload of a few bytes, and fetch it by its link. What is uploaded stays there for seven days.

        Args:
            fetch: GETs or HEADs a URL as the vendor would.

        Returns:
            What works and what doesn't, one finding a step, in words.
        """
        folder = await in_thread(partial(tempfile.mkdtemp, prefix="hitpaw-"))
        path = Path(folder, "check.mp4")
        try:
            await in_thread(partial(path.write_bytes, CHECK_CONTENT))
            return await try_link(self, await in_thread(partial(read_video, path)), fetch)
        finally:
            with anyio.CancelScope(shield=True):
                await in_thread(partial(shutil.rmtree, folder, ignore_errors=True))

    def _staged(self, object_key: str, source: LocalVideo, etag: str | None) -> Staged:
        expires_at = datetime.datetime.now(datetime.UTC) + _LIFE
        return Staged(self._links[object_key], expires_at, object_key, size_bytes=source.size_bytes, etag=etag)

    async def _upload(self, pool: HTTPPool, source: LocalVideo, content_type: str) -> Staged:
        calls = VendorCalls(
            pool,
            base_url=self.base_url,
            api_key=self._key or ApiKey(await in_thread(key_from_environment)),
            dialect=V3,
            timeout_s=self._timeout_s,
            retry=RetryPolicy(),
        )
        # A name of our own: that of the file is nobody's business.
        name = f"{source.digest}{source.path.suffix.lower()}"
        call = encode_presign(name, content_type, size_bytes=source.size_bytes)
        attempt = 0
        while True:
            attempt += 1
            put = await calls.ask(call, partial(decode_presign, V3))
            made = StagedObject(object_key=put.object_key, size_bytes=source.size_bytes, digest=source.digest)
            if source.announce is not None:
                await source.announce(made)
            sending = _Sending(source)
            try:
                etag = await self._send(pool, source, put, sending)
            except (errors.TransportError, _RefusedError) as error:
                failure = _failure(source, put, error)
                if attempt >= _ATTEMPTS_MAX or (isinstance(error, _RefusedError) and not error.may_pass):
                    raise failure from None
                continue
            finally:
                sending.close()
            if len(self._links) >= _KNOWN_LINKS_MAX:
                self._links.pop(next(iter(self._links)))
            self._links[put.object_key] = put.access_url
            whole = attrs.evolve(made, etag=etag, is_whole=True)
            if source.announce is not None:
                await source.announce(whole)
            return self._staged(put.object_key, source, etag)

    async def _send(self, pool: HTTPPool, source: LocalVideo, put: PresignedPut, sending: _Sending) -> str | None:
        """Send the file; the ETag that it has there.

        Raises:
            TransportError: There is no answer.
            _RefusedError: The storage did not take it, or has something else than was sent.
            StorageError: The file was changed, or its host may not be sent anything.
        """
        status_code, headers = await pool.put(
            put.upload_url,
            file=StreamedFile(source.size_bytes, sending.next_block),
            headers={"content-type": put.content_type, "connection": "close"},
            addresses=await self._vetted(pool, put.upload_url),
            silence_max_s=self._timeout_s,
        )
        if not 200 <= status_code < 300:
            raise _RefusedError(
                f"answered HTTP {status_code}",
                may_pass=status_code in (403, 408, 429) or status_code >= 500,
                is_denied=status_code in (401, 403),
            )
        return _checked_etag(headers, sending)

    async def _vetted(self, pool: HTTPPool, url: str) -> list[str]:
        vetting = AddressVetting(
            trusted_hosts=self._trusted, pin_addresses=pool.can_pin_addresses, resolve_timeout_s=self._timeout_s
        )
        shown = redact_url(url)[:200]
        try:
            return await vetting.addresses_of(url)
        except ForbiddenURLError as error:
            failure = StorageError(
                f"Nothing was sent: the URL for uploads that the vendor named {error.reason} ({shown}). Ask the "
                "vendor's support.",
                location=shown,
            )
        except UnresolvedHostError:
            failure = StorageError(
                f"The vendor's storage can't be found just now ({shown}). Try later.", location=shown
            )
        raise failure


class _RefusedError(Exception):
    """The storage did not take a file. Never leaves this module."""

    def __init__(self, reason: str, *, may_pass: bool, is_denied: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        self.is_denied = is_denied


class _Sending:
    """A file on its way: its blocks, and the digest of what was sent."""

    def __init__(self, source: LocalVideo) -> None:
        self._source = source
        self._blocks = blocks_of(source, lambda: None)
        self._digest = hashlib.md5(usedforsecurity=False)
        self._told_bytes = 0

    async def next_block(self) -> bytes:
        """The next block; none at the end.

        Raises:
            StorageError: The file was changed.
        """
        block, sent_bytes = await in_thread(self._read)
        if self._told_bytes and self._source.on_progress is not None:
            self._source.on_progress(self._told_bytes, self._source.size_bytes)
        self._told_bytes = sent_bytes
        return block

    def _read(self) -> tuple[bytes, int]:
        block, sent_bytes = next(self._blocks, (b"", self._source.size_bytes))
        self._digest.update(block)
        return block, sent_bytes

    @property
    def md5(self) -> str:
        """Of all that was read so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()


def _checked_etag(headers: Mapping[str, str], sending: _Sending) -> str | None:
    """The ETag, where it is one of ours or of no kind that can be compared."""
    etag = headers.get("etag", "").strip('"').lower()
    if _MD5.fullmatch(etag) and etag != sending.md5:
        raise _RefusedError("has something else than was sent", may_pass=True)
    return etag or None


def _failure(source: LocalVideo, put: PresignedPut, error: errors.TransportError | _RefusedError) -> errors.HitPawError:
    if isinstance(error, errors.TransportError):
        return error
    shown = redact_url(put.upload_url)[:200]
    return StorageError(
        f"{source.path.name!r} was not uploaded: the vendor's storage {error} ({shown}). Try again later, or stage it "
        "in a bucket.",
        location=shown,
        is_denied=error.is_denied,
    )
