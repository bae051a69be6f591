"""Small files that would take much memory or time are refused, or read, in little of both."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async.errors import MediaError
from hitpaw_async.media import probe_file
from tests.media.callers import probe
from tests.media.forgery import DATA_AT, FTYP, box, edit_list, full, movie, mvhd_of, track, u32
from tests.media.studio import Recipe, make
from tests.support.interpreters import start

if TYPE_CHECKING:
    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MEMORY_MAX_MB = 200
TIME_MAX_S = 5


def png(side: int) -> bytes:
    """A black picture of 16 bits a sample and four samples a pixel: 8 bytes of memory a pixel, 1/1000 of it here."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 8 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        return u32(len(body)) + kind + body + u32(zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_movie(side: int, claimed: int) -> bytes:
    picture = png(side)
    return movie(
        track(samples=1, size=len(picture), codec=b"png ", side=(claimed, claimed), offset=DATA_AT), data=picture
    )


def fragments(*, count: int, times: int = 1) -> bytes:
    """Fragments whose runs say a number of samples and nothing of each."""
    trex = box(b"mvex", full(b"trex", 0, u32(1, 1, 33, 1, 0)))
    run = full(b"trun", 0, u32(count))
    traf = box(b"traf", full(b"tfhd", 0x20000, u32(1)), full(b"tfdt", 0, u32(0)), run)
    moof = box(b"moof", full(b"mfhd", 0, u32(1)), traf)
    return movie(track(samples=0), more=trex, after=(moof + box(b"mdat", bytes(16))) * times)


def compressed_index() -> bytes:
    packed = zlib.compress(box(b"moov", mvhd_of(1), bytes(300 << 20)), 9)
    cmov = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", u32((300 << 20) + 116), packed))
    return FTYP + box(b"mdat", bytes(64)) + box(b"moov", cmov)


def of_table(*tables: bytes, samples: int = 100, size: int = 0) -> bytes:
    return movie(track(samples=samples, size=size, offset=DATA_AT, tables=tables))


LISTS = "are not read"
BOMBS: dict[str, tuple[Any, str]] = {
    "stsz of one size": (lambda: movie(track(samples=60_000_000, offset=DATA_AT)), LISTS),
    "stsz of no size": (lambda: movie(track(samples=60_000_000, size=0, offset=DATA_AT)), LISTS),
    "stsz just below the bound": (lambda: movie(track(samples=1_490_000, size=0, offset=DATA_AT)), ""),
    "sound of one size": (
        lambda: movie(track(samples=1), track(samples=60_000_000, size=0, delta=2, handler=b"soun", codec=b"sowt")),
        LISTS,
    ),
    "many tracks below the bound each": (lambda: movie(*[track(samples=1_000_000, size=0)] * 50), LISTS),
    "stts": (lambda: of_table(full(b"stts", 0, u32(1, 0xFFFFFFFF, 1))), LISTS),
    "stts of many lines": (lambda: of_table(full(b"stts", 0, u32(40, *(60_000_000, 1) * 40))), LISTS),
    "ctts": (lambda: of_table(full(b"ctts", 0, u32(1, 60_000_000, 5))), LISTS),
    "a count without its lines": (lambda: of_table(full(b"stco", 0, u32(0xFFFFFFF0, DATA_AT))), ""),
    "stss without its lines": (lambda: of_table(full(b"stss", 0, u32(0x7FFFFFFF, 1))), ""),
    "trun": (lambda: fragments(count=60_000_000), LISTS),
    "trun below the bound, often": (lambda: fragments(count=1_000_000, times=100), LISTS),
    "edits that repeat": (
        lambda: movie(
            track(samples=1_000_000, size=0, offset=DATA_AT, edits=edit_list(*[(33_000_000, 0, 65536)] * 1000))
        ),
        "",
    ),
    "tracks": (lambda: movie(*[track(samples=1)] * 900), "900 tracks"),
    "a compressed index": (compressed_index, "compressed and too large"),
    "an index of many boxes": (lambda: movie(track(samples=1), more=box(b"free") * 190_000), "more than 50000 parts"),
    "a large picture": (lambda: png_movie(8192, 8192), "8192x8192"),
    "a large picture in a small header": (lambda: png_movie(8192, 320), "can be decoded"),
}


def probed_apart(path: Path) -> dict[str, Any]:
    made = start("tests.media.measured", [str(path)], folder=ROOT)
    said, problem = made.communicate(timeout=60)
    assert made.returncode == 0, problem
    told: dict[str, Any] = json.loads(said)
    return told


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured as Unix does")
@pytest.mark.parametrize(("content", "said"), BOMBS.values(), ids=BOMBS)
@pytest.mark.slow
def test_a_small_file_takes_little_memory_and_time(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(content())
    assert path.stat().st_size < 5 << 20
    told = probed_apart(path)
    assert said in told["said"]
    assert told["memory_mb"] < MEMORY_MAX_MB
    assert told["time_s"] < TIME_MAX_S


@pytest.mark.parametrize("is_tail", [True, False])
async def test_many_empty_boxes_are_passed_by_url_in_a_few_requests(
    is_tail: bool, folder: Path, origin: FileServer
) -> None:
    content = make(Recipe(name="plain.mp4"), folder).read_bytes()
    empty = box(b"free") * 190_000
    size = int.from_bytes(content[:4], "big")
    url = origin.serve(content + empty if is_tail else content[:size] + empty + content[size:])
    with anyio.fail_after(10):
        if is_tail:
            assert (await probe(url)).frame_rate == 30
        else:
            with pytest.raises(MediaError, match=r"can be decoded|truncated"):
                await probe(url)
    assert len(origin.requests) < 20


def test_a_long_programme_is_read_though_its_index_is_long(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    # Sound of PCM lists each sample: 26 million in ten minutes, in a few chunks.
    sound = track(samples=26_000_000, size=4, delta=1, handler=b"soun", codec=b"sowt", offset=DATA_AT)
    picture = a_jpeg()
    video = track(samples=1, size=len(picture), offset=DATA_AT, side=(64, 64))
    path.write_bytes(movie(video, sound, data=picture))
    facts = probe_file(path)
    assert (facts.width, facts.height) == (64, 64)
    assert facts.duration_max_s == 26_000


def a_jpeg() -> bytes:
    from fractions import Fraction  # noqa: PLC0415

    import av  # noqa: PLC0415

    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame(64, 64, "yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
