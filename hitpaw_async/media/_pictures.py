"""One picture of a video as a JPEG, as a player shows it, by PyAV. Runs in any thread; blocks while the source does."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.media._decoding import PictureDecoder
from hitpaw_async.media._kinds import Kind
from hitpaw_async.media._orientation import orientation_of_frame
from hitpaw_async.media._pyav import fraction, load_av
from hitpaw_async.media._reading import PICTURE_PIXELS_MAX, open_video, read_by_av, tables_of, video_stream
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

    from hitpaw_async.media._sources import ByteSource, SourceFile

__all__ = ["Picture", "colour_settings", "read_picture"]

FULL_RANGE: Final = 2
"""FFmpeg's number for brightness from 0 to 255 (AVCOL_RANGE_JPEG)."""
_MATRICES: Final = {1: "bt709", 4: "fcc", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""FFmpeg's numbers for how brightness and colour make red, green and blue (AVCOL_SPC), as `scale` calls them.

The fifth has its own name in FFmpeg 8 alone; it is that of BT.601."""
DECODED_MAX: Final = 3000
"""Pictures that are decoded from a key picture on to the wanted one."""
_QUALITY: Final = {"qmin": "5", "qmax": "5"}
MOMENT_ROUNDING_S: Final = Fraction(6, 10_000)
"""Tolerance before the picture that is meant: some files round times to a millisecond."""


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
    """Take the picture of a source at a moment.

    Raises:
        RefusedError: It is no video that can be used.
        BaseException: Any exception of reading the source.
    """
    return read_by_av(source, partial(_read, at_s=at_s, side_max=side_max))


def _read(file: SourceFile, kind: Kind, *, at_s: float, side_max: int) -> Picture:
    with open_video(file, kind, tables_of(file, kind)) as opened:
        stream = video_stream(opened)
        if stream.width * stream.height > PICTURE_PIXELS_MAX:
            raise RefusedError("Its pictures are too large to be decoded here.")
        frame, seen_at_s = _frame_at(opened, stream, kind, at_s)
        width, height = _shown_size(frame, stream, side_max)
        return Picture(jpeg=_jpeg(frame, width, height), width=width, height=height, at_s=seen_at_s)


def _frame_at(opened: InputContainer, stream: VideoStream, kind: Kind, at_s: float) -> tuple[VideoFrame, float]:
    """The picture shown at a moment, and when it begins."""
    tick_s = fraction(stream.time_base) or Fraction(1, 1000)
    start = stream.start_time or 0
    wanted = start + math.floor((Fraction(at_s) + MOMENT_ROUNDING_S) / tick_s)
    shown = None
    # To the key picture before it: a file may say when that is decoded, which is earlier. Else from the beginning.
    for back_s in (0, 2, None):
        target = start if back_s is None else max(start, wanted - int(back_s / tick_s))
        with suppress(load_av().error.FFmpegError):
            opened.seek(target, stream=stream)
        shown = _last_until(opened, stream, kind, wanted)
        if shown is not None and shown[0] <= wanted:
            break
    if shown is None:
        raise RefusedError("None of its pictures can be decoded. Check that it plays.")
    tick, frame = shown
    return frame, float((tick - start) * tick_s)


def _last_until(opened: InputContainer, stream: VideoStream, kind: Kind, wanted: int) -> tuple[int, VideoFrame] | None:
    """The last picture up to a tick, from where the file stands; or the first, where all are later."""
    decoder = PictureDecoder(has_decoding_times_only=kind is Kind.AVI)
    shown: tuple[int, VideoFrame] | None = None
    decoded = 0
    for packet in opened.demux(stream):
        for told, frame in decoder.pictures(packet):
            tick = told if told is not None else wanted if shown is None else shown[0]
            if shown is not None and tick > wanted:
                return shown
            shown = (tick, frame)
            decoded += 1
            if decoded > DECODED_MAX:
                raise RefusedError(
                    "Its key pictures lie too far apart for one in between to be taken. Give an earlier moment."
                )
    return shown


def _shown_size(frame: VideoFrame, stream: VideoStream, side_max: int) -> tuple[int, int]:
    """Width and height of the JPEG: pixel aspect and rotation applied, no side longer than allowed."""
    width = frame.width * (fraction(stream.sample_aspect_ratio) or Fraction(1))
    height = Fraction(frame.height)
    if orientation_of_frame(frame).is_turned:
        width, height = height, width
    scale = min(Fraction(1), side_max / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def _jpeg(frame: VideoFrame, width: int, height: int) -> bytes:
    av = load_av()
    scale = f"w={width}:h={height}:{colour_settings(frame, is_full=True, matrix='smpte170m')}"
    shown = _filtered(frame, (*orientation_of_frame(frame).filters, ("scale", scale), ("setsar", "1")))
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = _QUALITY
    shown.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(shown), *encoder.encode(None)))


def colour_settings(frame: VideoFrame, *, is_full: bool, matrix: str | None = None) -> str:
    """Build the colour arguments of `scale` from the picture, whose own values FFmpeg's filters lose.

    Args:
        frame: The picture.
        is_full: True if the brightness of the output goes from 0 to 255, not from 16 to 235.
        matrix: FFmpeg's name of the matrix of what is made; None: the picture's own.
    """
    is_source_full = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
    own = _MATRICES.get(int(frame.colorspace))
    settings = {
        "in_range": "full" if is_source_full else "limited",
        "out_range": "full" if is_full else "limited",
        "in_color_matrix": own,
        "out_color_matrix": matrix or own,
    }
    return ":".join(f"{name}={value}" for name, value in settings.items() if value is not None)


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
