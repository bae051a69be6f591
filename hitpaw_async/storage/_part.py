"""A result on its way into a bucket: what `Transfer` fills in place of a file. Nothing of it is ever on a disk.

It is completed under a temporary name, verified, then copied to its own by the store, which replaces nothing. So there
is the whole object under that name, or what was there before.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.errors import StorageError
from hitpaw_async.storage._files import SAMPLE_BYTES

if TYPE_CHECKING:
    from hitpaw_async.storage._objects import Objects, ObjectWriter

__all__ = ["TEMPORARY_FOLDER", "ObjectPart"]

_LOG = logging.getLogger("hitpaw_async")

TEMPORARY_FOLDER: Final = ".hitpaw/"
"""Under the output's prefix. A lifecycle rule may empty it: what processes that died have left is in there."""


@attrs.define(eq=False)
class ObjectPart:
    """A `Part` of a bucket.

    Its methods block, and may be called from different threads: a lock keeps them apart, and nothing is done any more
    once it is discarded.
    """

    objects: Objects = attrs.field(repr=False)
    prefix: str
    """Of the output: empty, or with a slash at its end."""
    name: str
    """The name within the output. Where it is taken, another may be set before the next `publish`."""
    content_type: str = "application/octet-stream"
    replaces: bool = False
    """Whether an object of that name is replaced in any case."""
    size_bytes: int = 0
    """Bytes written."""
    _temporary: str = attrs.field(init=False)
    _writer: ObjectWriter | None = attrs.field(default=None, init=False)
    _is_whole: bool = attrs.field(default=False, init=False)
    _is_discarded: bool = attrs.field(default=False, init=False)
    _head: bytes = attrs.field(default=b"", init=False, repr=False)
    _tail: bytes = attrs.field(default=b"", init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._temporary = f"{self.prefix}{TEMPORARY_FOLDER}{secrets.token_hex(8)}.part"

    @property
    def key(self) -> str:
        """The whole key that it will have."""
        return f"{self.prefix}{self.name}"

    @property
    def location(self) -> str:
        """The URL that it will have."""
        return self.objects.location(self.key)

    def open(self) -> None:
        """Begin. Nothing is sent yet.

        Raises:
            StorageError: The bucket can't be used.
        """
        with self._lock:
            if not self._is_discarded:
                self._begin()

    def _begin(self) -> None:
        self.size_bytes, self._head, self._tail = 0, b"", b""
        self._writer = self.objects.writer(self._temporary, content_type=self.content_type)

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append `data`.

        Raises:
            StorageError: The store fails.
        """
        with self._lock:
            # obstore keeps what it is given and sends it later: it needs a copy that nobody changes.
            block = bytes(data)
            self._opened.write(block)
            self.size_bytes += len(block)
            if len(self._head) < SAMPLE_BYTES:
                self._head += block[: SAMPLE_BYTES - len(self._head)]
            self._tail = (block if len(block) >= SAMPLE_BYTES else self._tail + block)[-SAMPLE_BYTES:]

    def restart(self) -> None:
        """Throw away what has been written.

        Raises:
            StorageError: The store fails.
        """
        with self._lock:
            self._abort()
            self._begin()

    def publish(self, *, overwrite: bool) -> None:
        """Complete and verify it, then give it its name.

        Raises:
            StorageError: The name is taken (`is_taken`), or the store fails. Nothing was published.
        """
        with self._lock:
            self._complete()
            self.objects.copy(self._temporary, self.key, overwrite=overwrite or self.replaces)
            self._remove()

    def _complete(self) -> None:
        if not self._is_whole:
            self._opened.close()
            self._writer, self._is_whole = None, True
        meta = self.objects.head(self._temporary)
        head, tail = self.objects.ends(meta)
        if (meta.size_bytes, head, tail) != (self.size_bytes, self._head, self._tail):
            raise StorageError(
                f"{self.location} was not published: the store has something else than was sent. Download it again.",
                location=self.location,
            )

    def has_content_of(self, name: str) -> bool:
        """Whether an object of that name is this result already: as long, and alike at its beginning, middle and end.

        False where it can't be told.
        """
        with self._lock:
            try:
                self._complete()
                theirs = self.objects.head(f"{self.prefix}{name}")
                ours = self.objects.head(self._temporary)
                return theirs.size_bytes == ours.size_bytes and self.objects.digest(theirs) == self.objects.digest(ours)
            except StorageError:
                return False

    def discard(self) -> None:
        """Abort it, or remove what was completed. May be called at any time, more than once."""
        with self._lock:
            self._is_discarded = True
            try:
                self._abort()
                self._remove()
            except StorageError as error:
                _LOG.warning(
                    "The unfinished result %s cannot be removed: remove it, or let a lifecycle rule do so. %s",
                    self.objects.location(self._temporary),
                    error,
                )

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()

    def _remove(self) -> None:
        if self._is_whole:
            self.objects.delete(self._temporary)
            self._is_whole = False

    @property
    def _opened(self) -> ObjectWriter:
        assert self._writer is not None, "used before it was opened or after it was discarded"
        return self._writer
