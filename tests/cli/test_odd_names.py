"""Names of folders and files that are no text, or look like something else: carried through whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli.wording import command_on
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
