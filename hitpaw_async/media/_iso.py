"""An MP4 or MOV from its top level: its tables, and its fragments as far as they need to be visited."""

from __future__ import annotations

import struct
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.media._boxes import SAMPLES_MAX, TICKS_MAX, Defaults, boxes_in, read_movie
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitpaw_async.media._boxes import Movie
    from hitpaw_async.media._sources import ByteSource

__all__ = [
    "OVERSHOOT_BYTES_MAX",
    "Box",
    "FragmentedTrack",
    "Fragments",
    "boxes_of",
    "read_fragments",
    "read_tables",
    "truncated",
]

BOXES_MAX: Final = 200_000
MOOV_BYTES_MAX: Final = 24 << 20
MOOF_BYTES_MAX: Final = 1 << 20
INDEX_LINES_MAX: Final = 50_000
WINDOW_BYTES: Final = 1 << 14
TAILS_BYTES: Final = (1 << 18, 1 << 20, 8 << 20)
"""Bytes before the end that are searched for the last fragment, one after the other."""
SEARCHED_BYTES: Final = 1 << 19
SAMPLED_SHARES: Final = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
"""Places of a file of many fragments at which more of them are looked at."""
OVERSHOOT_BYTES_MAX: Final = 64
"""By how much a length may be wrong: some programs count a header twice, or a byte of padding."""

_FRAGMENT_START: Final = b"moof\x00\x00\x00\x10mfhd"


def truncated(detail: str) -> RefusedError:
    """Say that the end of a file is missing."""
    return RefusedError(f"It is truncated: {detail}. Upload or copy it again, whole.")


@attrs.frozen
class Box:
    """A box of the top level."""

    kind: bytes
    start: int
    payload: int
    """Position of what it holds."""
    end: int


@attrs.define
class _Window:
    """A source, read through a window: headers lie close together, and each reading of a URL crosses to the loop."""

    _source: ByteSource
    _start: int = 0
    _data: bytes = b""

    def read_at(self, position: int, count: int) -> bytes:
        offset = position - self._start
        if not 0 <= offset <= len(self._data) - count:
            self._start, offset = position, 0
            self._data = self._source.read_at(position, max(count, WINDOW_BYTES))
        return self._data[offset : offset + count]


def boxes_of(source: ByteSource, position: int, end: int) -> Iterator[Box]:
    """The boxes of a file from a position on; what is no box ends them: files carry odd tails."""
    window = _Window(source)
    for _ in range(BOXES_MAX):
        header = window.read_at(position, 16) if position + 8 <= end else b""
        length, header_bytes = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, header_bytes = int.from_bytes(header[8:], "big"), 16
        elif length == 0:
            length = end - position
        if len(header) < header_bytes or length < header_bytes:
            return
        yield Box(header[4:8], position, position + header_bytes, position + length)
        position += length


def read_tables(source: ByteSource, moov: Box) -> Movie:
    """The tables of a file.

    Raises:
        RefusedError: They are larger than is ever read.
    """
    length = moov.end - moov.payload
    if length > MOOV_BYTES_MAX:
        raise RefusedError(
            f"Its index has {length >> 20} MiB; more than {MOOV_BYTES_MAX >> 20} MiB are not read. Export it again."
        )
    return read_movie(source.read_at(moov.payload, length))


@attrs.define
class FragmentedTrack:
    """A track as its fragments describe it."""

    start_ticks: int | None = None
    end_ticks: int = 0
    """End of the last fragment that was seen."""
    last_ticks: int = 0
    runs: list[list[int]] = attrs.field(factory=lambda: [[]])
    """Presentation times, a list for each stretch of consecutive fragments."""

    @property
    def listed_ticks(self) -> int:
        """From its first sample to its last one's end."""
        return self.end_ticks - (self.start_ticks or 0)


@attrs.define
class Fragments:
    """Sample of a file's fragments."""

    movie: Movie
    tracks: dict[int, FragmentedTrack] = attrs.field(factory=dict)
    is_complete: bool = False
    """True if all were visited."""
    knows_end: bool = False
    """True if the last one was visited."""
    _samples: int = 0

    def break_off(self) -> None:
        """Note that what comes next does not follow what came before."""
        for track in self.tracks.values():
            track.runs.append([])

    def take(self, moof: bytes) -> None:
        """Add a fragment: what its box holds."""
        data = memoryview(moof)
        for kind, start, end in boxes_in(data, 0, len(data)):
            if kind == b"traf":
                self._take_track(data, list(boxes_in(data, start, end)))

    def _take_track(self, data: memoryview, boxes: list[tuple[bytes, int, int]]) -> None:
        found = {kind: at for kind, at, _ in boxes}
        header = data[found.get(b"tfhd", len(data)) :]
        track_id = int.from_bytes(header[4:8], "big")
        defaults = _defaults(header, self.movie.defaults.get(track_id, Defaults()))
        track = self.tracks.setdefault(track_id, FragmentedTrack())
        tick = track.end_ticks
        if b"tfdt" in found:
            at = found[b"tfdt"]
            tick = int.from_bytes(data[at + 4 : at + (12 if data[at] == 1 else 8)], "big")
        if track.start_ticks is None:
            track.start_ticks = tick
        for kind, at, to in boxes:
            if kind == b"trun":
                tick = self._take_run(track, data[at:to], tick, defaults)
        track.end_ticks = max(track.end_ticks, tick)

    def _take_run(self, track: FragmentedTrack, run: memoryview, tick: int, defaults: Defaults) -> int:
        """Add a run of samples (trun); where it ends."""
        flags, count = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
        self._samples += count
        if self._samples > SAMPLES_MAX:
            raise RefusedError(
                f"Its fragments list more than {SAMPLES_MAX} frames or sounds, which are not read. It is damaged, or"
                " far longer than the vendor's 10 minutes: cut it."
            )
        fields = [name for flag, name in _RUN_FIELDS if flags & flag]
        at = 8 + (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0)
        line = struct.Struct(">" + "".join("i" if name == "offset" else "I" for name in fields))
        if not fields:
            known = min(count, TICKS_MAX)
            track.runs[-1].extend(tick + defaults.duration * number for number in range(known))
            track.last_ticks = defaults.duration
            return tick + defaults.duration * count
        count = min(count, max(0, len(run) - at) // line.size)
        for values in line.iter_unpack(run[at : at + count * line.size]):
            told = dict(zip(fields, values, strict=True))
            track.runs[-1].append(tick + told.get("offset", 0))
            track.last_ticks = told.get("duration", defaults.duration)
            tick += track.last_ticks
        return tick


_RUN_FIELDS: Final = ((0x100, "duration"), (0x200, "size"), (0x400, "flags"), (0x800, "offset"))


def _defaults(header: memoryview, defaults: Defaults) -> Defaults:
    """Common values of a fragment's samples (tfhd)."""
    flags, at = int.from_bytes(header[1:4], "big"), 8
    told = {0x8: defaults.duration, 0x10: defaults.size}
    for flag, width in ((0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)):
        if flags & flag:
            told[flag] = int.from_bytes(header[at : at + width], "big")
            at += width
    return Defaults(told[0x8], told[0x10])


def read_fragments(source: ByteSource, movie: Movie, position: int) -> Fragments:
    """Look at the fragments that follow the tables: at all, or where these are many at some and the last.

    Args:
        source: The file.
        movie: Its tables.
        position: Their end.

    Raises:
        RefusedError: The file is truncated, or lists more than is ever read.
    """
    fragments = Fragments(movie)
    end = source.size_bytes
    visited, lines = 0, 0
    indexed: list[int] = []
    for box in boxes_of(source, position, _FAR if end is None else end):
        position = box.end
        if box.kind in (b"moof", b"mdat", b"sidx") and end is not None and box.end > end + OVERSHOOT_BYTES_MAX:
            raise truncated(f"it declares {box.end} bytes and has {end}")
        if box.kind == b"sidx":
            lines += min(box.end - box.payload, 12 << 16) // 12
            indexed = _indexed(source, box)
            if end is not None and indexed[-1] > end + OVERSHOOT_BYTES_MAX:
                raise truncated(f"it declares {indexed[-1]} bytes and has {end}")
        if box.kind == b"moof":
            fragments.take(_payload(source, box))
            visited += 1
            lines += 1
            if visited == 1 and len(indexed) > source.visits_max // 4:
                _look_at(source, fragments, indexed[:-1])
                return fragments
            if visited == source.visits_max and end is not None and box.end < end - SEARCHED_BYTES:
                _look_further(source, fragments, box.end, end)
                return fragments
        if lines > INDEX_LINES_MAX:
            raise RefusedError("It is in more fragments than are read. It is far longer than the vendor's 10 minutes.")
    fragments.is_complete = fragments.knows_end = True
    return fragments


_FAR: Final = 1 << 62


def _indexed(source: ByteSource, sidx: Box) -> list[int]:
    """Return begin and end of the fragments that an index (sidx) lists.

    Source: ISO/IEC 14496-12, SegmentIndexBox.
    """
    data = source.read_at(sidx.payload, min(sidx.end - sidx.payload, 1 << 20))
    offset_bytes = 8 if data[:1] != b"\x00" else 4
    counts_at = 12 + 2 * offset_bytes
    first_offset = int.from_bytes(data[12 + offset_bytes : counts_at], "big")
    count = int.from_bytes(data[counts_at + 2 : counts_at + 4], "big")
    entries = data[counts_at + 4 :][: 12 * count]
    sizes = (int.from_bytes(entries[at : at + 4], "big") & 0x7FFFFFFF for at in range(0, len(entries), 12))
    return list(accumulate(sizes, initial=sidx.end + first_offset))


def _look_at(source: ByteSource, fragments: Fragments, starts: list[int]) -> None:
    """Look at a fragment amid those that an index lists, and at the last."""
    for start in (starts[len(starts) // 2], starts[-1]):
        fragments.break_off()
        for number, box in enumerate(boxes_of(source, start, _FAR)):
            if box.kind == b"moof":
                fragments.take(_payload(source, box))
            if box.kind == b"moof" or number == 4:
                break
    fragments.knows_end = True


def _payload(source: ByteSource, moof: Box) -> bytes:
    return source.read_at(moof.payload, min(moof.end - moof.payload, MOOF_BYTES_MAX))


def _look_further(source: ByteSource, fragments: Fragments, position: int, end: int) -> None:
    """Look at fragments here and there, and at the last."""
    for share in SAMPLED_SHARES:
        at = position + int((end - position) * share)
        found = _fragments_in(source, at, min(end, at + SEARCHED_BYTES))
        fragments.break_off()
        for box in found[:2]:
            fragments.take(_payload(source, box))
    fragments.break_off()
    for tail_bytes in TAILS_BYTES:
        found = _fragments_in(source, max(position, end - tail_bytes), end)
        if found:
            break
    else:
        return
    last = found[-1]
    for box in boxes_of(source, last.end, end):
        if box.kind == b"mdat" and box.end > end + OVERSHOOT_BYTES_MAX:
            raise truncated(f"it declares {box.end} bytes and has {end}")
    fragments.take(_payload(source, last))
    # Each track has its own last fragment, where they are not in one.
    for box in found[-3:-1]:
        fragments.take(_payload(source, box))
    fragments.knows_end = True


def _fragments_in(source: ByteSource, position: int, end: int) -> list[Box]:
    """The fragments whose headers lie within a span of the file."""
    data = source.read_at(position, end - position)
    found = []
    at = data.find(_FRAGMENT_START)
    while at >= 0:
        if at >= 4:
            length = int.from_bytes(data[at - 4 : at], "big")
            start = position + at - 4
            if 24 <= length <= MOOF_BYTES_MAX:
                found.append(Box(b"moof", start, start + 8, start + length))
        at = data.find(_FRAGMENT_START, at + 1)
    return found
