"""Recognizes results that are no videos by their first bytes: a host may answer 200 with a text. Pure.

Refused is what can be recognised, not what can't: the vendor's encoders may write any container.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["HEAD_BYTES", "foreign_content"]

HEAD_BYTES: Final = 4096
SIZE_BYTES_MIN: Final = 32
"""No file of the six kinds that the vendor writes is smaller: their heads alone are larger."""

_MARKUP: Final = re.compile(
    rb"\s*<(?:\?xml|!doctype|!--|html|head|body|script|title|error|errors|response|message|svg|center)\b|\s*<!--",
    re.IGNORECASE,
)
_OTHERS: Final = (
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"\x89PNG\r\n", "a picture"),
    (8, b"WEBPVP8", "a picture"),
    (0, b"II*\x00", "a picture"),
    (0, b"MM\x00*", "a picture"),
    (8, b"WAVEfmt", "a sound"),
    (0, b"fLaC", "a sound"),
    (0, b"PK\x03\x04", "an archive"),
    (0, b"\x1f\x8b\x08", "an archive"),
    (0, b"Rar!\x1a\x07", "an archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive"),
    (0, b"%PDF-", "a document"),
)
_STILL_BRANDS: Final = (b"avif", b"heic", b"heix", b"mif1")
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UNPRINTED: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_WORDING: Final = re.compile(r"[\s<>{}\[\]\":]|[^\x00-\x7f]")
"""Characters of a message: blanks, line breaks, markup, JSON's marks, letters beyond ASCII. Stand-ins for videos in
the tests of those who use this library has none: letters, thousands of them."""
_WORD_BYTES_MAX: Final = 255
"""Up to here, one word is a message too, such as AccessDenied."""


def foreign_content(head: bytes, size_bytes: int) -> str | None:
    """Describe a body that can't be a video, as in "the server sent ..."; None if it may be one.

    Args:
        head: Its first `HEAD_BYTES` bytes, or all where it is shorter.
        size_bytes: How many it has, as far as is known.
    """
    if _MARKUP.match(head.removeprefix(_UTF8_MARK)):
        return "a page"
    if _is_message(head, size_bytes):
        return "a text"
    for offset, magic, name in _OTHERS:
        if head.startswith(magic, offset):
            return name
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return "a picture"
    return f"only {size_bytes} bytes" if size_bytes < SIZE_BYTES_MIN else None


def _is_message(head: bytes, size_bytes: int) -> bool:
    """Tell if all of it is text. Videos have control characters in their first bytes."""
    encoding = _UTF16.get(head[:2])
    if encoding is not None:
        text = head[2:].decode(encoding, "replace")
        ascii_share = sum(character < "\x80" for character in text) / max(1, len(text))
        is_text = ascii_share > 1 / 2 and not _UNPRINTED.search(text)
    else:
        text = _utf8_text(head)
        is_text = bool(text) and not _UNPRINTED.search(text)
    return is_text and (size_bytes <= _WORD_BYTES_MAX or _WORDING.search(text) is not None)


def _utf8_text(head: bytes) -> str:
    """The text of it, whose last character may be cut; nothing where it is none."""
    for cut in range(4):
        try:
            return head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
    return ""
