"""File names from outside, made safe: one path component that each common file system takes and none misreads. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

__all__ = ["safe_name"]

NAME_BYTES_MAX: Final = 200
"""File systems take 255 bytes, or 255 UTF-16 units. The rest is left to whoever adds a suffix."""
_EXTENSION_BYTES_MAX: Final = 16

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*]')
_RESERVED_ON_WINDOWS: Final = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])", re.IGNORECASE)


def safe_name(name: str) -> str:
    """A file name made of `name`: no folder, no hidden file, no device, no control or direction characters.

    What can't stay becomes `_`. A name that is too long is cut before its extension and gets a digest of the whole, so
    that two long names that begin alike stay two.

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
