"""Whether a bucket does all that a batch asks of it, tried with one small object; and what is wrong, in words."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import attrs

from hitpaw_async.errors import HitPawError, StorageError
from hitpaw_async.storage._part import TEMPORARY_FOLDER
from hitpaw_async.storage._threads import in_thread

if TYPE_CHECKING:
    from hitpaw_async.storage._bucket import Bucket
    from hitpaw_async.storage._objects import Objects
    from hitpaw_async.storage._protocols import LocalVideo, Staging

__all__ = ["CHECK_CONTENT", "CheckStep", "Fetch", "Finding", "lifecycle_rule", "try_bucket", "try_link"]

Fetch: TypeAlias = Callable[[str, str, Mapping[str, str]], Awaitable[tuple[int, bytes]]]
"""Sends a request (method, URL, headers) as the vendor would; its status and its body."""

CHECK_CONTENT: Final = bytes(range(256)) * 4
_RANGE: Final = (100, 199)
_LINK_S: Final = 300.0


class CheckStep(StrEnum):
    """What is tried, in this order."""

    WRITE = "write"
    VERIFY = "verify"
    LIST = "list"
    SIGN = "sign"
    FETCH = "fetch"
    HEAD = "head"
    PUBLISH = "publish"
    TAKEN = "taken"
    REMOVE = "remove"


@attrs.frozen
class Finding:
    """What one step showed."""

    step: CheckStep
    is_good: bool
    words: str
    """What was found, and where it is bad, what to do."""
    is_warning: bool = False
    """Whether a batch works nevertheless."""


@attrs.define(eq=False)
class _Trial:
    bucket: Bucket
    objects: Objects
    prefix: str
    fetch: Fetch
    key: str
    copy: str
    findings: list[Finding] = attrs.field(factory=list)

    async def step(self, step: CheckStep, work: Callable[[], Awaitable[str]]) -> bool:
        """Try one step, and note what it shows."""
        try:
            words = await work()
        except HitPawError as error:
            self.findings.append(Finding(step, is_good=False, words=str(error)))
            return False
        self.findings.append(Finding(step, is_good=True, words=words))
        return True

    async def write(self) -> str:
        """Write a small object."""

        def work() -> None:
            writer = self.objects.writer(self.key, content_type="application/octet-stream")
            writer.write(CHECK_CONTENT)
            writer.close()

        await in_thread(work)
        return "Objects can be written."

    async def verify(self) -> str:
        """Look at it."""
        meta = await in_thread(partial(self.objects.head, self.key))
        head, _ = await in_thread(partial(self.objects.ends, meta))
        if head != CHECK_CONTENT:
            raise StorageError("What is read is not what was written: the store is broken.", location=self.key)
        return "What was written can be read."

    async def list(self) -> str:
        """List the prefix."""
        await self.bucket.names()
        return "Objects can be listed."

    async def publish(self) -> str:
        """Copy it to another name."""
        await in_thread(partial(self.objects.copy, self.key, self.copy, overwrite=False))
        return "Results can be given their names."

    async def taken(self) -> str:
        """Copy it to a name that is taken."""
        try:
            await in_thread(partial(self.objects.copy, self.key, self.copy, overwrite=False))
        except StorageError as error:
            if error.is_taken:
                return "Names that are taken are not replaced."
            raise
        raise StorageError(
            "The store replaces objects of the same name although it was told not to. Use a prefix of its own for each "
            "batch, or another store.",
            location=self.copy,
        )

    async def remove(self) -> str:
        """Remove both objects."""
        for key in (self.key, self.copy):
            await in_thread(partial(self.objects.delete, key))
        return "Objects can be removed."

    async def signed(self) -> None:
        """Sign a link, and fetch with it as the vendor does."""
        links: list[str] = []

        async def sign() -> str:
            links.append(await in_thread(partial(self.objects.sign, self.key, _LINK_S)))
            return "Links can be signed."

        if not await self.step(CheckStep.SIGN, sign):
            return
        if not await in_thread(self.objects.has_lasting_credentials):
            self.findings.append(
                Finding(
                    CheckStep.SIGN,
                    is_good=False,
                    words="The credentials belong to a session: links end with it, perhaps before link_s is over. Log "
                    "in for longer than a job takes, or use an access key that lasts.",
                    is_warning=True,
                )
            )
        await self.step(CheckStep.FETCH, partial(self._fetch_range, links[0]))
        status = await self._head(links[0])
        if status is not None and status != 200:
            self.findings.append(
                Finding(
                    CheckStep.HEAD,
                    is_good=False,
                    words=f"HEAD on such a link is answered {status}, as S3 does: a link is signed for one method. "
                    "Fetching is not affected.",
                    is_warning=True,
                )
            )
        elif status is not None:
            self.findings.append(Finding(CheckStep.HEAD, is_good=True, words="HEAD works on links as well."))

    async def _fetch_range(self, link: str) -> str:
        return await _fetched_range(self.fetch, link, self.bucket.url)

    async def _head(self, link: str) -> int | None:
        try:
            status, _ = await self.fetch("HEAD", link, {})
        except HitPawError:
            return None
        return status


async def _fetched_range(fetch: Fetch, link: str, location: str) -> str:
    first, last = _RANGE
    status, body = await fetch("GET", link, {"range": f"bytes={first}-{last}"})
    if status in (401, 403):
        raise StorageError(
            f"The link was refused (HTTP {status}). Check this machine's clock and the bucket's region, and that "
            "no policy of the bucket allows its own network alone.",
            location=location,
            is_denied=True,
        )
    if status != 206 or body != CHECK_CONTENT[first : last + 1]:
        raise StorageError(f"A part of the object could not be fetched by its link (HTTP {status}).", location=location)
    return "The vendor can fetch by links, in parts as well."


async def try_link(staging: Staging, video: LocalVideo, fetch: Fetch) -> list[Finding]:
    """Stage a small file with `CHECK_CONTENT`, fetch it by its link, and remove it as far as that can be done."""
    findings: list[Finding] = []
    try:
        staged = await staging.link(video)
    except HitPawError as error:
        return [Finding(CheckStep.WRITE, is_good=False, words=str(error))]
    findings.append(Finding(CheckStep.WRITE, is_good=True, words="Files can be uploaded."))
    try:
        words = await _fetched_range(fetch, staged.url, "the upload")
        findings.append(Finding(CheckStep.FETCH, is_good=True, words=words))
    except HitPawError as error:
        findings.append(Finding(CheckStep.FETCH, is_good=False, words=str(error)))
    if staged.object_key is not None:
        await staging.remove(staged.object_key)
    return findings


async def try_bucket(bucket: Bucket, objects: Objects, prefix: str, fetch: Fetch) -> list[Finding]:
    """Try each step, but those that need one that failed. Nothing that can be removed is left behind."""
    token = secrets.token_hex(8)
    key = f"{prefix}{TEMPORARY_FOLDER}check-{token}"
    trial = _Trial(bucket, objects, prefix, fetch, key, f"{key}-copy")
    if not await trial.step(CheckStep.WRITE, trial.write):
        return trial.findings
    try:
        if await trial.step(CheckStep.VERIFY, trial.verify):
            await trial.signed()
            if await trial.step(CheckStep.PUBLISH, trial.publish):
                await trial.step(CheckStep.TAKEN, trial.taken)
        await trial.step(CheckStep.LIST, trial.list)
    finally:
        with anyio.CancelScope(shield=True):
            await trial.step(CheckStep.REMOVE, trial.remove)
    return trial.findings


def lifecycle_rule(url: str, *, life_days: int, is_staging: bool) -> str:
    """A rule that removes what processes that died have left, in words, for a person to set. Nothing is changed."""
    scheme, prefix = url.partition("://")[0], url.split("/", 3)[3]
    swept = prefix if is_staging else f"{prefix}{TEMPORARY_FOLDER}"
    if scheme == "s3":
        rule: dict[str, object] = {
            "ID": f"hitpaw-{'staging' if is_staging else 'output'}",
            "Status": "Enabled",
            "Filter": {"Prefix": swept},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "Expiration": {"Days": life_days},
        }
        tool, document = "aws s3api put-bucket-lifecycle-configuration", {"Rules": [rule]}
    elif scheme == "gs":
        rules = [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
            {"action": {"type": "Delete"}, "condition": {"age": life_days, "matchesPrefix": [swept]}},
        ]
        tool, document = "gcloud storage buckets update --lifecycle-file", {"rule": rules}
    else:
        prefixes = [f"{url.split('/')[2]}/{swept}"]
        actions = {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": life_days}}}
        definition = {"actions": actions, "filters": {"blobTypes": ["blockBlob"], "prefixMatch": prefixes}}
        azure_rule = {"name": "hitpaw", "enabled": True, "type": "Lifecycle", "definition": definition}
        tool, document = "az storage account management-policy create", {"rules": [azure_rule]}
    return f"Add this lifecycle rule, e.g. with `{tool}`:\n{json.dumps(document)}"
