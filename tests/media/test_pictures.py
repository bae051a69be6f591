from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import av
import pytest

from hitpaw_async.errors import MediaError, TransportError
from hitpaw_async.media import take_picture
from hitpaw_async.models import Resolution
from hitpaw_async.simulator.clips import SAMPLE
from hitpaw_async.simulator.upscale import upscale
from tests.media.studio import Recipe, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio


def decoded(jpeg: bytes) -> tuple[int, int]:
    """The size of a JPEG that another reader makes of it."""
    with av.open(io.BytesIO(jpeg), format="mjpeg") as opened:
        frame = next(opened.decode(video=0))
        return frame.width, frame.height


async def made(folder: Path, **fields: Any) -> Path:
    return await anyio.to_thread.run_sync(make, Recipe(**fields), folder)


async def test_a_picture_is_that_of_the_moment() -> None:
    early = await take_picture(SAMPLE, at_s=0.5)
    later = await take_picture(SAMPLE, at_s=3.25)

    assert early.at_s == pytest.approx(0.5, abs=0.05)
    assert later.at_s == pytest.approx(3.25, abs=0.05)
    assert early.at_s <= 0.5
    assert early.jpeg != later.jpeg
    assert decoded(early.jpeg) == (early.width, early.height) == (640, 360)


async def test_a_moment_beyond_the_end_is_the_last_picture() -> None:
    picture = await take_picture(SAMPLE, at_s=10_000)
    assert 4.5 < picture.at_s < 5.1


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"name": "turned.mp4", "rotation": 90}, (128, 160)),
        ({"name": "upside-down.mp4", "rotation": 180}, (160, 128)),
        ({"name": "wide-pixels.mp4", "pixel_aspect": Fraction(2)}, (320, 128)),
        ({"name": "unindexed.mkv"}, (160, 128)),
    ],
)
async def test_it_is_shaped_as_a_player_shows_it(fields: dict[str, Any], size: tuple[int, int], folder: Path) -> None:
    picture = await take_picture(await made(folder, **fields), at_s=1.0)
    assert decoded(picture.jpeg) == (picture.width, picture.height) == size


async def test_a_large_one_is_scaled_down_and_a_small_one_is_not_scaled_up(folder: Path) -> None:
    small = await take_picture(SAMPLE, at_s=1, side_max=320)
    assert (small.width, small.height) == (320, 180)
    as_it_is = await take_picture(await made(folder, name="plain.mp4"), at_s=1)
    assert (as_it_is.width, as_it_is.height) == (160, 128)


MOMENTS = [
    {"name": "moments.mp4"},
    {"name": "moments.mov", "rate": Fraction(30000, 1001)},
    {"name": "moments.mkv"},
    {"name": "moments.webm", "codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}},
    {"name": "moments.ts"},
    {"name": "moments.avi", "codec": "mpeg4", "options": {"bf": "2"}},
    {"name": "moments-h264.avi"},
    {"name": "moments-60.mp4", "rate": Fraction(60)},
]


@pytest.mark.parametrize("fields", MOMENTS, ids=lambda fields: fields["name"])
@pytest.mark.slow
async def test_each_picture_is_had_again_by_its_moment_and_by_that_of_another_container(
    fields: dict[str, Any], folder: Path
) -> None:
    path = await made(folder, **fields)
    rate = fields.get("rate", Fraction(30))
    for number in range(0, int(2 * rate), 7):
        exact = number / rate
        first = await take_picture(path, at_s=float(exact))
        assert abs(Fraction(first.at_s) - exact) < Fraction(1, 900)
        assert (await take_picture(path, at_s=first.at_s)) == first
        # As a file says it whose times are whole milliseconds.
        assert (await take_picture(path, at_s=round(float(exact), 3))) == first


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("fields", [MOMENTS[0], MOMENTS[1], MOMENTS[2], MOMENTS[6]], ids=lambda fields: fields["name"])
@pytest.mark.slow
async def test_before_and_after_are_the_same_moment(
    fields: dict[str, Any], extension: str, folder: Path, tmp_path: Path
) -> None:
    source = await made(folder, **fields)
    result = tmp_path / f"result{extension}"
    size = Resolution(320, 256)
    await anyio.to_thread.run_sync(lambda: upscale(source, result, extension, size, should_stop=lambda: False))
    rate = fields.get("rate", Fraction(30))
    for number in range(1, int(2 * rate), 9):
        after = await take_picture(result, at_s=float(number / rate))
        before = await take_picture(source, at_s=after.at_s)
        # Half a frame would be another picture.
        assert round(before.at_s * rate) == round(after.at_s * rate) == number


@pytest.mark.parametrize("gop", ["1", "12", "250"])
async def test_a_picture_just_before_a_key_picture_is_not_that(gop: str, folder: Path) -> None:
    path = await made(folder, name=f"gop{gop}.mp4", options={"preset": "veryfast", "g": gop, "bf": "3"})
    for number in range(8, 40):
        assert (await take_picture(path, at_s=number / 30)).at_s == pytest.approx(number / 30, abs=0.001)


async def test_one_damaged_packet_costs_no_picture_but_its_own(folder: Path, tmp_path: Path) -> None:
    source = await made(folder, name="to-damage.avi", codec="mpeg4", options={"g": "1"})
    content = bytearray(await anyio.Path(source).read_bytes())
    third = content.index(b"00dc", content.index(b"movi"))
    for _ in range(2):
        third = content.index(b"00dc", third + 4)
    content[third + 8 : third + 40] = bytes(32)
    damaged = tmp_path / "damaged.avi"
    await anyio.Path(damaged).write_bytes(bytes(content))
    for number in (0, 1, 5, 40):
        whole = await take_picture(source, at_s=number / 30)
        assert (await take_picture(damaged, at_s=number / 30)).jpeg == whole.jpeg


async def test_a_url_is_read_by_ranges(origin: FileServer) -> None:
    content = await anyio.to_thread.run_sync(SAMPLE.read_bytes)
    picture = await take_picture(origin.serve(content), at_s=1.0, trusted_hosts=("127.0.0.1",))
    assert picture == await take_picture(SAMPLE, at_s=1.0)


async def test_what_is_no_video_has_no_picture(tmp_path: Path, origin: FileServer) -> None:
    text = anyio.Path(tmp_path / "text.mp4")
    await text.write_text("This is not a video. " * 100)
    with pytest.raises(MediaError, match="cannot be used as a video"):
        await take_picture(str(text), at_s=1)
    with pytest.raises(MediaError):
        await take_picture(str(tmp_path / "absent.mp4"), at_s=1)
    with pytest.raises(TransportError):
        await take_picture("http://127.0.0.1:9/a.mp4", at_s=1)
