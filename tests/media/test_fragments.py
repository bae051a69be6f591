"""Recordings in fragments, of browsers and of OBS: hundreds of them, and nothing that says how long they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async.errors import MediaError
from hitpaw_async.media import probe_file
from tests.media.callers import probe
from tests.media.forgery import box
from tests.media.studio import H264, Recipe, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

FRAGMENTED = "frag_keyframe+empty_moov+default_base_moof"
# Some 3 MB: a fragment a frame.
LARGE = {**H264, "crf": "12", "g": "1"}
SECONDS = 20


def recording(flags: str = "") -> Recipe:
    name = f"600{flags}.mp4"
    return Recipe(name=name, duration_s=SECONDS, options=LARGE, muxing={"movflags": FRAGMENTED + flags})


async def made(recipe: Recipe, folder: Path) -> bytes:
    return await anyio.Path(await anyio.to_thread.run_sync(make, recipe, folder)).read_bytes()


@pytest.mark.parametrize("flags", ["", "+skip_trailer", "+global_sidx"], ids=["mfra", "nothing", "sidx"])
async def test_many_fragments_are_not_all_visited_by_url(flags: str, folder: Path, origin: FileServer) -> None:
    recipe = recording(flags)
    path = await anyio.to_thread.run_sync(make, recipe, folder)
    content = await anyio.Path(path).read_bytes()
    assert content.count(b"moof") >= 600
    with anyio.fail_after(20):
        facts = await probe(origin.serve(content))
    local = await anyio.to_thread.run_sync(probe_file, path)
    assert facts.duration_s == local.duration_s == pytest.approx(SECONDS, abs=0.05)
    assert facts.frame_rate == pytest.approx(30, rel=0.01)
    assert (facts.width, facts.height, facts.container) == (local.width, local.height, local.container)
    assert len(origin.requests) <= 24


async def test_a_cut_recording_is_refused_by_url_as_well(folder: Path, origin: FileServer) -> None:
    content = await made(recording("+skip_trailer"), folder)
    last = content.rindex(b"moof") - 4
    mdat = content.index(b"mdat", last)
    url = origin.serve(content[: mdat + 200])
    with anyio.fail_after(20), pytest.raises(MediaError, match="truncated"):
        await probe(url)


async def test_a_tail_that_follows_the_last_fragment_is_no_harm(folder: Path, origin: FileServer) -> None:
    content = await made(recording("+skip_trailer"), folder)
    with anyio.fail_after(20):
        facts = await probe(origin.serve(content + box(b"free", bytes(300_000))))
    assert facts.duration_s == pytest.approx(SECONDS, abs=0.05)
