"""What moves, and is no video that the vendor takes: its facts are told, and its kind is named in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import pytest

from hitpaw_async._core.limits import broken_limits
from hitpaw_async.media import probe_file
from hitpaw_async.models import ExportRequest, VideoModel
from tests.media.studio import Recipe, make

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = ExportRequest("https://example.com/any", model=VideoModel.GENERAL_DENOISE_BALANCE, resolution=(1280, 720))


@pytest.mark.parametrize(
    ("name", "container"),
    [("stream.ts", "mpegts"), ("old.flv", "flv"), ("old.mpg", "mpeg")],
)
def test_a_container_that_is_not_accepted_is_named(name: str, container: str, folder: Path) -> None:
    recipe = Recipe(name=name, codec="mpeg2video", options={}) if name.endswith("mpg") else Recipe(name=name)
    facts = probe_file(make(recipe, folder))
    assert type(facts.container) is str
    accepted = "mp4, avi, mov, mkv, webm are accepted."
    assert broken_limits(REQUEST, facts) == (f"The source is {container}; {accepted}",)


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this PyAV cannot encode AV1")
def test_an_avif_sequence_is_no_still_picture(folder: Path) -> None:
    options = {"preset": "12", "crf": "50"}
    recipe = Recipe(name="moving.avif", codec="libsvtav1", options=options, duration_s=1, rate=10)
    facts = probe_file(make(recipe, folder))
    assert (facts.container, facts.width, facts.height) == ("avif", 160, 128)
    assert broken_limits(REQUEST, facts)[0].startswith("The source is avif;")
