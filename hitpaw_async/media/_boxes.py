"""Reads the tables of an MP4 or MOV by own code, bounded, before FFmpeg opens the file. Pure."""

from __future__ import annotations

import struct
import zlib
from array import array
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SAMPLES_MAX", "TICKS_MAX", "TRACKS_MAX", "Defaults", "Edit", "Movie", "Track", "boxes_in", "read_movie"]

SAMPLES_MAX: Final = 1_500_000
"""Frames and sounds that all tables together may list: FFmpeg takes some 70 bytes for each. Five hours have fewer."""
TICKS_MAX: Final = 300_000
"""Frames whose times are looked at one by one: ten minutes at 240 frames per second have fewer."""
BOXES_MAX: Final = 50_000
TRACKS_MAX: Final = 100
SECONDS_MAX: Final = 10**7
"""A longer length means "unknown": all bits set, or rubbish."""
COMPRESSED_BYTES_MAX: Final = 8 << 20

_MATRIX: Final = struct.Struct(">9i")
_UNIT_MATRIX: Final = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


@attrs.frozen
class Edit:
    """A line of an edit list, in seconds."""

    length_s: Fraction
    """Length for which it is shown; zero: to the end of the track."""
    start_s: Fraction | None
    """The moment of the track that it begins with; None: nothing is shown."""


@attrs.frozen
class Defaults:
    """Defaults of a track's fragments (trex)."""

    duration: int = 0
    size: int = 0


@attrs.define(kw_only=True)
class Track:
    """A track as its tables describe it."""

    track_id: int = 0
    kind: bytes = b""
    """"vide" for pictures, "soun" for sound."""
    timescale: int = 1
    header_s: list[Fraction] = attrs.field(factory=list)
    """Each length that a header of it says, in seconds."""
    matrix: tuple[int, ...] = _UNIT_MATRIX
    edits: list[Edit] = attrs.field(factory=list)
    is_encrypted: bool = False
    sizes: list[tuple[int, int]] = attrs.field(factory=list)
    """Width and height of each kind of picture that it describes, as coded."""
    samples: int = 0
    listed_ticks: int = 0
    """The sum of the lengths of all samples that are listed."""
    ticks: array[int] = attrs.field(factory=lambda: array("q"))
    """Presentation time of each frame in decoding order; the first `TICKS_MAX` of them."""
    last_ticks: int = 0
    """Length of the last frame."""
    end_bytes: int = 0
    """Declared end of its last sample."""

    @property
    def is_video(self) -> bool:
        """True if it has pictures; a sequence of pictures (AVIF) says "pict"."""
        return self.kind in (b"vide", b"pict")

    @property
    def listed_s(self) -> Fraction:
        """The length of all listed samples in seconds."""
        return Fraction(self.listed_ticks, self.timescale)


@attrs.define(kw_only=True)
class Movie:
    """The tables of a file."""

    tracks: list[Track] = attrs.field(factory=list)
    timescale: int = 1
    header_s: list[Fraction] = attrs.field(factory=list)
    is_fragmented: bool = False
    defaults: dict[int, Defaults] = attrs.field(factory=dict)

    @property
    def videos(self) -> list[Track]:
        """Tracks of pictures."""
        return [track for track in self.tracks if track.is_video]


def boxes_in(data: memoryview, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of a span: type, begin and end of the payload. Bytes that are no box end it."""
    while start + 8 <= end:
        length, head = int.from_bytes(data[start : start + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif length == 0:
            length = end - start
        if length < head or start + length > end:
            return
        yield bytes(data[start + 4 : start + 8]), start + head, start + length
        start += length


class _Walk:
    """One reading of a moov box. It counts what it comes by."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.movie = Movie()
        self._boxes = 0
        self._samples = 0

    def boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        for box in boxes_in(self.data, start, end):
            self._boxes += 1
            if self._boxes > BOXES_MAX:
                raise RefusedError(f"Its index has more than {BOXES_MAX} parts. Make or export it again.")
            yield box

    def number(self, position: int, count: int = 4) -> int:
        return int.from_bytes(self.data[position : position + count], "big")

    def is_wide(self, start: int) -> bool:
        """Tell by a box's first byte, its version, if its lengths have eight bytes."""
        return self.number(start, 1) == 1

    def table(self, start: int, end: int, width: int) -> memoryview:
        """The lines of a table that a version, flags and a count precede: as many as it says and has."""
        count = min(self.number(start + 4), max(0, end - start - 8) // width)
        self.bound(count)
        return self.data[start + 8 : start + 8 + count * width]

    def bound(self, count: int) -> None:
        if count > SAMPLES_MAX:
            raise RefusedError(
                f"Its index lists {count} frames or sounds; more than {SAMPLES_MAX} are not read. It is damaged, or far"
                " longer than the vendor's 10 minutes: cut it."
            )

    def count_samples(self, count: int) -> None:
        self._samples += count
        self.bound(self._samples)

    def walk(self) -> Movie:
        tracks = [
            (start, end)
            for kind, start, end in self.boxes(0, len(self.data))
            if kind == b"trak" or self._take_movie_box(kind, start, end)
        ]
        if len(tracks) > TRACKS_MAX:
            raise RefusedError(f"It has {len(tracks)} tracks; more than {TRACKS_MAX} are not read. Export it with one.")
        for start, end in tracks:
            track = Track()
            self.movie.tracks.append(track)
            self._track(track, start, end)
        return self.movie

    def _take_movie_box(self, kind: bytes, start: int, end: int) -> bool:
        """Note a box beside the tracks. Always false."""
        if kind == b"mvhd":
            self.movie.timescale, length_s = self._header(start)
            self.movie.header_s += length_s
        elif kind == b"mvex":
            self.movie.is_fragmented = True
            for inner, at, _ in self.boxes(start, end):
                if inner == b"trex":
                    defaults = Defaults(self.number(at + 12), self.number(at + 16))
                    self.movie.defaults[self.number(at + 4)] = defaults
                elif inner == b"mehd":
                    length = self.number(at + 4, 8 if self.data[at] else 4)
                    self.movie.header_s += _plausible(length, self.movie.timescale)
        return False

    def _header(self, start: int) -> tuple[int, list[Fraction]]:
        """Timescale and length of an mvhd or mdhd."""
        at, width = (start + 20, 8) if self.is_wide(start) else (start + 12, 4)
        timescale = self.number(at) or 1
        length = self.number(at + 4, width)
        return timescale, [] if length == (1 << 8 * width) - 1 else _plausible(length, timescale)

    def _track(self, track: Track, start: int, end: int) -> None:
        lists: list[tuple[int, int]] = []
        for kind, at, to in self.boxes(start, end):
            if kind == b"tkhd":
                self._track_header(track, at)
            elif kind == b"edts":
                lists += [(inner_at, inner_to) for inner, inner_at, inner_to in self.boxes(at, to) if inner == b"elst"]
            elif kind == b"mdia":
                self._media(track, at, to)
        for at, to in lists:
            self._edit_list(track, at, to)

    def _track_header(self, track: Track, at: int) -> None:
        wide = self.is_wide(at)
        track.track_id = self.number(at + (20 if wide else 12))
        length, bits = self.number(at + (28 if wide else 20), 8 if wide else 4), 64 if wide else 32
        track.header_s += [] if length == (1 << bits) - 1 else _plausible(length, self.movie.timescale)
        matrix = self.data[at + (52 if wide else 40) :][: _MATRIX.size]
        if len(matrix) == _MATRIX.size:
            track.matrix = _MATRIX.unpack(matrix)

    def _edit_list(self, track: Track, at: int, to: int) -> None:
        wide = self.is_wide(at)
        for line in struct.iter_unpack(">QqI" if wide else ">IiI", self.table(at, to, 20 if wide else 12)):
            start_s = None if line[1] < 0 else Fraction(line[1], track.timescale)
            track.edits.append(Edit(Fraction(line[0], self.movie.timescale), start_s))

    def _media(self, track: Track, start: int, end: int) -> None:
        found = {kind: (at, to) for kind, at, to in self.boxes(start, end)}
        if b"mdhd" in found:
            track.timescale, length_s = self._header(found[b"mdhd"][0])
            track.header_s += length_s
        if b"hdlr" in found:
            track.kind = bytes(self.data[found[b"hdlr"][0] + 8 :][:4])
        for kind, at, to in self.boxes(*found.get(b"minf", (0, 0))):
            if kind == b"stbl":
                self._tables(track, {inner: (inner_at, inner_to) for inner, inner_at, inner_to in self.boxes(at, to)})

    def _tables(self, track: Track, found: dict[bytes, tuple[int, int]]) -> None:
        if b"stsd" in found:
            at, to = found[b"stsd"]
            for kind, entry_at, _ in self.boxes(at + 8, to):
                track.is_encrypted |= kind == b"encv"
                track.sizes.append((self.number(entry_at + 24, 2), self.number(entry_at + 26, 2)))
        times = self.table(*found.get(b"stts", (0, 0)), 8)
        offsets = self.table(*found.get(b"ctts", (0, 0)), 8)
        chunks = [at for (at,) in struct.iter_unpack(">I", self.table(*found.get(b"stco", (0, 0)), 4))] or [
            at for (at,) in struct.iter_unpack(">Q", self.table(*found.get(b"co64", (0, 0)), 8))
        ]
        self.table(*found.get(b"stss", (0, 0)), 4)
        for name in (b"stsz", b"stz2"):
            if name in found:
                track.samples = self.number(found[name][0] + 8)
        # Sound of one tick a sample (PCM) is listed by the chunk.
        is_plain_sound = track.kind == b"soun" and len(times) == 8 and bytes(times[4:]) == b"\0\0\0\1"
        self.count_samples(len(chunks) if is_plain_sound else track.samples)
        if not is_plain_sound:
            self._times(track, times, offsets)
        else:
            track.listed_ticks = track.samples
        if b"stsz" in found and track.is_video:
            runs = list(struct.iter_unpack(">III", self.table(*found.get(b"stsc", (0, 0)), 12)))
            track.end_bytes = self._end_bytes(track, chunks, runs, found[b"stsz"])

    def _end_bytes(
        self, track: Track, chunks: list[int], runs: list[tuple[int, ...]], sizes_span: tuple[int, int]
    ) -> int:
        """Find the end of the listed frames: they follow each other within each chunk."""
        at, to = sizes_span
        size_bytes = self.number(at + 4)
        listed = self.data[at + 12 : to]
        count = min(track.samples, len(listed) // 4)
        ends = [0, *accumulate(size for (size,) in struct.iter_unpack(">I", listed[: 4 * count]))]
        if size_bytes:
            count, ends = track.samples, []
        end, sample, run = 0, 0, 0
        for number, position in enumerate(chunks, 1):
            while run + 1 < len(runs) and runs[run + 1][0] <= number:
                run += 1
            after = min(count, sample + (runs[run][1] if runs else 1))
            length = size_bytes * (after - sample) if size_bytes else ends[after] - ends[sample]
            end = max(end, position + length if after > sample else 0)
            sample = after
        return end

    def _times(self, track: Track, times: memoryview, offsets: memoryview) -> None:
        for table in (times, offsets):
            self.bound(sum(count for count, _ in struct.iter_unpack(">II", table)))
        tick, left = 0, track.samples
        for listed, length in struct.iter_unpack(">II", times):
            # As FFmpeg does: what would be a length below zero is a tick.
            delta, count = length if length < 1 << 31 else 1, min(listed, left)
            left -= count
            if track.is_video:
                track.ticks.extend(tick + delta * number for number in range(min(count, TICKS_MAX - len(track.ticks))))
            tick += count * delta
            if count:
                track.last_ticks = delta
        track.listed_ticks = tick
        at = 0
        for count, offset in struct.iter_unpack(">Ii", offsets):
            for index in range(at, min(at + count, len(track.ticks))):
                track.ticks[index] += offset
            at += count


def _plausible(length: int, timescale: int) -> list[Fraction]:
    length_s = Fraction(length, timescale)
    return [length_s] if 0 < length_s <= SECONDS_MAX else []


def read_movie(moov: bytes) -> Movie:
    """The tables of a file, from what its moov box holds.

    Raises:
        RefusedError: They list more than is ever read.
    """
    return _Walk(_unpacked(moov)).walk()


def _unpacked(moov: bytes) -> bytes:
    """The boxes of a moov that old QuickTime compressed (cmov), else as they are."""
    data = memoryview(moov)
    for kind, start, end in boxes_in(data, 0, len(data)):
        if kind != b"cmov":
            continue
        for inner, at, to in boxes_in(data, start, end):
            if inner == b"cmvd":
                try:
                    whole = zlib.decompressobj().decompress(data[at + 4 : to], COMPRESSED_BYTES_MAX)
                except zlib.error:
                    break
                if max(len(whole), int.from_bytes(data[at : at + 4], "big")) >= COMPRESSED_BYTES_MAX:
                    raise RefusedError("Its index is compressed and too large to be read. Export it again.")
                return whole[8:]
    return moov
