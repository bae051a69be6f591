"""No file but the source is ever opened, whatever the source says."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

import anyio
import attrs
import av
import av.error
import pytest

from hitpaw_async.errors import MediaError
from hitpaw_async.media import probe_file
from hitpaw_async.media._kinds import Kind
from hitpaw_async.media._reading import _read_facts
from hitpaw_async.media._sources import LocalSource, RefusedError, SourceFile
from tests.media.callers import probe
from tests.media.studio import Recipe, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="who opens a file is seen through inotify"),
]
IN_OPEN = 0x20


@attrs.frozen
class Other:
    """A file that must not be opened, and the eye on it."""

    path: Path
    _events: int

    def was_opened(self) -> bool:
        """Whether it was opened since this was last asked."""
        try:
            return bool(os.read(self._events, 4096))
        except BlockingIOError:
            return False


@pytest.fixture
def other(folder: Path, tmp_path: Path) -> Iterator[Other]:
    path = tmp_path / "other.mp4"
    path.write_bytes(make(Recipe(name="plain.mp4"), folder).read_bytes())
    libc = ctypes.CDLL(None, use_errno=True)
    events = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(events, os.fsencode(path), IN_OPEN) >= 0
    yield Other(path, events)
    os.close(events)


def hls(target: str) -> bytes:
    start = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
    return f"{start}#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n".encode()


def ffconcat(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


playlists = pytest.mark.parametrize("playlist", [hls, ffconcat])


def test_the_watch_sees_ffmpeg_follow_a_playlist(other: Other, tmp_path: Path) -> None:
    # What an unguarded open does: were this not so, the tests below would prove nothing.
    source = tmp_path / "list.ffconcat"
    source.write_bytes(ffconcat(other.path.name))
    with av.open(str(source), options={"safe": "0"}) as opened:
        assert opened.streams.video
    assert other.was_opened()


@playlists
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.ffconcat"])
def test_a_playlist_is_refused_and_what_it_names_is_not_opened(
    playlist: Callable[[str], bytes], name: str, other: Other, tmp_path: Path
) -> None:
    source = tmp_path / name
    for target in (other.path.name, str(other.path), f"file:{other.path}"):
        source.write_bytes(playlist(target))
        with pytest.raises(MediaError, match="playlist"):
            probe_file(source)
    assert not other.was_opened()


@playlists
async def test_a_playlist_at_a_url_is_refused_and_what_it_names_is_not_fetched(
    playlist: Callable[[str], bytes], other: Other, origin: FileServer
) -> None:
    target = origin.serve(b"", path="/other.mp4")
    for named in (target, str(other.path)):
        url = origin.serve(playlist(named), path="/list.m3u8")
        with anyio.fail_after(10), pytest.raises(MediaError, match="playlist"):
            await probe(url)
    assert {request.path for request in origin.requests} == {"/list.m3u8"}
    assert not other.was_opened()


@playlists
@pytest.mark.parametrize("kind", list(Kind))
def test_a_playlist_taken_for_a_video_opens_nothing_either(
    playlist: Callable[[str], bytes], kind: Kind, other: Other, tmp_path: Path
) -> None:
    source = tmp_path / "disguised"
    source.write_bytes(playlist(str(other.path)) + bytes(5000))
    with LocalSource(str(source)) as local, pytest.raises((av.error.FFmpegError, RefusedError)):
        _read_facts(SourceFile(local), kind)
    assert not other.was_opened()


def test_a_movie_that_keeps_its_frames_in_another_file_opens_nothing(
    folder: Path, other: Other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "reference.mov"
    source.write_bytes(_pointing_at(other.path.name, make(Recipe(name="reference.mov"), folder).read_bytes()))
    with av.open(str(source), options={"enable_drefs": "1"}) as opened:
        assert opened.streams.video
    assert other.was_opened(), "FFmpeg follows it where it is allowed to"
    with pytest.raises(MediaError):
        probe_file(source)
    assert not other.was_opened()


def _pointing_at(name: str, movie: bytes) -> bytes:
    """The movie, its data reference made an alias of a file beside it. Source: QuickTime File Format, "dref"."""
    path = name.encode()
    path += bytes(len(path) % 2)
    alias = bytearray(150)
    alias[10:15] = b"\x04disk"
    alias[130:134] = b"\x00\x01\x00\x01"
    alias += b"\x00\x02" + len(path).to_bytes(2, "big") + path + b"\xff\xff\x00\x00"
    reference = (12 + len(alias)).to_bytes(4, "big") + b"alis" + bytes(4) + bytes(alias)
    # The index is last, so that nothing within it points behind what grows.
    changed, position = bytearray(movie), movie.index(b"moov") + 4
    holders = [position - 8]
    for kind in (b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        position = movie.index(kind, position) + 4
        holders.append(position - 8)
    old_bytes = int.from_bytes(movie[position + 8 : position + 12], "big")
    changed[position + 8 : position + 8 + old_bytes] = reference
    for holder in holders:
        size = int.from_bytes(movie[holder : holder + 4], "big") + len(reference) - old_bytes
        changed[holder : holder + 4] = size.to_bytes(4, "big")
    return bytes(changed)
