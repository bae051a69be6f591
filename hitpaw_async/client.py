"""`AsyncHitPaw`: export, task, watch, wait, enhance, download, over one shared pool of connections."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import anyio

from hitpaw_async import errors
from hitpaw_async._addresses import origins_of
from hitpaw_async._calls import ApiKey, VendorCalls
from hitpaw_async._core import pricing
from hitpaw_async._core.limits import requested
from hitpaw_async._core.pace import Pace
from hitpaw_async._core.protocol import V3
from hitpaw_async._hints import public_name
from hitpaw_async._lacks import loaded
from hitpaw_async._loops import LoopLocal
from hitpaw_async._paid import JobIdKeeper, accepted_as, tell
from hitpaw_async._proxies import Proxies
from hitpaw_async._sealing import sealed
from hitpaw_async._settings import (
    DEFAULT_BASE_URL,
    EXPORT_GRACE_S,
    checked_base_url,
    checked_connections,
    checked_grace_s,
    checked_kind,
    checked_timeout_s,
    checked_transport,
    checked_wait_s,
    host_from_environment,
    key_from_environment,
    require_no_connections,
)
from hitpaw_async._transport import HTTPClient, HTTPPool
from hitpaw_async._watching import each_change
from hitpaw_async.download import Downloader, target_of
from hitpaw_async.models import CreditQuote, ExportRequest, Job, JobStatus, ModelLike, ResolutionLike, VideoFacts
from hitpaw_async.policies import (
    BatchLimits,
    CreditBudget,
    DownloadPolicy,
    PollPolicy,
    RetryPolicy,
    Transport,
)

if TYPE_CHECKING:
    from hitpaw_async.batch.events import BatchEvent
    from hitpaw_async.batch.hooks import WebhookPolicy
    from hitpaw_async.batch.scheduler import BatchScheduler
else:
    BatchEvent, BatchScheduler, WebhookPolicy = map(public_name, ("BatchEvent", "BatchScheduler", "WebhookPolicy"))

__all__ = ["AsyncHitPaw"]

_LOG = logging.getLogger("hitpaw_async")

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_EXPORT_TIMEOUT_S: Final = 120.0


def _export_timeout_s(export_timeout: float | None, timeout: float) -> float:
    """The deadline of an export: its own, else the one that was given for all calls, else more than for a question."""
    if export_timeout is not None:
        return export_timeout
    return DEFAULT_EXPORT_TIMEOUT_S if timeout == DEFAULT_TIMEOUT_S else timeout


class AsyncHitPaw:
    """A client of HitPaw's Video Enhancer API v3. Use it as `async with AsyncHitPaw() as hitpaw:`.

    Args:
        api_key: The key; by default from the environment's `HITPAW_API_KEY`, else from the file, of one line, that
            `HITPAW_API_KEY_FILE` names (as Docker, Kubernetes and systemd hand over secrets).
        base_url: The vendor's address; by default from `HITPAW_API_BASE_URL`, else `https://api.hitpaw.com`.
        timeout: Deadline of one call in seconds, connecting and reading included.
        export_timeout: Deadline of an export alone, whose lost answer nobody can ask for again: by default 120 s, or
            `timeout` where another one than the default was given.
        max_connections: Calls on the wire at once. More callers wait their turn, at no cost.
        retry: How calls that were certainly not accepted are tried again.
        poll: How often a job is asked for.
        http_client: Your own `httpx.AsyncClient` (mTLS, event hooks), in place of `proxy` and `trust_env`. It is used
            and never closed. How far a send got can't always be watched on it: where it can't, an export that fails for
            anything but a refused connection is unknown.
        export_grace_s: How long a cancelled `export` or `enhance` waits for the answer to an export that has been sent,
            in seconds: its job id is what was paid for, and stands in a note of the exception and in the log.
        download: From where, how much and how patiently results are fetched, and sources probed.
        proxy: The http or https URL of a proxy that everything goes through. It resolves names itself.
        trust_env: Whether the environment's proxies (HTTPS_PROXY, ALL_PROXY, NO_PROXY) are used, where `proxy` is not
            given. By default they are not: whoever sets them would see where the key goes.
        transport: "aiohttp" (extra `fast`, asyncio alone) carries task calls at less CPU. Exports stay on
            connections that can be watched, downloads with threads that cost less.
        random_source: Where jitter comes from; for repeatable tests.

    Raises:
        ConfigurationError: There is no key, or a setting is not usable.
        MissingExtraError: The transport's extra is not installed.
    """

    base_url: str = DEFAULT_BASE_URL
    """The vendor's address."""

    def __init__(  # noqa: PLR0913 (each is one thing that somebody wants to set)
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        max_connections: int = 10,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        http_client: HTTPClient | None = None,
        export_grace_s: float = EXPORT_GRACE_S,
        download: DownloadPolicy | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        transport: Transport | str = Transport.HTTPX,
        random_source: random.Random | None = None,
        export_timeout: float | None = None,
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
        self._export_grace_s = checked_grace_s(export_grace_s)
        self._paces = LoopLocal(partial(Pace, self.poll.rate_max_hz))  # each loop has a clock of its own
        connections = checked_connections(max_connections)
        self._pool = HTTPPool(max_connections=connections, http_client=http_client, proxies=proxies, transport=carrier)
        self._fetch_pool = HTTPPool(max_connections=connections, http_client=http_client, proxies=proxies)
        self._calls = VendorCalls(
            self._pool,
            base_url=self.base_url,
            api_key=key,
            dialect=V3,
            timeout_s=checked_timeout_s(timeout),
            export_timeout_s=checked_timeout_s(_export_timeout_s(export_timeout, timeout), name="export_timeout"),
            retry=checked_kind(retry, RetryPolicy, name="retry") or RetryPolicy(),
            random_source=random_source,
        )
        given = checked_kind(download, DownloadPolicy, name="download") or DownloadPolicy()
        self._download_policy = given
        self._downloader = Downloader(
            self._fetch_pool,
            given,
            pin_addresses=self._fetch_pool.can_pin_addresses,
            trusted_origins=origins_of((self.base_url,)),
        )

    def __repr__(self) -> str:
        return f"AsyncHitPaw(base_url={self.base_url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an AsyncHitPaw can't be copied or pickled: its key would leave it. Make another one.")

    probes_by_default = True
    """Whether batches read unknown facts from sources where nobody said. `hitpaw_async.testing` says no."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that this client opened."""
        with anyio.CancelScope(shield=True):
            await self._pool.aclose()
            await self._fetch_pool.aclose()

    @sealed
    async def export(
        self,
        video_url: str | ExportRequest,
        *,
        model: ModelLike | None = None,
        resolution: ResolutionLike | None = None,
        extension: str = ".mp4",
        web_hook_url: str | None = None,
        model_name: str | None = None,
        original_resolution: ResolutionLike | None = None,
    ) -> Job:
        """Submit a video. An accepted export costs credits.

        It is sent once. Only what certainly was not accepted (no connection, a refusal, HTTP 429) is sent again.

        Args:
            video_url: The video's URL, which the vendor fetches itself, or a whole `ExportRequest`.
            model: One of the ten models, or its id.
            resolution: The target size.
            extension: File extension of the result.
            web_hook_url: Where the vendor posts when the job is final.
            model_name: The model by the vendor's name, in place of `model`.
            original_resolution: The source's size; needed with `model_name`.

        Returns:
            The job, with its id.

        Raises:
            InvalidRequestError: It breaks a limit; nothing was sent.
            SubmissionUnknownError: The answer was lost: it may have been accepted and charged.
            AuthenticationError: The key was refused.
            InsufficientCreditsError: The account has too few credits.
            APIError: The vendor refused it for another reason.
            TransportError: The vendor can't be reached; it was not accepted.
        """
        request = requested(
            video_url,
            model=model,
            resolution=resolution,
            extension=extension,
            web_hook_url=web_hook_url,
            model_name=model_name,
            original_resolution=original_resolution,
        )
        observer = JobIdKeeper()
        try:
            return await self._calls.export(request, observer=observer, grace_s=self._export_grace_s)
        except Exception:
            raise
        except BaseException as interruption:
            observer.tell(interruption, self._export_grace_s)
            raise

    @sealed
    async def task(self, job_id: str) -> Job:
        """Ask once how a job stands. Costs nothing.

        Raises:
            JobNotFoundError: The vendor doesn't know it.
            APIError: The vendor refused the question.
            TransportError: The vendor can't be reached, after retries.
            ProtocolError: The answer can't be understood, after retries.
        """
        return await self._calls.task(job_id)

    def watch(self, job_id: str | Job) -> AsyncIterator[Job]:
        """The job at each change of its status; the last one is final.

        An outage of the network or the vendor is waited out: the job goes on meanwhile.

        Raises:
            JobNotFoundError: The vendor doesn't know it.
            AuthenticationError: The key was refused.
        """
        watched = job_id if isinstance(job_id, str) else job_id.job_id
        return each_change(watched, calls=self._calls, policy=self.poll, pace=self.pace)

    @sealed
    async def wait(self, job_id: str | Job, *, timeout_s: float | None = None) -> Job:
        """Wait until a job is COMPLETED.

        Args:
            job_id: The job's id, or the job.
            timeout_s: The longest wait in seconds; None waits as long as it takes.

        Raises:
            JobFailedError: The vendor gave it up.
            JobTimeoutError: It was not finished in time. It goes on at the vendor, and is paid for.
            JobNotFoundError: The vendor doesn't know it.
        """
        longest_s = checked_wait_s(timeout_s)
        seen = Job(job_id=job_id) if isinstance(job_id, str) else job_id
        with anyio.move_on_after(longest_s):
            async for current in self.watch(seen):
                seen = current
        if seen.status is JobStatus.COMPLETED:
            return seen
        if seen.status is JobStatus.ERROR:
            raise errors.JobFailedError(seen)
        raise errors.JobTimeoutError(seen, longest_s)

    @sealed
    async def enhance(
        self,
        video_url: str | ExportRequest,
        *,
        model: ModelLike | None = None,
        resolution: ResolutionLike | None = None,
        extension: str = ".mp4",
        web_hook_url: str | None = None,
        model_name: str | None = None,
        original_resolution: ResolutionLike | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """Submit a video and wait until it is COMPLETED: `export`, then `wait`.

        Should the wait fail, the exception has a note with the job id: wait for that job, don't submit again.
        `timeout_s` bounds the wait for the job, as in `wait`. A timeout around this call is less kind: it may come
        before the job's id does.

        Raises:
            HitPawError: As `export` and `wait` do.
        """
        checked_wait_s(timeout_s)  # before anything is paid for
        job = await self.export(
            video_url,
            model=model,
            resolution=resolution,
            extension=extension,
            web_hook_url=web_hook_url,
            model_name=model_name,
            original_resolution=original_resolution,
        )
        try:
            return await self.wait(job, timeout_s=timeout_s)
        except Exception as error:
            error.add_note(accepted_as(job.job_id))
            raise
        except BaseException as interruption:
            tell(interruption, accepted_as(job.job_id))
            raise

    @sealed
    async def download(self, job_or_url: Job | str, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Bring a result to disk: complete or not at all.

        Args:
            job_or_url: A job, or a result's URL. A job whose URL is missing or has expired is asked for again.
            target: A file name, or a folder (one that exists, or a name that ends with a separator). In a folder, the
                file is called as its host says (Content-Disposition), else as its URL does.
            overwrite: Whether an existing file is replaced.

        Returns:
            The file.

        Raises:
            DownloadError: It can't be had, or not be written.
            JobFailedError: The vendor gave the job up.
        """
        if isinstance(job_or_url, str):
            url, job_id = job_or_url, None
        else:
            job_id = job_or_url.job_id
            url = job_or_url.res_url or await self.result_url(job_id)
        path, is_suggested = await target_of(url, target)
        return await self.fetch_result(url, path, job_id=job_id, overwrite=overwrite, is_named_by_host=is_suggested)

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
    async def has_result(self, url: str, path: Path) -> bool:
        """Whether `path` is a file as long as the result at `url`."""
        return await self._downloader.is_whole(url, path)

    @sealed
    async def result_url(self, job_id: str) -> str:
        """A fresh URL of a job's result.

        Raises:
            JobFailedError: The vendor gave the job up.
            DownloadError: The job is not finished.
        """
        job = await self._calls.task(job_id)
        if job.status is JobStatus.ERROR:
            raise errors.JobFailedError(job)
        if job.res_url is None:
            raise errors.DownloadError(f"Job {job_id} has no result yet (status {job.status_text}). Wait for it first.")
        return job.res_url

    @sealed
    async def probe(self, source: str | os.PathLike[str], *, timeout_s: float = 30) -> VideoFacts:
        """The facts of a source video, by this client's connections and trusted hosts; see `hitpaw_async.media.probe`.

        Raises:
            MediaError: It is no video that can be used.
            TransportError: It can't be reached, or leads into a private network.
            MissingExtraError: The extra `media` is not installed.
        """
        loaded("hitpaw_async.media")
        from hitpaw_async import media  # noqa: PLC0415 (an extra)

        return await media.probe(
            source,
            pool=self._fetch_pool,
            timeout_s=timeout_s,
            trusted_hosts=self._download_policy.trusted_hosts,
            trusted_origins=(self.base_url,),
        )

    def estimate(
        self,
        video: ExportRequest | VideoFacts,
        *,
        facts: VideoFacts | None = None,
        resolution: ResolutionLike | None = None,
    ) -> CreditQuote:
        """What a video would cost; see `hitpaw_async.estimate`."""
        return pricing.estimate(video, facts=facts, resolution=resolution)

    def batch(
        self,
        *,
        journal: str | os.PathLike[str] | None = None,
        budget: CreditBudget | int | None = None,
        limits: BatchLimits | None = None,
        output: str | os.PathLike[str] | None = None,
        probe: bool | None = None,
        name: str = "{stem}{ext}",
        webhooks: WebhookPolicy | None = None,
        on_event: Callable[[BatchEvent], None] | None = None,
        journal_wait_s: float = 0.0,
    ) -> BatchScheduler:
        """A batch of videos. Use it as `async with hitpaw.batch(...) as batch:`.

        Args:
            journal: The SQLite file that remembers every item; opened again, it goes on where it was. None keeps the
                journal in memory: what was paid for is lost track of when the process ends.
            budget: The most that may be spent, over all runs on this journal. None sets no limit.
            limits: How much happens at once.
            output: The folder for results, made where there is none. None downloads nothing.
            probe: Whether unknown facts about a source are read from it before it is priced (extra `media`). True
                rejects what is no video, and False reads nothing. None reads what it can where the extra is installed;
                what can't be read is priced at its worst.
            name: How results are named, e.g. `{stem}_{model}_{width}x{height}{ext}`.
            webhooks: Where the vendor's webhooks reach a `WebhookReceiver` of this batch.
            on_event: Called with each event of the batch, on the event loop; it must return at once.
            journal_wait_s: How long opening waits for another process that works on the journal (`math.inf`: until it
                ends), before it raises `JournalBusyError`.
        """
        loaded("hitpaw_async.batch.scheduler")
        from hitpaw_async.batch.scheduler import BatchScheduler  # noqa: PLC0415 (the one arrow up; see pyproject.toml)

        return BatchScheduler(
            self,
            journal=journal,
            budget=CreditBudget(budget) if isinstance(budget, int) else budget,
            limits=BatchLimits() if limits is None else limits,
            output=output,
            probe=probe,
            name=name,
            webhooks=webhooks,
            on_event=on_event,
            journal_wait_s=journal_wait_s,
        )

    @property
    def calls(self) -> VendorCalls:
        """The vendor's calls, for the layers above."""
        return self._calls

    @property
    def download_policy(self) -> DownloadPolicy:
        """How patiently results are fetched, for the layers above."""
        return self._download_policy

    @property
    def pace(self) -> Pace:
        """How many questions per second may be asked, for the layers above."""
        return self._paces.get()
