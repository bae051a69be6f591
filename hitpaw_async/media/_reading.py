"""From an open source to its facts, by PyAV. Runs in any thread; blocks while the source does."""

from __future__ import annotations

import io
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from hitpaw_async.media._kinds import HEAD_BYTES, Kind, recognize
from hitpaw_async.media._layout import container_name
from hitpaw_async.media._pyav import fraction, lenient_metadata, load_av
from hitpaw_async.media._rates import FrameTimes, average_rate, peak_rate
from hitpaw_async.media._sources import RefusedError, SourceFile
from hitpaw_async.models import VideoFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from hitpaw_async.media._sources import ByteSource

__all__ = ["PICTURE_PIXELS_MAX", "open_video", "read_by_av", "read_facts", "video_stream"]

T = TypeVar("T")

BUFFER_BYTES: Final = 1 << 14
"""What FFmpeg asks for at once: small, because it does so after each jump as well, and a jump may be a request."""
PROBE_BYTES_MAX: Final = 2 << 20
PICTURE_BYTES_MAX: Final = 16 << 20
"""How much is read for a first picture, where the sample has none. One of 8K may have several megabytes."""
PICTURE_PIXELS_MAX: Final = 1 << 26
"""Twice 8K. What claims more is not decoded: it would only take memory."""
FRAMES_MAX: Final = 1_000_000
PIXEL_ASPECT_MAX: Final = 16
INDEX_SPAN_MIN: Final = Fraction(95, 100)
"""The share of a video that an index must span to be one of all frames, not of the first fragments."""

_DAMAGED: Final = "It is damaged, incomplete or encrypted. Check that it plays, and make or upload it again."


def read_facts(source: ByteSource) -> VideoFacts:
    """The facts of a source.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Whatever the source raised while it was read.
    """
    return read_by_av(source, _read_facts)


def read_by_av(source: ByteSource, read: Callable[[SourceFile, Kind], T]) -> T:
    """What `read` makes of a source, whose own failures come first.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Whatever the source raised while it was read.
    """
    load_av()
    file = SourceFile(source)
    failure: BaseException
    try:
        made = read(file, recognize(file.read_at(0, HEAD_BYTES)))
        if file.failure is None:
            return made
        failure = file.failure
    except (AssertionError, RefusedError) as error:
        failure = error
    except Exception as error:  # noqa: BLE001 (whatever PyAV raises over a stranger's file is a refusal of that file)
        failure = RefusedError(f"{_DAMAGED} (FFmpeg: {type(error).__name__}.)")
    # Raised outside the handler, and a failure of the source first: what FFmpeg made of it says less.
    raise file.failure or failure


def _read_facts(file: SourceFile, kind: Kind) -> VideoFacts:
    container = container_name(file, kind)
    with open_video(file, kind) as opened:
        stream = video_stream(opened)
        facts = _facts(opened, stream, kind, _look(opened, stream, kind, file))
    return attrs.evolve(facts, container=container, size_bytes=file.size_bytes or None)


@contextmanager
def open_video(file: SourceFile, kind: Kind) -> Iterator[InputContainer]:
    """A file as PyAV's container, which reads nothing but this file."""
    with load_av().open(
        file,
        mode="r",
        format=str(kind),
        container_options=_options(kind),
        buffer_size=BUFFER_BYTES,
        io_open=_empty_file,
        **lenient_metadata(),
    ) as opened:
        yield opened


def _options(kind: Kind) -> dict[str, str]:
    """Nothing but the bytes handed over is to be read: the demuxer is named, and no protocol is allowed."""
    options = {"format_whitelist": str(kind), "protocol_whitelist": "none", "probesize": str(PROBE_BYTES_MAX)}
    return {**options, "enable_drefs": "0"} if kind is Kind.ISO else options


def _empty_file(*_: object) -> io.BytesIO:
    """Stand for any other file that FFmpeg would open: raising would leave the exception in PyAV."""
    return io.BytesIO()


def video_stream(container: InputContainer) -> VideoStream:
    """The largest video that is no cover picture, to be decoded in one thread.

    Raises:
        RefusedError: There is none.
    """
    av = load_av()
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not streams and container.streams.audio:
        raise RefusedError("It is audio without a video. Give a video file.")
    if not streams:
        raise RefusedError("There is no video in it. Give a video file.")
    # The stubs say that it is always there; it is None for a codec without a decoder.
    readable = [stream for stream in streams if getattr(stream, "codec_context", None)]
    if not readable:
        raise RefusedError("Its video is of a kind that nothing here can decode, or encrypted. Convert it to H.264.")
    chosen = max(readable, key=lambda stream: (stream.width * stream.height, -stream.index))
    # One thread: none outlives the reading.
    chosen.codec_context.thread_count = 1
    return chosen


@attrs.define
class _Sight:
    """What was seen of a video's frames, and whether that is enough."""

    sample_bytes_max: int
    wants_picture: bool
    """Whether a first picture is still to be decoded."""
    ticks: list[int] = attrs.field(factory=list)
    is_complete: bool = False
    """Whether `ticks` has all frames."""
    last_tick: int = -(1 << 63)
    last_frame_ticks: int = 0
    bytes_read: int = 0
    has_ended: bool = False
    decoding_failed: bool = False
    rotation: int = 0
    """Degrees by which the first picture is to be turned."""

    @property
    def is_enough(self) -> bool:
        """Whether reading on would tell nothing more that is worth its bytes."""
        has_times = self.is_complete or self.bytes_read >= self.sample_bytes_max or len(self.ticks) >= FRAMES_MAX
        return has_times and (not self.wants_picture or self.bytes_read >= PICTURE_BYTES_MAX)

    def take(self, packet: Packet[VideoStream]) -> None:
        """Note a frame's time."""
        self.bytes_read += packet.size
        tick = packet.pts if packet.pts is not None else packet.dts
        if tick is None or self.is_complete:
            return
        self.ticks.append(tick)
        if tick > self.last_tick:
            self.last_tick, self.last_frame_ticks = tick, packet.duration or 0

    def decode(self, packet: Packet[VideoStream]) -> None:
        """Try for a picture. A stream may begin amid a group of pictures: then its first packets fail."""
        try:
            for picture in packet.decode():
                if self.wants_picture:
                    self.rotation = picture.rotation
                self.wants_picture = False
        except load_av().error.FFmpegError:
            self.decoding_failed = True


def _look(container: InputContainer, stream: VideoStream, kind: Kind, file: SourceFile) -> _Sight:
    """Decode one picture, and take the frames' times: from the table where there is one, else from packets."""
    is_decodable = stream.width * stream.height <= PICTURE_PIXELS_MAX
    sight = _Sight(file.sample_bytes_max, wants_picture=is_decodable)
    if kind in (Kind.ISO, Kind.AVI):
        _take_table(sight, stream, file.size_bytes)
    for packet in container.demux(stream):
        # The last packet is empty, and asks the decoder for what it holds back.
        sight.has_ended = packet.size == 0 and packet.dts is None
        sight.take(packet)
        if sight.wants_picture:
            sight.decode(packet)
        if sight.has_ended or sight.is_enough:
            break
    sight.is_complete = sight.is_complete or sight.has_ended
    if sight.wants_picture and (sight.decoding_failed or sight.has_ended):
        raise RefusedError(f"None of its first pictures can be decoded. {_DAMAGED}")
    return sight


def _take_table(sight: _Sight, stream: VideoStream, size_bytes: int | None) -> None:
    """The index of an MP4, MOV or AVI lists every frame, unless the file is in fragments that were not all read."""
    # PyAV has it since 17; before, frames are counted by reading them.
    entries: Any = getattr(stream, "index_entries", ())
    ticks = []
    for entry in entries[:FRAMES_MAX] if len(entries) else ():
        if size_bytes is not None and entry.pos + entry.size > size_bytes:
            raise RefusedError(
                "It is truncated: frames that it lists lie beyond its end. Upload or copy it again, whole."
            )
        ticks.append(entry.timestamp)
    duration = stream.duration or 0
    if len(ticks) > 1 and (max(ticks) - min(ticks)) * len(ticks) >= INDEX_SPAN_MIN * duration * (len(ticks) - 1):
        sight.ticks, sight.is_complete = ticks, True


def _facts(opened: InputContainer, stream: VideoStream, kind: Kind, sight: _Sight) -> VideoFacts:
    times = FrameTimes(
        ticks=sight.ticks,
        tick_s=fraction(stream.time_base) or Fraction(1, 1000),
        last_frame_ticks=sight.last_frame_ticks,
        is_complete=sight.is_complete,
    )
    header_rate = fraction(stream.average_rate)
    # FFmpeg computes it from the table of all frames, where the header has one; else from the first frames.
    is_counted = kind in (Kind.ISO, Kind.AVI) and (stream.frames > 0 or sight.is_complete)
    average = average_rate(header_rate, times, is_header_counted=is_counted)
    width, height = _displayed(stream, sight.rotation)
    return VideoFacts(
        duration_s=_duration_s(opened, stream, times),
        frame_rate=average,
        peak_frame_rate=peak_rate(header_rate, times, average),
        width=width,
        height=height,
        codec=stream.codec_context.codec.canonical_name,
    )


def _duration_s(opened: InputContainer, stream: VideoStream, times: FrameTimes) -> float | None:
    """The video's length; else the container's; else, where all frames were read, theirs."""
    duration = Fraction(0)
    tick_s = fraction(stream.time_base)
    if stream.duration and tick_s:
        duration = stream.duration * tick_s
    elif opened.duration:
        duration = Fraction(opened.duration, 1_000_000)
    elif times.is_complete:
        duration = times.duration_s
    return float(duration) if duration > 0 else None


def _displayed(stream: VideoStream, rotation: int) -> tuple[int | None, int | None]:
    """Width and height as shown: wide pixels widen the picture, and a turn by a quarter swaps the two."""
    width, height = stream.width, stream.height
    aspect = fraction(stream.sample_aspect_ratio)
    if aspect and Fraction(1, PIXEL_ASPECT_MAX) <= aspect <= PIXEL_ASPECT_MAX:
        width = int(width * aspect + Fraction(1, 2))
    if 45 < abs(rotation) % 180 < 135:
        width, height = height, width
    return (width, height) if width > 0 and height > 0 else (None, None)
