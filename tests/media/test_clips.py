from __future__ import annotations

import re
import sys
import time
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import pytest

from hitpaw_async._core.limits import broken_limits
from hitpaw_async.errors import MediaError, MissingExtraError
from hitpaw_async.media import probe_file
from hitpaw_async.models import ExportRequest, Resolution, VideoModel
from hitpaw_async.simulator.clips import Clip, make_clips

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SIDE = 32
REQUEST = ExportRequest("https://example.com/clip", model=VideoModel.FACE_SOFT, resolution=Resolution.FULL_HD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    began = time.process_time()
    clips = make_clips(tmp_path_factory.mktemp("demo") / "new")
    assert time.process_time() - began < 15
    return clips


def test_the_clips_differ_as_a_library_does(made: tuple[Clip, ...]) -> None:
    facts = [probe_file(clip.path) for clip in made]
    assert len(made) >= 7
    assert {fact.container for fact in facts} == {"mp4", "mov", "mkv", "webm", "avi"}
    assert {fact.frame_rate for fact in facts} >= {Fraction(24000, 1001), 25, 30, 50, 60}
    assert len({fact.resolution for fact in facts}) >= 5
    assert all(fact.peak_frame_rate is None for fact in facts)
    assert all(2 <= (fact.duration_s or 0) <= 4.1 for fact in facts)
    assert sum((fact.height or 0) > (fact.width or 0) for fact in facts) >= 1


def test_what_is_said_of_a_clip_is_so(made: tuple[Clip, ...]) -> None:
    for clip in made:
        facts = probe_file(clip.path)
        rate = re.search(r"([\d.]+) fps", clip.what)
        assert rate is not None
        assert facts.frame_rate is not None
        assert float(facts.frame_rate) == pytest.approx(float(rate[1]), abs=0.001)
        assert clip.path.suffix.removeprefix(".") in clip.what
        assert facts.container == clip.path.suffix.removeprefix(".")
        assert ("portrait" in clip.what) == ((facts.height or 0) > (facts.width or 0))
        with av.open(str(clip.path)) as opened:
            assert bool(opened.streams.audio) == ("with sound" in clip.what)


def test_one_breaks_a_limit_and_one_is_doomed_and_both_say_so(made: tuple[Clip, ...]) -> None:
    broken = [clip for clip in made if broken_limits(REQUEST, probe_file(clip.path))]
    doomed = [clip for clip in made if "vendor-error" in clip.path.name]
    assert len(broken) == len(doomed) == 1
    assert [clip for clip in made if clip.expected] == [*broken, *doomed]
    assert "rejected" in broken[0].expected
    assert "failed" in doomed[0].expected


def test_a_turned_clip_lies_on_its_side_in_the_file(made: tuple[Clip, ...]) -> None:
    turned = next((clip for clip in made if "rotation" in clip.what), None)
    if turned is None:
        pytest.skip("this PyAV cannot write a rotation")
    with av.open(str(turned.path)) as opened:
        assert opened.streams.video[0].width > opened.streams.video[0].height
    facts = probe_file(turned.path)
    assert (facts.width, facts.height) == (270, 480)
    portrait = next(clip for clip in made if clip.path.name == "portrait.mp4")
    lying, upright = thumbnail(turned.path), thumbnail(portrait.path)
    clockwise = bytes(lying[SIDE * (SIDE - 1 - x) + y] for y in range(SIDE) for x in range(SIDE))
    assert difference(clockwise, upright) < 8 < difference(lying, upright)


def thumbnail(path: Path) -> bytes:
    with av.open(str(path)) as opened:
        return bytes(next(opened.decode(video=0)).reformat(SIDE, SIDE, "gray").planes[0])


def difference(one: bytes, other: bytes) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_the_frames_are_real_and_move(made: tuple[Clip, ...]) -> None:
    for clip in made:
        facts = probe_file(clip.path)
        assert facts.duration_s is not None
        assert facts.frame_rate is not None
        with av.open(str(clip.path)) as opened:
            pictures = [bytes(frame.reformat(32, 32, "gray").planes[0]) for frame in opened.decode(video=0)]
        assert len(pictures) >= 2 * facts.frame_rate - 1
        assert len(set(pictures)) > 20


def test_the_attribution_goes_along(made: tuple[Clip, ...]) -> None:
    assert "Blender Foundation" in (made[0].path.parent / "ATTRIBUTION.txt").read_text()


def test_making_them_again_replaces_them(made: tuple[Clip, ...], tmp_path: Path) -> None:
    (tmp_path / made[0].path.name).write_bytes(b"old")
    again = make_clips(tmp_path)
    assert [clip.what for clip in again] == [clip.what for clip in made]
    assert probe_file(again[0].path).resolution == probe_file(made[0].path).resolution


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    text = tmp_path / "sample.mp4"
    text.write_text("no video")
    for sample in (text, tmp_path / "absent.mp4"):
        with pytest.raises(MediaError, match=f"could not be made from {sample.name}"):
            make_clips(tmp_path / "clips", sample=sample)
    with pytest.raises(MediaError, match="leave to write"):
        make_clips(text)


def test_without_the_extra_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"hitpaw-async\[media\]"):
        make_clips(tmp_path)
