"""Small real videos, made on the fly."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import attrs
import av
import av.error
import av.filter
import pytest
from av.video.stream import VideoStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


H264 = {"preset": "ultrafast", "crf": "32"}
NO_B_FRAMES = {**H264, "bf": "0"}
VP = {"deadline": "realtime", "cpu-used": "8"}


@attrs.frozen(kw_only=True)
class Recipe:
    """How a video is made."""

    name: str
    rate: Fraction = attrs.field(default=Fraction(30), converter=Fraction)
    width: int = 160
    height: int = 128
    duration_s: int = 2
    codec: str = "libx264"
    options: dict[str, str] = H264
    muxing: dict[str, str] = attrs.field(factory=dict)
    keeps: Callable[[int], bool] = lambda _: True
    """Which frames are kept: dropping some makes the rate vary."""
    time_base: Fraction | None = None
    pixel_aspect: Fraction | None = None
    rotation: float = 0


def make(recipe: Recipe, folder: Path) -> Path:
    """Make it, unless it is there."""
    path = folder / _digest(recipe) / recipe.name
    if path.exists():
        return path
    with TemporaryDirectory(dir=folder) as own:
        made = _made(recipe, Path(own) / recipe.name)
        path.parent.mkdir(exist_ok=True)
        made.replace(path)  # at once: others may be waiting for it, or making it too
    return path


def _digest(recipe: Recipe) -> str:
    """The same in all processes."""
    code = recipe.keeps.__code__
    rest = {name: value for name, value in attrs.asdict(recipe).items() if name != "keeps"}
    return hashlib.sha256(repr((code.co_code, code.co_consts, rest)).encode()).hexdigest()[:16]


def _made(recipe: Recipe, path: Path) -> Path:
    if recipe.rotation and not hasattr(VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write a rotation")
    tick_s = recipe.time_base or 1 / recipe.rate
    with av.open(str(path), "w", options=recipe.muxing) as out:
        stream = cast("VideoStream", out.add_stream(recipe.codec, rate=recipe.rate, options=recipe.options))
        stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick_s
        if recipe.pixel_aspect:
            stream.codec_context.sample_aspect_ratio = recipe.pixel_aspect
        if recipe.rotation:
            stream.set_display_rotation(recipe.rotation)
        for number, frame in enumerate(_frames(recipe)):
            if recipe.keeps(number):
                frame.pict_type = 0  # Else each is a key frame, as the generator's are.
                frame.pts, frame.time_base = round(number / recipe.rate / tick_s), tick_s
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _frames(recipe: Recipe) -> Iterator[Any]:
    graph = av.filter.Graph()
    size = f"size={recipe.width}x{recipe.height}:rate={recipe.rate}:duration={recipe.duration_s}"
    graph.link_nodes(graph.add("testsrc2", size), graph.add("format", "yuv420p"), graph.add("buffersink")).configure()
    while True:
        try:
            yield graph.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def make_audio(path: Path) -> Path:
    """A second of silence, as AAC."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for number in range(47):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * number, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def a_picture() -> bytes:
    """A PNG of 640x480."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 640, 480, "rgb24", Fraction(1, 25)
    packets = [*encoder.encode(av.VideoFrame(640, 480, "rgb24")), *encoder.encode(None)]
    return bytes(packets[0])
