"""Sources of bytes: a local file or anything else read by position, and the file object for PyAV."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol

import attrs

from hitpaw_async._lacks import lack_of
from hitpaw_async.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from types import TracebackType
    from typing import Self

__all__ = ["ByteSource", "LocalSource", "RefusedError", "SourceFile"]


class RefusedError(Exception):
    """A source is not a usable video; says why and what to do, as sentences. Becomes a `MediaError`."""


class ByteSource(Protocol):
    """Bytes by position."""

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes, or None if it is unknown."""
        ...

    @property
    def sample_bytes_max(self) -> int:
        """Bytes of video that may be read to learn facts that headers lack."""
        ...

    @property
    def visits_max(self) -> int:
        """Fragments that may be visited to learn facts that headers lack."""
        ...

    def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        ...


@attrs.define(eq=False)
class LocalSource:
    """A file of this machine.

    Raises:
        RefusedError: It is no file, or cannot be opened or read.
    """

    path: str
    check: Callable[[], object] = lambda: None
    """Called before each read; what it raises ends the reading."""
    sample_bytes_max: int = 1 << 28
    """More than the vendor accepts: the frames of any file that it takes are all counted."""
    visits_max: int = 1 << 16
    size_bytes: int = attrs.field(init=False, default=0)
    _file: FileIO = attrs.field(init=False)

    def __enter__(self) -> Self:
        refusal: RefusedError | TransportError | None = None
        try:
            # Looked at before it is opened: opening a pipe waits for its other end.
            status = os.stat(self.path)  # noqa: PTH116 (the path may not be a Path)
            if stat.S_ISREG(status.st_mode):
                self._file = open(self.path, "rb", buffering=0)  # noqa: PTH123 (closed in __exit__)
                self.size_bytes = status.st_size
            else:
                refusal = RefusedError("It is not a file. Name the video file itself.")
        except (OSError, ValueError) as error:
            refusal = _cannot_read(error)
        if refusal is not None:
            raise refusal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end.

        Raises:
            RefusedError: The disk fails.
        """
        self.check()
        if position >= self.size_bytes:
            return b""  # A damaged file points anywhere, also where no file system can seek.
        refusal = None
        try:
            self._file.seek(position)
            return self._file.read(count)
        except OSError as error:
            refusal = _cannot_read(error)
        raise refusal


def _cannot_read(error: OSError | ValueError) -> RefusedError | TransportError:
    lack = lack_of(error)
    if lack is not None:
        return TransportError(f"The source can't be read just now: {lack}.")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return RefusedError(f"It cannot be read ({reason}). Check the path, and that you may read it.")


@attrs.define(eq=False)
class SourceFile:
    """A source as a file object for PyAV. It remembers what failed, and from then on is at its end.

    It never raises into PyAV, which would keep the exception, and print it or raise it at some later, unrelated call.
    """

    _source: ByteSource
    failure: BaseException | None = None
    """The first failure of the source. Nothing is read after it."""
    _position: int = 0

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes, or None if it is unknown."""
        return self._source.size_bytes

    @property
    def sample_bytes_max(self) -> int:
        """Bytes of video that may be read to learn facts that headers lack."""
        return self._source.sample_bytes_max

    @property
    def visits_max(self) -> int:
        """Fragments that may be visited to learn facts that headers lack."""
        return self._source.visits_max

    def read_at(self, position: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end.

        Raises:
            OSError: The source failed, now or before; `failure` is what it raised.
        """
        if self.failure is None:
            try:
                return self._source.read_at(position, count)
            except BaseException as error:  # noqa: BLE001 (kept, and raised by whoever owns this file)
                self.failure = error
        raise OSError("The source failed.")

    def read(self, count: int) -> bytes:
        """The next bytes; none at the end, or once the source failed."""
        try:
            data = self.read_at(self._position, count)
        except OSError:
            return b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position.

        Returns:
            The new position, or -1 where it cannot be set: FFmpeg asks where the end is, and does without an answer.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes}.get(whence)
        if base is None or base + offset < 0:
            return -1
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position
