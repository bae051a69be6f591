"""Real clips for demonstrations, made from the shipped sample: every container, several rates, shapes and faults."""

from __future__ import annotations

import math
from contextlib import nullcontext
from fractions import Fraction
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs

from hitpaw_async.errors import MediaError
from hitpaw_async.media._pyav import load_av

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

__all__ = ["SAMPLE", "Clip", "make_clips"]

_SAMPLES: Final = files("hitpaw_async.simulator") / "samples"
SAMPLE: Final = _SAMPLES / "bbb_360p_5s.mp4"
"""The shipped video. In a package within a zip it is no file of its own: `importlib.resources.as_file` makes it one."""
ATTRIBUTION_NAME: Final = "ATTRIBUTION.txt"

_H264: Final = {"preset": "veryfast", "crf": "26"}
_VP8: Final = {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "800k"}


@attrs.frozen(kw_only=True)
class Clip:
    """A clip on disk."""

    path: Path
    what: str
    """Short description for a table."""
    expected: str = ""
    """Its fate, if it won't simply be enhanced."""


@attrs.frozen(kw_only=True)
class _Recipe:
    name: str
    what: str
    width: int
    height: int
    rate: Fraction = attrs.field(converter=Fraction)
    duration_s: int = 2
    codec: str = "libx264"
    options: dict[str, str] = _H264
    is_turned: bool = False
    """True if the file stores it rotated, and says that a player must turn it."""
    has_audio: bool = False
    expected: str = ""


_RECIPES: Final = (
    _Recipe(
        name="landscape.mp4",
        what="landscape, 25 fps, mp4, with sound",
        width=640,
        height=360,
        rate=25,
        duration_s=4,
        has_audio=True,
    ),
    _Recipe(name="film.mov", what="landscape, 23.976 fps, mov", width=480, height=270, rate=Fraction(24000, 1001)),
    _Recipe(name="smooth.mp4", what="landscape, 60 fps, mp4", width=426, height=240, rate=60, duration_s=3),
    _Recipe(
        name="sport.mkv", what="landscape, 50 fps, mkv, with sound", width=480, height=270, rate=50, has_audio=True
    ),
    _Recipe(
        name="web.webm",
        what="landscape, 30 fps, webm",
        width=320,
        height=180,
        rate=30,
        duration_s=3,
        codec="libvpx",
        options=_VP8,
    ),
    _Recipe(
        name="archive.avi",
        what="4:3, 25 fps, avi",
        width=320,
        height=240,
        rate=25,
        codec="mpeg4",
        options={"qscale": "4"},
    ),
    _Recipe(name="portrait.mp4", what="portrait, 30 fps, mp4", width=270, height=480, rate=30, duration_s=3),
    _Recipe(
        name="turned.mov", what="portrait by rotation, 25 fps, mov", width=270, height=480, rate=25, is_turned=True
    ),
    _Recipe(
        name="too-small.mp4",
        what="96x96, 25 fps, mp4",
        width=96,
        height=96,
        rate=25,
        expected="rejected before anything is spent: smaller than the vendor takes",
    ),
    _Recipe(
        name="vendor-error.mp4",
        what="landscape, 24 fps, mp4",
        width=320,
        height=180,
        rate=24,
        expected="accepted, then failed by the simulated vendor, because of its name",
    ),
)


def make_clips(folder: Path, *, sample: Path | None = None) -> tuple[Clip, ...]:
    """Make the clips, some ten of two to four seconds. Blocks for a few seconds of computing.

    Args:
        folder: Folder to write to; made if it is absent. Files with a clip's name are replaced.
        sample: The video that they are made from; by default the shipped one. Its attribution is copied along.

    Returns:
        The clips.

    Raises:
        MediaError: The sample cannot be read, or a clip cannot be written.
        MissingExtraError: The extra `media` is not installed.
    """
    av = load_av("Making clips")
    attribution = _SAMPLES / ATTRIBUTION_NAME if sample is None else sample.with_name(ATTRIBUTION_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if attribution.is_file():
            (folder / ATTRIBUTION_NAME).write_bytes(attribution.read_bytes())
        with as_file(SAMPLE) if sample is None else nullcontext(sample) as source:
            return tuple(_make(recipe, source, folder) for recipe in _RECIPES if not recipe.is_turned or _can_turn())
    except (av.error.FFmpegError, OSError, LookupError) as error:
        reason = type(error).__name__
    raise MediaError(
        f"The clips could not be made from {(sample or SAMPLE).name} ({reason}). Check that it is a video, and"
        " that there is room and leave to write where they go."
    )


def _can_turn() -> bool:
    """PyAV writes a rotation since 17.1."""
    return hasattr(load_av().video.stream.VideoStream, "set_display_rotation")


def _make(recipe: _Recipe, sample: Path, folder: Path) -> Clip:
    av = load_av()
    path = folder / recipe.name
    with av.open(str(sample), "r") as source, av.open(str(path), "w") as target:
        video = _add_video(target, recipe)
        audio = None
        if recipe.has_audio and source.streams.audio:
            audio = target.add_stream_from_template(source.streams.audio[0])
        for number, frame in enumerate(_frames(source, recipe)):
            frame.pts, frame.time_base = number, 1 / recipe.rate
            frame.pict_type = 0  # The encoder chooses anew which pictures are whole.
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if audio is not None:
            source.seek(0)
            _copy_audio(source, target, audio, recipe.duration_s)
    return Clip(path=path, what=recipe.what, expected=recipe.expected)


def _add_video(target: OutputContainer, recipe: _Recipe) -> VideoStream:
    stream = cast("VideoStream", target.add_stream(recipe.codec, rate=recipe.rate, options=recipe.options))
    size = (recipe.width, recipe.height)
    stream.width, stream.height = reversed(size) if recipe.is_turned else size
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = 1 / recipe.rate
    if recipe.is_turned:
        stream.set_display_rotation(-90)  # Clockwise.
    return stream


def _frames(source: InputContainer, recipe: _Recipe) -> Iterator[VideoFrame]:
    """The sample's frames as the clip has them: cropped to shape, scaled, repeated to its rate, cut to its length."""
    frames_left = math.ceil(recipe.duration_s * recipe.rate)
    stream = source.streams.video[0]
    graph = _graph(stream, recipe)
    for frame in source.decode(stream):
        graph.push(frame)
        for ready in _ready(graph):
            if frames_left == 0:
                return
            frames_left -= 1
            yield ready


def _graph(stream: VideoStream, recipe: _Recipe) -> Graph:
    shape = f"{recipe.width}/{recipe.height}"
    graph: Graph = load_av().filter.Graph()
    turn = [graph.add("transpose", "cclock")] if recipe.is_turned else []
    graph.link_nodes(
        graph.add_buffer(template=stream),
        graph.add("crop", f"w=min(iw\\,ih*{shape}):h=min(ih\\,iw/({shape}))"),
        graph.add("scale", f"{recipe.width}:{recipe.height}"),
        graph.add("setsar", "1"),
        *turn,
        graph.add("fps", str(recipe.rate)),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    error = load_av().error
    while True:
        try:
            yield cast("VideoFrame", graph.pull())
        except (error.BlockingIOError, error.EOFError):
            return


def _copy_audio(source: InputContainer, target: OutputContainer, audio: AudioStream, duration_s: int) -> None:
    for packet in source.demux(source.streams.audio[0]):
        if packet.pts is not None and packet.pts * packet.time_base < duration_s:
            packet.stream = audio
            target.mux(packet)
