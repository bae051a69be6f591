"""Names of folders and files that are no text, or look like something else: carried through whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli.output.messages import command_on
from tests.cli.program import write_list
from tests.cli.test_enhance import QUICK, row

if TYPE_CHECKING:
    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

LATIN_1 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("folder", ["new\nline", "-dash", "Schöne 视频", "$(x) 'y'", LATIN_1, f"{LATIN_1}/out"])
def test_a_name_is_carried_through_whole(hitpaw: Program, vendor: TinyVendor, tmp_path: Path, folder: str) -> None:
    videos = write_list(tmp_path, [row("one"), row("two")])
    said = hitpaw.run("enhance", "-i", videos, "--budget", 2, f"-o={folder}", *QUICK)
    assert said.summary["done"] == 1
    again = hitpaw.run("resume", f"./{folder}", "--budget", 4, "--json")
    assert vendor.charges.total() == len(list((tmp_path / folder).glob("*.mp4")))
    assert {again.summary["failed"], again.summary["unfinished"]} == {0}
    for command in (("status",), ("report", "--offline"), ("list",)):
        assert hitpaw.run(command[0], f"./{folder}", *command[1:]).code == 0


@pytest.mark.parametrize(
    ("journal", "typed"),
    [("-x/j.db", "hitpaw resume ./-x/j.db"), ("a b.db", "hitpaw resume 'a b.db'"), ("j.db", "hitpaw resume j.db")],
)
def test_a_command_that_is_shown_can_be_typed(journal: str, typed: str) -> None:
    assert command_on("resume", Path(journal)) == typed


def test_names_that_the_locale_cannot_write_are_fetched_under_others(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row("视频"), row("東京"), row("clip")])
    hitpaw.environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = hitpaw.run("enhance", "-i", videos, "--budget", 6, "-o", "out", *QUICK)
    assert said.code == 0, said.err
    assert vendor.charges.total() == 3
    written = {path.name for path in (tmp_path / "out").glob("*.mp4")}
    assert {Path(outcome["path"]).name for outcome in said.outcomes.values()} == written
    assert len(written) == 3
    assert "clip.mp4" in written
    assert all(name.isascii() for name in written)
