"""Nothing is spent without a limit where nobody was asked: that is refused, whatever the reason is that nobody was."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import read_all, write_list
from tests.cli.test_enhance import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

ON_A_TERMINAL = {
    "a list is piped in": "cat list.jsonl | {hitpaw} enhance -i -",
    "a list is redirected": "{hitpaw} enhance -i - < list.jsonl",
    "standard input is elsewhere": "{hitpaw} enhance -i list.jsonl < /dev/null",
    "standard input is closed": "{hitpaw} enhance -i list.jsonl <&-",
    "standard error is redirected": "{hitpaw} enhance -i list.jsonl 2> errors.txt",
    "programs read the output": "{hitpaw} enhance -i list.jsonl --json",
    "it is quiet and piped": "cat list.jsonl | {hitpaw} enhance -q -i -",
}


def on_a_terminal(program: Program, line: str) -> tuple[int, str]:
    """What a shell's line ends with, and what it shows, on a terminal at which nobody answers."""
    import pty  # noqa: PLC0415 (not everywhere)

    ours, theirs = pty.openpty()
    hitpaw = f"{shlex.quote(sys.executable)} -m hitpaw_async"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{line.format(hitpaw=hitpaw)} --poll-interval-s 0.02 -o out"],
        cwd=program.folder,
        env={**os.environ, **program.environment, "TERM": "xterm", "CI": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = read_all(ours).decode()
    return process.wait(30), " ".join(shown.split())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("line", ON_A_TERMINAL.values(), ids=ON_A_TERMINAL.keys())
def test_what_nobody_can_be_asked_about_is_refused_without_a_limit(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, line: str
) -> None:
    write_list(tmp_path, [row("one"), row("two")])

    code, shown = on_a_terminal(hitpaw, line)

    errors = tmp_path / "errors.txt"
    shown += errors.read_text() if errors.exists() else ""
    assert code == 2
    assert "--budget CREDITS" in shown
    assert not vendor.charges
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("consent", [("--yes",), ("--budget", 2)])
def test_a_limit_or_a_yes_is_enough_without_a_terminal(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, consent: tuple[object, ...]
) -> None:
    videos = write_list(tmp_path, [row("one")])

    said = hitpaw.run("enhance", "-i", videos, "--poll-interval-s", 0.02, "-o", "out", *consent)

    assert said.code == 0, said.err
    assert vendor.charges.total() == 1


def test_without_a_terminal_a_limit_or_a_yes_it_is_refused_before_anything_is_made(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", "--poll-interval-s", 0.02)

    assert said.code == 2
    assert "--budget CREDITS" in said.err
    assert not (tmp_path / "out").exists()
    assert not vendor.charges


def test_the_limit_of_a_settings_file_or_of_the_journal_counts(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    (tmp_path / "hitpaw.toml").write_text("budget = 4\n")
    arguments = ("--poll-interval-s", 0.02, "--json", "-o", "out")
    first = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), *arguments)
    (tmp_path / "hitpaw.toml").unlink()

    again = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("two")]), *arguments)

    assert (first.code, again.code) == (0, 0)
    assert vendor.charges.total() == 2
