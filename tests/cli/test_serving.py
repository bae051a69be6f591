"""Files and folders of this machine as sources, where they are published already."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.inputs.served_folders import ServedFolders, videos_in
from tests.cli.test_enhance import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

BASE = "https://videos.example.com/films"


def folders(folder: Path, url: str = BASE) -> ServedFolders:
    return ServedFolders.parse([f"{folder}={url}"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("plain.mp4", "plain.mp4"),
        ("2019/at the sea/ä #1 100%?.mp4", "2019/at%20the%20sea/%C3%A4%20%231%20100%25%3F.mp4"),
        ("2019/../plain.mp4", "plain.mp4"),
    ],
)
def test_a_file_has_the_url_of_its_place_and_back(tmp_path: Path, name: str, path: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")

    url = folders(tmp_path, f"{BASE}/").url_of(file)

    assert url == f"{BASE}/{path}"
    found = folders(tmp_path).path_of(url)
    assert found is not None
    assert found.samefile(file)


def test_nothing_outside_of_the_folder_has_a_url(tmp_path: Path) -> None:
    inside, outside = tmp_path / "films", tmp_path / "private"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.mp4").write_bytes(b"")
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    (inside / "linked").symlink_to(outside, target_is_directory=True)
    (inside / "film.mp4").write_bytes(b"")
    (inside / "other-name.mp4").symlink_to(inside / "film.mp4")
    served = folders(inside)

    for name in ("link.mp4", "linked/secret.mp4", "../private/secret.mp4"):
        assert served.url_of(inside / name) is None
    assert served.url_of(tmp_path / "films-of-others.mp4") is None
    assert served.url_of(inside / "other-name.mp4") == f"{BASE}/other-name.mp4"
    for path in ("../private/secret.mp4", "..%2Fprivate%2Fsecret.mp4", "link.mp4", "absent.mp4", "%00.mp4", "a" * 300):
        assert served.path_of(f"{BASE}/{path}") is None
    assert served.path_of("https://videos.example.com/films-of-others/film.mp4") is None


def test_a_folder_is_its_videos_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.MKV", "a.mp4", "notes.txt", ".hidden.mp4", "sub/c.webm", ".git/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)

    assert [path.relative_to(tmp_path).as_posix() for path in videos_in(tmp_path)] == ["a.mp4", "b.MKV", "sub/c.webm"]


@pytest.mark.parametrize(
    "text",
    [
        "films",
        "=https://a.example",
        "films=",
        "films=ftp://a.example",
        "films=https://a.example/?x=1",
        "films=https://",
        "films=https://a.example:0",
        "films=https://a.example/?",
    ],
)
def test_what_is_no_folder_with_a_url_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    with pytest.raises(UsageError, match="is not DIR=URL"):
        ServedFolders.parse([text])
    with pytest.raises(UsageError, match="which is no folder"):
        ServedFolders.parse(["absent=https://a.example"])


def test_a_published_folder_is_planned_by_its_own_files_without_the_network(
    program: Program, clips: Path, tmp_path: Path
) -> None:
    films = tmp_path / "films"
    (films / "old").mkdir(parents=True)
    shutil.copy(clips / "landscape.mp4", films)
    shutil.copy(clips / "smooth.mp4", films / "old")

    said = program.run("plan", "films", "--serve-from", f"films={BASE}", "--resolution", "1280x720", "--json")

    assert said.code == 0, said.err
    first, second, summary = said.events
    assert first["video_url"] == f"{BASE}/landscape.mp4"
    assert second["video_url"] == f"{BASE}/old/smooth.mp4"
    # 60 frames a second cost twice as much: somebody has read the files, and nobody could have asked for the URLs.
    assert (first["credits_upper"], second["credits_upper"], summary["submit"]) == (1, 2, 2)


def test_the_vendor_is_given_the_url(hitpaw: Program, vendor: TinyVendor, clips: Path) -> None:
    said = hitpaw.run(
        "enhance", clips / "film.mov", "--serve-from", f"{clips}={BASE}", "--resolution", "1280x720", *QUICK
    )

    assert said.code == 0, said.err
    assert [*vendor.charges] == [f"{BASE}/film.mov"]
    assert said.summary["credits_spent"] == 1


@pytest.mark.parametrize("source", ["film.mov", "."])
def test_a_file_without_a_url_is_refused_with_what_is_missing(
    hitpaw: Program, vendor: TinyVendor, clips: Path, tmp_path: Path, source: str
) -> None:
    shutil.copy(clips / "film.mov", tmp_path)

    said = hitpaw.run("enhance", source)

    assert said.code == 2
    assert "--serve-from DIR=https://" in said.err
    assert not vendor.charges


def test_a_folder_without_videos_is_said_so(hitpaw: Program, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = hitpaw.run("plan", "empty", "--serve-from", f"empty={BASE}")
    assert (said.code, said.err.count("There is no video in this folder.")) == (2, 1)
