"""Checks that a file is whole and reads its kind: the sizes its boxes, chunks or elements declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hitpaw_async.media._iso import OVERSHOOT_BYTES_MAX, boxes_of, read_fragments, read_tables, truncated
from hitpaw_async.media._kinds import SEQUENCE_BRANDS, STILL, Kind, brands_of
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from hitpaw_async.media._boxes import Movie
    from hitpaw_async.media._iso import Fragments
    from hitpaw_async.media._sources import ByteSource

__all__ = ["container_name", "read_iso"]

_END_UNKNOWN: Final = 1 << 62
_HOLDING_BOXES: Final = (b"moov", b"moof", b"mdat")
_MP4_BRANDS: Final = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1")

HEADER_ELEMENTS_MAX: Final = 64
_DAMAGED_HEADER: Final = "Its header is damaged. Make or upload it again."
_EBML_HEADER: Final = 0x1A45DFA3
_DOC_TYPE: Final = 0x4282
_SEGMENT: Final = 0x18538067


def container_name(source: ByteSource, kind: Kind) -> str:
    """Return the declared kind: mp4, mov, 3gp, mkv, webm, avi; else FFmpeg's short name of its kind.

    Raises:
        RefusedError: It ends before what it declares.
    """
    if kind is Kind.ISO:
        return _iso_name(source)
    if kind is Kind.MATROSKA:
        return _matroska_name(source)
    if kind is Kind.AVI:
        _require_whole_avi(source)
    return kind.value


def _require_inside(source: ByteSource, end: int) -> None:
    if source.size_bytes is not None and end > source.size_bytes + OVERSHOOT_BYTES_MAX:
        raise truncated(f"it declares {end} bytes and has {source.size_bytes}")


def _iso_name(source: ByteSource) -> str:
    for box in boxes_of(source, 0, _END_UNKNOWN if source.size_bytes is None else source.size_bytes):
        if box.kind == b"ftyp":
            return _brand_name(brands_of(source.read_at(box.start, min(box.end - box.start, 256))))
        if box.kind == b"moov":
            break
    return "mov"


def read_iso(source: ByteSource) -> tuple[Movie, Fragments | None]:
    """The tables of an MP4 or MOV, and its fragments where it is in some.

    Raises:
        RefusedError: It ends before what it declares, is encrypted, or lists more than is ever read.
    """
    moov = None
    for box in boxes_of(source, 0, _END_UNKNOWN if source.size_bytes is None else source.size_bytes):
        if box.kind in _HOLDING_BOXES and box.end < _END_UNKNOWN:
            _require_inside(source, box.end)
        if box.kind == b"moov":
            moov = box
            break
    if moov is None and any(brand in SEQUENCE_BRANDS for brand in brands_of(source.read_at(0, 256))):
        raise RefusedError(STILL)
    if moov is None:
        raise truncated("its index (moov) is missing; the recording or the upload was not finished")
    movie = read_tables(source, moov)
    if any(track.is_encrypted for track in movie.tracks):
        raise RefusedError("Its video is encrypted. Give a copy without copy protection.")
    listed_end = max((track.end_bytes for track in movie.videos), default=0)
    if source.size_bytes is not None and listed_end > source.size_bytes:
        raise truncated("frames that it lists lie beyond its end")
    return movie, read_fragments(source, movie, moov.end) if movie.is_fragmented else None


def _brand_name(brands: list[bytes]) -> str:
    if b"avis" in brands:
        return "avif"
    if any(brand in SEQUENCE_BRANDS for brand in brands):
        return "heif"
    if brands[:1] == [b"qt  "]:
        return "mov"
    # Telephones write 3gp as the major brand of what is an mp4.
    if brands and brands[0].startswith(b"3g") and not any(brand in _MP4_BRANDS for brand in brands[1:]):
        return "3gp"
    return "mp4"


def _element(source: ByteSource, position: int) -> tuple[int, int, int | None]:
    """An EBML element's id, the position of what it holds, and its end; None where that is not declared."""
    header = source.read_at(position, 12)
    id_bytes = 9 - header[0].bit_length() if header else 0
    size_bytes = 9 - header[id_bytes].bit_length() if len(header) > id_bytes else 9
    payload = position + id_bytes + size_bytes
    if not 0 < id_bytes <= 4 or size_bytes > 8 or len(header) < id_bytes + size_bytes:
        raise truncated("it ends within its header, or the header is damaged")
    element_id = int.from_bytes(header[:id_bytes], "big")
    all_ones = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(header[id_bytes : id_bytes + size_bytes], "big") & all_ones
    return element_id, payload, None if length == all_ones else payload + length


def _matroska_name(source: ByteSource) -> str:
    header_id, position, header_end = _element(source, 0)
    if header_id != _EBML_HEADER or header_end is None:
        raise RefusedError(_DAMAGED_HEADER)
    name = "mkv"
    for _ in range(HEADER_ELEMENTS_MAX):
        if position >= header_end:
            _require_whole_segment(source, header_end)
            return name
        element_id, payload, end = _element(source, position)
        if end is None:
            break
        if element_id == _DOC_TYPE and source.read_at(payload, min(end - payload, 16)).rstrip(b"\x00") == b"webm":
            name = "webm"
        position = end
    raise RefusedError(_DAMAGED_HEADER)


def _require_whole_segment(source: ByteSource, position: int) -> None:
    """The video follows the header, perhaps after padding. A live recording declares no length."""
    for _ in range(8):
        element_id, _, end = _element(source, position)
        if end is None:
            return
        _require_inside(source, end)
        if element_id == _SEGMENT:
            return
        position = end


def _require_whole_avi(source: ByteSource) -> None:
    """Walk the RIFF parts: a large AVI has several. A part of no length was written live and is left to FFmpeg."""
    position = 0
    for _ in range(1000):
        header = source.read_at(position, 12)
        length = int.from_bytes(header[4:8], "little")
        if not header.startswith(b"RIFF") or length == 0:
            return
        _require_inside(source, position + 8 + length)
        position += 8 + length + length % 2
