from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._names import safe_name
from hitpaw_async.download import target_path
from hitpaw_async.errors import DownloadError


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("clip.mp4", "clip.mp4"),
        ("Ünïcode 東京.mp4", "Ünïcode 東京.mp4"),
        ("a\u0308.mp4", "ä.mp4"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("...", "_"),
        ("   ", "_"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\win.ini", "C__Windows_win.ini"),
        ("\\\\server\\share", "__server_share"),
        ("clip.mp4:stream", "clip.mp4_stream"),
        ("a\x00b.mp4", "a_b.mp4"),
        ("a\nb\x7f.mp4", "a_b_.mp4"),
        ("gpj.\u202e4pm.exe", "gpj._4pm.exe"),
        ("zero\u200bwidth", "zero_width"),
        ("a\u2028b", "a_b"),
        ("a\u00a0b", "a b"),
        ("lone\ud800", "lone_"),
        (".bashrc", "_bashrc"),
        ("-rf", "_rf"),
        ("~root", "_root"),
        ("clip.mp4. . ", "clip.mp4"),
        ('what?*<>|".mp4', "what______.mp4"),
        ("con", "_con"),
        ("CON.mp4", "_CON.mp4"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("aux .mp4", "_aux .mp4"),
        ("COM1", "_COM1"),
        ("lpt\u00b9.mp4", "_lpt\u00b9.mp4"),
        ("conin$", "_conin$"),
        ("console.mp4", "console.mp4"),
        ("com10.mp4", "com10.mp4"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=400))
def test_any_name_becomes_one_harmless_component(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 200
    assert Path("folder", safe).parent == Path("folder")
    assert os.path.normpath(Path("folder", safe)) == str(Path("folder", safe))
    assert safe[0] not in ".-~ "
    assert safe[-1] not in ". "
    assert not any(unicodedata.category(character)[0] == "C" for character in safe)
    assert safe_name(safe) == safe


def test_a_long_name_keeps_its_extension_and_stays_apart_from_its_like() -> None:
    one, two = safe_name("長" * 300 + "1.mp4"), safe_name("長" * 300 + "2.mp4")
    assert one != two
    assert one.endswith(".mp4")
    assert len(one.encode()) <= 200


def test_a_long_extension_is_cut_like_the_rest() -> None:
    assert len(safe_name("a." + "b" * 300)) <= 200


def test_a_target_is_a_file_unless_it_is_a_folder(tmp_path: Path) -> None:
    assert target_path(tmp_path / "clip.mp4", suggested_name="x.mp4") == tmp_path / "clip.mp4"
    assert target_path(tmp_path, suggested_name="x.mp4") == tmp_path / "x.mp4"
    assert target_path(f"{tmp_path}/new/", suggested_name="../x.mp4") == tmp_path / "new" / "_._x.mp4"
    assert target_path(str(tmp_path / "new"), suggested_name="x.mp4") == tmp_path / "new"
    assert target_path("n" * 5000, suggested_name="x.mp4") == Path("n" * 5000)


@pytest.mark.parametrize("target", ["", "a\0b", 7, None])
def test_what_is_no_path_is_refused(target: object) -> None:
    with pytest.raises(DownloadError, match="is no path"):
        target_path(target, suggested_name="x.mp4")  # type: ignore[arg-type]
