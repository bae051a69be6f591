"""The inside of a client: the pools, the calls and the downloads that it and its batches share.

`AsyncHitPaw` is the face for users, `BatchScheduler` the owner of a batch; both stand on one `Session`, and neither on
the other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from hitpaw_async import errors
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.rate_limit import Pace
from hitpaw_async._lacks import loaded
from hitpaw_async._redact import sealed
from hitpaw_async._tasks import LoopLocal
from hitpaw_async._transport import REPLY_BYTES_MAX, HTTPClient, HTTPPool
from hitpaw_async._transport.proxies import Proxies
from hitpaw_async._urls.addresses import origins_of
from hitpaw_async._vendor.calls import VendorCalls
from hitpaw_async._vendor.credentials import ApiKey, key_from_environment
from hitpaw_async._vendor.settings import (
    DEFAULT_BASE_URL,
    checked_base_url,
    checked_connections,
    checked_kind,
    checked_timeout_s,
    checked_transport,
    host_from_environment,
    require_no_connections,
)
from hitpaw_async.download import Downloader
from hitpaw_async.models import Job, JobStatus, VideoFacts
from hitpaw_async.policies import DownloadPolicy, PollPolicy, RetryPolicy, Transport

if TYPE_CHECKING:
    import os
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hitpaw_async.storage import Bucket, Finding, Staging, VendorStorage
    from hitpaw_async.storage._single import BucketTarget

__all__ = ["DEFAULT_TIMEOUT_S", "Session"]

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_EXPORT_TIMEOUT_S: Final = 120.0


def _export_timeout_s(export_timeout: float | None, timeout: float) -> float:
    """The deadline of an export: its own, else the one that was given for all calls, else more than for a question."""
    if export_timeout is not None:
        return export_timeout
    return DEFAULT_EXPORT_TIMEOUT_S if timeout == DEFAULT_TIMEOUT_S else timeout


class Session:
    """One key at one host: its connections, calls, downloads and probes. The arguments are `AsyncHitPaw`'s."""

    base_url: str = DEFAULT_BASE_URL
    """The vendor's address."""
    probes_by_default = True
    """Default of batches for reading unknown facts from sources. `hitpaw_async.testing` switches it off."""

    def __init__(  # noqa: PLR0913 (each is one thing that somebody wants to set)
        self,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout: float,
        export_timeout: float | None,
        max_connections: int,
        retry: RetryPolicy | None,
        poll: PollPolicy | None,
        http_client: HTTPClient | None,
        download: DownloadPolicy | None,
        proxy: str | None,
        trust_env: bool,
        transport: Transport | str,
        random_source: random.Random | None,
    ) -> None:
        carrier = checked_transport(transport)
        if checked_kind(http_client, HTTPClient, name="http_client") is not None:
            require_no_connections(has_proxy=proxy is not None or trust_env, transport=carrier)
        try:
            key = ApiKey(key_from_environment() if api_key is None else api_key)
            proxies = Proxies.chosen(proxy, trust_env=trust_env)
        finally:
            del api_key, proxy  # Some tools show the local variables of a traceback.
        given_url = host_from_environment() if base_url is None else base_url
        self.base_url = checked_base_url(given_url or DEFAULT_BASE_URL)
        proxies.require_usable(self.base_url)
        self.poll = checked_kind(poll, PollPolicy, name="poll") or PollPolicy()
        """Policy for polls."""
        self._paces = LoopLocal(partial(Pace, self.poll.rate_max_hz))  # each loop has a clock of its own
        connections = checked_connections(max_connections)
        self.pool = HTTPPool(max_connections=connections, http_client=http_client, proxies=proxies, transport=carrier)
        """Carries the vendor's calls."""
        self.fetch_pool = HTTPPool(max_connections=connections, http_client=http_client, proxies=proxies)
        """Carries downloads and probes, from any host; the key never goes into it."""
        self._api_key = key
        # For uploads to the vendor's storage, whose connections are closed after each.
        self._make_upload_pool = partial(HTTPPool, max_connections=2, http_client=http_client, proxies=proxies)
        self.calls = VendorCalls(
            self.pool,
            base_url=self.base_url,
            api_key=key,
            dialect=V3,
            timeout_s=checked_timeout_s(timeout),
            export_timeout_s=checked_timeout_s(_export_timeout_s(export_timeout, timeout), name="export_timeout"),
            retry=checked_kind(retry, RetryPolicy, name="retry") or RetryPolicy(),
            random_source=random_source,
        )
        """The vendor's calls."""
        self.download_policy = checked_kind(download, DownloadPolicy, name="download") or DownloadPolicy()
        """From where, how much and how patiently results are fetched."""
        self._downloader = Downloader(
            self.fetch_pool,
            self.download_policy,
            pin_addresses=self.fetch_pool.can_pin_addresses,
            trusted_origins=origins_of((self.base_url,)),
        )

    def __repr__(self) -> str:
        return f"Session(base_url={self.base_url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Session can't be copied or pickled: its key would leave it")

    @property
    def pace(self) -> Pace:
        """The rate limit that all polls of one event loop share."""
        return self._paces.get()

    async def aclose(self) -> None:
        """Close the connections that were opened here."""
        with anyio.CancelScope(shield=True):
            await self.pool.aclose()
            await self.fetch_pool.aclose()

    @sealed
    async def task(self, job_id: str) -> Job:
        """Ask once how a job stands; see `AsyncHitPaw.task`."""
        return await self.calls.task(job_id)

    @sealed
    async def fetch_result(
        self,
        url: str,
        path: Path,
        *,
        job_id: str | None,
        overwrite: bool = False,
        adopts: bool = False,
        is_named_by_host: bool = False,
        refused_wait_s: float | None = None,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Path:
        """Bring `url` to `path`; if it has expired, the job is asked for a fresh one. See `Downloader.download`."""
        refresh = None if job_id is None else lambda: self.result_url(job_id)
        return await self._downloader.download(
            url,
            path,
            overwrite=overwrite,
            adopts=adopts,
            is_named_by_host=is_named_by_host,
            refused_wait_s=refused_wait_s,
            refresh=refresh,
            on_progress=on_progress,
        )

    @sealed
    async def fetch_to_bucket(
        self, url: str, target: BucketTarget, *, job_id: str | None, overwrite: bool = False
    ) -> str:
        """Bring `url` to a bucket, never to a disk; the object's location. See `fetch_result`."""
        refresh = None if job_id is None else lambda: self.result_url(job_id)
        return await target.fill(self._downloader, url, overwrite=overwrite, refresh=refresh)

    @sealed
    async def check_storage(self, place: Bucket | VendorStorage) -> list[Finding]:
        """Try all that a batch asks of a bucket, or of the vendor's storage; what each step showed, in words."""
        from hitpaw_async.storage import Bucket  # noqa: PLC0415 (few need it)

        bound = place if isinstance(place, Bucket) else place.of_client(self._api_key, self._make_upload_pool)
        return await bound.check(self._fetch_as_vendor)

    async def _fetch_as_vendor(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """The status and the beginning of the body of a link, fetched with nothing that only this client has."""
        body = bytearray()
        async with self.fetch_pool.get(url, headers=headers, is_head=method == "HEAD") as stream:
            if method != "HEAD":
                async for chunk in stream.chunks():
                    body += chunk
                    if len(body) >= REPLY_BYTES_MAX:
                        break
            return stream.status_code, bytes(body)

    def for_uploads(self, staging: Staging | None) -> Staging | None:
        """The same staging; the vendor's own storage with this session's key and proxies."""
        from hitpaw_async.storage import VendorStorage  # noqa: PLC0415 (few need it)

        if isinstance(staging, VendorStorage):
            return staging.of_client(self._api_key, self._make_upload_pool)
        return staging

    @sealed
    async def has_result(self, url: str, path: Path) -> bool:
        """Tell if `path` is a file as long as the result at `url`."""
        return await self._downloader.is_whole(url, path)

    @sealed
    async def result_url(self, job_id: str) -> str:
        """A fresh URL of a job's result.

        Raises:
            JobFailedError: The vendor gave the job up.
            DownloadError: The job is not finished.
        """
        job = await self.calls.task(job_id)
        if job.status is JobStatus.ERROR:
            raise errors.JobFailedError(job)
        if job.res_url is None:
            raise errors.DownloadError(f"Job {job_id} has no result yet (status {job.status_text}). Wait for it first.")
        return job.res_url

    @sealed
    async def probe(self, source: str | os.PathLike[str], *, timeout_s: float = 30) -> VideoFacts:
        """The facts of a source video; see `AsyncHitPaw.probe`."""
        loaded("hitpaw_async.media")
        from hitpaw_async import media  # noqa: PLC0415 (an extra)

        return await media.probe(
            source,
            pool=self.fetch_pool,
            timeout_s=timeout_s,
            trusted_hosts=self.download_policy.trusted_hosts,
            trusted_origins=(self.base_url,),
        )
