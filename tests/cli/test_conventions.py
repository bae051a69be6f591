"""What people type because other programs take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitpaw_async._format import own_version
from hitpaw_async.cli import main
from hitpaw_async.cli.settings.batch import kept_settings
from tests.cli.program import write_list
from tests.cli.test_enhance import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor


def test_help_about_a_command_is_the_commands_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "plan"]) == 0
    helped = capsys.readouterr().out
    assert main(["plan", "--help"]) == 0
    assert helped == capsys.readouterr().out
    assert "Usage: hitpaw plan" in helped


def test_help_alone_is_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: hitpaw COMMAND")


def test_help_about_no_command_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "enhanse"]) == 2
    assert "enhanse" in capsys.readouterr().err


def test_the_version_has_a_short_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-V"]) == 0
    assert capsys.readouterr().out.strip() == own_version()


def test_a_list_needs_no_flag_and_yes_is_short_and_times_have_units(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row("one"), row("two")])

    said = hitpaw.run("enhance", videos, "-y", "--timeout-s", "5m", "--poll-interval-s", "20ms", "-o", "out", "--json")

    assert (said.code, vendor.charges.total()) == (0, 2)
    kept = kept_settings(tmp_path / "out" / "hitpaw-journal.db")
    assert kept is not None
    assert (kept.timeout_s, kept.poll_interval_s) == (300, 0.02)


def test_two_lists_without_a_flag_are_refused(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("video_url\nhttps://films.example.com/a.mp4\n")
    (tmp_path / "b.txt").write_text("https://films.example.com/b.mp4\n")

    said = program.run("plan", "a.csv", "b.txt", "--no-probe")

    assert said.code == 2
    assert "There are 2 lists: give one of them at a time" in said.err


def test_a_folder_may_stand_where_a_list_does(program: Program, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"")

    said = program.run("plan", "-i", "films", "--serve-from", "films=https://films.example.com", "--no-probe", "--json")

    assert said.code == 0
    assert [event["video_url"] for event in said.events[:-1]] == ["https://films.example.com/a.mp4"]


@pytest.mark.parametrize("text", ["soon", "-5", "0", "5 parsecs", "1:99", "inf", "nan"])
def test_what_is_no_time_is_refused_in_plain_words(program: Program, text: str) -> None:
    said = program.run("plan", "https://films.example.com/a.mp4", f"--timeout-s={text}")

    assert said.code == 2
    assert "time" in said.err
    assert "float" not in said.err
