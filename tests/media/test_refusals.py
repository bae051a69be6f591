from __future__ import annotations

import os
import random
import sys
import zipfile
from typing import TYPE_CHECKING

import anyio
import pytest

from hitpaw_async.errors import MediaError, MissingExtraError
from hitpaw_async.media import probe_file
from tests.media.callers import probe
from tests.media.studio import H264, VP, Recipe, a_picture, make, make_audio

if TYPE_CHECKING:
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = pytest.mark.anyio

FASTSTART = Recipe(name="faststart.mp4", muxing={"movflags": "faststart"})
INDEX_LAST = Recipe(name="plain.mp4")
INDEXED = Recipe(
    name="indexed.mp4",
    muxing={"movflags": "dash+frag_keyframe+empty_moov+global_sidx"},
    options={**H264, "g": "15"},
)
FRAGMENTS = Recipe(
    name="fragments.mp4",
    muxing={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    options={**H264, "g": "15"},
)
CUT = [
    FASTSTART,
    INDEX_LAST,
    INDEXED,
    FRAGMENTS,
    Recipe(name="60.mkv", rate=60),
    Recipe(name="vp8.webm", codec="libvpx", options=VP),
    Recipe(name="mpeg4.avi", codec="mpeg4", options={}, rate=25),
]
OTHERS = [
    pytest.param(b"", "empty (0 bytes)", id="nothing"),
    pytest.param(b"a line\nand another\n", "It is text", id="text"),
    pytest.param("Grüße, schöne Welt\n".encode() * 300, "It is text", id="utf-8, cut amid a letter"),
    pytest.param(b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page", id="page"),
    pytest.param(b"\xef\xbb\xbf\r\n  <HTML lang=en>", "web page", id="page with a byte order mark"),
    pytest.param(b'{"error": "expired"}', "It is text", id="json"),
    pytest.param(b"#EXTM3U\n#EXT-X-VERSION:3\n", "playlist", id="hls"),
    pytest.param(b"ffconcat version 1.0\nfile a.mp4\n", "playlist", id="ffconcat"),
    pytest.param(b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash">', "playlist", id="dash"),
    pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(500), "still picture", id="jpeg"),
    pytest.param(a_picture(), "still picture", id="png"),
    pytest.param(b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(99), "still picture", id="avif"),
    pytest.param(
        b"\x00\x00\x00\x1cftypavis\x00\x00\x00\x00avismif1miaf" + bytes(99), "still picture", id="avif of one"
    ),
    pytest.param(b"GIF89a" + bytes(99), "an animation in a picture format", id="gif"),
    pytest.param(a_picture()[:33] + b"\x00\x00\x00\x08acTL" + bytes(12), "an animation", id="animated png"),
    pytest.param(b"RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(99), "an animation", id="animated webp"),
    pytest.param(b"RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10" + bytes(99), "still picture", id="webp"),
    pytest.param(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(99), "audio", id="wav"),
    pytest.param(b"ID3\x04" + bytes(500), "audio", id="mp3"),
    pytest.param(b"%PDF-1.7\n", "archive or a document", id="pdf"),
    pytest.param(random.Random(5).randbytes(5000), "not a recognized video", id="noise"),
    pytest.param(bytes(5000), "not a recognized video", id="zeros"),
    pytest.param(b"\x1a\x45\xdf\xa3", "truncated", id="four bytes of mkv"),
    pytest.param(b"\x1a\x45\xdf\xa3\xff" + bytes(99), "damaged", id="mkv without an end of header"),
    pytest.param(b"\x1a\x45\xdf\xa3\x41\x00" + b"\xec\x80" * 200, "header is damaged", id="mkv all padding"),
    pytest.param(b"RIFF\x10\x00\x00\x00AVI LIST" + bytes(99), "damaged", id="avi without a header"),
    pytest.param(b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom", "moov) is missing", id="ftyp alone"),
    pytest.param(b"FLV\x01" + bytes(99), "", id="flv without video"),
]


def refusal_of(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "source"
    path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        probe_file(path)
    assert "source cannot be used as a video. " in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(("content", "reason"), OTHERS)
def test_what_is_no_video_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refusal_of(content, tmp_path)


@pytest.mark.parametrize(("content", "reason"), OTHERS)
async def test_what_is_no_video_is_named_over_http_as_well(content: bytes, reason: str, origin: FileServer) -> None:
    url = origin.serve(content)
    with anyio.fail_after(10), pytest.raises(MediaError) as caught:
        await probe(url)
    assert reason in str(caught.value)
    assert url in str(caught.value)


@pytest.mark.parametrize("share", [0.05, 0.6, 0.9])
@pytest.mark.parametrize("recipe", CUT, ids=lambda recipe: recipe.name)
def test_a_truncated_video_is_refused_as_such(recipe: Recipe, share: float, folder: Path, tmp_path: Path) -> None:
    content = make(recipe, folder).read_bytes()
    assert "truncated" in refusal_of(content[: int(len(content) * share)], tmp_path)


@pytest.mark.parametrize("recipe", CUT, ids=lambda recipe: recipe.name)
async def test_a_truncated_upload_is_refused_as_such(recipe: Recipe, folder: Path, origin: FileServer) -> None:
    path = make(recipe, folder)
    url = origin.serve(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with anyio.fail_after(10), pytest.raises(MediaError, match="truncated"):
        await probe(url)


def test_frames_listed_beyond_the_end_are_found_though_the_boxes_fit(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("av.index")
    content = make(FASTSTART, folder).read_bytes()
    mdat = content.index(b"mdat") - 4
    short = content[: len(content) * 2 // 3]
    fitting = short[:mdat] + (len(short) - mdat).to_bytes(4, "big") + short[mdat + 4 :]
    assert "frames that it lists lie beyond its end" in refusal_of(fitting, tmp_path)


def test_a_tail_that_is_no_box_is_no_harm(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tail.mp4"
    for tail in (bytes(4), bytes(100), b"junk" * 30):
        path.write_bytes(make(INDEX_LAST, folder).read_bytes() + tail)
        assert probe_file(path).frame_rate == 30


def test_encrypted_video_is_refused_as_such(tmp_path: Path) -> None:
    keys = {"encryption_key": "00112233445566778899aabbccddeeff", "encryption_kid": "0123456789abcdef0123456789abcdef"}
    recipe = Recipe(name="encrypted.mp4", muxing={"encryption_scheme": "cenc-aes-ctr", **keys})
    assert "encrypted" in refusal_of(make(recipe, tmp_path).read_bytes(), tmp_path)


def test_pictures_that_cannot_be_decoded_are_refused(folder: Path, tmp_path: Path) -> None:
    content = make(Recipe(name="mpeg4.avi", codec="mpeg4", options={}, rate=25), folder).read_bytes()
    movi = content.index(b"movi")
    index = content.rindex(b"idx1")
    garbled = bytearray(content)
    position = movi + 4
    while position < index:
        length = int.from_bytes(garbled[position + 4 : position + 8], "little")
        garbled[position + 8 : position + 8 + length] = bytes(length)
        position += 8 + length + length % 2
    assert "None of its first pictures can be decoded" in refusal_of(bytes(garbled), tmp_path)


def test_a_codec_that_nobody_knows_is_refused(folder: Path, tmp_path: Path) -> None:
    content = make(FASTSTART, folder).read_bytes()
    unknown = content[:40] + content[40:].replace(b"avc1", b"zzzz")
    assert "nothing here can decode" in refusal_of(unknown, tmp_path)


@pytest.mark.parametrize("name", ["sound.m4a", "sound.mkv"])
def test_audio_alone_is_refused_as_such(name: str, tmp_path: Path) -> None:
    assert "audio without a video" in refusal_of(make_audio(tmp_path / name).read_bytes(), tmp_path)


def test_a_damaged_index_is_refused(folder: Path, tmp_path: Path) -> None:
    content = make(FASTSTART, folder).read_bytes()
    for seed in range(40):
        chance = random.Random(seed)
        start, end = content.index(b"moov"), content.index(b"mdat")
        garbled = bytearray(content)
        for _ in range(60):
            garbled[chance.randrange(start, end)] = chance.randrange(256)
        path = tmp_path / "garbled.mp4"
        path.write_bytes(garbled)
        try:
            facts = probe_file(path)
        except MediaError:
            continue
        assert facts.size_bytes == len(content)


def test_an_archive_of_a_video_is_not_a_video(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.write(make(INDEX_LAST, folder))
    assert "archive" in refusal_of((tmp_path / "clips.zip").read_bytes(), tmp_path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path, "not a file"),
        (tmp_path / "pipe", "not a file"),
        (tmp_path / "no", "No such file"),
    ):
        with pytest.raises(MediaError, match=reason):
            probe_file(path)
    with pytest.raises(MediaError, match="cannot be read"):
        probe_file("a\x00b")


@pytest.mark.parametrize("url", ["ftp://host/clip.mp4", "file:///etc/hostname", "https:///clip.mp4", "http://[1/clip"])
async def test_only_web_urls_and_paths_are_read(url: str) -> None:
    with pytest.raises(MediaError, match="Only http and https"):
        await probe(url)


async def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"hitpaw-async\[media\]"):
        probe_file("clip.mp4")
    with anyio.fail_after(10), pytest.raises(MissingExtraError, match=r"hitpaw-async\[media\]"):
        await probe("http://127.0.0.1:9/clip.mp4")
