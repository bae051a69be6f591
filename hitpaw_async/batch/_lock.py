"""One process per journal: an advisory lock on a file of its own.

Not on the database: closing any other handle to a file drops this process's POSIX locks on it, and other programs may
open the database at will.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileLock"]

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Held from construction to `release`, or to the end of the process, however it ends.

    Raises:
        JournalError: Another process holds it, or the file can't be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise JournalError(
                f"The lock file {path} cannot be made ({error.strerror}). Choose another folder."
            ) from None
        try:
            _try_lock(self._descriptor)
        except OSError:
            os.close(self._descriptor)
            raise JournalError(
                f"Another process works on this journal (lock file {path}). Wait until it ends, or use another journal."
            ) from None

    def read(self, bytes_max: int) -> bytes:
        """What was last written into the file."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, bytes_max)

    def write(self, data: bytes) -> None:
        """Write over the file's beginning. Not flushed to disk: see `flush`.

        Raises:
            OSError: It could not be written.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, data)

    def flush(self) -> None:
        """Flush what was written to disk.

        Raises:
            OSError: It could not be written.
        """
        os.fsync(self._descriptor)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)
