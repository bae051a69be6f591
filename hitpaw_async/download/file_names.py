"""File names from outside, made safe: one path component that each common file system takes and none misreads. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

__all__ = ["disposed_name", "encodable_name", "is_elsewhere", "name_in_url", "safe_name"]

NAME_BYTES_MAX: Final = 200
"""File systems take 255 bytes, or 255 UTF-16 units. The rest is left to whoever adds a suffix."""
_EXTENSION_BYTES_MAX: Final = 16

_URL_START: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
_RESERVED_ON_WINDOWS: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)


def is_elsewhere(path: str) -> bool:
    """Tell if a path is in fact a URL: `s3://bucket`, `gs://`, `az://`, `https://`, `file://`.

    `pathlib` makes one slash of the two. A single letter is a drive of Windows.
    """
    return _URL_START.match(path) is not None


def safe_name(name: str) -> str:
    """Make a safe file name of `name`: no folder, no hidden file, no device, no control or direction characters.

    Forbidden characters become `_`. A name that is too long is cut before its extension and gets a digest of the whole,
    so that two long names that begin alike stay two.

    Args:
        name: Anything: a URL's last part, a job id, a key.

    Returns:
        One path component of at most 200 bytes in UTF-8.
    """
    text = "".join(_harmless(character) for character in unicodedata.normalize("NFC", name))
    # Windows drops final dots and blanks, so "x." would be another name for "x".
    text = _FORBIDDEN.sub("_", text).strip(" ").rstrip(". ")
    if text[:1] in (".", "-", "~", ""):
        text = f"_{text[1:]}"
    if _RESERVED_ON_WINDOWS.fullmatch(text.partition(".")[0].rstrip(" ")):
        text = f"_{text}"
    return _shortened(text)


def encodable_name(name: str, encoding: str) -> str:
    """A safe name with `_` for what an encoding lacks: under LC_ALL=C files can have names in ASCII alone.

    Args:
        name: The name.
        encoding: That of the file system, `sys.getfilesystemencoding()`.
    """
    return name.encode(encoding, "replace").decode(encoding).replace("?", "_")


def name_in_url(url: str) -> str:
    """The name of the file that a URL names, as a person reads it: decoded once; empty where there is none.

    Not safe yet. Other encodings than UTF-8 are read as Latin-1.
    """
    return _last_part(_decoded(urlsplit(url).path))


def disposed_name(content_disposition: str | None) -> str | None:
    """The file name that a reply's Content-Disposition gives (RFC 6266), not safe yet; None where it gives none."""
    if content_disposition is None:
        return None
    message = Message()
    message["content-disposition"] = content_disposition
    try:
        parameters = message.get_params([], header="content-disposition")
        given = [value for name, value in parameters if name.lower() == "filename"]
        # Of two, the encoded one is the name; the other is for clients that can't read it.
        given.sort(key=lambda value: isinstance(value, str))
        name = collapse_rfc2231_value(given[0])
    except (IndexError, LookupError, TypeError, ValueError):
        return None
    return _last_part(_decoded(name)) or None


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return unquote(text, encoding="latin-1")


def _last_part(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category.startswith("C") or category in ("Zl", "Zp"):
        return "_"
    return " " if category == "Zs" else character


def _shortened(text: str) -> str:
    if len(text.encode()) <= NAME_BYTES_MAX:
        return text
    stem, dot, extension = text.rpartition(".")
    if not stem or len(extension.encode()) > _EXTENSION_BYTES_MAX:
        stem, dot, extension = text, "", ""
    ending = f"~{hashlib.sha256(text.encode()).hexdigest()[:12]}{dot}{extension}"
    kept = stem.encode()[: NAME_BYTES_MAX - len(ending.encode())]
    return kept.decode("utf-8", "ignore").rstrip(". ") + ending
