"""`Bucket`: a place in S3, Google Cloud Storage or Azure, for sources on their way and for results."""

from __future__ import annotations

import datetime
import os
import secrets
from collections.abc import Collection
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import anyio.from_thread
import attrs

from hitpaw_async._redact import sealed, without_frames
from hitpaw_async._urls.sources import BucketSource, parse_bucket
from hitpaw_async._validators import checked_number
from hitpaw_async.errors import ConfigurationError, HitPawError, InvalidRequestError, StorageError
from hitpaw_async.storage import _check
from hitpaw_async.storage._files import Chosen
from hitpaw_async.storage._objects import Objects
from hitpaw_async.storage._part import TEMPORARY_FOLDER, ObjectPart
from hitpaw_async.storage._protocols import LocalVideo, Staged, StagedObject
from hitpaw_async.storage._threads import in_stoppable_thread, in_thread
from hitpaw_async.storage._upload import upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitpaw_async.storage._objects import ObjectMeta

__all__ = ["LIFE_DAYS", "Bucket", "FoundObject", "content_type"]

LINK_MIN_S: Final = 60
LINK_MAX_S: Final = 7 * 86_400
"""S3 and Google sign for a week at most."""
LIFE_DAYS: Final = 8
"""After so many days a lifecycle rule may remove what was staged: the longest link, and a day."""

_CONTENT_TYPES: Final = {
    ".mp4": "video/mp4",
    ".m4v": "video/x-m4v",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".gif": "image/gif",
}


def content_type(name: str) -> str:
    """What a video of that name is sent as."""
    return _CONTENT_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")  # noqa: PTH122 (no path)


@attrs.frozen
class FoundObject:
    """A video under a prefix that was listed."""

    source: BucketSource
    relative: str
    """Its name under the prefix."""
    size_bytes: int
    etag: str | None

    @property
    def folder(self) -> str:
        """Its folder under the prefix; empty at the top."""
        return self.relative.rpartition("/")[0]

    @property
    def identity(self) -> str:
        """Which version of which object it is: signed anew or listed again, it is the same video."""
        return identity_of(self.source, self.etag, self.size_bytes)


def identity_of(source: BucketSource, etag: str | None, size_bytes: int) -> str:
    """What takes the place of a URL in an item's key."""
    return f"{source.url}#{etag or f'{size_bytes} bytes'}"


class Bucket:
    """A bucket, or a prefix in one: as `staging`, and as `output`.

    Credentials come from where the cloud's own tools have them: the environment, the AWS profiles, the machine's role,
    Google's application default credentials. Needs the extra `storage`.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
        endpoint: Another server that speaks the same language (MinIO, R2, Ceph); plain http if it says so.
        link_s: How long a link to a source is good, in seconds, from a minute to a week.
        overwrite: Whether results replace objects of their names.
        client: Settings of obstore's store, e.g. `region`, `access_key_id`, `account_name`, `client_options`.

    Raises:
        ConfigurationError: It names no bucket, or a setting is not usable.
        MissingExtraError: The extra is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        link_s: float = 86_400,
        overwrite: bool = False,
        **client: Any,
    ) -> None:
        failure = None
        try:
            self._root = _folder(url)
            self.link_s = float(checked_number(link_s, LINK_MIN_S, LINK_MAX_S, name="Bucket.link_s"))
            self.overwrite = overwrite
            if endpoint is not None:
                client["base_url" if self._root.scheme == "gs" else "endpoint"] = endpoint.rstrip("/")
            self._objects = Objects(attrs.evolve(self._root, key=""), client)
        except HitPawError as error:
            failure = without_frames(error)
        del client  # Some tools show the local variables of a traceback.
        if failure is not None:
            raise failure

    def __repr__(self) -> str:
        # One whose arguments were refused has no URL.
        return f"Bucket({self.url!r})" if hasattr(self, "_root") else "Bucket(?)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Bucket can't be copied or pickled: its keys would leave it. Make another one.")

    @property
    def url(self) -> str:
        """As it was named, with a slash at its end."""
        return self._root.url

    def sibling(self, url: str) -> Bucket:
        """Another bucket or prefix of the same account: where sources are, e.g.

        Raises:
            ConfigurationError: It is of another cloud, or names no bucket.
        """
        root = _folder(url)
        if root.scheme != self._root.scheme:
            raise ConfigurationError(f"{root.url} is not where {self._root.scheme}:// is. Make a Bucket of its own.")
        made = object.__new__(Bucket)
        made._root, made._objects = root, self._objects.of(root)
        made.link_s, made.overwrite = self.link_s, self.overwrite
        return made

    # Staging

    @sealed
    async def link(self, source: LocalVideo) -> Staged:
        """Bring a file there, unless what was made earlier is still good, and sign a link.

        Raises:
            StorageError: The file was changed, or the store does not take or give it.
        """
        made = await self._usable(source)
        if made is None:
            made = await self._upload(source)
        key = self._key_of(made.object_key)
        return await self._signed(self._objects, key, object_key=made.object_key, of=made)

    @sealed
    async def link_object(self, source: BucketSource) -> Staged:
        """Sign a link to an object that is there already. `object_key` is None: it is nobody's to remove.

        Raises:
            StorageError: It doesn't exist, or can't be read or signed.
        """
        objects = self._objects.of(source)
        meta = await in_thread(partial(objects.head, source.key))
        return await self._signed(objects, source.key, object_key=None, of=meta)

    @sealed
    async def remove(self, object_key: str) -> None:
        """Remove what `link` made; nothing where it no longer exists.

        Raises:
            StorageError: It is elsewhere, or can't be removed.
        """
        key = self._key_of(object_key)
        await in_thread(partial(self._objects.delete, key))

    async def _usable(self, source: LocalVideo) -> StagedObject | None:
        """What was made earlier, where it is unchanged and a link's life from any lifecycle rule."""
        earlier = source.earlier
        if earlier is None or not earlier.is_whole or earlier.digest != source.digest:
            return None
        if not earlier.object_key.startswith(self.url):
            return None
        try:
            meta = await in_thread(partial(self._objects.head, self._key_of(earlier.object_key)))
        except StorageError as error:
            if error.is_missing:
                return None
            raise
        age_s = (_now() - meta.modified_at).total_seconds()
        is_same = (meta.size_bytes, meta.etag) == (earlier.size_bytes, earlier.etag)
        return earlier if is_same and age_s + self.link_s < LIFE_DAYS * 86_400 else None

    async def _upload(self, source: LocalVideo) -> StagedObject:
        ending = PurePosixPath(source.path.name).suffix.lower()
        name = f"{source.digest[:16]}-{secrets.token_hex(8)}{ending if ending.isascii() else ''}"
        key = f"{self._root.key}{name}"
        begun = StagedObject(object_key=self.location(name), size_bytes=source.size_bytes, digest=source.digest)
        if source.announce is not None:
            await source.announce(begun)
        tell = source.on_progress

        def on_bytes(sent_bytes: int) -> None:
            if tell is not None:
                anyio.from_thread.run_sync(tell, sent_bytes, source.size_bytes)

        def work(check: Callable[[], None]) -> ObjectMeta:
            kind = content_type(source.path.name)
            return upload(self._objects, key, source, content_type=kind, check=check, on_bytes=on_bytes)

        meta = await in_stoppable_thread(work)
        whole = attrs.evolve(begun, etag=meta.etag, is_whole=True)
        if source.announce is not None:
            await source.announce(whole)
        return whole

    async def _signed(
        self, objects: Objects, key: str, *, object_key: str | None, of: StagedObject | ObjectMeta
    ) -> Staged:
        expires_at = _now() + datetime.timedelta(seconds=self.link_s)
        url = await in_thread(partial(objects.sign, key, self.link_s))
        return Staged(url, expires_at, object_key, size_bytes=of.size_bytes, etag=of.etag)

    def _key_of(self, object_key: str) -> str:
        if not object_key.startswith(self.url):
            raise StorageError(
                f"{object_key} is not in {self.url}: it was staged elsewhere. Name that bucket again, or "
                "remove it there.",
                location=object_key,
            )
        return object_key[len(self.url) - len(self._root.key) :]

    # Output

    def open(self, name: str) -> ObjectPart:
        """A part that will be published as `name` under this prefix. Nothing is sent until it is opened itself."""
        return ObjectPart(
            objects=self._objects,
            prefix=self._root.key,
            name=name,
            content_type=content_type(name),
            replaces=self.overwrite,
        )

    def location(self, name: str) -> str:
        """The URL of a result, without a signature."""
        return f"{self.url}{name}"

    @sealed
    async def size(self, name: str) -> int | None:
        """How many bytes a result has; None where there is none of that name.

        Raises:
            StorageError: It can't be found out.
        """
        try:
            meta = await in_thread(partial(self._objects.head, f"{self._root.key}{name}"))
        except StorageError as error:
            if error.is_missing and not error.is_denied:
                return None
            raise
        return meta.size_bytes

    @sealed
    async def names(self) -> Collection[str]:
        """The names of all objects under this prefix, in one listing.

        Raises:
            StorageError: It can't be listed.
        """
        prefix = self._root.key

        def work() -> set[str]:
            names = (meta.key.removeprefix(prefix) for meta in self._objects.list(prefix))
            return {name for name in names if not name.startswith(TEMPORARY_FOLDER)}

        return await in_thread(work)

    # Sources

    @sealed
    async def videos(self, chosen: Chosen | None = None) -> list[FoundObject]:
        """The videos under this prefix, in the order of their names. Hidden ones are left alone.

        Raises:
            StorageError: It can't be listed.
        """
        choice, prefix = chosen or Chosen(), self._root.key

        def work() -> list[FoundObject]:
            found = [
                FoundObject(attrs.evolve(self._root, key=meta.key), relative, meta.size_bytes, meta.etag)
                for meta in self._objects.list(prefix)
                if meta.size_bytes and choice.takes(relative := meta.key.removeprefix(prefix))
            ]
            return sorted(found, key=lambda each: each.relative)

        return await in_thread(work)

    # For `hitpaw doctor`

    @sealed
    async def check(self, fetch: _check.Fetch) -> list[_check.Finding]:
        """Try all that a batch does there, with a small object: write, sign, fetch, copy, list, remove.

        Args:
            fetch: GETs or HEADs a URL as the vendor would.

        Returns:
            What works and what doesn't, one finding a step, in words.
        """
        return await _check.try_bucket(self, self._objects, self._root.key, fetch)

    def lifecycle_rule(self, *, is_staging: bool) -> str:
        """A rule, in the cloud's own language, that removes what processes that died have left. A person sets it.

        Args:
            is_staging: Whether it is for sources, whose whole prefix it sweeps, or for results, where it sweeps
                `.hitpaw/` alone.
        """
        return _check.lifecycle_rule(self.url, life_days=LIFE_DAYS, is_staging=is_staging)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _folder(url: str) -> BucketSource:
    """The prefix that a URL names, with a slash at its end unless it is the whole bucket."""
    try:
        source = parse_bucket(url)
    except InvalidRequestError as error:
        problem = " ".join(error.problems)
    except TypeError:
        problem = "A bucket is named by a text: s3://bucket/prefix."
    else:
        return attrs.evolve(source, key=source.key and f"{source.key.removesuffix('/')}/")
    raise ConfigurationError(problem)
