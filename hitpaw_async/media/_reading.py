"""From an open source to its facts, by PyAV. Runs in any thread; blocks while the source does."""

from __future__ import annotations

import io
import math
import re
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from hitpaw_async._errors import internal_error, is_bug
from hitpaw_async._lacks import lack_of
from hitpaw_async.errors import TransportError
from hitpaw_async.media._boxes import TRACKS_MAX
from hitpaw_async.media._claims import Sighting, hides_nearly_all, of_fragments, of_tables, rates_of, repeats_too_often
from hitpaw_async.media._frames import PROBED_PIXELS_MAX, look
from hitpaw_async.media._kinds import HEAD_BYTES, Kind, recognize
from hitpaw_async.media._layout import container_name, read_iso
from hitpaw_async.media._orientation import UPRIGHT
from hitpaw_async.media._pyav import decoder_options, fraction, lenient_metadata, load_av
from hitpaw_async.media._rates import FrameTimes
from hitpaw_async.media._sources import RefusedError, SourceFile
from hitpaw_async.models import VideoFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

    from hitpaw_async.media._boxes import Movie, Track
    from hitpaw_async.media._frames import Sight
    from hitpaw_async.media._iso import Fragments
    from hitpaw_async.media._orientation import Orientation
    from hitpaw_async.media._sources import ByteSource

__all__ = [
    "PICTURE_PIXELS_MAX",
    "Tables",
    "has_edits",
    "open_video",
    "read_by_av",
    "read_facts",
    "tables_of",
    "video_stream",
]

T = TypeVar("T")

BUFFER_BYTES: Final = 1 << 14
"""Buffer of FFmpeg's reads: small, because it is filled after each jump as well, and a jump may be a request."""
PROBE_BYTES_MAX: Final = 2 << 20
PICTURE_PIXELS_MAX: Final = 1 << 25
"""8K. Pictures that claim more are not decoded: they would only take memory."""
PIXEL_ASPECT_MAX: Final = 16
LONGER_MIN_S: Final = Fraction(1, 1000)
ROUNDING_S: Final = Fraction(1, 100)
"""By how much the length of a file may differ from that of its frames, as times are rounded."""

_CLOCK: Final = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)", re.ASCII)
_LISTING_STREAMS: Final = (Kind.ISO, Kind.MATROSKA, Kind.AVI)
"""Kinds whose header lists all streams; in others, packets bring them up."""
_DAMAGED: Final = "It is damaged, incomplete or encrypted. Check that it plays, and make or upload it again."


def read_facts(source: ByteSource) -> VideoFacts:
    """Read the facts of a source.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Any exception of reading the source.
    """
    return read_by_av(source, _read_facts)


def read_by_av(source: ByteSource, read: Callable[[SourceFile, Kind], T]) -> T:
    """Return the result of `read` for a source, whose own failures come first.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Any exception of reading the source.
    """
    load_av()
    file = SourceFile(source)
    failure: BaseException
    try:
        made = read(file, recognize(file.read_at(0, HEAD_BYTES)))
        if file.failure is None:
            return made
        failure = file.failure
    except RefusedError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 (what FFmpeg says of a stranger's file is a refusal of that file)
        failure = _said_by(error)
    # Raised outside the handler, and a failure of the source first: what FFmpeg made of it says less.
    failure = file.failure or failure
    raise internal_error(failure) if is_bug(failure) else failure


def _said_by(error: Exception) -> BaseException:
    """Explain an exception: a bug, a lack of resources, or a fault of the file."""
    if is_bug(error):
        return internal_error(error)
    # FFmpeg's own "out of memory" is a subclass, and the file's doing.
    if type(error) is MemoryError:
        return TransportError(f"The source can't be read just now: {lack_of(error)}.")
    return RefusedError(f"{_DAMAGED} (FFmpeg: {type(error).__name__}.)")


def _read_facts(file: SourceFile, kind: Kind) -> VideoFacts:
    container = container_name(file, kind)
    tables = tables_of(file, kind)
    facts, failure = _facts_of(file, kind, tables), None
    if facts is None:
        # An edit list may leave nothing that can be decoded; players that know none show it all.
        facts = _facts_of(file, kind, tables, ignores_edits=True) if has_edits(tables) else None
    if facts is None:
        failure = RefusedError(f"None of its first pictures can be decoded. {_DAMAGED}")
        raise failure
    return attrs.evolve(facts, container=container, size_bytes=file.size_bytes or None)


def _facts_of(file: SourceFile, kind: Kind, tables: Tables, *, ignores_edits: bool = False) -> VideoFacts | None:
    """The facts, or None where no picture can be decoded."""
    with open_video(file, kind, tables, ignores_edits=ignores_edits, pixels_max=PROBED_PIXELS_MAX) as opened:
        stream = video_stream(opened)
        is_decodable = math.prod(_coded_size(stream, tables)) <= PROBED_PIXELS_MAX
        has_times = tables.lists_frames_of(stream)
        sight = look(opened, stream, kind, file, is_decodable=is_decodable, has_times=has_times)
        return None if sight is None else _facts(opened, stream, kind, sight, tables)


@attrs.frozen
class Tables:
    """Facts that own code read before FFmpeg opens the file."""

    movie: Movie | None = None
    fragments: Fragments | None = None

    def track_of(self, stream: VideoStream) -> Track | None:
        """The track that is a stream; FFmpeg names it by the track's number."""
        tracks = [] if self.movie is None else self.movie.videos
        named = [track for track in tracks if track.track_id == stream.id]
        return named[0] if len(named) == 1 else None

    def lists_frames_of(self, stream: VideoStream) -> bool:
        """Whether the tables or the fragments list frames of a stream."""
        track = self.track_of(stream)
        is_in_fragments = self.fragments is not None and stream.id in self.fragments.tracks
        return track is not None and (track.samples > 0 or is_in_fragments)


def tables_of(file: SourceFile, kind: Kind) -> Tables:
    """The tables of an MP4 or MOV; of others none are read.

    Raises:
        RefusedError: It is truncated or encrypted, or lists more than is ever read.
    """
    return Tables(*read_iso(file)) if kind is Kind.ISO else Tables()


def has_edits(tables: Tables) -> bool:
    """True if an edit list decides the shown part."""
    return tables.movie is not None and any(track.edits for track in tables.movie.videos)


@contextmanager
def open_video(
    file: SourceFile, kind: Kind, tables: Tables, *, ignores_edits: bool = False, pixels_max: int = PICTURE_PIXELS_MAX
) -> Iterator[InputContainer]:
    """A file as PyAV's container, which reads nothing but this file."""
    with load_av().open(
        file,
        mode="r",
        format=str(kind),
        container_options=_options(kind, tables, ignores_edits=ignores_edits),
        **decoder_options({"max_pixels": str(pixels_max)}, lists_streams=kind in _LISTING_STREAMS),
        **lenient_metadata(),
        buffer_size=BUFFER_BYTES,
        io_open=_empty_file,
    ) as opened:
        yield opened


def _options(kind: Kind, tables: Tables, *, ignores_edits: bool) -> dict[str, str]:
    """Nothing but the bytes handed over is to be read: the demuxer is named, and no protocol is allowed."""
    options = {
        "format_whitelist": str(kind),
        "protocol_whitelist": "none",
        "probesize": str(PROBE_BYTES_MAX),
        "max_streams": str(TRACKS_MAX),
    }
    if kind in (Kind.FLV, Kind.MPEGPS):
        # These show their tracks late, so that PyAV hands its decoders no bounds: none is tried until it is ours.
        options["codec_whitelist"] = "none"
    if kind is not Kind.ISO or tables.movie is None:
        return options
    options["enable_drefs"] = "0"
    is_mistaken = any(hides_nearly_all(track) for track in tables.movie.videos)
    if ignores_edits or is_mistaken or repeats_too_often(tables.movie):
        options["ignore_editlist"] = "1"
    if tables.fragments is not None and not tables.fragments.is_complete:
        options["fflags"] = "ignidx"
    return options


def _empty_file(*_: object) -> io.BytesIO:
    """Stand for any other file that FFmpeg would open: raising would leave the exception in PyAV."""
    return io.BytesIO()


def video_stream(container: InputContainer) -> VideoStream:
    """The largest video that is no cover picture and no still beside a longer one, to be decoded in one thread.

    Raises:
        RefusedError: There is none.
    """
    streams = _pictured(container)
    if not streams and container.streams.audio:
        raise RefusedError("It is audio without a video. Give a video file.")
    if not streams:
        raise RefusedError("There is no video in it. Give a video file.")
    # The stubs say that it is always there; it is None for a codec without a decoder.
    readable = [stream for stream in streams if _is_readable(stream)]
    if not readable:
        raise RefusedError("Its video is of a kind that nothing here can decode, or encrypted. Convert it to H.264.")
    longest_s = max(told_s(stream) for stream in readable)
    most_frames = max(stream.frames for stream in readable)

    def merit(stream: VideoStream) -> tuple[bool, bool, int, int]:
        is_still = bool(stream.frames) and 10 * stream.frames < most_frames
        return 2 * told_s(stream) >= longest_s, not is_still, stream.width * stream.height, -stream.index

    chosen = max(readable, key=merit)
    # One thread: none outlives the reading.
    chosen.codec_context.thread_count = 1
    return chosen


def _pictured(container: InputContainer) -> list[VideoStream]:
    """The video tracks that are no cover pictures."""
    dispositions = load_av().stream.Disposition
    pictures = dispositions.attached_pic | dispositions.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & pictures]


def _is_readable(stream: VideoStream) -> bool:
    """Tell if there is a decoder for it; without one, PyAV does not tell its size either."""
    return getattr(stream, "codec_context", None) is not None


def _others(container: InputContainer, stream: VideoStream) -> list[VideoStream]:
    """The video tracks beside the chosen one."""
    return [other for other in _pictured(container) if other.index != stream.index and _is_readable(other)]


def told_s(stream: Stream) -> Fraction:
    """The length that a track's tags or its header say; zero where they don't."""
    # Tags first: what FFmpeg says of a Matroska's tracks may be the length of the whole file.
    match = _CLOCK.match(next((text for name, text in stream.metadata.items() if name.upper() == "DURATION"), ""))
    if match is not None:
        return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3])
    tick_s = fraction(stream.time_base)
    return stream.duration * tick_s if stream.duration and tick_s else Fraction(0)


def _facts(opened: InputContainer, stream: VideoStream, kind: Kind, sight: Sight, tables: Tables) -> VideoFacts:
    sighting = _sighting(opened, stream, kind, sight, tables)
    rates = rates_of(sighting, _other_tracks(opened, stream, tables))
    longest_s = max((sighting.likely_s or Fraction(0), *sighting.lengths_s))
    width, height = _displayed(_coded_size(stream, tables), stream, sight.orientation)
    largest = _largest(opened, stream, tables)
    return VideoFacts(
        duration_s=float(sighting.likely_s) if sighting.likely_s else None,
        frame_rate=rates.average,
        peak_frame_rate=rates.peak,
        width=width,
        height=height,
        codec=stream.codec_context.codec.canonical_name,
        duration_max_s=float(longest_s) if longest_s > (sighting.likely_s or 0) + LONGER_MIN_S else None,
        frame_rate_max=rates.highest,
        width_max=largest[0] if largest else None,
        height_max=largest[1] if largest else None,
    )


def _sighting(opened: InputContainer, stream: VideoStream, kind: Kind, sight: Sight, tables: Tables) -> Sighting:
    track = tables.track_of(stream)
    if tables.movie is not None and track is not None and tables.lists_frames_of(stream):
        if tables.fragments is not None:
            return of_fragments(tables.movie, tables.fragments, track, fraction(stream.average_rate))
        return of_tables(tables.movie, track)
    times = FrameTimes(
        ticks=sight.ticks,
        tick_s=fraction(stream.time_base) or Fraction(1, 1000),
        last_frame_ticks=sight.last_frame_ticks,
        is_complete=sight.is_complete,
    )
    later = tuple(attrs.evolve(times, ticks=ticks) for ticks in sight.later)
    lengths = list(_lengths_s(opened, kind))
    if times.is_complete:
        lengths.append(times.duration_s)
    if later:
        lengths.append((later[-1].end_tick - min(times.ticks, default=0)) * times.tick_s)
    header_rate = fraction(stream.average_rate)
    is_slotted = kind is Kind.AVI and times.is_complete and not _fills_slots(times)
    likely_s = _likely_s(opened, stream, kind, times)
    if later and likely_s is not None and lengths[-1] > likely_s + 1:
        likely_s = lengths[-1]
    return Sighting(
        times=times,
        others=later,
        header_rate=None if is_slotted else header_rate,
        likely_s=likely_s,
        lengths_s=tuple(lengths),
    )


def _fills_slots(times: FrameTimes) -> bool:
    """Tell if each slot of an AVI's regular time has a frame: copied H.264 fills every second slot."""
    return len(times.ticks) >= times.ticks[-1] - times.ticks[0] if times.ticks else True


def _other_tracks(opened: InputContainer, stream: VideoStream, tables: Tables) -> Iterator[Sighting]:
    """Return the claims of the other video tracks."""
    for other in _others(opened, stream):
        track = tables.track_of(other)
        if tables.movie is not None and track is not None and track.samples:
            yield of_tables(tables.movie, track)
        else:
            nothing = FrameTimes(ticks=(), tick_s=Fraction(1, 1000), is_complete=False)
            yield Sighting(times=nothing, header_rate=fraction(other.average_rate))


def _offset_s(opened: InputContainer, kind: Kind) -> Fraction:
    """Start of the file's clock, if its length counts from zero."""
    start = opened.start_time
    return Fraction(max(0, start or 0), 1_000_000) if kind is Kind.MATROSKA else Fraction(0)


def _lengths_s(opened: InputContainer, kind: Kind) -> Iterator[Fraction]:
    """Each length that a header says."""
    offset_s = _offset_s(opened, kind)
    if opened.duration:
        yield Fraction(opened.duration, 1_000_000) - offset_s
    for stream in opened.streams:
        if stream.type in ("video", "audio"):
            yield told_s(stream) - offset_s


def _likely_s(opened: InputContainer, stream: VideoStream, kind: Kind, times: FrameTimes) -> Fraction | None:
    """The video's length by its header; else the file's, unless its frames or its tags say otherwise."""
    tick_s = fraction(stream.time_base)
    if stream.duration and tick_s and kind is not Kind.MATROSKA:
        own_s = stream.duration * tick_s
        return times.duration_s if times.is_complete and times.duration_s > own_s + 1 else own_s
    offset_s = _offset_s(opened, kind)
    told = [
        length_s
        for length_s in (Fraction(opened.duration or 0, 1_000_000) - offset_s, told_s(stream) - offset_s)
        if length_s > 0
    ]
    if not times.is_complete:
        return min(told, default=None)
    nearest_s = min(told, key=lambda length_s: abs(length_s - times.duration_s), default=Fraction(0))
    return nearest_s if abs(nearest_s - times.duration_s) <= ROUNDING_S else times.duration_s or None


def _coded_size(stream: VideoStream, tables: Tables) -> tuple[int, int]:
    """Width and height as coded; FFmpeg forgets them where it would not decode a picture so large."""
    track = tables.track_of(stream)
    sizes = [(stream.width, stream.height), *([] if track is None or stream.width else track.sizes)]
    return max(sizes, key=math.prod)


def _displayed(size: tuple[int, int], stream: VideoStream, orientation: Orientation) -> tuple[int | None, int | None]:
    """Width and height as shown: wide pixels widen the picture, and a turn by a quarter swaps the two."""
    width, height = size
    aspect = fraction(stream.sample_aspect_ratio)
    if aspect and Fraction(1, PIXEL_ASPECT_MAX) <= aspect <= PIXEL_ASPECT_MAX:
        width = int(width * aspect + Fraction(1, 2))
    if orientation.is_turned:
        width, height = height, width
    return (width, height) if width > 0 and height > 0 else (None, None)


def _largest(opened: InputContainer, stream: VideoStream, tables: Tables) -> tuple[int, int] | None:
    """The size of the largest other track, where it is larger than the video."""
    own = _coded_size(stream, tables)
    sizes = [_displayed(_coded_size(other, tables), other, UPRIGHT) for other in _others(opened, stream)]
    larger = [
        (width, height)
        for width, height in sizes
        if width and height and (max(width, height) > max(own) or width * height > math.prod(own))
    ]
    return max(larger, key=math.prod, default=None)
