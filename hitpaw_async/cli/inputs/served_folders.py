"""Folders that the user publishes already: which URL a file of this machine has, and which file a URL is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, unquote

import attrs

from hitpaw_async._urls.addresses import is_web_url
from hitpaw_async.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["NOT_SERVED", "ServedFolders", "videos_in"]

NOT_SERVED: Final = (
    "It is on this machine, and the vendor fetches videos itself: give its URL, or say where its folder is published "
    "with --serve-from DIR=https://..."
)
_VIDEO_ENDINGS: Final = frozenset({".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm"})


@attrs.frozen
class _Served:
    """A folder and the URL under which the vendor reaches what is in it."""

    folder: Path
    """Absolute, as it was named: its links are not resolved."""
    base_url: str
    """Without a slash at its end."""


@attrs.frozen
class ServedFolders:
    """Folders with their URLs, as `--serve-from` names them."""

    _all: tuple[_Served, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """The folders as typed, DIR=URL each.

        Raises:
            UsageError: One of them is no folder, or has no URL that files could be under.
        """
        return cls(tuple(map(_parsed, texts)))

    def url_of(self, path: Path) -> str | None:
        """The URL of a file; None where none of the folders has it.

        A link inside a folder counts as the file that it leads to: what lies outside of the folder has no URL.
        """
        shown = Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links; `absolute` keeps "..")
        for served in self._all:
            if shown.is_relative_to(served.folder) and shown.resolve().is_relative_to(served.folder.resolve()):
                return f"{served.base_url}/{quote(shown.relative_to(served.folder).as_posix())}"
        return None

    def path_of(self, url: str) -> Path | None:
        """The file that a URL is; None where it is none of these folders'."""
        for served in self._all:
            prefix = f"{served.base_url}/"
            if url.startswith(prefix):
                named = served.folder / unquote(url.removeprefix(prefix).partition("?")[0])
                if _is_file_in(served.folder, named):
                    return named
        return None


def _is_file_in(folder: Path, named: Path) -> bool:
    try:
        return named.resolve().is_relative_to(folder.resolve()) and named.is_file()
    except (OSError, ValueError):
        # A URL may say what no file here can be called: a NUL, 300 letters, letters that the file system has not.
        return False


def _parsed(text: str) -> _Served:
    name, separator, url = text.partition("=")
    folder = Path(os.path.abspath(name))  # noqa: PTH100 (as above)
    is_usable = is_web_url(url) and url.isprintable() and not {"?", "#", " "} & {*url}
    if not separator or not name or not is_usable:
        raise UsageError(
            f"--serve-from {ascii(text)[:80]} is not DIR=URL: a folder, and the http or https URL under which it is "
            "published, without ? and #."
        )
    if not folder.is_dir():
        raise UsageError(f"--serve-from names {name}, which is no folder.")
    return _Served(folder, url.rstrip("/"))


def videos_in(folder: Path) -> Iterator[Path]:
    """The videos in a folder and the folders in it, by name; nothing hidden, and no folder that is a link."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from videos_in(Path(entry.path))
        elif entry.is_file() and Path(entry.name).suffix.lower() in _VIDEO_ENDINGS:
            yield Path(entry.path)
