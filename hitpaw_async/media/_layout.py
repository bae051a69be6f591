"""Whether a file is whole, and what it calls itself: what its boxes, chunks or elements declare, against its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.media._kinds import Kind
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitpaw_async.media._sources import ByteSource

__all__ = ["container_name"]

BOXES_MAX: Final = 200_000
_END_UNKNOWN: Final = 1 << 62
_HOLDING_BOXES: Final = (b"moov", b"moof", b"mdat", b"sidx")
_MP4_BRANDS: Final = (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1")

HEADER_ELEMENTS_MAX: Final = 64
_DAMAGED_HEADER: Final = "Its header is damaged. Make or upload it again."
_EBML_HEADER: Final = 0x1A45DFA3
_DOC_TYPE: Final = 0x4282
_SEGMENT: Final = 0x18538067


def container_name(source: ByteSource, kind: Kind) -> str:
    """What the file calls itself: mp4, mov, 3gp, mkv, webm, avi; else FFmpeg's short name of its kind.

    Raises:
        RefusedError: It ends before what it declares, or is encrypted.
    """
    if kind is Kind.ISO:
        return _iso_name(source)
    if kind is Kind.MATROSKA:
        return _matroska_name(source)
    if kind is Kind.AVI:
        _require_whole_avi(source)
    return kind


def _truncated(detail: str) -> RefusedError:
    return RefusedError(f"It is truncated: {detail}. Upload or copy it again, whole.")


def _require_inside(source: ByteSource, end: int) -> None:
    if source.size_bytes is not None and end > source.size_bytes:
        raise _truncated(f"it declares {end} bytes and has {source.size_bytes}")


@attrs.frozen
class _Box:
    kind: bytes
    payload: int
    """Position of what it holds."""
    end: int


def _box_at(source: ByteSource, position: int, end: int) -> _Box | None:
    """The box at `position`, or None at what is no box: files carry odd tails."""
    header = source.read_at(position, 16) if position + 8 <= end else b""
    length, header_bytes = int.from_bytes(header[:4], "big"), 8
    if length == 1:
        length, header_bytes = int.from_bytes(header[8:], "big"), 16
    elif length == 0:
        length = end - position
    if len(header) < header_bytes or length < header_bytes:
        return None
    return _Box(header[4:8], position + header_bytes, position + length)


def _boxes(source: ByteSource, position: int, end: int) -> Iterator[_Box]:
    for _ in range(BOXES_MAX):
        box = _box_at(source, position, end)
        if box is None:
            return
        yield box
        position = box.end


def _iso_name(source: ByteSource) -> str:
    """Walk the top level. Fragments that an index (sidx) lists are believed by it, not visited."""
    file_end = _END_UNKNOWN if source.size_bytes is None else source.size_bytes
    name, moov, position = "mov", None, 0
    for _ in range(BOXES_MAX):
        box = _box_at(source, position, file_end)
        if box is None or (moov is not None and source.size_bytes is None):
            break
        position = box.end
        if box.kind == b"ftyp":
            name = _brand_name(source.read_at(box.payload, min(box.end - box.payload, 256)))
        elif box.kind == b"sidx":
            position = _indexed_end(source, box)
        if box.kind in _HOLDING_BOXES and position < _END_UNKNOWN:
            _require_inside(source, position)
        if box.kind == b"moov":
            moov = box
    if moov is None:
        raise _truncated("its index (moov) is missing; the recording or the upload was not finished")
    if _is_encrypted(source, moov):
        raise RefusedError("Its video is encrypted. Give a copy without copy protection.")
    return name


def _brand_name(brands: bytes) -> str:
    major, compatible = brands[:4], [brands[at : at + 4] for at in range(8, len(brands), 4)]
    if major == b"qt  ":
        return "mov"
    # Telephones write 3gp as the major brand of what is an mp4.
    if major.startswith(b"3g") and not any(brand in _MP4_BRANDS for brand in compatible):
        return "3gp"
    return "mp4"


def _indexed_end(source: ByteSource, sidx: _Box) -> int:
    """Where the last fragment ends that an index (sidx) lists. Source: ISO/IEC 14496-12, SegmentIndexBox."""
    data = source.read_at(sidx.payload, min(sidx.end - sidx.payload, 1 << 20))
    offset_bytes = 8 if data[:1] != b"\x00" else 4
    counts_at = 12 + 2 * offset_bytes
    first_offset = int.from_bytes(data[12 + offset_bytes : counts_at], "big")
    count = int.from_bytes(data[counts_at + 2 : counts_at + 4], "big")
    entries = data[counts_at + 4 :][: 12 * count]
    sizes = (int.from_bytes(entries[at : at + 4], "big") & 0x7FFFFFFF for at in range(0, len(entries), 12))
    return sidx.end + first_offset + sum(sizes)


def _is_encrypted(source: ByteSource, moov: _Box) -> bool:
    """Whether a track's samples are described as encrypted video (encv)."""
    holders = [moov]
    for level in (b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        holders = [box for holder in holders for box in _boxes(source, holder.payload, holder.end) if box.kind == level]
    # An stsd holds four bytes of version and flags and a count of four bytes, then boxes.
    entries = [entry for stsd in holders for entry in _boxes(source, stsd.payload + 8, stsd.end)]
    return any(entry.kind == b"encv" for entry in entries)


def _element(source: ByteSource, position: int) -> tuple[int, int, int | None]:
    """An EBML element's id, the position of what it holds, and its end; None where that is not declared."""
    header = source.read_at(position, 12)
    id_bytes = 9 - header[0].bit_length() if header else 0
    size_bytes = 9 - header[id_bytes].bit_length() if len(header) > id_bytes else 9
    payload = position + id_bytes + size_bytes
    if not 0 < id_bytes <= 4 or size_bytes > 8 or len(header) < id_bytes + size_bytes:
        raise _truncated("it ends within its header, or the header is damaged")
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
