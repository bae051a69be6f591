"""What a place for sources and a place for results are: anything with these methods will do."""

from __future__ import annotations

import datetime
import json
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import attrs

from hitpaw_async._redact import redact_url
from hitpaw_async.download.part_file import Part

__all__ = ["LocalVideo", "Output", "Part", "Staged", "StagedObject", "Staging"]


@attrs.frozen(kw_only=True)
class StagedObject:
    """What a journal keeps of an object that was made for a job: enough to find, use and remove it, and no secret."""

    object_key: str
    """Names it to the place that made it; for a bucket, its whole URL."""
    size_bytes: int
    digest: str
    """What its content is, as `LocalVideo.digest` has it."""
    etag: str | None = None
    """The store's own word for this version of it; None until it is known to be whole, or where there is none."""
    is_whole: bool = False
    """Whether it was verified. Before that, there may be nothing, a part of it, or an unfinished upload."""

    def to_json(self) -> str:
        """As text for one column."""
        return json.dumps(attrs.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote, also of a later version: what is not known is left out.

        Raises:
            ValueError: It is something else.
        """
        try:
            read = json.loads(text)
            known = {field.name: read[field.name] for field in attrs.fields(cls) if field.name in read}
            return cls(**known)
        except (TypeError, RecursionError) as error:
            raise ValueError(f"no record of a staged object: {type(error).__name__}") from None


@attrs.frozen
class Staged:
    """A link under which the vendor can fetch a source. The link is a secret: whoever has it has the video."""

    url: str = attrs.field(repr=lambda url: repr(redact_url(url)))
    """Signed: it goes to the vendor, and nowhere else."""
    expires_at: datetime.datetime | None
    """When the link ends; None where it doesn't."""
    object_key: str | None
    """What `Staging.remove` takes once the job is final; None where nothing was made."""
    size_bytes: int | None = attrs.field(default=None, kw_only=True)
    etag: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class LocalVideo:
    """A file of this machine, as it was when it was looked at."""

    path: Path
    size_bytes: int
    modified_ns: int
    """When it was last written, in nanoseconds, as the file system says."""
    digest: str
    """What its content is, whatever it is called: SHA-256 over its size and three samples of 64 KiB."""
    earlier: StagedObject | None = attrs.field(default=None, eq=False)
    """What an earlier call or run made of it. It is used again if it is whole, unchanged and lives long enough."""
    announce: Callable[[StagedObject], Awaitable[None]] | None = attrs.field(default=None, eq=False, repr=False)
    """Awaited with the object's key before its first byte, and again when it is verified: a journal writes it down.
    What it raises ends the upload."""
    on_progress: Callable[[int, int], None] | None = attrs.field(default=None, eq=False, repr=False)
    """Called on the event loop with the bytes sent and the bytes in all."""


@runtime_checkable
class Staging(Protocol):
    """A place from which the vendor can fetch what lies on this machine."""

    def link(self, source: LocalVideo) -> Awaitable[Staged]:
        """Bring a file there, unless `source.earlier` is good, and sign a link.

        Called again with what was made, it costs no upload: links are signed right before they are used. If cancelled,
        it leaves nothing half done behind.

        Raises:
            StorageError: It can't be done.
        """
        ...

    def remove(self, object_key: str) -> Awaitable[None]:
        """Remove an object that `link` made; nothing if it no longer exists.

        Raises:
            StorageError: It can't be removed.
        """
        ...


@runtime_checkable
class Output(Protocol):
    """A place for results. Names are relative, with `/` between folders."""

    def open(self, name: str) -> Part:
        """A part that will be published as `name`. Nothing is sent until the part itself is opened."""
        ...

    def location(self, name: str) -> str:
        """The URL of a result, without a signature."""
        ...

    def size(self, name: str) -> Awaitable[int | None]:
        """How many bytes a result has; None if there is none of that name.

        Raises:
            StorageError: It can't be found out.
        """
        ...

    def names(self) -> Awaitable[Collection[str]]:
        """All names that are taken, in one listing.

        Raises:
            StorageError: It can't be found out.
        """
        ...
