"""Files whose parts contradict each other: the likeliest is told, and the worst beside it is what a budget reserves."""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import av
import pytest

from hitpaw_async import estimate
from hitpaw_async.media import probe_file, take_picture
from tests.media.callers import probe
from tests.media.forgery import edit_list, patched, payloads, u32
from tests.media.studio import H264, NO_B_FRAMES, Recipe, make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hitpaw_async.models import VideoFacts
    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

FRONT = {"movflags": "faststart", "video_track_timescale": "15360"}
MINUTE = Recipe(name="62s.mp4", width=128, height=128, duration_s=62, muxing=FRONT, options=NO_B_FRAMES)
SHORT = Recipe(name="5s.mp4", width=128, height=128, duration_s=5, muxing=FRONT, options=NO_B_FRAMES)


def headers(content: bytes, *, seconds: float, kinds: str = "mvhd tkhd mdhd elst") -> bytes:
    """The content, with these headers saying another length."""
    ms, ticks = u32(round(1000 * seconds)), u32(round(15360 * seconds))
    changes = {"mvhd": (16, ms), "tkhd": (20, ms), "mdhd": (16, ticks), "elst": (8, ms)}
    return patched(content, *((kind.encode(), *changes[kind]) for kind in kinds.split()))


def edited(content: bytes, *edits: tuple[int, int, int]) -> bytes:
    """The content with another edit list; the movie's tables are last, so that nothing moves."""
    at = next(payloads(content, b"edts")) - 8
    length = int.from_bytes(content[at : at + 4], "big")
    made = bytearray(content)
    made[at : at + length] = edit_list(*edits)
    grown = len(edit_list(*edits)) - length
    for kind in (b"moov", b"trak"):
        holder = next(payloads(content, kind)) - 8
        size = int.from_bytes(content[holder : holder + 4], "big")
        made[holder : holder + 4] = u32(size + grown)
    return bytes(made)


LAST = attrs.evolve(MINUTE, name="62s-last.mp4", muxing={"video_track_timescale": "15360"})
LAST_B = attrs.evolve(LAST, name="62s-b.mp4", options=H264)
ONE = 65536


def slow_then_fast(number: int) -> bool:
    return number >= 240 or number % 4 == 0


@attrs.frozen
class Case:
    recipe: Recipe
    change: Callable[[bytes], bytes]
    told: dict[str, Any]
    upper: int
    """For 1920x1080."""


CASES: dict[str, Case] = {
    "honest": Case(MINUTE, lambda content: content, {"duration_s": 62, "duration_max_s": None}, 4),
    "the track's header says 2 s": Case(
        MINUTE, lambda content: headers(content, seconds=2, kinds="mdhd"), {"duration_s": 62, "duration_max_s": None}, 4
    ),
    "all headers say 2 s": Case(MINUTE, lambda content: headers(content, seconds=2), {"duration_max_s": 62}, 4),
    "all headers say 9 minutes": Case(
        SHORT, lambda content: headers(content, seconds=540), {"duration_s": 5, "duration_max_s": 540}, 18
    ),
    "the movie's header alone is longer": Case(
        SHORT, lambda content: headers(content, seconds=61, kinds="mvhd"), {"duration_s": 5, "duration_max_s": 61}, 4
    ),
    "a length of all ones is none": Case(
        SHORT,
        lambda content: patched(content, (b"tkhd", 20, b"\xff" * 4), (b"mvhd", 16, b"\xff" * 4)),
        {"duration_s": 5, "duration_max_s": None},
        2,
    ),
    "slowed by an edit list": Case(
        LAST, lambda content: edited(content, (124_000, 0, ONE // 2)), {"duration_s": 62, "duration_max_s": 124}, 6
    ),
    "repeated by an edit list": Case(
        LAST, lambda content: edited(content, (62_000, 0, ONE), (62_000, 0, ONE)), {"duration_s": 124}, 6
    ),
    "cut by an edit list": Case(
        LAST, lambda content: edited(content, (10_000, 0, ONE)), {"duration_s": 10, "duration_max_s": 62}, 4
    ),
    "an edit list that shows nothing that can be decoded": Case(
        LAST_B, lambda content: edited(content, (41, 1024, ONE)), {"duration_s": 62, "duration_max_s": None}, 4
    ),
    "a clock that starts at an hour": Case(
        LAST,
        lambda content: headers(
            edited(content, (3_600_000, 0xFFFFFFFF - (1 << 32), ONE), (62_000, 0, ONE)),
            seconds=3662,
            kinds="mvhd tkhd",
        ),
        {"duration_s": 62, "duration_max_s": None},
        4,
    ),
    "a matrix of zeros": Case(
        attrs.evolve(SHORT, name="wide5s.mp4", width=160),
        lambda content: patched(content, (b"tkhd", 40, bytes(36))),
        {"width": 160, "height": 128},
        2,
    ),
    "a length in mdat that is 8 too many": Case(
        attrs.evolve(SHORT, name="wide5s.mp4", width=160),
        lambda content: patched(
            content, (b"mdat", -8, u32(int.from_bytes(content[(at := content.index(b"mdat") - 4) : at + 4], "big") + 8))
        ),
        {"duration_s": 5},
        2,
    ),
    "a rate of 30.02": Case(
        attrs.evolve(SHORT, name="30.02.mp4", rate=Fraction(1501, 50), muxing={"video_track_timescale": "15010"}),
        lambda content: content,
        {"frame_rate": Fraction(1501, 50), "frame_rate_max": Fraction(1501, 50)},
        4,
    ),
    "a rate of 29.97": Case(
        attrs.evolve(SHORT, name="29.97.mp4", rate=Fraction(30000, 1001), muxing={}),
        lambda content: content,
        {"frame_rate": Fraction(30000, 1001), "frame_rate_max": None},
        2,
    ),
    "a fast part that an edit list hides": Case(
        attrs.evolve(LAST, name="hidden.mp4", rate=60, duration_s=8, keeps=slow_then_fast),
        lambda content: edited(content, (4_000, 0, ONE)),
        {"duration_s": 4, "frame_rate": Fraction(15), "frame_rate_max": Fraction(60)},
        4,
    ),
    "an AVI of 33333 microseconds a frame": Case(
        Recipe(name="33333.avi", codec="mpeg4", options={}),
        lambda content: patched(content, (b"vids", 16, struct.pack("<II", 33333, 1_000_000))),
        {"frame_rate": Fraction(30), "frame_rate_max": Fraction(1_000_000, 33333)},
        4,
    ),
    "a RIFF length that is one too many": Case(
        Recipe(name="33333.avi", codec="mpeg4", options={}),
        lambda content: content[:4] + struct.pack("<I", struct.unpack("<I", content[4:8])[0] + 1) + content[8:],
        {"frame_rate": Fraction(30)},
        2,
    ),
}


@cache
def quoted(facts: VideoFacts) -> int:
    return estimate(facts, resolution="1920x1080").upper


def assert_case(facts: VideoFacts, case: Case) -> None:
    for name, value in case.told.items():
        assert getattr(facts, name) == (pytest.approx(value, abs=0.001) if isinstance(value, int) else value), name
    assert quoted(facts) == case.upper


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_likeliest_is_told_and_the_worst_is_reserved(case: Case, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(case.change(make(case.recipe, folder).read_bytes()))
    assert_case(probe_file(path), case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_url_tells_the_same(case: Case, folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, case.recipe, folder)
    content = case.change(await anyio.Path(path).read_bytes())
    with anyio.fail_after(20):
        assert_case(await probe(origin.serve(content)), case)


async def both(path: Path, origin: FileServer) -> list[VideoFacts]:
    """The facts by path and by URL."""
    content = await anyio.Path(path).read_bytes()
    return [await anyio.to_thread.run_sync(probe_file, path), await probe(origin.serve(content))]


def remuxed(sources: list[Path], target: Path, *, shift_s: int = 0, options: dict[str, str] | None = None) -> Path:
    """The first track of each source in one file."""
    with av.open(str(target), "w", options=options or {}) as out:
        opened = [av.open(str(source)) for source in sources]
        copies = [out.add_stream_from_template(each.streams[0]) for each in opened]
        for each, copy in zip(opened, copies, strict=True):
            for packet in each.demux(each.streams[0]):
                if packet.dts is not None:
                    packet.pts += int(shift_s / packet.time_base)
                    packet.dts += int(shift_s / packet.time_base)
                    packet.stream = copy
                    out.mux(packet)
            each.close()
    return target


def silence(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for number in range(48000 * seconds // 1024):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * number, Fraction(1, 48000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _need_rates_in(extension: str) -> None:
    if extension == "mkv" and int(av.__version__.partition(".")[0]) < 17:
        pytest.skip("PyAV before 17 writes no rate of a track that it copies")


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv"])
@pytest.mark.slow
async def test_sound_that_is_longer_raises_what_is_reserved(
    extension: str, folder: Path, tmp_path: Path, origin: FileServer
) -> None:
    _need_rates_in(extension)

    def longer() -> Path:
        sound = silence(tmp_path / "sound.m4a", 130)
        return remuxed([make(SHORT, folder), sound], tmp_path / f"longer.{extension}")

    path = await anyio.to_thread.run_sync(longer)
    for facts in await both(path, origin):
        assert facts.duration_s == pytest.approx(5, abs=0.01)
        assert facts.duration_max_s == pytest.approx(130, abs=0.1)
        assert quoted(facts) == 6
        assert "130" in " ".join(estimate(facts, resolution="1920x1080").assumptions)


STILL = Recipe(name="still.mp4", rate=1, width=192, height=160, duration_s=1)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_still_that_is_larger_is_not_the_video(
    extension: str, is_first: bool, folder: Path, tmp_path: Path, origin: FileServer
) -> None:
    _need_rates_in(extension)

    def shot() -> Path:
        main = make(Recipe(name="60-5s.mp4", rate=60, duration_s=5), folder)
        still = make(STILL, folder)
        return remuxed([still, main] if is_first else [main, still], tmp_path / f"shot.{extension}")

    path = await anyio.to_thread.run_sync(shot)
    for facts in await both(path, origin):
        assert (facts.width, facts.height, facts.frame_rate) == (160, 128, 60)
        assert facts.duration_s == pytest.approx(5, abs=0.01)
        assert (facts.width_max, facts.height_max) == (192, 160)
        assert quoted(facts) == 4
    picture = await take_picture(path, at_s=1)
    assert (picture.width, picture.height) == (160, 128)


async def test_a_matroska_whose_clock_starts_at_an_hour_is_as_long_as_its_frames(
    folder: Path, tmp_path: Path, origin: FileServer
) -> None:
    _need_rates_in("mkv")

    def at_an_hour() -> Path:
        options = {"avoid_negative_ts": "disabled"}
        return remuxed([make(SHORT, folder)], tmp_path / "hour.mkv", shift_s=3600, options=options)

    path = await anyio.to_thread.run_sync(at_an_hour)
    for facts in await both(path, origin):
        assert facts.duration_s == pytest.approx(5, abs=0.05)
        assert quoted(facts) == 2


def test_an_avi_with_a_frame_in_every_second_slot_has_the_rate_of_its_frames(folder: Path) -> None:
    # As H.264 lies in AVI that was copied there: its header counts fields.
    recipe = Recipe(name="slots.avi", rate=60, codec="mpeg4", options={}, duration_s=3, keeps=lambda n: n % 2 == 0)
    facts = probe_file(make(recipe, folder))
    assert (facts.frame_rate, facts.peak_frame_rate, facts.frame_rate_max) == (30, None, None)
    assert quoted(facts) == 2


def rises_late(number: int) -> bool:
    return number >= 480 or number % 2 == 0


@pytest.mark.parametrize("name", ["rises.mkv", "rises.ts", "rises.mp4", "rises-small.mkv"])
@pytest.mark.slow
async def test_a_rate_that_rises_after_the_first_mebibyte_is_seen_by_url(
    name: str, folder: Path, origin: FileServer
) -> None:
    crf, side = ("28", 160) if "small" in name else ("8", 480)
    options = {**NO_B_FRAMES, "crf": crf, "g": "30"}
    recipe = Recipe(
        name=name, rate=60, width=side, height=side, duration_s=12, options=options, keeps=rises_late,
    )  # fmt: skip
    path = await anyio.to_thread.run_sync(make, recipe, folder)
    for facts in await both(path, origin):
        assert facts.duration_s == pytest.approx(12, abs=0.05)
        assert facts.priced_frame_rate == 60
    assert "small" in name or origin.bytes_sent < path.stat().st_size / 2


async def test_a_matroska_header_that_says_2_s_is_not_believed_by_url(folder: Path, origin: FileServer) -> None:
    options = {**NO_B_FRAMES, "crf": "8", "g": "30"}
    recipe = Recipe(name="forged.mkv", width=480, height=480, duration_s=12, options=options)
    content = bytearray(await anyio.Path(await anyio.to_thread.run_sync(make, recipe, folder)).read_bytes())
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 2000.0)
    tag = content.find(b"00:00:12")
    if tag >= 0:
        content[tag : tag + 8] = b"00:00:02"
    with anyio.fail_after(20):
        facts = await probe(origin.serve(bytes(content)))
    assert facts.duration_s == pytest.approx(12, abs=0.1)
    assert len(content) > 5 << 20
