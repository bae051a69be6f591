"""One local file, sent to an object: whole and verified, or nothing of it. It blocks: use a worker thread."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from hitpaw_async.errors import StorageError
from hitpaw_async.storage._files import changed, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from hitpaw_async.storage._objects import ObjectMeta, Objects, ObjectWriter
    from hitpaw_async.storage._protocols import LocalVideo

__all__ = ["BLOCK_BYTES", "blocks_of", "upload"]

_LOG = logging.getLogger("hitpaw_async")

BLOCK_BYTES: Final = 1 << 20


def upload(
    objects: Objects,
    key: str,
    video: LocalVideo,
    *,
    content_type: str,
    check: Callable[[], None],
    on_bytes: Callable[[int], None],
) -> ObjectMeta:
    """Send a file.

    Args:
        objects: The bucket.
        key: The object's whole key.
        video: The file, as it must be from beginning to end.
        content_type: What it is sent as.
        check: Called before each block; what it raises aborts the upload.
        on_bytes: Called with the bytes sent so far.

    Returns:
        What the store has.

    Raises:
        StorageError: The file was changed, the store fails, or has something else than was sent.
    """
    writer = objects.writer(key, content_type=content_type, size_bytes=video.size_bytes)
    blocks = blocks_of(video, check)
    try:
        for block, sent_bytes in blocks:
            writer.write(block)
            on_bytes(sent_bytes)
        check()
        writer.close()
    except BaseException:
        _abort(writer, objects.location(key))
        raise
    finally:
        blocks.close()
    meta = objects.head(key)
    if meta.size_bytes != video.size_bytes or objects.digest(meta) != video.digest:
        objects.delete(key)
        raise StorageError(
            f"{objects.location(key)} is not what was sent: {meta.size_bytes} bytes instead of {video.size_bytes}, or "
            "others. It was removed. Try again; if it stays so, the store is broken.",
            location=objects.location(key),
        )
    return meta


def _abort(writer: ObjectWriter, location: str) -> None:
    try:
        writer.abort()
    except StorageError as error:
        _LOG.warning("The unfinished upload of %s may be left: let a lifecycle rule remove it. %s", location, error)


def blocks_of(video: LocalVideo, check: Callable[[], None]) -> _Blocks:
    """The blocks of a file, each with the bytes read so far. The last step makes sure that it is still the same file.

    Raises:
        StorageError: It can't be read, or was changed.
    """
    return _Blocks(video, check)


class _Blocks:
    """An iterator that closes its file at its end."""

    def __init__(self, video: LocalVideo, check: Callable[[], None]) -> None:
        self._video = video
        self._check = check
        self._file: FileIO | None = None
        self._read_bytes = 0

    def __iter__(self) -> _Blocks:
        return self

    def __next__(self) -> tuple[bytes, int]:
        self._check()
        failure, block = None, b""
        try:
            block = self._block()
        except (OSError, ValueError) as error:
            failure = unreadable(self._video.path, error)
        if failure is not None:
            self.close()
            raise failure
        self._read_bytes += len(block)
        if not block or self._read_bytes > self._video.size_bytes:
            self.close()
            if self._read_bytes != self._video.size_bytes:
                raise changed(self._video.path)
            raise StopIteration
        return block, self._read_bytes

    def _block(self) -> bytes:
        if self._file is None:
            self._file = self._video.path.open("rb", buffering=0)
            self._require_same(self._file)
        block = self._file.read(BLOCK_BYTES)
        if not block:
            self._require_same(self._file)
        return block

    def _require_same(self, file: FileIO) -> None:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self._video.size_bytes, self._video.modified_ns):
            self.close()
            raise changed(self._video.path)

    def close(self) -> None:
        """Close the file. May be called at any time, more than once."""
        if self._file is not None:
            self._file.close()
