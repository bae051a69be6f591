"""Folders are walked in one order, whatever is in them, and a file is what its content is, whatever it is called."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async.errors import StorageError
from hitpaw_async.storage import Chosen, find_videos, local_video, local_videos
from hitpaw_async.storage._files import SAMPLE_BYTES, content_digest, read_video, sample_offsets, walk

if TYPE_CHECKING:
    from pathlib import Path

posix_alone = pytest.mark.skipif(sys.platform == "win32", reason="names and links of POSIX")


def grown(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def found(folder: Path, **chosen: object) -> list[str]:
    return [each.relative for each in walk(folder, Chosen(**chosen))]  # type: ignore[arg-type]


def test_each_folders_own_come_first_and_all_by_name(tmp_path: Path) -> None:
    grown(tmp_path, "b.mp4", "a/z.MOV", "a/b/c.mkv", "A.webm", "c/ü ä.mp4", "notes.txt", "clip.mp4.part")
    assert found(tmp_path) == ["A.webm", "b.mp4", "a/z.MOV", "a/b/c.mkv", "c/ü ä.mp4"]
    assert [each.folder for each in walk(tmp_path)] == ["", "", "a", "a/b", "c"]


def test_what_is_hidden_is_left_alone(tmp_path: Path) -> None:
    grown(tmp_path, ".a.mp4", ".cache/a.mp4", "b/.c/a.mp4", "b/a.mp4", "._b.mp4")
    assert found(tmp_path) == ["b/a.mp4"]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, ["a.mp4", "b.mov", "raw/a.mp4", "raw/old/c.mp4"]),
        ({"include": ("*.mov",)}, ["b.mov"]),
        ({"include": ("*.txt",)}, ["n.txt"]),
        ({"include": ("raw/*.mp4",)}, ["raw/a.mp4"]),
        ({"include": ("raw/**",)}, ["raw/a.mp4", "raw/old/c.mp4"]),
        ({"include": ("**/c.mp4",)}, ["raw/old/c.mp4"]),
        ({"include": ("**/a.mp4",)}, ["a.mp4", "raw/a.mp4"]),
        ({"include": ("?.mp4",)}, ["a.mp4", "raw/a.mp4", "raw/old/c.mp4"]),
        ({"exclude": ("raw",)}, ["a.mp4", "b.mov"]),
        ({"exclude": ("raw/",)}, ["a.mp4", "b.mov"]),
        ({"exclude": ("raw/old/**",)}, ["a.mp4", "b.mov", "raw/a.mp4"]),
        ({"exclude": ("raw/*",)}, ["a.mp4", "b.mov"]),
        ({"include": ("*.mp4",), "exclude": ("a.*",)}, ["raw/old/c.mp4"]),
        ({"endings": frozenset({".txt"})}, ["n.txt"]),
    ],
)
def test_patterns_choose(tmp_path: Path, chosen: dict[str, object], names: list[str]) -> None:
    grown(tmp_path, "a.mp4", "b.mov", "n.txt", "raw/a.mp4", "raw/old/c.mp4")
    assert found(tmp_path, **chosen) == names
    everything = ["a.mp4", "b.mov", "n.txt", "raw/a.mp4", "raw/old/c.mp4"]
    assert [name for name in everything if Chosen(**chosen).takes(name)] == names  # type: ignore[arg-type]


@posix_alone
def test_links_that_lead_round_in_circles_end(tmp_path: Path) -> None:
    grown(tmp_path, "a/b.mp4")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "none.mp4")
    (tmp_path / "z.mp4").symlink_to(tmp_path / "a" / "b.mp4")
    assert found(tmp_path) == ["z.mp4", "a/b.mp4"]


@posix_alone
def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert found(tmp_path) == []
    with pytest.raises(StorageError, match="not a file"):
        read_video(tmp_path / "pipe.mp4")
    with pytest.raises(StorageError, match="not a file"):
        read_video(tmp_path / "folder.mp4")


@posix_alone
def test_names_that_are_no_text_are_found_and_read(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/odd\xff\n.mp4"
    try:
        with open(odd, "wb") as file:  # noqa: PTH123 (bytes)
            file.write(b"x")
    except OSError:
        pytest.skip("This file system takes text alone")
    (each,) = walk(tmp_path)
    assert os.fsencode(each.path) == odd
    assert read_video(each.path).size_bytes == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nobody is refused here")
def test_a_folder_that_can_not_be_read_is_told_and_the_others_are_walked(tmp_path: Path) -> None:
    grown(tmp_path, "a/x.mp4", "b/x.mp4")
    (tmp_path / "a").chmod(0)
    problems: list[StorageError] = []
    try:
        assert [each.relative for each in walk(tmp_path, on_problem=problems.append)] == ["b/x.mp4"]
        with pytest.raises(StorageError):
            list(walk(tmp_path))
    finally:
        (tmp_path / "a").chmod(0o700)
    assert [problem.is_denied for problem in problems] == [True]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        list(walk(tmp_path / "none", on_problem=lambda _: None))
    assert caught.value.is_missing


@pytest.mark.parametrize("size_bytes", [1, 65_536, 65_537, 150_000, 196_608, 196_609, 1_000_000])
def test_a_renamed_or_touched_file_is_the_same_and_a_changed_one_is_not(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "a.mp4"
    content = bytes(range(256)) * (size_bytes // 256 + 1)
    path.write_bytes(content[:size_bytes])
    first = read_video(path)
    moved = path.rename(tmp_path / "b.mov")
    os.utime(moved, ns=(1, 1))
    assert read_video(moved).digest == first.digest
    for position in {0, size_bytes // 2, size_bytes - 1}:
        changed = bytearray(content[:size_bytes])
        changed[position] ^= 1
        moved.write_bytes(changed)
        assert read_video(moved).digest != first.digest
    moved.write_bytes(content[:size_bytes] + b"x")
    assert read_video(moved).digest != first.digest


@given(st.integers(1, 10**12))
def test_samples_lie_within_and_are_all_of_what_is_small(size_bytes: int) -> None:
    offsets = sample_offsets(size_bytes)
    ends = [min(offset + SAMPLE_BYTES, size_bytes) for offset in offsets]
    assert offsets[0] == 0
    assert ends[-1] == size_bytes
    if size_bytes <= 3 * SAMPLE_BYTES:
        assert all(begin <= end for begin, end in zip(offsets[1:], ends, strict=False))


def test_a_digest_stays_what_it_was() -> None:
    """Journals hold it: another one would be another video, and paid again."""
    assert content_digest(3, [b"abc"]) == "c3494ca1a2cf8eeb8a11ded316fb55b8"


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"", "empty")])
def test_a_file_that_is_none_or_empty_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=words) as caught:
        read_video(path)
    assert caught.value.is_missing
    with pytest.raises(StorageError):
        read_video("a\0b")


@pytest.mark.anyio
async def test_files_and_folders_are_looked_at_on_either_loop(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(grown, tmp_path, "a/b.mp4")
    (each,) = await find_videos(tmp_path)
    video = await local_video(each.path)
    assert (each.size_bytes, video.size_bytes) == (1, 1)
    same, problem = await local_videos([each.path, tmp_path / "none.mp4"])
    assert same == video
    assert isinstance(problem, StorageError)
    assert problem.is_missing
