"""One video at a time: staged before its export, and removed from there once the vendor needs it no more."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from hitpaw_async import errors
from hitpaw_async._urls.sources import BUCKET_SCHEMES, BucketSource, FileSource, WebSource, parse_bucket, parse_source
from hitpaw_async._vendor.paid import tell
from hitpaw_async.download import Downloader
from hitpaw_async.download.file_names import disposed_name, name_in_url, safe_name
from hitpaw_async.download.part_file import Part
from hitpaw_async.errors import InvalidRequestError, StorageError
from hitpaw_async.models import Job
from hitpaw_async.storage._bucket import Bucket
from hitpaw_async.storage._local import local_video
from hitpaw_async.storage._protocols import LocalVideo, Output, Staged, Staging

_LOG = logging.getLogger("hitpaw_async")

__all__ = ["BucketTarget", "bucket_target", "enhance_staged", "source_to_stage"]


def source_to_stage(video: object, staging: Staging | None) -> FileSource | BucketSource | None:
    """What the vendor can't fetch by itself; None where it is a URL, or whoever looks next refuses it.

    Raises:
        InvalidRequestError: It is on this machine, and there is no staging; or it names nothing.
    """
    is_path = isinstance(video, os.PathLike)
    is_bucket = isinstance(video, str) and video.partition(":")[0].lower() in BUCKET_SCHEMES
    if not is_path and not is_bucket and (staging is None or not isinstance(video, str)):
        return None
    source = parse_source(video)  # type: ignore[arg-type]
    if isinstance(source, WebSource):
        return None
    if isinstance(source, FileSource) and staging is None:
        problem = (
            "The video is on this machine, and the vendor fetches videos itself. Say where it can be fetched from, "
            "e.g. staging=hitpaw_async.storage.Bucket('s3://bucket/prefix/')."
        )
        raise InvalidRequestError([problem])
    return source


async def enhance_staged(
    source: FileSource | BucketSource,
    staging: Staging | None,
    *,
    check: Callable[[LocalVideo | Staged], Awaitable[None]],
    export: Callable[[str], Awaitable[Job]],
    wait: Callable[[Job], Awaitable[Job]],
) -> Job:
    """Stage a source, export its link, wait for the job, and remove what was made.

    Args:
        source: What to stage.
        staging: Where to. A bucket's object needs none.
        check: Awaited before anything is uploaded; what it raises is passed on.
        export: Submits a link.
        wait: Waits for the job's end.

    Raises:
        StorageError: It can't be staged.
        HitPawError: What the others raise.
    """
    if isinstance(source, FileSource):
        assert staging is not None, "source_to_stage refuses it"
        video = await local_video(source.path)
        await check(video)
        staged = await staging.link(video)
    else:
        is_near = isinstance(staging, Bucket) and staging.url.startswith(f"{source.scheme}:")
        bucket = staging if is_near and isinstance(staging, Bucket) else Bucket(f"{source.scheme}://{source.bucket}")
        staged = await bucket.link_object(source)
        await check(staged)
    job: Job | None = None
    try:
        job = await export(staged.url)
        job = await wait(job)
    except BaseException as error:
        is_over = isinstance(error, errors.JobFailedError) or (
            job is None
            and isinstance(error, errors.HitPawError)
            and not isinstance(error, errors.SubmissionUnknownError)
        )
        if is_over:
            await _remove(staging, staged)
        elif staged.object_key is not None:
            # The vendor fetches late: the object stays for as long as a job may need it.
            tell(error, f"The vendor may still need {staged.object_key}: remove it when the job is final.")
        raise
    await _remove(staging, staged)
    return job


async def _remove(staging: Staging | None, staged: Staged) -> None:
    """Remove what was made. That it can't be is no failure of the job."""
    if staging is None or staged.object_key is None:
        return
    try:
        await staging.remove(staged.object_key)
    except StorageError as error:
        left = staged.object_key
        _LOG.warning("The staged source %s is left: remove it, or let a lifecycle rule do so. %s", left, error)


@attrs.frozen
class BucketTarget:
    """Where in a bucket a result goes."""

    output: Output
    name: str
    is_suggested: bool
    """Whether the host of the result may name it otherwise."""

    async def fill(
        self, downloader: Downloader, url: str, *, overwrite: bool, refresh: Callable[[], Awaitable[str]] | None
    ) -> str:
        """Bring a result there; its location.

        Raises:
            DownloadError: It can't be had.
            StorageError: The name is taken, or the store fails.
        """
        name = self.name

        async def require_free() -> None:
            if (
                not overwrite
                and not getattr(self.output, "overwrite", False)
                and await self.output.size(name) is not None
            ):
                location = self.output.location(name)
                raise StorageError(
                    f"{location} exists already. Choose another name, or pass overwrite=True to replace it.",
                    location=location,
                    is_taken=True,
                )

        if not self.is_suggested:
            await require_free()

        async def take_name(headers: Mapping[str, str]) -> None:
            nonlocal name
            name = safe_name(disposed_name(headers.get("content-disposition")) or self.name)
            part.name = name
            await require_free()

        part = _Named(self.output, name)
        await downloader.fill(
            part,
            url,
            publish=lambda: part.publish(overwrite=overwrite),
            refresh=refresh,
            on_headers=take_name if self.is_suggested else None,
        )
        return self.output.location(name)


@attrs.define(eq=False)
class _Named:
    """A part whose name is known once it is asked for: it is made when it is first written to."""

    output: Output
    name: str
    _part: Part | None = None

    @property
    def size_bytes(self) -> int:
        return 0 if self._part is None else self._part.size_bytes

    def open(self) -> None:
        """Nothing yet."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        if self._part is None:
            self._part = self.output.open(self.name)
            self._part.open()
        self._part.write(data)

    def restart(self) -> None:
        if self._part is not None:
            self._part.restart()

    def publish(self, *, overwrite: bool) -> None:
        assert self._part is not None, "an empty result is refused"
        self._part.publish(overwrite=overwrite)

    def discard(self) -> None:
        if self._part is not None:
            self._part.discard()


def bucket_target(url: str, target: Any) -> BucketTarget | None:
    """Where a result goes, if that is a bucket: one that is named by a URL, or an `Output`; None where it is a path.

    Args:
        url: The result's, whose last part is its name in a prefix.
        target: `s3://bucket/name`, `s3://bucket/prefix/`, or an `Output`.

    Raises:
        ConfigurationError: The bucket can't be opened.
        InvalidRequestError: It names none.
    """
    suggested = safe_name(name_in_url(url) or "result.mp4")
    if isinstance(target, str):
        if target.partition(":")[0].lower() not in BUCKET_SCHEMES:
            return None
        source = parse_bucket(target)
        if source.names_folder:
            return BucketTarget(Bucket(target), suggested, is_suggested=True)
        folder, _, name = source.key.rpartition("/")
        return BucketTarget(Bucket(attrs.evolve(source, key=folder).url), name, is_suggested=False)
    if isinstance(target, os.PathLike) or not isinstance(target, Output):
        return None
    return BucketTarget(target, suggested, is_suggested=True)
