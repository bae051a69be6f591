"""A file in the making: written beside its target, made durable, then published under its name in one step.

All of it blocks: it runs in worker threads. On asyncio a cancelled caller can go on while its thread still works, so a
lock keeps the operations apart, and nothing is done any more to a file that has been discarded.

The writer of a part holds a lock on it for as long as it lives. A part that nobody holds was left by a process that
died: it is removed, never continued.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import stat
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from hitpaw_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Part", "PartFile", "make_folder", "prepare_target", "remove_abandoned", "require_storing"]

_LOG = logging.getLogger("hitpaw_async")

_PART_NAME: Final = re.compile(r"\..*\.[0-9a-f]{16}\.hitpaw\.part", re.DOTALL)
_PREFIX_BYTES_MAX: Final = 60
_OPEN_ATTEMPTS_MAX: Final = 16
_COMPARED_BYTES: Final = 1 << 20
_CHECK_BYTES: Final = 1 << 20

WRITE_BYTES_MAX: Final = 1 << 17
"""At a time. For larger writes Linux caches larger pieces of memory, and a virtual machine that gives such pieces back
to its host pays for having them again: writing 384 MiB by the MiB took 0.66 s of CPU, and by this 0.08 s (Linux 6.18,
ext4)."""


_OPEN_FLAGS: Final = (
    os.O_RDWR
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
)

_ADVICE: Final = {
    errno.ENOSPC: "The disk is full: make room, or choose a folder on another one.",
    getattr(errno, "EDQUOT", errno.ENOSPC): "Your share of the disk is used up: make room, or choose another folder.",
    errno.EFBIG: "This file system, or a limit of this process, does not allow a file as large: choose another folder.",
    errno.EACCES: "Allow this program to write to that folder, or choose another.",
    errno.EPERM: "Allow this program to write to that folder, or choose another.",
    errno.EROFS: "That folder can only be read: choose another.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EEXIST: "A part of the path is a file, not a folder: choose another folder.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: choose another folder.",
}

if sys.platform == "win32":

    def _try_lock(descriptor: int) -> None:
        """Nothing to do: Windows removes no file that is open."""

    def _remove_unless_locked(path: Path) -> None:
        path.unlink()
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _remove_unless_locked(path: Path) -> None:
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            _try_lock(descriptor)
            path.unlink()
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a `DownloadError` that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = (error.strerror if isinstance(error, OSError) else None) or "the name has characters that no file has"
        advice = _ADVICE.get(number or 0, "Choose another name or folder.")
        is_unstored = isinstance(error, OSError)
        raise DownloadError(f"{str(path)!r} cannot be written: {reason}. {advice}", is_unstored=is_unstored) from error


def _exists_already(path: Path) -> DownloadError:
    return DownloadError(
        f"{str(path)!r} exists already. Choose another name, or pass overwrite=True to replace it.", is_taken=True
    )


def prepare_target(target: Path, *, overwrite: bool) -> Path:
    """Make the target's folder, and refuse a target that could not be published in the end.

    Returns:
        The target, absolute: the working directory may change meanwhile.

    Raises:
        DownloadError: It exists, is no file, or can't be written there.
    """
    with _explained(target):
        absolute = target.absolute()
        make_folder(absolute.parent)
        try:
            mode = os.lstat(absolute).st_mode
        except FileNotFoundError:
            return absolute
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise DownloadError(f"{str(target)!r} is not a file. Name a file, or a folder with a final separator.")
    if not overwrite:
        raise _exists_already(target)
    return absolute


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that they survive a power failure; nothing where there is one.

    Raises:
        OSError: It can't be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power failure, where the system can."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # A folder that may be written but not read can't be opened to be synced.
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove the parts that dead processes left in a folder, of whatever target."""
    # What can't be listed, locked or removed is in use, or not ours. It is in nobody's way: no name is used twice.
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART_NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_unless_locked(folder / entry.name)


def require_storing(folder: Path) -> None:
    """Try whether a folder takes a file of a mebibyte. It leaves nothing behind.

    Raises:
        DownloadError: It doesn't.
    """
    with _explained(folder):
        make_folder(folder)
        # A file without a name, where the system has such: nobody sees it, and it goes with its descriptor.
        with tempfile.TemporaryFile(dir=folder, prefix=".hitpaw-", buffering=0) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, _CHECK_BYTES)
            except (AttributeError, OSError) as error:
                # Not on macOS and Windows, and not each file system knows it.
                if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                    raise
                file.write(bytes(_CHECK_BYTES))


class Part(Protocol):
    """A result in the making. Its methods block: they are called in worker threads, one at a time."""

    @property
    def size_bytes(self) -> int:
        """Bytes written since it was opened or restarted."""
        ...

    def open(self) -> None:
        """Begin, with nothing."""
        ...

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append `data`, which holds only until this returns."""
        ...

    def restart(self) -> None:
        """Throw away what has been written."""
        ...

    def publish(self, *, overwrite: bool) -> None:
        """Give it its name, whole and durable, in one step.

        Raises:
            HitPawError: The name is taken (`is_taken`) and `overwrite` is False, or it can't be stored. Nothing is
                under the name that was not there before.
        """
        ...

    def discard(self) -> None:
        """Leave nothing behind that was not published. May be called at any time, more than once; it raises nothing."""
        ...


@attrs.define(eq=False)
class PartFile:
    """The received part of one file. Under the target's name there is the whole file or nothing."""

    target: Path
    """Absolute, as `prepare_target` gives it."""
    size_bytes: int = 0
    """Bytes written."""
    _path: Path | None = None
    _descriptor: int | None = None
    _is_discarded: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def open(self) -> None:
        """Create it, empty, under a name of its own in the target's folder.

        Raises:
            DownloadError: The folder doesn't allow it.
        """
        with self._lock, _explained(self.target):
            for _ in range(_OPEN_ATTEMPTS_MAX):
                if self._is_discarded or self._try_open():
                    return
            raise OSError(errno.EEXIST, "no name is free")

    def _try_open(self) -> bool:
        prefix = self.target.name.encode("utf-8", "ignore")[:_PREFIX_BYTES_MAX].decode("utf-8", "ignore")
        path = self.target.with_name(f".{prefix}.{secrets.token_hex(8)}.hitpaw.part")
        try:
            descriptor = os.open(path, _OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            _try_lock(descriptor)
        except BlockingIOError:
            # Another process took it for abandoned, between the two calls: it is about to remove it.
            os.close(descriptor)
            return False
        except OSError:
            _LOG.debug("This file system has no locks: parts that dead processes left stay in %s.", path.parent)
        if sys.platform != "win32" and os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            return False
        self._path, self._descriptor = path, descriptor
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Append `data`.

        Raises:
            DownloadError: The disk is full, or fails.
        """
        with self._lock, _explained(self.target):
            view = memoryview(data)
            while view:
                count = os.write(self._opened, view[:WRITE_BYTES_MAX])
                self.size_bytes += count
                view = view[count:]

    def restart(self) -> None:
        """Throw away what has been written.

        Raises:
            DownloadError: The disk fails.
        """
        with self._lock, _explained(self.target):
            os.lseek(self._opened, 0, os.SEEK_SET)
            os.ftruncate(self._opened, 0)
            self.size_bytes = 0

    def publish(self, *, overwrite: bool) -> None:
        """Make it durable, then give it the target's name.

        Raises:
            DownloadError: The target exists by now and `overwrite` is False, or the disk fails. Nothing was published.
        """
        with self._lock, _explained(self.target):
            os.fsync(self._opened)
            if os.fstat(self._opened).st_size != self.size_bytes:
                raise DownloadError(f"Another program changed the unfinished {self.target.name!r}. Download it again.")
            self._move(overwrite=overwrite)
            _sync_folder(self.target.parent)

    def has_content_of(self, path: Path) -> bool:
        """Tell if `path` is a file with exactly the same content. False if that is unknown."""
        with self._lock, contextlib.suppress(OSError):
            if not stat.S_ISREG(os.lstat(path).st_mode) or path.stat().st_size != self.size_bytes:
                return False
            os.lseek(self._opened, 0, os.SEEK_SET)
            with path.open("rb", buffering=0) as other:
                while block := os.read(self._opened, _COMPARED_BYTES):
                    if other.read(len(block)) != block:
                        return False
            return True
        return False

    def _move(self, *, overwrite: bool) -> None:
        assert self._path is not None
        if sys.platform == "win32":
            self._close()  # Windows renames no file that is open.
        try:
            if overwrite:
                self._path.replace(self.target)
            elif sys.platform == "win32":
                self._path.rename(self.target)  # On Windows it never replaces.
            else:
                _link_or_rename(self._path, self.target)
        except FileExistsError:
            raise _exists_already(self.target) from None

    def discard(self) -> None:
        """Close it and remove what is left of it. May be called at any time, more than once."""
        with self._lock:
            self._is_discarded = True
            path, self._path = self._path, None
            # The name goes first: once the lock is gone, another process may take it for abandoned.
            if sys.platform == "win32":
                self._close()
            try:
                if path is not None:
                    path.unlink(missing_ok=True)
            except OSError as error:
                _LOG.warning("The unfinished download %s cannot be removed (%s): remove it.", path, error.strerror)
            finally:
                self._close()

    @property
    def _opened(self) -> int:
        assert self._descriptor is not None, "used before it was opened or after it was discarded"
        return self._descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _link_or_rename(path: Path, target: Path) -> None:
    """Give `path` the name `target`, unless that exists.

    Linking never replaces. A file system without hard links (FAT, some network shares) leaves a moment between looking
    and renaming; still, what is there afterwards is a whole file.
    """
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        path.rename(target)
