"""One picture of a video as a JPEG, as a player shows it, by PyAV. Runs in any thread; blocks while the source does."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.media._pyav import fraction, load_av
from hitpaw_async.media._reading import PICTURE_PIXELS_MAX, open_video, read_by_av, tables_of, video_stream
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

    from hitpaw_async.media._kinds import Kind
    from hitpaw_async.media._sources import ByteSource, SourceFile

__all__ = ["TURNS", "Picture", "read_picture"]

DECODED_MAX: Final = 600
"""Pictures that are decoded from a key picture on to the wanted one; the last of them is taken where that is not it."""
_QUALITY: Final = {"qmin": "5", "qmax": "5"}
_HALF_TURN: Final = (("hflip", None), ("vflip", None))
TURNS: Final[dict[int, tuple[tuple[str, str | None], ...]]] = {
    90: (("transpose", "cclock"),),
    -90: (("transpose", "clock"),),
    180: _HALF_TURN,
    -180: _HALF_TURN,
}
"""Filters that undo a rotation, by the degrees (counterclockwise) that a picture is to be turned for display."""


@attrs.frozen(kw_only=True)
class Picture:
    """A picture of a video."""

    jpeg: bytes = attrs.field(repr=False)
    width: int
    """Of the JPEG, in pixels."""
    height: int
    at_s: float
    """Its moment, in seconds from the video's beginning."""


def read_picture(source: ByteSource, *, at_s: float, side_max: int) -> Picture:
    """The picture of a source at a moment.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Whatever the source raised while it was read.
    """
    return read_by_av(source, partial(_read, at_s=at_s, side_max=side_max))


def _read(file: SourceFile, kind: Kind, *, at_s: float, side_max: int) -> Picture:
    with open_video(file, kind, tables_of(file, kind)) as opened:
        stream = video_stream(opened)
        if stream.width * stream.height > PICTURE_PIXELS_MAX:
            raise RefusedError("Its pictures are too large to be decoded here.")
        frame, seen_at_s = _frame_at(opened, stream, at_s)
        width, height = _shown_size(frame, stream, side_max)
        return Picture(jpeg=_jpeg(frame, width, height), width=width, height=height, at_s=seen_at_s)


def _frame_at(opened: InputContainer, stream: VideoStream, at_s: float) -> tuple[VideoFrame, float]:
    """The picture shown at a moment, and when it begins."""
    tick_s = fraction(stream.time_base) or Fraction(1, 1000)
    start = stream.start_time or 0
    with suppress(load_av().error.FFmpegError):
        # To the key picture before it; where the file can't be searched, from the beginning.
        opened.seek(start + int(at_s / tick_s), stream=stream)
    shown: VideoFrame | None = None
    for number, frame in enumerate(opened.decode(stream)):
        tick = start if frame.pts is None else frame.pts
        if shown is not None and (tick - start) * tick_s > at_s:
            break
        shown = frame
        if number == DECODED_MAX:
            break
    if shown is None:
        raise RefusedError("None of its pictures can be decoded. Check that it plays.")
    return shown, float((start if shown.pts is None else shown.pts) - start) * float(tick_s)


def _shown_size(frame: VideoFrame, stream: VideoStream, side_max: int) -> tuple[int, int]:
    """Width and height of the JPEG: pixel aspect and rotation applied, no side longer than allowed."""
    width = frame.width * (fraction(stream.sample_aspect_ratio) or Fraction(1))
    height = Fraction(frame.height)
    if frame.rotation in (90, -90):
        width, height = height, width
    scale = min(Fraction(1), side_max / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def _jpeg(frame: VideoFrame, width: int, height: int) -> bytes:
    av = load_av()
    shown = _filtered(frame, (*TURNS.get(frame.rotation, ()), ("scale", f"w={width}:h={height}"), ("setsar", "1")))
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = _QUALITY
    shown.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(shown), *encoder.encode(None)))


def _filtered(frame: VideoFrame, filters: tuple[tuple[str, str | None], ...]) -> VideoFrame:
    graph: Graph = load_av().filter.Graph()
    nodes = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)),
        *(graph.add(name, settings) for name, settings in filters),
        graph.add("format", "yuvj420p"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    frame.pts = 0
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()
