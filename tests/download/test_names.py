from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async.download import target_path
from hitpaw_async.download.file_names import disposed_name, encodable_name, name_in_url, safe_name
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
    with pytest.raises(DownloadError, match="is not a path"):
        target_path(target, suggested_name="x.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("My%20Film.mp4", "My Film.mp4"),
        ("%E8%A7%86%E9%A2%91.mp4", "视频.mp4"),
        ("caf%E9.mp4", "café.mp4"),
        ("it%27s.mp4", "it's.mp4"),
        ("a+b.mp4", "a+b.mp4"),
        ("100%25.mp4", "100%.mp4"),
        ("100%2525.mp4", "100%25.mp4"),
        ("50%.mp4", "50%.mp4"),
        ("o/videos%2Fclip.mp4", "clip.mp4"),
        ("..%2f..%2fevil.mp4", "evil.mp4"),
        ("..%5c..%5cevil.mp4", "evil.mp4"),
        ("clip.mp4?response-content-type=x%2Fy.mov#z", "clip.mp4"),
        ("", ""),
        ("folder/", "folder"),
    ],
)
def test_a_name_in_a_url_is_what_a_person_reads(path: str, name: str) -> None:
    assert name_in_url(f"https://cdn.example/{path}") == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="Holiday 2024.mp4"', "Holiday 2024.mp4"),
        ("attachment; filename=plain.mp4", "plain.mp4"),
        ("inline; FILENAME=plain.mp4", "plain.mp4"),
        ("attachment; filename=\"x.mp4\"; filename*=UTF-8''%e2%82%ac%20r.mp4", "€ r.mp4"),
        ("attachment; filename*=UTF-8''%e2%82%ac.mp4; filename=\"x.mp4\"", "€.mp4"),
        ("attachment; filename*=iso-8859-1'de'%e4.mp4", "ä.mp4"),
        ('attachment; filename="My%20Film.mp4"', "My Film.mp4"),
        ('attachment; filename="a\\"b;c.mp4"', 'a"b;c.mp4'),
        ('attachment; filename="../../evil.mp4"', "evil.mp4"),
        ('attachment; filename="C:\\\\x\\\\evil.mp4"', "evil.mp4"),
        ("attachment", None),
        ("inline", None),
        ('attachment; filename=""', None),
        ('attachment; filename="/"', None),
        ("x" * 9000, None),
        ("", None),
        (None, None),
    ],
)
def test_a_host_may_name_its_file(header: str | None, name: str | None) -> None:
    assert disposed_name(header) == name


@given(st.text())
def test_any_header_gives_a_name_or_none(header: str) -> None:
    for text in (header, f"attachment; filename={header}", f"attachment; filename*={header}"):
        name = disposed_name(text)
        assert name is None or "/" not in safe_name(name)


@pytest.mark.parametrize(
    ("name", "encoding", "written"),
    [
        ("Ünïcode 東京.mp4", "utf-8", "Ünïcode 東京.mp4"),
        ("Ünïcode 東京.mp4", "latin-1", "Ünïcode __.mp4"),
        ("Ünïcode 東京.mp4", "ascii", "_n_code __.mp4"),
        ("視频.mp4", "ascii", "__.mp4"),
    ],
)
def test_a_name_is_written_as_far_as_the_file_systems_encoding_goes(name: str, encoding: str, written: str) -> None:
    assert encodable_name(name, encoding) == written
