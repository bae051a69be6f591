"""Local files: what their content is, and folders of them, walked in a stable order. It blocks: use a worker thread."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from hitpaw_async._lacks import lack_of
from hitpaw_async.errors import StorageError
from hitpaw_async.storage._protocols import LocalVideo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "SAMPLE_BYTES",
    "VIDEO_ENDINGS",
    "Chosen",
    "FoundFile",
    "changed",
    "content_digest",
    "read_video",
    "sample_offsets",
    "unreadable",
    "walk",
]

SAMPLE_BYTES: Final = 1 << 16
VIDEO_ENDINGS: Final = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
"""How files are called that v3 takes, in lower case."""

_HIDDEN_ON_WINDOWS: Final = getattr(stat, "FILE_ATTRIBUTE_HIDDEN", 2)


def sample_offsets(size_bytes: int) -> list[int]:
    """Where the samples of a content begin: at its beginning, its middle and its end."""
    return sorted({0, max(0, size_bytes // 2 - SAMPLE_BYTES // 2), max(0, size_bytes - SAMPLE_BYTES)})


def content_digest(size_bytes: int, samples: Sequence[bytes | memoryview]) -> str:
    """What a content is: 32 hexadecimal digits. Pure.

    Args:
        size_bytes: How many bytes it has.
        samples: Up to `SAMPLE_BYTES` from each of `sample_offsets`, in that order.
    """
    digest = hashlib.sha256(size_bytes.to_bytes(8, "big"))
    for sample in samples:
        digest.update(sample)
    return digest.hexdigest()[:32]


def read_video(path: str | os.PathLike[str]) -> LocalVideo:
    """A file as it is now: a few reads, whatever its size.

    Raises:
        StorageError: It is no file, is empty, can't be read, or is being changed.
    """
    target = Path(path)
    failure = None
    try:
        # Looked at before it is opened: opening a pipe waits for its other end.
        if not stat.S_ISREG(target.stat().st_mode):
            raise _no_file(target, "is not a file. Name the video file itself, or a folder of them.")
        with target.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if not before.st_size:
                raise _no_file(target, "is empty. Copy or export the video again.")
            digest = content_digest(before.st_size, [_sample(file, each) for each in sample_offsets(before.st_size)])
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise changed(target)
        return LocalVideo(path=target, size_bytes=before.st_size, modified_ns=before.st_mtime_ns, digest=digest)
    except (OSError, ValueError) as error:
        failure = unreadable(target, error)
    raise failure


def _sample(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(SAMPLE_BYTES)


def _no_file(path: Path, problem: str) -> StorageError:
    return StorageError(f"{str(path)!r} {problem}", location=str(path), is_missing=True)


def changed(path: Path) -> StorageError:
    """A file that is not what it was when it was looked at."""
    return StorageError(
        f"{str(path)!r} was changed while it was read. Wait until whatever writes it is done, then run it again.",
        location=str(path),
        is_changed=True,
    )


def unreadable(path: Path, error: OSError | ValueError) -> StorageError:
    """A file that the system doesn't give."""
    lack = lack_of(error)
    if lack is not None:
        return StorageError(f"{str(path)!r} could not be read just now: {lack}.", location=str(path))
    reason = (error.strerror if isinstance(error, OSError) else None) or "the name has characters that no file has"
    return StorageError(
        f"{str(path)!r} cannot be read: {reason}. Check the path, and that you may read it.",
        location=str(path),
        is_denied=isinstance(error, PermissionError),
        is_missing=isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)),
    )


@attrs.frozen(kw_only=True)
class Chosen:
    """Which names in a folder or under a prefix are taken.

    A pattern without a slash is for a name at any depth, one with a slash for the path within the folder. `*` and `?`
    stop at a slash, `**` doesn't.
    """

    include: tuple[str, ...] = ()
    """Where there are any, they decide instead of the endings."""
    exclude: tuple[str, ...] = ()
    """What matches is left out, and all that is beneath it."""
    endings: frozenset[str] = VIDEO_ENDINGS
    """In lower case, with their dots."""

    def takes(self, path: str) -> bool:
        """Whether a path relative to the folder, with `/` between its parts, is taken."""
        parts = path.split("/")
        if any(part.startswith(".") for part in parts):
            return False
        if any(self.leaves_out("/".join(parts[: count + 1])) for count in range(len(parts))):
            return False
        if self.include:
            return any(_matches(pattern, path) for pattern in self.include)
        return os.path.splitext(parts[-1])[1].lower() in self.endings  # noqa: PTH122 (a key is no path)

    def leaves_out(self, path: str) -> bool:
        """Whether a file, or a folder with all that is in it, is left out by its own name."""
        return any(_matches(pattern, path) for pattern in self.exclude)


def _matches(pattern: str, path: str) -> bool:
    subject = path if "/" in pattern.rstrip("/") else path.rpartition("/")[2]
    return _compiled(pattern.rstrip("/")).fullmatch(subject) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    translated, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        if pattern.startswith("**/", position):
            translated, position = f"{translated}(?:.*/)?", position + 3
            continue
        if pattern.startswith("**", position):
            translated, position = f"{translated}.*", position + 2
            continue
        translated += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
        position += 1
    return re.compile(translated, re.DOTALL)


@attrs.frozen
class FoundFile:
    """A file in a folder that was walked."""

    path: Path
    relative: str
    """Its path within the folder, with `/` between its parts."""
    size_bytes: int

    @property
    def folder(self) -> str:
        """Its folder within the folder that was walked; empty at the top."""
        return self.relative.rpartition("/")[0]


def walk(
    folder: str | os.PathLike[str],
    chosen: Chosen | None = None,
    *,
    on_problem: Callable[[StorageError], None] | None = None,
) -> Iterator[FoundFile]:
    """The videos in a folder and the folders in it: each folder's own first, all by name.

    Hidden files and folders are left alone. Links are followed, and no folder is visited twice.

    Args:
        folder: Where to begin.
        chosen: Which names are taken; by default those with a video's ending.
        on_problem: Told of what can't be read; without it, that is raised.

    Raises:
        StorageError: The folder can't be read.
    """
    choice = chosen or Chosen()
    seen: set[tuple[int, int]] = set()
    left = [("", Path(folder))]
    while left:
        relative, path = left.pop()
        entries = _entries(path, seen, on_problem if relative else None)
        below: list[tuple[str, Path]] = []
        for entry in entries:
            name = f"{relative}{entry.name}"
            if _is_hidden(entry) or choice.leaves_out(name):
                continue
            if _is_folder(entry):
                below.append((f"{name}/", Path(entry.path)))
            elif choice.takes(name) and (size_bytes := _file_size(entry)) is not None:
                yield FoundFile(Path(entry.path), name, size_bytes)
        left += reversed(below)


def _entries(
    path: Path, seen: set[tuple[int, int]], on_problem: Callable[[StorageError], None] | None
) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where it was visited, or can't be read and somebody was told."""
    failure = None
    try:
        status = path.stat()
        # On Windows a file system may number nothing.
        identity = (status.st_dev, status.st_ino)
        if identity in seen and status.st_ino:
            return []
        seen.add(identity)
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (OSError, ValueError) as error:
        failure = unreadable(path, error)
    if on_problem is None:
        raise failure
    on_problem(failure)
    return []


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return True
    if os.name != "nt":
        return False
    try:
        attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    except OSError:
        return False
    return bool(attributes & _HIDDEN_ON_WINDOWS)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link that leads round in circles.


def _file_size(entry: os.DirEntry[str]) -> int | None:
    """The size of a file; None for a pipe, a device, and a link that leads nowhere."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
