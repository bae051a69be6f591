"""Bytes and handles, set aside while a journal is open, so that the answers to what was sent can be written.

A full disk takes no row, and a process without a free file handle opens no rollback journal, however much is paid for.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ROOM_BYTES", "Reserve"]

ROOM_BYTES: Final = 4 << 20
"""Set aside on the disk."""

NEEDED_HANDLES: Final = 2
"""SQLite opens so many at once for a transaction: its own journal, and the folder that it makes it in."""

HANDLES: Final = 2 * NEEDED_HANDLES
"""Set aside of those that the process may have open."""

WITHOUT_HANDLES_MAX_S: Final = 1800.0
"""How long a transaction waits for a file handle, once those set aside were not enough."""

RETRY_AFTER_S: Final = 0.2

_FLAGS: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


_READING: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)


class Reserve:
    """The file `path`, full of bytes, and some open handles. Both are empty until they are set aside."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handles: list[int] = []
        self._without_since: float | None = None
        self.has_room = False
        """Whether the bytes are there."""

    def set_aside(self) -> None:
        """Fill the file, and open the handles: only written bytes are sure to be there, whatever the file system.

        What a dead process left is removed first. A link that lies there is removed, and not followed.

        Raises:
            OSError: The disk is full, or no handle is left. Nothing was taken.
        """
        try:
            descriptor = self._new_file()
            try:
                for _ in range(ROOM_BYTES >> 16):
                    os.write(descriptor, bytes(1 << 16))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._take_handles()
        except OSError:
            # The disk is as full as it was, and not fuller.
            self.remove()
            raise
        self.has_room = True

    def _new_file(self) -> int:
        try:
            return os.open(self._path, _FLAGS, 0o600)
        except FileExistsError:
            self._path.unlink()
            return os.open(self._path, _FLAGS, 0o600)

    def give_room(self) -> bool:
        """Free the bytes, for good. False where they are gone already.

        Raises:
            OSError: They can't be freed.
        """
        if not self.has_room:
            return False
        self.has_room = False
        self._path.unlink(missing_ok=True)
        return True

    def give_handles(self) -> bool:
        """Free the handles; where they are free already, wait a moment for others. False once that took too long."""
        if self._handles:
            self._close_handles()
            self._without_since = time.monotonic()
            return True
        if self._without_since is None or time.monotonic() - self._without_since > WITHOUT_HANDLES_MAX_S:
            return False
        time.sleep(RETRY_AFTER_S)
        return True

    def retake_handles(self) -> bool:
        """Whether the handles are set aside, now or again."""
        if not self._handles:
            try:
                self._take_handles()
            except OSError:
                return False
            self._without_since = None
        return True

    def is_starving(self) -> bool:
        """Whether the process can't open as many files as a transaction needs, beside those set aside."""
        handles = list[int]()
        try:
            while len(handles) < NEEDED_HANDLES:
                handles.append(os.open(os.devnull, _READING))
        except OSError as error:
            return error.errno in (errno.EMFILE, errno.ENFILE)
        finally:
            for handle in handles:
                os.close(handle)
        return False

    def _take_handles(self) -> None:
        try:
            while len(self._handles) < HANDLES:
                self._handles.append(os.open(os.devnull, _READING))
        except OSError:
            self._close_handles()
            raise

    def _close_handles(self) -> None:
        while self._handles:
            os.close(self._handles.pop())

    def remove(self) -> None:
        """Let go of all of it.

        Raises:
            OSError: The file can't be removed.
        """
        self.has_room = False
        self._close_handles()
        self._path.unlink(missing_ok=True)
