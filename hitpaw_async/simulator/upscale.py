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

from hitpaw_async._errors import internal_error, is_bug
from hitpaw_async.errors import MediaError
from hitpaw_async.media._decoding import PictureDecoder
from hitpaw_async.media._kinds import HEAD_BYTES, Kind, recognize
from hitpaw_async.media._orientation import orientation_of_frame
from hitpaw_async.media._pictures import colour_settings
from hitpaw_async.media._pyav import fraction, load_av
from hitpaw_async.media._reading import open_video, tables_of, video_stream
from hitpaw_async.media._sources import LocalSource, RefusedError, SourceFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitpaw_async.models import Resolution

__all__ = ["upscale"]

_LOG: Final = logging.getLogger("hitpaw_async.simulator")

FALLBACK_RATE: Final = Fraction(25)
LIMITED_RANGE: Final = 1
"""FFmpeg's number for brightness from 16 to 235 (AVCOL_RANGE_MPEG)."""

_X264: Final = {"preset": "ultrafast", "crf": "20", "threads": "1"}
_MPEG4: Final = {"qmin": "2", "qmax": "4", "threads": "1"}
_VP9: Final = {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b": "0", "threads": "1"}


@attrs.frozen
class _Container:
    """Options and codecs of a container."""

    format: str
    video_codec: str
    video_options: dict[str, str]
    audio_copied: frozenset[str]
    """Audio codecs that it takes as they are."""
    audio_codec: str
    """Codec of other audio."""
    is_regular: bool = False
    """True if it can only hold a constant frame rate."""


_MP4_AUDIO: Final = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
_MKV_AUDIO: Final = _MP4_AUDIO | {"vorbis", "flac", "dts", "truehd", "mp2", "pcm_s16le", "pcm_s24le", "pcm_f32le"}
_CONTAINERS: Final = {
    ".mp4": _Container("mp4", "libx264", _X264, _MP4_AUDIO, "aac"),
    ".mov": _Container("mov", "libx264", _X264, (_MP4_AUDIO - {"opus"}) | {"pcm_s16le"}, "aac"),
    ".mkv": _Container("matroska", "libx264", _X264, _MKV_AUDIO, "aac"),
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
    except RefusedError as refusal:
        raise MediaError(f"The video could not be scaled. {refusal}") from None
    except Exception as error:  # noqa: BLE001 (FFmpeg's errors are of many kinds)
        if is_bug(error):
            raise internal_error(error) from None
        raise MediaError(f"The video could not be scaled ({type(error).__name__}). Check that it plays.") from None


class _Conversion:
    """One file on its way into another. PyAV's values are Any here: its types differ from version to version."""

    def __init__(self, source: Path, target: Path, container: _Container, resolution: Resolution) -> None:
        av = load_av()
        with ExitStack() as stack:
            file = SourceFile(stack.enter_context(LocalSource(str(source))))
            kind = recognize(file.read_at(0, HEAD_BYTES))
            self._input: Any = stack.enter_context(open_video(file, kind, tables_of(file, kind)))
            self._output: Any = stack.enter_context(av.open(str(target), "w", format=container.format))
            if not self._input.streams.video:
                raise MediaError("There is no video in the source.")
            video: Any = video_stream(self._input)
            self._kind = kind
            self._start = max(Fraction(0), Fraction(self._input.start_time or 0, av.time_base))
            self._picture = _Picture(video, kind, self._output, container, resolution)
            self._tracks: dict[int, _Picture | _CopiedSound | _EncodedSound] = {video.index: self._picture}
            for audio in self._input.streams.audio:
                self._add_sound(audio, container)
            self._stack = stack.pop_all()

    def _add_sound(self, audio: Any, container: _Container) -> None:
        if audio.codec_context is None:
            _LOG.warning("An audio track is left out of a result: nothing here can read it.")
        elif audio.codec_context.name in container.audio_copied and not self._has_wrong_times(audio):
            self._tracks[audio.index] = _CopiedSound(self._output.add_stream_from_template(audio))
        else:
            is_counted = self._kind is Kind.AVI
            self._tracks[audio.index] = _EncodedSound(self._output, container.audio_codec, is_counted=is_counted)

    def _has_wrong_times(self, audio: Any) -> bool:
        """Tell if packets are timed by their bytes, as compressed sound of an AVI with a variable rate is."""
        return self._kind is Kind.AVI and not audio.codec_context.name.startswith("pcm_")

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

    def __init__(self, video: Any, kind: Kind, output: Any, container: _Container, resolution: Resolution) -> None:
        rates = [fraction(video.average_rate), fraction(video.guessed_rate)]
        # The header of an AVI with H.264 may count fields.
        rates = rates[::-1] if kind is Kind.AVI else rates
        rate = _encodable(rates[0] or rates[1] or FALLBACK_RATE)
        self._decoder = PictureDecoder(has_decoding_times_only=kind is Kind.AVI)
        self._stream = output.add_stream(container.video_codec, rate=rate, options=container.video_options)
        context = self._stream.codec_context
        context.width, context.height = resolution.width, resolution.height
        # x264 takes half as many colour samples for even sides alone.
        is_odd = bool(resolution.width % 2 or resolution.height % 2)
        context.pix_fmt = "yuv444p" if is_odd and container.video_codec == "libx264" else "yuv420p"
        context.time_base = 1 / rate if container.is_regular else video.time_base
        # Colours stay what they are: the result says of them what the source does. An AVI says nothing.
        for name in ("colorspace", "color_primaries", "color_trc"):
            if not container.is_regular:
                setattr(context, name, getattr(video.codec_context, name))
        self._matrix = "smpte170m" if container.is_regular else None
        context.color_range = LIMITED_RANGE
        self._time_base = video.time_base
        self._scale = f"w={resolution.width}:h={resolution.height}:flags=lanczos"
        self._last_filters = [
            ("setsar", "1"),
            ("format", context.pix_fmt),
        ]
        self._slots = _Slots(rate) if container.is_regular else None
        self._graph: Any = None
        self._shape: tuple[object, ...] = ()
        self._last_pts = -1
        self.has_frames = False

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """Convert a packet of the source."""
        for tick, frame in self._decoder.pictures(packet):
            pts = self._last_pts + 1 if tick is None else tick - shift
            if self.has_frames and pts <= self._last_pts:
                continue
            frame.pts = self._last_pts = pts
            self.has_frames = True
            yield from self._scaled(frame)

    def rest(self) -> Iterator[Any]:
        """Flush the filters and the encoder."""
        yield from self._drained()
        yield from self._stream.encode(None)

    def _scaled(self, frame: Any) -> Iterator[Any]:
        shape = (
            frame.width,
            frame.height,
            frame.format.name,
            int(frame.color_range),
            int(frame.colorspace),
            orientation_of_frame(frame),
        )
        if shape != self._shape:
            yield from self._drained()
            self._graph, self._shape = self._new_graph(frame), shape
        self._graph.vpush(frame)
        yield from self._pulled()

    def _new_graph(self, frame: Any) -> Any:
        graph = load_av().filter.Graph()
        scale = ("scale", f"{self._scale}:{colour_settings(frame, is_full=False, matrix=self._matrix)}")
        filters = (*orientation_of_frame(frame).filters, scale, *self._last_filters)
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
            if self._slots is None or self._slots.place(frame, fraction(frame.time_base) or Fraction(1)):
                yield from self._stream.encode(frame)


@attrs.define
class _Slots:
    """The regular times of an AVI: a frame goes into the slot that is next to its time; others stay empty."""

    _rate: Fraction
    _last: int = -1

    def place(self, frame: Any, tick_s: Fraction) -> bool:
        """Give a frame its slot; whether there is one. Times that tremble move it by one at the most."""
        slot = round(frame.pts * tick_s * self._rate)
        if slot < self._last:
            return False
        self._last = max(slot, self._last + 1)
        frame.pts, frame.time_base = self._last, 1 / self._rate
        return True


@attrs.define
class _CopiedSound:
    """An audio track that the container takes as it is."""

    _stream: Any
    _last_dts: int | None = None

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """The packet itself, under the new track; one whose time goes back is left out."""
        if packet.dts is None:
            return
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        if self._last_dts is not None and packet.dts <= self._last_dts:
            return
        self._last_dts = packet.dts
        packet.stream = self._stream
        yield packet

    def rest(self) -> Iterator[Any]:
        """Nothing is kept back."""
        yield from ()


class _EncodedSound:
    """An audio track that the container does not take as it is."""

    def __init__(self, output: Any, codec: str, *, is_counted: bool) -> None:
        # 48 kHz is a rate that every encoder here knows. More than two channels are mixed down.
        self._stream = output.add_stream(codec, rate=48_000, layout="stereo")
        self._is_counted = is_counted
        self._samples = 0

    def packets(self, packet: Any, shift: int) -> Iterator[Any]:
        """Convert a packet of the source; a damaged one becomes silence no longer than itself."""
        try:
            frames = packet.decode()
        except load_av().error.FFmpegError:
            return
        for frame in frames:
            if self._is_counted:
                frame.pts, frame.time_base = self._samples, Fraction(1, frame.sample_rate)
                self._samples += frame.samples
            elif frame.pts is not None:
                frame.pts -= shift
            yield from self._stream.encode(frame)

    def rest(self) -> Iterator[Any]:
        """Flush the encoder."""
        yield from self._stream.encode(None)
