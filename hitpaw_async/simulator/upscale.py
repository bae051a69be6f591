"""Real upscaling with PyAV: lanczos, not AI. Blocking: for a worker thread.

The picture is turned the right way round and scaled to exactly the size asked for, whatever its shape was; pixels
become square. Times of frames are kept (an AVI's are made regular, because it holds no others). Audio is copied as it
is, or encoded where the container can't take it. One thread a file: how many at once is the caller's decision.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from hitpaw_async._bugs import internal_error, is_bug
from hitpaw_async.errors import MediaError
from hitpaw_async.media._pictures import TURNS
from hitpaw_async.media._pyav import fraction, load_av

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitpaw_async.models import Resolution

__all__ = ["upscale"]

_LOG: Final = logging.getLogger("hitpaw_async.simulator")

FALLBACK_RATE: Final = Fraction(25)

_X264: Final = {"preset": "ultrafast", "crf": "20", "threads": "1"}
_MPEG4: Final = {"qmin": "2", "qmax": "4", "threads": "1"}
_VP9: Final = {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0", "threads": "1"}


@attrs.frozen
class _Container:
    """What a container is written with."""

    format: str
    video_codec: str
    video_options: dict[str, str]
    audio_copied: frozenset[str] | None
    """Audio codecs that it takes as they are; None: every one."""
    audio_codec: str
    """What other audio is encoded with."""
    is_regular: bool = False
    """Whether it can hold a constant frame rate alone."""


_MP4_AUDIO: Final = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_CONTAINERS: Final = {
    ".mp4": _Container("mp4", "libx264", _X264, _MP4_AUDIO, "aac"),
    ".mov": _Container("mov", "libx264", _X264, (_MP4_AUDIO - {"opus"}) | {"pcm_s16le"}, "aac"),
    ".mkv": _Container("matroska", "libx264", _X264, None, "aac"),
    # FFmpeg reads H.264 in AVI with its times shifted, and compressed audio's run-in makes a gap: neither goes in.
    ".avi": _Container("avi", "mpeg4", _MPEG4, frozenset({"pcm_s16le"}), "pcm_s16le", is_regular=True),
    ".webm": _Container("webm", "libvpx-vp9", _VP9, frozenset({"opus", "vorbis"}), "libopus"),
}


def upscale(
    source: Path, target: Path, extension: str, resolution: Resolution, *, should_stop: Callable[[], bool]
) -> None:
    """Scale a video to a size.

    Args:
        source: The file to read.
        target: The file to write, whatever it is called.
        extension: The kind of file to write, with its dot.
        resolution: The size that the result gets, exactly.
        should_stop: Asked before each packet; True ends it.

    Raises:
        MissingExtraError: PyAV is not installed.
        MediaError: The source can't be read, the result can't be written, or it was told to stop.
    """
    load_av("Upscaling")
    if extension not in _CONTAINERS:
        raise MediaError(f"A result can be one of {', '.join(_CONTAINERS)}, not {ascii(extension)[:20]}.")
    try:
        with _Conversion(source, target, _CONTAINERS[extension], resolution) as conversion:
            conversion.run(should_stop)
    except MediaError:
        raise
    except Exception as error:  # noqa: BLE001 (FFmpeg's errors are of many kinds)
        if is_bug(error):
            raise internal_error(error) from None
        raise MediaError(f"The video could not be scaled ({type(error).__name__}). Check that it plays.") from None


class _Conversion:
    """One file on its way into another. What PyAV gives is Any here: its types differ from version to version."""

    def __init__(self, source: Path, target: Path, container: _Container, resolution: Resolution) -> None:
        av = load_av()
        with ExitStack() as stack:
            self._input: Any = stack.enter_context(av.open(str(source)))
            self._output: Any = stack.enter_context(av.open(str(target), "w", format=container.format))
            video = self._input.streams.best("video")
            if video is None:
                raise MediaError("There is no video in the source.")
            self._start = max(Fraction(0), Fraction(self._input.start_time or 0, av.time_base))
            self._picture = _Picture(video, self._output, container, resolution)
            self._tracks: dict[int, _Picture | _CopiedSound | _EncodedSound] = {video.index: self._picture}
            for audio in self._input.streams.audio:
                self._add_sound(audio, container)
            self._stack = stack.pop_all()

    def _add_sound(self, audio: Any, container: _Container) -> None:
        if audio.codec_context is None:
            _LOG.warning("An audio track is left out of a result: nothing here can read it.")
        elif container.audio_copied is None or audio.codec_context.name in container.audio_copied:
            self._tracks[audio.index] = _CopiedSound(self._output.add_stream_from_template(audio))
        else:
            self._tracks[audio.index] = _EncodedSound(self._output, container.audio_codec)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Take every packet to where it belongs."""
        for packet in self._input.demux(*(self._input.streams[index] for index in self._tracks)):
            if should_stop():
                raise MediaError("The video was not scaled: it was told to stop.")
            # Everything begins at zero, together: a transport stream's clock begins anywhere.
            tick_s = fraction(packet.time_base)
            shift = round(self._start / tick_s) if tick_s else 0
            for made in self._tracks[packet.stream.index].packets(packet, shift):
                self._output.mux(made)
        if not self._picture.has_frames:
            raise MediaError("There is not one picture in the source.")
        for track in self._tracks.values():
            for made in track.rest():
                self._output.mux(made)


def _encodable(rate: Fraction) -> Fraction:
    """The rate, or one close by: MPEG-4 counts in 16 bits."""
    return rate if rate.numerator < 1 << 16 else Fraction(max(1, min(round(rate), 1000)))


class _Picture:
    """The video track: decoded, turned, scaled, encoded."""

    def __init__(self, video: Any, output: Any, container: _Container, resolution: Resolution) -> None:
        video.codec_context.thread_count = 1
        rate = _encodable(fraction(video.average_rate) or fraction(video.guessed_rate) or FALLBACK_RATE)
        self._stream = output.add_stream(container.video_codec, rate=rate, options=container.video_options)
        context = self._stream.codec_context
        context.width, context.height = resolution.width, resolution.height
        # x264 takes half as many colour samples for even sides alone.
        is_odd = bool(resolution.width % 2 or resolution.height % 2)
        context.pix_fmt = "yuv444p" if is_odd and container.video_codec == "libx264" else "yuv420p"
        context.time_base = 1 / rate if container.is_regular else video.time_base
        self._time_base = video.time_base
        self._last_filters = [
            ("scale", f"w={resolution.width}:h={resolution.height}:flags=lanczos"),
            ("setsar", "1"),
            ("format", context.pix_fmt),
            *([("fps", f"fps={rate}")] if container.is_regular else []),
        ]
        self._graph: Any = None
        self._shape: tuple[object, ...] = ()
        self._last_pts = -1
        self.has_frames = False

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """What a packet of the source becomes."""
        for frame in packet.decode():
            pts = self._last_pts + 1 if frame.pts is None else frame.pts - shift
            if self.has_frames and pts <= self._last_pts:
                continue
            frame.pts = self._last_pts = pts
            self.has_frames = True
            yield from self._scaled(frame)

    def rest(self) -> Iterator[Any]:
        """What is still inside the filters and the encoder."""
        yield from self._drained()
        yield from self._stream.encode(None)

    def _scaled(self, frame: Any) -> Iterator[Any]:
        shape = (frame.width, frame.height, frame.format.name, frame.rotation)
        if shape != self._shape:
            yield from self._drained()
            self._graph, self._shape = self._new_graph(frame), shape
        self._graph.vpush(frame)
        yield from self._pulled()

    def _new_graph(self, frame: Any) -> Any:
        graph = load_av().filter.Graph()
        filters = (*TURNS.get(frame.rotation, ()), *self._last_filters)
        nodes = [
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=self._time_base),
            *(graph.add(name, settings) for name, settings in filters),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph

    def _drained(self) -> Iterator[Any]:
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pulled()

    def _pulled(self) -> Iterator[Any]:
        while True:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                # It wants another frame first, or has no more.
                return
            frame.pict_type = 0
            yield from self._stream.encode(frame)


@attrs.frozen
class _CopiedSound:
    """An audio track that the container takes as it is."""

    _stream: Any

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """The packet itself, under the new track."""
        if packet.dts is None:
            return
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        packet.stream = self._stream
        yield packet

    def rest(self) -> Iterator[Any]:
        """Nothing is kept back."""
        yield from ()


class _EncodedSound:
    """An audio track that the container does not take as it is."""

    def __init__(self, output: Any, codec: str) -> None:
        # 48 kHz is a rate that every encoder here knows. More than two channels are mixed down.
        self._stream = output.add_stream(codec, rate=48_000, layout="stereo")

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """What a packet of the source becomes."""
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= shift
            yield from self._stream.encode(frame)

    def rest(self) -> Iterator[Any]:
        """What is still inside the encoder."""
        yield from self._stream.encode(None)
