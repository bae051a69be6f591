from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import av
import pytest
from av.container import OutputContainer

from hitpaw_async.media import probe_file
from hitpaw_async.models import VideoFacts
from tests.media.callers import probe
from tests.media.studio import H264, NO_B_FRAMES, VP, Recipe, a_picture, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

NTSC_FILM, NTSC, NTSC_DOUBLE = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
INDEXED_FRAGMENTS = {"movflags": "dash+frag_keyframe+empty_moov+global_sidx"}
NO_TABLE = {**H264, "g": "15"}


def slows_down(number: int) -> bool:
    return number < 60 or number % 4 == 0


def speeds_up(number: int) -> bool:
    return number >= 60 or number % 4 == 0


CASES = [
    (Recipe(name="plain.mp4"), VideoFacts(duration_s=2, frame_rate=Fraction(30), container="mp4", codec="h264")),
    (Recipe(name="faststart.mp4", muxing={"movflags": "faststart"}), VideoFacts(duration_s=2, frame_rate=Fraction(30))),
    (Recipe(name="film.mov", rate=NTSC_FILM), VideoFacts(duration_s=2.002, frame_rate=NTSC_FILM, container="mov")),
    (Recipe(name="ntsc.mp4", rate=NTSC), VideoFacts(duration_s=2.002, frame_rate=NTSC)),
    (Recipe(name="60.mkv", rate=60), VideoFacts(duration_s=2, frame_rate=Fraction(60), container="mkv")),
    (Recipe(name="5994.mkv", rate=NTSC_DOUBLE), VideoFacts(duration_s=2.002, frame_rate=NTSC_DOUBLE)),
    (Recipe(name="120.mp4", rate=120, duration_s=1), VideoFacts(duration_s=1, frame_rate=Fraction(120))),
    (Recipe(name="hevc.mp4", codec="libx265", options={"preset": "ultrafast"}, rate=24), VideoFacts(codec="hevc")),
    (Recipe(name="mpeg4.avi", codec="mpeg4", options={}, rate=25), VideoFacts(duration_s=2, container="avi")),
    (Recipe(name="h264.avi"), VideoFacts(duration_s=2, frame_rate=Fraction(30), container="avi", codec="h264")),
    (
        Recipe(name="vp8.webm", codec="libvpx", options=VP, rate=NTSC),
        VideoFacts(duration_s=2.002, frame_rate=NTSC, container="webm", codec="vp8"),
    ),
    (
        Recipe(name="vp9.webm", codec="libvpx-vp9", options=VP, rate=24),
        VideoFacts(duration_s=2, frame_rate=Fraction(24), container="webm", codec="vp9"),
    ),
    (
        Recipe(name="slows.mp4", rate=60, options=NO_B_FRAMES, keeps=slows_down),
        VideoFacts(duration_s=1.95, frame_rate=Fraction(500, 13), peak_frame_rate=Fraction(60)),
    ),
    (
        Recipe(name="speeds.mp4", rate=60, options=NO_B_FRAMES, keeps=speeds_up),
        VideoFacts(duration_s=2, frame_rate=Fraction(75, 2), peak_frame_rate=Fraction(60)),
    ),
    (
        Recipe(name="speeds.mkv", rate=60, options=NO_B_FRAMES, keeps=speeds_up),
        VideoFacts(duration_s=2, peak_frame_rate=Fraction(60)),
    ),
    (Recipe(name="live.mkv", muxing={"live": "1"}), VideoFacts(duration_s=2, frame_rate=Fraction(30))),
    (Recipe(name="fragments.mp4", muxing=FRAGMENTS, options=NO_TABLE), VideoFacts(duration_s=2, container="mp4")),
    (
        Recipe(name="indexed.mp4", muxing=INDEXED_FRAGMENTS, options=NO_TABLE),
        VideoFacts(duration_s=2, frame_rate=Fraction(30), container="mp4"),
    ),
    (
        Recipe(name="thousandths.mp4", time_base=Fraction(1, 1000), muxing={"video_track_timescale": "1000"}),
        VideoFacts(frame_rate=Fraction(30)),
    ),
    (Recipe(name="portrait.mp4", width=128, height=160), VideoFacts(width=128, height=160)),
    (Recipe(name="odd.mp4", width=130, height=126), VideoFacts(width=130, height=126)),
    (Recipe(name="wide.mp4", pixel_aspect=Fraction(64, 45)), VideoFacts(width=228, height=128)),
    (Recipe(name="wide.mkv", pixel_aspect=Fraction(64, 45)), VideoFacts(width=228, height=128)),
    (Recipe(name="turned.mp4", rotation=90), VideoFacts(width=128, height=160)),
    (Recipe(name="turned.mkv", rotation=-90), VideoFacts(width=128, height=160)),
    (Recipe(name="upside.mov", rotation=180), VideoFacts(width=160, height=128)),
    (Recipe(name="turned-wide.mp4", rotation=90, pixel_aspect=Fraction(64, 45)), VideoFacts(width=128, height=228)),
    (Recipe(name="stream.ts"), VideoFacts(duration_s=2, frame_rate=Fraction(30), container="mpegts")),
    (Recipe(name="old.flv"), VideoFacts(frame_rate=Fraction(30), container="flv")),
    (Recipe(name="old.wmv", codec="wmv2", options={}), VideoFacts(frame_rate=Fraction(30), container="asf")),
    (Recipe(name="old.mpg", codec="mpeg2video", options={}), VideoFacts(frame_rate=Fraction(30), container="mpeg")),
]
table = pytest.mark.parametrize(("recipe", "told"), [pytest.param(*case, id=case[0].name) for case in CASES])


def assert_told(facts: VideoFacts, told: VideoFacts, path: Path) -> None:
    """What a case tells is so, to a millisecond; a rate that is not said to vary doesn't."""
    assert facts.size_bytes == path.stat().st_size
    assert facts.peak_frame_rate == told.peak_frame_rate
    if told.duration_s is not None:
        assert facts.duration_s == pytest.approx(told.duration_s, abs=0.001)
    for name in ("frame_rate", "width", "height", "container", "codec"):
        if getattr(told, name) is not None:
            assert getattr(facts, name) == getattr(told, name), name
    for name in ("duration_s", "frame_rate", "width", "height", "container", "codec"):
        assert getattr(facts, name) is not None, name


@table
def test_the_facts_of_a_file(recipe: Recipe, told: VideoFacts, folder: Path) -> None:
    path = make(recipe, folder)
    assert_told(probe_file(path), told, path)


@table
async def test_a_url_tells_what_the_file_tells(
    recipe: Recipe, told: VideoFacts, folder: Path, origin: FileServer
) -> None:
    path = make(recipe, folder)
    url = origin.serve(path.read_bytes(), path="/name-without-extension")
    with anyio.fail_after(20):
        facts = await probe(url)
    assert_told(facts, told, path)
    assert facts == await anyio.to_thread.run_sync(probe_file, path)


async def test_a_path_is_probed_off_the_event_loop(folder: Path) -> None:
    path = make(Recipe(name="plain.mp4"), folder)
    with anyio.fail_after(20):
        assert await probe(path) == await probe(str(path)) == await anyio.to_thread.run_sync(probe_file, str(path))


def test_the_name_does_not_decide_the_container(folder: Path, tmp_path: Path) -> None:
    for recipe, container in (
        (Recipe(name="film.mov", rate=NTSC_FILM), "mov"),
        (Recipe(name="60.mkv", rate=60), "mkv"),
        (Recipe(name="vp8.webm", codec="libvpx", options=VP, rate=NTSC), "webm"),
    ):
        disguised = tmp_path / "video.avi"
        disguised.write_bytes(make(recipe, folder).read_bytes())
        assert probe_file(disguised).container == container


@pytest.mark.parametrize(
    ("brands", "container"),
    [
        (b"isom\x00\x00\x02\x00isomiso2", "mp4"),
        (b"qt  \x00\x00\x02\x00qt  isom", "mov"),
        (b"3gp4\x00\x00\x02\x003gp4isom", "mp4"),
        (b"3gp4\x00\x00\x02\x003gp43gp5", "3gp"),
        (b"M4V \x00\x00\x02\x00M4V mp42", "mp4"),
    ],
)
def test_the_brands_tell_mp4_mov_and_3gp_apart(brands: bytes, container: str, folder: Path, tmp_path: Path) -> None:
    content = make(Recipe(name="faststart.mp4", muxing={"movflags": "faststart"}), folder).read_bytes()
    ftyp_bytes = int.from_bytes(content[:4], "big")
    padding = ftyp_bytes - 8 - len(brands)
    branded = tmp_path / "branded"
    branded.write_bytes(content[:8] + brands + brands[8:12] * (padding // 4) + content[ftyp_bytes:])
    assert probe_file(branded).container == container


def test_metadata_that_is_not_utf8_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    content = make(Recipe(name="plain.mp4"), folder).read_bytes()
    assert content.count(b"VideoHandler") == 1
    odd = tmp_path / "odd.mp4"
    odd.write_bytes(content.replace(b"VideoHandler", b"Video\xff\xfe\xfddler"))
    assert probe_file(odd).frame_rate == 30


@pytest.mark.skipif(not hasattr(OutputContainer, "add_attachment"), reason="this PyAV cannot attach a picture")
def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = make(Recipe(name="small.mkv"), tmp_path)
    covered = tmp_path / "covered.mkv"
    with av.open(str(path)) as source, av.open(str(covered), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0])
        out.add_attachment("cover.png", "image/png", a_picture())
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    facts = probe_file(covered)
    assert (facts.width, facts.height, facts.codec) == (160, 128, "h264")
