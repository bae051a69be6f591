"""Frames further on in a file that is not read whole: its rate may rise, and its header may be wrong about its end."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from hitpaw_async.media._kinds import Kind
from hitpaw_async.media._pyav import lenient_metadata, load_av

if TYPE_CHECKING:
    from hitpaw_async.media._sources import SourceFile

__all__ = ["later_ticks"]

HEAD_BYTES_MAX: Final = 1 << 18
WINDOW_BYTES_MIN: Final = 1 << 18
WINDOW_BYTES_MAX: Final = 1 << 20
TAILS_BYTES: Final = (1 << 20, 6 << 20)
"""A group of frames in a Matroska has 5 MB at the most, as programs write it."""
WINDOWS_IN_FILE: Final = 32
"""A window is that part of the file, within its bounds."""
_CLUSTER: Final = b"\x1f\x43\xb6\x75"
"""First bytes of each group of frames in a Matroska."""


def later_ticks(file: SourceFile, kind: Kind, stream_index: int, *, is_end_doubtful: bool) -> list[list[int]]:
    """Read presentation times amid a file and at its end, in the track's ticks: a list for each.

    The file's own beginning is put before a piece of it, which makes a file that can be read by itself. Of kinds that
    have a table of their frames, or where that cannot be done, there is nothing. If the header's length is doubtful,
    more is read for the end.
    """
    size = file.size_bytes
    if size is None or kind not in (Kind.MATROSKA, Kind.MPEGTS):
        return []
    head = file.read_at(0, HEAD_BYTES_MAX)
    if kind is Kind.MATROSKA:
        head = head[: max(0, head.find(_CLUSTER))]
    window_bytes = min(max(size // WINDOWS_IN_FILE, WINDOW_BYTES_MIN), WINDOW_BYTES_MAX)
    found = []
    tails = (window_bytes, *(TAILS_BYTES if is_end_doubtful else ()))
    for places in ([(size // 2, window_bytes)], [(max(0, size - length), length) for length in tails]) if head else ():
        for position, length in places:
            piece = file.read_at(position, length)
            start = piece.find(_CLUSTER) if kind is Kind.MATROSKA else 0
            if start >= 0:
                found.append(_ticks(head, piece[start:], kind, stream_index))
                break
    return [ticks for ticks in found if ticks]


def _ticks(head: bytes, piece: bytes, kind: Kind, stream_index: int) -> list[int]:
    av = load_av()
    ticks = []
    options = {"format_whitelist": str(kind), "protocol_whitelist": "none", "codec_whitelist": "none"}
    try:
        with av.open(
            io.BytesIO(head + piece), format=str(kind), container_options=options, **lenient_metadata()
        ) as opened:
            for packet in opened.demux(opened.streams[stream_index]):
                tick = packet.pts if packet.pts is not None else packet.dts
                if tick is not None and packet.size and (packet.pos is None or packet.pos >= len(head)):
                    ticks.append(tick)
    except (av.error.FFmpegError, IndexError):
        # What cannot be read here may be read all the same from its beginning on.
        return []
    return sorted(ticks)
