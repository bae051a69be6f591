"""One process per journal: advisory locks on a file beside it, and on the journal itself.

The lock file works wherever files can be locked. It stands beside a name, though: a second name of the journal has a
second one, and anybody may remove it. So where the system has locks that belong to an open file (Linux), one byte of
the journal is locked as well, far from those that SQLite locks. Nothing else of the journal may be opened and closed
meanwhile: closing any handle to a file drops the other locks that this process, and so SQLite, has on it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING, Final

from hitpaw_async.batch.journal.watermark import MARK_BYTES_MAX, MARK_PREFIX
from hitpaw_async.errors import JournalBusyError, JournalError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DatabaseLock", "FileLock"]

_HELD: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""What a system says of a lock that another process holds. Whatever else it says, it has no locks."""

_FLAGS: Final = (
    os.O_RDWR
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)

LOCKED_BYTE: Final = 0x3FFFFFFF
"""The last one before those that SQLite locks. Source: its sqliteInt.h, PENDING_BYTE."""

_ATTEMPTS_MAX: Final = 10

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        """Nothing to do: closing ends it, and nobody inherits it."""

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        """A child that was forked without our knowledge may hold the file open: it must not keep the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _open_plain(path: Path) -> int:
    """Open a plain file to be read and written, made where there is none. No link is followed.

    Raises:
        OSError: It can't be opened, is a symbolic or hard link, or no file.
    """
    descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ELOOP, "it is no plain file, or has another name elsewhere")


class FileLock:
    """Held from construction to `release`, or to the end of the process, however it ends.

    Raises:
        JournalBusyError: Another process holds it.
        JournalError: The file can't be made, or the file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = self._locked()

    def _locked(self) -> int:
        for _ in range(_ATTEMPTS_MAX):
            descriptor = self._opened()
            try:
                self._require_ours(descriptor)
                self._lock(descriptor)
                if is_at(self.path, descriptor):
                    self._require_locks()
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise JournalError(f"The lock file {self.path} is removed again and again. Choose another folder.")

    def _opened(self) -> int:
        try:
            return _open_plain(self.path)
        except OSError as error:
            advice = "Remove it." if error.errno == errno.ELOOP else "Choose another folder."
            raise JournalError(f"The lock file {self.path} cannot be used ({error.strerror}). {advice}") from None

    def _require_ours(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size <= MARK_BYTES_MAX:
            return
        if os.read(descriptor, len(MARK_PREFIX)) != MARK_PREFIX.encode():
            raise JournalError(f"{self.path} is another program's file. Give the journal another name.")

    def _lock(self, descriptor: int) -> None:
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            _try_lock(descriptor)
        except OSError as error:
            if error.errno in _HELD:
                raise JournalBusyError(
                    f"Another process works on this journal (lock file {self.path}). "
                    "Wait until it ends, or use another journal."
                ) from None
            raise self._no_locks(error.strerror or str(error)) from None

    def _require_locks(self) -> None:
        """Lock it once more, which must fail: there are file systems on which everybody may lock everything."""
        other = self._opened()
        try:
            _try_lock(other)
        except OSError:
            return
        finally:
            os.close(other)
        raise self._no_locks("whoever asks gets the lock")

    def _no_locks(self, reason: str) -> JournalError:
        return JournalError(
            f"The file system of {self.path} has no locks that work ({reason}), so that two programs could work on "
            "one journal at once, and pay twice. Nothing was submitted. Put the journal on a local disk."
        )

    def is_there(self) -> bool:
        """Whether the name still leads to the file that is locked."""
        return is_at(self.path, self._descriptor)

    def renew(self) -> None:
        """Lock the file that has the name now, and let go of the one that had it.

        Raises:
            JournalBusyError: Another process has done so.
            JournalError: It can't be made.
        """
        descriptor = self._locked()
        os.close(self._descriptor)
        self._descriptor = descriptor

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
        try:
            _unlock(self._descriptor)
        finally:
            os.close(self._descriptor)

    def forget(self) -> None:
        """In a child that was forked: close it, so that the lock ends with the parent alone."""
        os.close(self._descriptor)


class DatabaseLock:
    """The journal itself, locked where the system can, by whatever name it was opened. Release it after SQLite's own.

    Raises:
        JournalBusyError: Another process holds it, or another batch of this one.
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._descriptor = -1
        if path.exists():
            # Not opened: closing it again would drop the locks of the batch that has it.
            self._require_free(path.stat())
        # Made here, so that nobody else can read the sources' URLs in it.
        self._descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        try:
            found = os.fstat(self._descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise JournalError(f"{path} is no file. Name another one.")
            self._require_free(found)
            self.is_locked = self._try_lock()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._identity = found.st_dev, found.st_ino
        _HELD_HERE.add(self._identity)

    def _require_free(self, found: os.stat_result) -> None:
        if (found.st_dev, found.st_ino) in _HELD_HERE:
            raise JournalBusyError(
                f"Another process works on this journal, or another batch of this one ({self._path}). "
                "Wait until it ends, or use another journal."
            )

    def _try_lock(self) -> bool:
        """Lock it. False where the system has no such locks: then the lock file has to do."""
        if sys.platform == "win32" or not hasattr(fcntl, "F_OFD_SETLK"):
            return False
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _byte_lock(fcntl.F_WRLCK))
        except OSError as error:
            if error.errno in _HELD:
                raise JournalBusyError(
                    f"Another process works on this journal ({self._path}), by another name or without its lock file. "
                    "Wait until it ends, or use another journal."
                ) from None
            return False
        return True

    def is_there(self) -> bool:
        """Whether the name still leads to the file that was opened."""
        return is_at(self._path, self._descriptor)

    def release(self) -> None:
        """Let go."""
        if self._identity is not None:
            _HELD_HERE.discard(self._identity)
        if sys.platform != "win32" and self.is_locked:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _byte_lock(fcntl.F_UNLCK))
        os.close(self._descriptor)

    def forget(self) -> None:
        """In a child that was forked: close it, so that the lock ends with the parent alone."""
        if self._identity is not None:
            _HELD_HERE.discard(self._identity)
        os.close(self._descriptor)


_HELD_HERE: Final[set[tuple[int, int]]] = set()
"""Journals that this process has open for work, by device and inode."""


def _byte_lock(kind: int) -> bytes:
    """The kernel's `struct flock`, whose last field must be 0 for such locks."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, LOCKED_BYTE, 1, 0)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether a name leads to an open file."""
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
