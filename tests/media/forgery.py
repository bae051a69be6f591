"""MP4 files whose tables are changed, or made up from nothing."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT_MATRIX = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", flags), *parts)


def payloads(content: bytes, kind: bytes) -> Iterator[int]:
    """Where each box of a kind begins to hold something."""
    at = content.find(kind)
    while at >= 0:
        yield at + 4
        at = content.find(kind, at + 4)


def patched(content: bytes, *changes: tuple[bytes, int, bytes]) -> bytes:
    """The content with bytes written into each box of a kind, so far from where its payload begins."""
    made = bytearray(content)
    for kind, offset, data in changes:
        for at in payloads(content, kind):
            made[at + offset : at + offset + len(data)] = data
    return bytes(made)


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def mvhd_of(duration_ms: int) -> bytes:
    return full(
        b"mvhd", 0, u32(0, 0, 1000, duration_ms, 0x10000), b"\x01\0", bytes(10), struct.pack(">9i", *UNIT_MATRIX),
        bytes(24), u32(2),
    )  # fmt: skip


def track(
    *,
    samples: int,
    size: int = 1,
    delta: int = 33,
    codec: bytes = b"jpeg",
    side: tuple[int, int] = (320, 180),
    offset: int = 0,
    handler: bytes = b"vide",
    tables: tuple[bytes, ...] = (),
    edits: bytes = b"",
) -> bytes:
    """A track of a table; tables that are given stand in place of its own."""
    entry = box(
        codec, bytes(6), b"\0\1", bytes(16), struct.pack(">HH", *side), u32(0x480000, 0x480000, 0), b"\0\1", bytes(32),
        struct.pack(">Hh", 24, -1),
    )  # fmt: skip
    own = (
        full(b"stts", 0, u32(1, samples, delta)),
        full(b"stsz", 0, u32(size, samples)),
        full(b"stsc", 0, u32(1, 1, max(samples, 1), 1)),
        full(b"stco", 0, u32(1, offset)),
    )
    given = {each[4:8] for each in tables}
    stbl = box(b"stbl", full(b"stsd", 0, u32(1), entry), *(each for each in own if each[4:8] not in given), *tables)
    duration = min(samples * delta, 0xFFFFFFFE)
    mdhd = full(b"mdhd", 0, u32(0, 0, 1000, duration, 0x55C40000))
    hdlr = full(b"hdlr", 0, bytes(4), handler, bytes(12), b"V\0")
    tkhd = full(
        b"tkhd", 3, u32(0, 0, 1, 0, duration), bytes(16), struct.pack(">9i", *UNIT_MATRIX),
        u32(side[0] << 16, side[1] << 16),
    )  # fmt: skip
    dinf = box(b"dinf", full(b"dref", 0, u32(1), full(b"url ", 1)))
    minf = box(b"minf", full(b"vmhd", 1, bytes(8)), dinf, stbl)
    return box(b"trak", tkhd, edits, box(b"mdia", mdhd, hdlr, minf))


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
DATA_AT = len(FTYP) + 8


def movie(*tracks: bytes, data: bytes = bytes(64), more: bytes = b"", after: bytes = b"") -> bytes:
    return FTYP + box(b"mdat", data) + box(b"moov", mvhd_of(1000), *tracks, more) + after


def edit_list(*edits: tuple[int, int, int]) -> bytes:
    """An edit list: length in the movie's ticks, start in the track's, and the rate times 65536."""
    return box(
        b"edts", full(b"elst", 0, u32(len(edits)), b"".join(struct.pack(">IiI", *edit) for edit in edits))
    )  # fmt: skip
