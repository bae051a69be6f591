"""Standard streams that are closed, as daemons, cron and `>&-` leave them, and a folder that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import write_list
from tests.cli.test_enhance import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

ENHANCE = "enhance -i list.jsonl --no-probe --yes --poll-interval-s 0.1"


def shell(program: Program, command: str) -> tuple[int, str, str]:
    """A command line of the shell, and what came out: exit code, standard output, standard error."""
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("HITPAW", f"{sys.executable} -m hitpaw_async")],
        cwd=program.folder,
        env={
            **os.environ,
            "XDG_STATE_HOME": str(program.folder.parent / "state"),
            "HITPAW_CONFIG": os.devnull,
            **program.environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("as_json", ["", "--json"], ids=["words", "json"])
@pytest.mark.slow
def test_a_batch_runs_whole_whichever_streams_are_closed(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, closed: str, as_json: str
) -> None:
    write_list(tmp_path, [row("a"), row("b")])

    code, out, _ = shell(hitpaw, f"HITPAW {ENHANCE} {as_json} {closed}")

    assert code == 0
    assert sum(vendor.charges.values()) == 2
    if as_json and ">&-" not in closed.replace("2>&-", ""):
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["outcome", "outcome", "summary"]
    code, out, _ = shell(hitpaw, "HITPAW status enhanced --json")
    assert (code, json.loads(out)["counts"]) == (0, {"done": 2})


def test_what_is_written_to_a_closed_stream_does_not_reach_the_journal(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    """The journal would be opened under the closed stream's number, and a library's own words be written into it."""
    write_list(tmp_path, [row("a")])
    (tmp_path / "noisy.py").write_text(
        "import os, sys, threading\n"
        "from hitpaw_async.cli import main\n"
        "from hitpaw_async.batch.journal.sqlite import SqliteStore\n"
        "opened = SqliteStore.__init__\n"
        "def noisy(self, *args, **kwargs):\n"
        "    opened(self, *args, **kwargs)\n"
        "    for number in (1, 2):\n"
        "        os.write(number, b'libav: a word of mine')\n"
        "SqliteStore.__init__ = noisy\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )

    code, _, _ = shell(hitpaw, f"{sys.executable} noisy.py {ENHANCE} >&- 2>&-")

    assert code == 0
    assert sum(vendor.charges.values()) == 1
    code, out, _ = shell(hitpaw, "HITPAW status enhanced --json")
    assert (code, json.loads(out)["counts"]) == (0, {"done": 1})


def test_a_list_on_a_closed_standard_input_has_no_video(hitpaw: Program, vendor: TinyVendor) -> None:
    code, _, said = shell(hitpaw, "HITPAW enhance -i - --no-probe --yes <&-")

    assert code == 2
    assert "There is no video in standard input" in said
    assert not vendor.charges


def test_a_folder_that_is_gone_is_said(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    code, _, said = shell(
        hitpaw, "cd gone; rmdir ../gone; HITPAW enhance https://videos.example.com/a.mp4 --no-probe --yes"
    )

    assert code == 2
    assert "The folder that this was started in is gone" in said
    assert not vendor.charges
