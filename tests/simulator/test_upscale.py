"""Real upscaling: the size asked for, every picture, the sound, the right way round. Checked with PyAV."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hitpaw_async.errors import MediaError
from hitpaw_async.media import probe_file
from hitpaw_async.models import Resolution
from hitpaw_async.simulator.upscale import upscale
from tests.simulator.conversation import SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

av = pytest.importorskip("av")

SMALL = Resolution(320, 180)


@attrs.frozen
class Seen:
    """What a player sees of a file."""

    container: str
    codec: str
    size: tuple[int, int]
    pixels: str
    rotation: int
    times_s: tuple[float, ...]
    sounds: tuple[str, ...]
    sound_s: float
    corners: tuple[int, int, int, int]
    """Brightness at top left, top right, bottom left and bottom right of the first picture."""


def see(path: Path) -> Seen:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        pictures, sound_s = [], Fraction(0)
        for packet in container.demux():
            for frame in packet.decode():
                if packet.stream is video:
                    pictures.append(frame)
                elif isinstance(frame, av.AudioFrame):
                    sound_s += Fraction(frame.samples, frame.sample_rate)
        first = pictures[0]
        return Seen(
            container=container.format.name,
            codec=video.codec_context.name,
            size=(first.width, first.height),
            pixels=first.format.name,
            rotation=first.rotation,
            times_s=tuple(picture.time for picture in pictures),
            sounds=tuple(sound.codec_context.name for sound in container.streams.audio),
            sound_s=float(sound_s),
            corners=corners(first),
        )


def luma(frame: Any) -> tuple[bytes, int]:
    plane = frame.reformat(format="gray").planes[0]
    return bytes(plane), plane.line_size


def corners(frame: Any) -> tuple[int, int, int, int]:
    pixels, line = luma(frame)
    left, right, top, bottom = 8, frame.width - 9, 8, frame.height - 9
    return (
        pixels[top * line + left],
        pixels[top * line + right],
        pixels[bottom * line + left],
        pixels[bottom * line + right],
    )


def scaled(source: Path, target: Path, resolution: Resolution) -> Seen:
    upscale(source, target, target.suffix, resolution, should_stop=lambda: False)
    return see(target)


def make(path: Path, times: list[int], *, sound: str | None = None, start_s: int = 0) -> Path:
    """A little video, bright at its top left, with pictures at the given sixtieths of a second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "10"})
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        video.codec_context.time_base = Fraction(1, 60)
        audio = container.add_stream(sound, rate=48_000, layout="stereo") if sound else None
        for time in times:
            frame = av.VideoFrame(160, 128, "yuv420p")
            rows = bytes([235]) * 40 + bytes([20]) * (frame.planes[0].line_size - 40)
            dark = bytes([20]) * frame.planes[0].line_size
            frame.planes[0].update(rows * 40 + dark * 88)
            for plane in frame.planes[1:]:
                plane.update(bytes([128]) * plane.buffer_size)
            frame.pts, frame.time_base = time + 60 * start_s, Fraction(1, 60)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for index in range(50):
                silence = av.AudioFrame(format="s16", layout="stereo", samples=960)
                silence.planes[0].update(bytes(silence.planes[0].buffer_size))
                silence.sample_rate, silence.pts = 48_000, 960 * index + 48_000 * start_s
                silence.time_base = Fraction(1, 48_000)
                container.mux(audio.encode(silence))
            container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    ("extension", "container", "codec", "sound"),
    [
        (".mp4", "mp4", "h264", "aac"),
        (".mov", "mov", "h264", "aac"),
        (".mkv", "matroska", "h264", "aac"),
        (".avi", "avi", "mpeg4", "pcm_s16le"),
        (".webm", "webm", "vp9", "opus"),
    ],
)
@pytest.mark.slow
def test_the_sample_is_scaled_into_each_container(
    tmp_path: Path, extension: str, container: str, codec: str, sound: str
) -> None:
    before = see(SAMPLE)
    after = scaled(SAMPLE, tmp_path / f"result{extension}", SMALL)
    assert container in after.container
    assert after.codec.removeprefix("lib").startswith(codec)
    assert (after.size, after.pixels) == ((320, 180), "yuv420p")
    assert len(after.times_s) == len(before.times_s) == 125
    # Matroska begins no track before zero: the sound's run-in moves all by 21 ms.
    assert after.times_s == pytest.approx(before.times_s, abs=0.03)
    assert [sound in name for name in after.sounds] == [True]
    assert after.sound_s == pytest.approx(before.sound_s, abs=0.06)


def psnr(first: Any, second: Any) -> float:
    """Of the brightness, in dB, over every 11th row."""
    (one, line), (two, other_line) = luma(first), luma(second)
    assert line == other_line
    rows = range(0, first.height, 11)
    error = sum(
        (a - b) ** 2
        for row in rows
        for a, b in zip(one[row * line :][: first.width], two[row * line :][: first.width], strict=True)
    )
    return 10 * math.log10(255**2 * len(rows) * first.width / max(error, 1))


@pytest.mark.parametrize("extension", [".mp4", ".avi", ".webm"])
@pytest.mark.slow
def test_the_result_is_the_source_scaled_by_lanczos(tmp_path: Path, extension: str) -> None:
    target = tmp_path / f"result{extension}"
    upscale(SAMPLE, target, extension, Resolution(1280, 720), should_stop=lambda: False)
    with av.open(str(SAMPLE)) as before, av.open(str(target)) as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        figures = [
            [psnr(one.reformat(1280, 720, interpolation=kind), two) for kind in ("LANCZOS", "BILINEAR")]
            for number, (one, two) in enumerate(pairs)
            if number % 31 == 0
        ]
    assert len(figures) == 5
    assert min(lanczos for lanczos, _ in figures) > 39
    assert min(lanczos - bilinear for lanczos, bilinear in figures) > 0.8


def test_copied_sound_is_the_same_bytes(tmp_path: Path) -> None:
    target = tmp_path / "result.mp4"
    upscale(SAMPLE, target, ".mp4", SMALL, should_stop=lambda: False)

    def packets(path: Path) -> list[tuple[int, bytes]]:
        with av.open(str(path)) as container:
            return [(packet.pts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]

    assert packets(target) == packets(SAMPLE)


@pytest.mark.parametrize("resolution", [Resolution(129, 131), Resolution(128, 720), Resolution(641, 360)])
@pytest.mark.parametrize("extension", [".mp4", ".avi", ".webm"])
def test_any_size_is_exact_also_an_odd_one(tmp_path: Path, resolution: Resolution, extension: str) -> None:
    source = make(tmp_path / "source.mp4", [0, 2, 4])
    after = scaled(source, tmp_path / f"result{extension}", resolution)
    assert after.size == (resolution.width, resolution.height)


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0, 1, 2, 10, 11, 40, 59]
    after = scaled(make(tmp_path / "source.mp4", times), tmp_path / "result.mp4", SMALL)
    assert after.times_s == pytest.approx([time / 60 for time in times], abs=1e-6)


def test_a_clock_that_begins_anywhere_begins_at_zero(tmp_path: Path) -> None:
    source = make(tmp_path / "source.ts", list(range(0, 60, 2)), sound="aac", start_s=100)
    after = scaled(source, tmp_path / "result.mp4", SMALL)
    assert len(after.times_s) == 30
    assert 0 <= after.times_s[0] < 0.2
    with av.open(str(tmp_path / "result.mp4")) as container:
        first = next(container.decode(audio=0))
        assert abs(first.time) < 0.2


def rotated(source: Path, target: Path, degrees: int) -> Path:
    """The same pictures, with a note in the file to turn them: written into the track's display matrix."""
    content = bytearray(source.read_bytes())
    upright = b"\x00\x01\x00\x00" + bytes(12) + b"\x00\x01\x00\x00" + bytes(12) + b"\x40\x00\x00\x00"
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one, zero = 0x10000, (0).to_bytes(4, "big")
    cells = [(a * one), (b * one)], [(c * one), (d * one)]
    rows = b"".join(b"".join(cell.to_bytes(4, "big", signed=True) for cell in row) + zero for row in cells)
    place = content.index(upright, content.index(b"tkhd"))
    content[place : place + 36] = rows + zero + zero + b"\x40\x00\x00\x00"
    target.write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("degrees", "bright"),
    [(90, 1), (180, 3), (270, 2)],
)
def test_a_turned_video_is_turned_the_right_way_round(tmp_path: Path, degrees: int, bright: int) -> None:
    source = rotated(make(tmp_path / "upright.mp4", [0, 2, 4]), tmp_path / "turned.mp4", degrees)
    assert see(source).rotation != 0
    after = scaled(source, tmp_path / "result.mp4", Resolution(200, 300))
    assert (after.size, after.rotation) == ((200, 300), 0)
    assert [level > 128 for level in after.corners] == [corner == bright for corner in range(4)]


@pytest.mark.parametrize(
    ("cells", "bright"),
    [((-1, 0, 0, 1), 1), ((1, 0, 0, -1), 2), ((0, 1, 1, 0), 0), ((0, -1, -1, 0), 3), ((0, 0, 0, 0), 0)],
    ids=["mirrored", "flipped", "transposed", "transposed over the other corner", "zeros"],
)
@pytest.mark.parametrize("extension", [".mp4", ".avi"])
def test_a_mirrored_video_is_mirrored_not_turned(
    tmp_path: Path, cells: tuple[int, int, int, int], bright: int, extension: str
) -> None:
    upright = make(tmp_path / "upright.mp4", [0, 2, 4])
    source = tmp_path / "mirrored.mp4"
    source.write_bytes(with_matrix(upright.read_bytes(), *cells))
    after = scaled(source, tmp_path / f"result{extension}", Resolution(200, 200))
    assert [level > 128 for level in after.corners] == [corner == bright for corner in range(4)]


def with_matrix(content: bytes, a: int, b: int, c: int, d: int) -> bytes:
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    place = content.index(upright, content.index(b"tkhd"))
    cells = struct.pack(">9i", a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
    return content[:place] + cells + content[place + 36 :]


def coloured(
    path: Path, *, pixels: str, codec: str = "libx264", frames: int = 30, sound: str = "", **fields: Any
) -> Path:
    """A moving picture with sound. `fields` are set on the encoder; what its frames are is said of them as well."""
    options = fields.pop("options", {})
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=30, options=options)
        video.width, video.height, video.pix_fmt = 160, 128, pixels
        for name, value in fields.items():
            setattr(video.codec_context, name, value)
        audio = container.add_stream(sound, rate=44_100, layout="stereo") if sound else None
        graph = av.filter.Graph()
        graph.link_nodes(graph.add("testsrc2", "size=160x128:rate=30"), graph.add("buffersink")).configure()
        for number in range(frames):
            is_full = fields.get("color_range") == 2
            frame = graph.pull().reformat(format=pixels, dst_color_range="JPEG" if is_full else "MPEG")
            frame.pts, frame.pict_type = number, 0
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for number in range(44 if audio else 0):
            silence = av.AudioFrame(format="s16", layout="stereo", samples=1000)
            silence.planes[0].update(bytes([number % 7] * silence.planes[0].buffer_size))
            silence.sample_rate, silence.pts = 44_100, 1000 * number
            container.mux(audio.encode(silence))
        if audio:
            container.mux(audio.encode(None))
    return path


def mean_colour(path: Path, number: int = 5) -> tuple[float, ...]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    rgb = bytes(frames[number].reformat(format="rgb24", width=64, height=64).planes[0])
    return tuple(sum(rgb[channel::3]) / (64 * 64) for channel in range(3))


@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize(
    "fields",
    [
        {"pixels": "yuvj420p", "color_range": 2},
        {"pixels": "yuv420p", "colorspace": 1, "color_primaries": 1, "color_trc": 1},
        {"pixels": "yuv444p"},
    ],
    ids=["full range", "bt709", "444"],
)
def test_colours_stay_what_they_are(tmp_path: Path, fields: dict[str, Any], extension: str) -> None:
    source = coloured(tmp_path / "source.mp4", **fields)
    target = tmp_path / f"result{extension}"
    upscale(source, target, extension, SMALL, should_stop=lambda: False)
    assert mean_colour(target) == pytest.approx(mean_colour(source), abs=3)


@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".mov", ".avi", ".webm"])
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("b-frames.avi", {"options": {"bf": "2"}}),
        ("b-frames-mpeg4.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("adpcm.avi", {"codec": "mpeg4", "sound": "adpcm_ima_wav"}),
        ("mp3.avi", {"codec": "mpeg4", "sound": "libmp3lame"}),
        ("mp2.mkv", {"sound": "mp2"}),
    ],
)
@pytest.mark.slow
def test_frames_and_sound_of_older_kinds_are_kept(
    tmp_path: Path, name: str, fields: dict[str, Any], extension: str
) -> None:
    source = coloured(tmp_path / name, pixels="yuv420p", **fields)
    after = scaled(source, tmp_path / f"result{extension}", SMALL)
    assert len(after.times_s) == 30
    assert after.times_s[-1] - after.times_s[0] == pytest.approx(29 / 30, abs=0.04)
    if "sound" in fields:
        assert after.sound_s == pytest.approx(1, abs=0.15)
    assert mean_colour(tmp_path / f"result{extension}", 20) == pytest.approx(mean_colour(source, 20), abs=3)


@pytest.mark.parametrize("extension", [".mp4", ".avi", ".webm"])
def test_one_damaged_packet_costs_no_more_than_its_picture(tmp_path: Path, extension: str) -> None:
    source = coloured(tmp_path / "source.avi", pixels="yuv420p", codec="mpeg4", options={"g": "1"})
    content = bytearray(source.read_bytes())
    place = content.index(b"00dc", content.index(b"movi"))
    for _ in range(9):
        place = content.index(b"00dc", place + 4)
    content[place + 8 : place + 60] = bytes(52)
    source.write_bytes(content)
    after = scaled(source, tmp_path / f"result{extension}", SMALL)
    assert len(after.times_s) >= 29
    assert after.times_s[-1] == pytest.approx(29 / 30, abs=0.04)


def test_the_simulator_and_the_probe_take_the_same_track(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        still = container.add_stream("libx264", rate=1)
        still.width, still.height, still.pix_fmt = 320, 256, "yuv420p"
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        for stream, frames in ((still, 1), (video, 60)):
            for number in range(frames):
                frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([128]) * plane.buffer_size)
                frame.pts, frame.time_base = number, 1 / Fraction(stream.codec_context.framerate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert probe_file(path).frame_rate == 30
    assert len(scaled(path, tmp_path / "result.mp4", SMALL).times_s) == 60


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100, SAMPLE.read_bytes()[:2000]])
def test_what_is_not_a_video_is_a_media_error(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "source.mp4"
    source.write_bytes(content)
    with pytest.raises(MediaError):
        upscale(source, tmp_path / "result.mp4", ".mp4", SMALL, should_stop=lambda: False)


def test_sound_alone_is_a_media_error(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    with av.open(str(source), "w") as container:
        audio = container.add_stream("aac", rate=48_000, layout="stereo")
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        frame.sample_rate = 48_000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    with pytest.raises(MediaError, match="no video"):
        upscale(source, tmp_path / "result.mp4", ".mp4", SMALL, should_stop=lambda: False)


def test_an_extension_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"\.flv"):
        upscale(SAMPLE, tmp_path / "result.flv", ".flv", SMALL, should_stop=lambda: False)


def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    with pytest.raises(MediaError, match="told to stop"):
        upscale(SAMPLE, tmp_path / "result.mp4", ".mp4", SMALL, should_stop=should_stop)
    assert asked == 11
