"""`AsyncHitPaw`: export, task, watch, wait, enhance, download, over one shared pool of connections."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ForwardRef, Self, overload

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core import pricing
from hitpaw_async._core.limits import broken_limits, requested
from hitpaw_async._lacks import loaded
from hitpaw_async._redact import sealed
from hitpaw_async._session import DEFAULT_TIMEOUT_S, Session
from hitpaw_async._transport import HTTPClient
from hitpaw_async._vendor.paid import JobIdKeeper, accepted_as, tell
from hitpaw_async._vendor.settings import (
    DEFAULT_BASE_URL,
    EXPORT_GRACE_S,
    checked_grace_s,
    checked_wait_s,
)
from hitpaw_async._vendor.watch import each_change
from hitpaw_async.download import target_of
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
    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.batch.webhooks import WebhookPolicy
    from hitpaw_async.storage import LocalVideo, Output, Staged, Staging
    from hitpaw_async.storage._single import BucketTarget
else:
    # A client that opens no batch loads none of this: `typing.get_type_hints` loads them when somebody asks.
    BatchEvent, BatchScheduler, WebhookPolicy = (
        ForwardRef(f"__import__('hitpaw_async').{name}") for name in ("BatchEvent", "BatchScheduler", "WebhookPolicy")
    )
    LocalVideo, Output, Staged, Staging = (
        ForwardRef(f"__import__('hitpaw_async.storage', fromlist=['{name}']).{name}")
        for name in ("LocalVideo", "Output", "Staged", "Staging")
    )

__all__ = ["AsyncHitPaw"]

_LOG = logging.getLogger("hitpaw_async")

_UNSTAGED_URL: Final = "https://staging.invalid/video"
"""Stands in for a link while limits are checked. No host has this name: the top-level domain is reserved (RFC 2606)."""


def _bucket_target(url: str, target: str | os.PathLike[str] | Output) -> BucketTarget | None:
    """Location in a bucket for a result; None for a path."""
    if isinstance(target, os.PathLike) or (isinstance(target, str) and "://" not in target):
        return None
    loaded("hitpaw_async.storage._single")
    from hitpaw_async.storage._single import bucket_target  # noqa: PLC0415 (imports stay light)

    return bucket_target(url, target)


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
        trust_env: True to use the environment's proxies (HTTPS_PROXY, ALL_PROXY, NO_PROXY) if `proxy` is not
            given. By default they are not: whoever sets them would see where the key goes.
        transport: "aiohttp" (extra `fast`, asyncio alone) carries task calls at less CPU. Exports stay on
            connections that can be watched, downloads with threads that cost less.
        random_source: Source of jitter; for repeatable tests.

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
        self._export_grace_s = checked_grace_s(export_grace_s)
        try:
            self._session = Session(
                api_key=api_key,
                base_url=base_url,
                timeout=timeout,
                export_timeout=export_timeout,
                max_connections=max_connections,
                retry=retry,
                poll=poll,
                http_client=http_client,
                download=download,
                proxy=proxy,
                trust_env=trust_env,
                transport=transport,
                random_source=random_source,
            )
        finally:
            del api_key, proxy  # Some tools show the local variables of a traceback.
        self.base_url = self._session.base_url

    def __repr__(self) -> str:
        return f"AsyncHitPaw(base_url={self.base_url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an AsyncHitPaw can't be copied or pickled: its key would leave it. Make another one.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that this client opened."""
        await self._session.aclose()

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
            web_hook_url: URL to which the vendor posts when the job is final.
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
            return await self._session.calls.export(request, observer=observer, grace_s=self._export_grace_s)
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
        return await self._session.task(job_id)

    def watch(self, job_id: str | Job) -> AsyncIterator[Job]:
        """The job at each change of its status; the last one is final.

        An outage of the network or the vendor is waited out: the job goes on meanwhile.

        Raises:
            JobNotFoundError: The vendor doesn't know it.
            AuthenticationError: The key was refused.
        """
        watched = job_id if isinstance(job_id, str) else job_id.job_id
        return each_change(watched, calls=self._session.calls, policy=self._session.poll, pace=self._session.pace)

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
        video_url: str | os.PathLike[str] | ExportRequest,
        *,
        model: ModelLike | None = None,
        resolution: ResolutionLike | None = None,
        extension: str = ".mp4",
        web_hook_url: str | None = None,
        model_name: str | None = None,
        original_resolution: ResolutionLike | None = None,
        timeout_s: float | None = None,
        staging: Staging | None = None,
    ) -> Job:
        """Submit a video and wait until it is COMPLETED: `export`, then `wait`.

        A file of this machine (a path, `file://`) is uploaded to `staging` first, and removed from there once its job
        is final. An object in a bucket (`s3://`, `gs://`, `az://`) is linked where it is. Limits are checked before.

        Should the wait fail, the exception has a note with the job id: wait for that job, don't submit again.
        `timeout_s` bounds the wait for the job, as in `wait`. A timeout around this call is less kind: it may come
        before the job's id does.

        Raises:
            HitPawError: As `export` and `wait` do.
        """
        checked_wait_s(timeout_s)  # before anything is paid for
        fields: dict[str, Any] = {
            "model": model,
            "resolution": resolution,
            "extension": extension,
            "web_hook_url": web_hook_url,
            "model_name": model_name,
            "original_resolution": original_resolution,
        }
        wait = partial(self._wait_for_paid, timeout_s=timeout_s)
        named = video_url.video_url if isinstance(video_url, ExportRequest) else video_url
        if isinstance(named, str) and named[:4].lower() == "http":
            return await wait(await self.export(video_url, **fields))  # type: ignore[arg-type]
        return await self._enhance_staged(video_url, fields, staging, wait)

    async def _enhance_staged(
        self,
        video: str | os.PathLike[str] | ExportRequest,
        fields: dict[str, Any],
        staging: Staging | None,
        wait: Callable[[Job], Awaitable[Job]],
    ) -> Job:
        """Stage a source where it takes that, then export and wait."""
        loaded("hitpaw_async.storage._single")
        from hitpaw_async.storage._single import enhance_staged, source_to_stage  # noqa: PLC0415 (imports stay light)

        named = video.video_url if isinstance(video, ExportRequest) else video
        source = source_to_stage(named, staging)
        if source is None:
            assert not isinstance(video, os.PathLike), "a path is a source"
            return await wait(await self.export(video, **fields))
        unstaged = attrs.evolve(video, video_url=_UNSTAGED_URL) if isinstance(video, ExportRequest) else _UNSTAGED_URL
        request = requested(unstaged, **fields)

        async def check(found: LocalVideo | Staged) -> None:
            facts = request.facts or await self._facts_of(found)
            problems = broken_limits(request, facts)
            if problems:
                raise errors.InvalidRequestError(problems)

        return await enhance_staged(
            source,
            self._session.for_uploads(staging),
            check=check,
            export=lambda url: self.export(attrs.evolve(request, video_url=url)),
            wait=wait,
        )

    async def _facts_of(self, found: LocalVideo | Staged) -> VideoFacts:
        """Read the facts of a source before it is uploaded."""
        path = getattr(found, "path", None)
        if path is not None:
            try:
                return await self.probe(path)
            except errors.MissingExtraError:
                pass
        return VideoFacts(size_bytes=found.size_bytes)

    async def _wait_for_paid(self, job: Job, *, timeout_s: float | None) -> Job:
        """Wait for a job that was just paid for: whatever ends the wait says its id."""
        try:
            return await self.wait(job, timeout_s=timeout_s)
        except Exception as error:
            error.add_note(accepted_as(job.job_id))
            raise
        except BaseException as interruption:
            tell(interruption, accepted_as(job.job_id))
            raise

    @overload
    async def download(self, job_or_url: Job | str, target: os.PathLike[str], *, overwrite: bool = False) -> Path: ...
    @overload
    async def download(self, job_or_url: Job | str, target: Output, *, overwrite: bool = False) -> str: ...
    @overload
    async def download(self, job_or_url: Job | str, target: str, *, overwrite: bool = False) -> Path | Any: ...
    @sealed
    async def download(
        self, job_or_url: Job | str, target: str | os.PathLike[str] | Output, *, overwrite: bool = False
    ) -> Path | str:
        """Bring a result to disk, or into a bucket: complete or not at all.

        Args:
            job_or_url: A job, or a result's URL. A job whose URL is missing or has expired is asked for again.
            target: A file name, or a folder (one that exists, or a name that ends with a separator). In a folder, the
                file is called as its host says (Content-Disposition), else as its URL does. The same in a bucket:
                `s3://bucket/name`, `s3://bucket/prefix/`, or a `hitpaw_async.storage.Bucket`.
            overwrite: True to replace an existing file.

        Returns:
            The file; for a bucket, the URL of the object as a text, without a signature.

        Raises:
            DownloadError: It can't be had, or not be written.
            StorageError: The bucket does not take it, or has one of that name.
            JobFailedError: The vendor gave the job up.
        """
        if isinstance(job_or_url, str):
            url, job_id = job_or_url, None
        else:
            job_id = job_or_url.job_id
            url = job_or_url.res_url or await self._session.result_url(job_id)
        place = _bucket_target(url, target)
        if place is not None:
            return await self._session.fetch_to_bucket(url, place, job_id=job_id, overwrite=overwrite)
        assert isinstance(target, (str, os.PathLike)), "what is no place in a bucket is a path"
        path, is_suggested = await target_of(url, target)
        return await self._session.fetch_result(
            url, path, job_id=job_id, overwrite=overwrite, is_named_by_host=is_suggested
        )

    @sealed
    async def probe(self, source: str | os.PathLike[str], *, timeout_s: float = 30) -> VideoFacts:
        """The facts of a source video, by this client's connections and trusted hosts; see `hitpaw_async.media.probe`.

        Raises:
            MediaError: It is no video that can be used.
            TransportError: It can't be reached, or leads into a private network.
            MissingExtraError: The extra `media` is not installed.
        """
        return await self._session.probe(source, timeout_s=timeout_s)

    def estimate(
        self,
        video: ExportRequest | VideoFacts,
        *,
        facts: VideoFacts | None = None,
        resolution: ResolutionLike | None = None,
    ) -> CreditQuote:
        """Quote the price of a video; see `hitpaw_async.estimate`."""
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
            probe: True to read unknown facts about a source from it before it is priced (extra `media`). True
                rejects what is no video, and False reads nothing. None reads what it can where the extra is installed;
                what can't be read is priced at its worst.
            name: How results are named, e.g. `{stem}_{model}_{width}x{height}{ext}`.
            webhooks: URL at which the vendor's webhooks reach a `WebhookReceiver` of this batch.
            on_event: Called with each event of the batch, on the event loop; it must return at once.
            journal_wait_s: How long opening waits for another process that works on the journal (`math.inf`: until it
                ends), before it raises `JournalBusyError`.
        """
        loaded("hitpaw_async.batch.scheduler")
        from hitpaw_async.batch.scheduler import BatchScheduler  # noqa: PLC0415 (imports stay light)

        return BatchScheduler(
            self._session,
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
