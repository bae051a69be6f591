"""Recognizes a file by its first bytes. FFmpeg is given only demuxers that open no other file."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from hitpaw_async.media._sources import RefusedError

__all__ = ["HEAD_BYTES", "SEQUENCE_BRANDS", "STILL", "Kind", "brands_of", "recognize"]

HEAD_BYTES: Final = 4096


class Kind(StrEnum):
    """A container that is read: the value is FFmpeg's short name for its demuxer."""

    ISO = "mov"
    MATROSKA = "matroska"
    AVI = "avi"
    MPEGTS = "mpegts"
    MPEGPS = "mpeg"
    FLV = "flv"
    ASF = "asf"
    OGG = "ogg"


_MAGIC: Final = (
    (0, b"\x1a\x45\xdf\xa3", Kind.MATROSKA),
    (8, b"AVI ", Kind.AVI),
    (0, b"FLV\x01", Kind.FLV),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind.ASF),
    (0, b"\x00\x00\x01\xba", Kind.MPEGPS),
    (0, b"OggS", Kind.OGG),
)
_FIRST_BOXES: Final = (
    b"ftyp",
    b"styp",
    b"moov",
    b"moof",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"pnot",
    b"uuid",
    b"sidx",
)
_STILL_BRANDS: Final = (b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1")
SEQUENCE_BRANDS: Final = (b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")
"""Brands of pictures that follow each other (AVIF, HEIF): moving, though of a picture's format."""
_TS_PACKET_BYTES: Final = 188

STILL: Final = "It is a still picture. The vendor enhances videos here: give a video file."
_ANIMATION: Final = (
    "It is an animation in a picture format (GIF, PNG or WebP). The vendor takes MP4, MOV, AVI, MKV and WebM: convert"
    " it."
)
_AUDIO: Final = "It is audio without a picture. Give a video file."
_ARCHIVE: Final = "It is an archive or a document. Give the video file itself."
_PLAYLIST: Final = "It is a playlist that names other files, not a video. Give the video file itself."
_PAGE: Final = "It is a web page, not a video. Give the direct URL of the video file; a share link is not one."
_OTHERS: Final = (
    (0, b"\xff\xd8\xff", STILL),
    (0, b"\x89PNG", STILL),
    (0, b"GIF8", _ANIMATION),
    (8, b"WEBP", STILL),
    (0, b"II*\x00", STILL),
    (0, b"MM\x00*", STILL),
    (8, b"WAVE", _AUDIO),
    (0, b"ID3", _AUDIO),
    (0, b"fLaC", _AUDIO),
    (0, b"\xff\xfb", _AUDIO),
    (0, b"\xff\xf3", _AUDIO),
    (0, b"\xff\xf1", _AUDIO),
    (0, b"\xff\xf9", _AUDIO),
    (8, b"AIFF", _AUDIO),
    (0, b"PK\x03\x04", _ARCHIVE),
    (0, b"%PDF", _ARCHIVE),
    (0, b"\x1f\x8b", _ARCHIVE),
    (0, b"Rar!", _ARCHIVE),
    (0, b"7z\xbc\xaf", _ARCHIVE),
)
_PLAYLIST_STARTS: Final = ("#extm3u", "ffconcat", "<mpd", "<smoothstreamingmedia", "[playlist]", "v=0")


def recognize(head: bytes) -> Kind:
    """The kind of a file.

    Args:
        head: Its first `HEAD_BYTES` bytes, or all where it is shorter.

    Raises:
        RefusedError: It is empty or no kind of video that is known here.
    """
    if not head:
        raise RefusedError("It is empty (0 bytes). Upload or copy it again.")
    if head[4:8] in _FIRST_BOXES:
        brands = brands_of(head)
        if brands[:1] and brands[0] in _STILL_BRANDS and not any(brand in SEQUENCE_BRANDS for brand in brands):
            raise RefusedError(STILL)
        return Kind.ISO
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if _is_transport_stream(head):
        return Kind.MPEGTS
    raise RefusedError(_what_else(head))


def brands_of(head: bytes) -> list[bytes]:
    """List a file's brands: its own, then the compatible ones; none if it declares none."""
    if head[4:8] != b"ftyp":
        return []
    end = min(len(head), int.from_bytes(head[:4], "big"), 256)
    return [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]


def _is_transport_stream(head: bytes) -> bool:
    """Tell if sync bytes are a packet apart; those of a camera or a disc (m2ts) have four bytes before each."""
    plain = head[: 3 * _TS_PACKET_BYTES : _TS_PACKET_BYTES]
    timed = head[4 : 3 * (_TS_PACKET_BYTES + 4) : _TS_PACKET_BYTES + 4]
    return b"GGG" in (plain, timed)


def _what_else(head: bytes) -> str:
    if (head.startswith(b"\x89PNG") and b"acTL" in head) or (
        head[8:16] == b"WEBPVP8X" and head[20:21] and head[20] & 2
    ):
        return _ANIMATION
    for offset, magic, reason in _OTHERS:
        if head.startswith(magic, offset):
            return reason
    text = _as_text(head)
    if text is None:
        return "It is not a recognized video file. The vendor takes MP4, MOV, AVI, MKV and WebM: convert it."
    start = text.lstrip("\ufeff \t\r\n").lower()
    # Where a playlist begins with an XML declaration, its own name comes later.
    if start.startswith(_PLAYLIST_STARTS) or "<mpd" in start:
        return _PLAYLIST
    if start.startswith(("<!doctype html", "<html")) or "<html" in start:
        return _PAGE
    return "It is text, not a video. Check that the path or URL names the video file itself."


def _as_text(head: bytes) -> str | None:
    """The head as text, or None: text holds no zero bytes. The last character may be cut."""
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return None if "\x00" in text else text
    return None
