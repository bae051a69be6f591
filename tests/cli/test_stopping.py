from __future__ import annotations

import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import Program, wait_until, write_list
from tests.cli.test_enhance import QUICK, row
from tests.support.patience import soon

if TYPE_CHECKING:
    from tests.cli.tiny_vendor import TinyVendor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")

STOP_S = 2.0
ON_ITS_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("hitpaw_async", run_name="__main__", alter_sys=True)
"""
NAMES = [f"v{number}" for number in range(12)]


def results_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".mp4"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_resume_finishes_without_paying_twice(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, number: signal.Signals
) -> None:
    vendor.may_complete.clear()
    videos = write_list(tmp_path, [row(name) for name in NAMES])
    running = hitpaw.start("enhance", "-i", videos, "-o", "out", "-j", 5, *QUICK)
    wait_until(lambda: len(vendor.polls) == 5)

    running.signal_group(number)
    said = running.end()

    assert said.code == 130
    assert said.took_s < soon(STOP_S)
    assert "interrupted; 0 of 12 videos done. Go on with: hitpaw resume out/hitpaw-journal.db" in said.err
    assert said.outcomes == {}
    assert (said.summary["total"], said.summary["unfinished"], said.summary["uncertain"]) == (12, 12, 0)

    vendor.may_complete.set()
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")

    assert said.code == 0
    assert said.outcomes.keys() == set(NAMES)
    assert results_of(tmp_path / "out") == {f"{name}.mp4" for name in NAMES}
    assert set(vendor.charges.values()) == {1}


def test_a_signal_in_the_middle_of_an_export_waits_for_its_answer(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    vendor.may_answer.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)

    running.signal_group(signal.SIGINT)
    vendor.may_answer.set()
    said = running.end()
    assert (said.code, said.summary["unfinished"]) == (130, 1)

    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    assert (said.code, said.summary["done"]) == (0, 1)
    assert vendor.charges.total() == 1


def test_ctrl_c_while_another_program_holds_the_journal_says_what_was_not_written(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    vendor.may_answer.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)
    with closing(sqlite3.connect(tmp_path / "out" / "hitpaw-journal.db", isolation_level=None)) as browser:
        browser.execute("BEGIN IMMEDIATE")
        vendor.may_answer.set()
        running.signal_group(signal.SIGINT)
        said = running.end()
    assert said.code == 130
    assert said.took_s < soon(STOP_S + 5)
    job_id = "job-one.mp4-1"
    assert f"accepted as job {job_id}, and the journal could not keep it" in said.err

    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    assert (said.code, said.summary["uncertain"]) == (1, 1)
    assert hitpaw.run("reconcile", "out/hitpaw-journal.db", "--key", "one", "--job-id", job_id).code == 0
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    assert (said.code, said.summary["done"]) == (0, 1)
    assert vendor.charges.total() == 1


def test_an_answer_that_does_not_come_within_the_grace_makes_the_item_uncertain(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    vendor.may_answer.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)

    running.signal_group(signal.SIGINT)
    said = running.end()
    assert said.code == 130
    assert said.took_s < soon(STOP_S + 1)  # The grace alone is more than half of it, and the machine may be busy.

    vendor.may_answer.set()
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    assert (said.code, said.summary["uncertain"], said.summary["credits_reserved"]) == (1, 1, 2)
    assert "hitpaw reconcile out/hitpaw-journal.db" in said.err
    assert vendor.charges.total() == 1


def test_a_second_signal_stops_it_at_once(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    vendor.may_answer.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)
    running.signal_group(signal.SIGINT)
    wait_until(lambda: signal_was_taken(running.process.pid))

    running.signal_group(signal.SIGINT)
    said = running.end()

    assert said.code == 130
    assert said.took_s < soon(1.0)  # The grace alone is longer.


def signal_was_taken(pid: int) -> bool:
    """Whether no signal is pending any more for a process, by Linux's word."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("there is no /proc")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["SigPnd"], 16) == int(fields["ShdPnd"], 16) == 0


def test_killed_in_the_middle_everything_is_there_in_the_end_and_paid_once(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row(name) for name in NAMES])
    running = hitpaw.start("enhance", "-i", videos, "-o", "out", "-j", 4, "--budget", 40, *QUICK)
    # Answers are awaited and downloads under way: whatever the moment, nothing is paid twice.
    wait_until(lambda: vendor.charges.total() >= 6)
    running.signal_group(signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL

    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    uncertain = [key for key, outcome in said.outcomes.items() if outcome["state"] == "uncertain"]
    assert said.code == (1 if uncertain else 0)
    for key in uncertain:
        # It was killed within an export. Whether it was charged stands in the vendor's ledger, and nowhere else.
        job_id = f"job-{key}.mp4-1"
        settled = ("--job-id", job_id) if job_id in vendor.urls_by_job else ("--resubmit",)
        assert hitpaw.run("reconcile", "out/hitpaw-journal.db", "--key", key, *settled).code == 0
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")

    assert said.code == 0
    assert said.summary["done"] == 12
    assert results_of(tmp_path / "out") == {f"{name}.mp4" for name in NAMES}
    assert vendor.charges == {f"https://videos.example.com/{name}.mp4": 1 for name in NAMES}
    assert said.summary["credits_spent"] >= 2 * vendor.charges.total()


def test_a_paused_reader_does_not_keep_ctrl_c_waiting(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    # Some 64 KiB fit into a pipe that nobody reads.
    rows = [row(f"v{number}", key=f"{number:03d}" + "k" * 500) for number in range(120)]
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, rows), "-o", "out", "-j", 120, *QUICK)
    wait_until(lambda: sum(count >= vendor.polls_needed for count in vendor.polls.values()) == 120)

    running.signal_group(signal.SIGINT)
    code = running.process.wait(10)
    said = running.end()

    assert code == 130
    assert "Go on with: hitpaw resume" in said.err


def test_ctrl_c_while_a_list_is_awaited_ends_it_with_130(hitpaw: Program) -> None:
    running = hitpaw.start("enhance", "-i", "-", *QUICK, stdin=subprocess.PIPE)
    assert running.process.stdin is not None
    # More than fits into the pipe: once it is written, the program is reading.
    running.process.stdin.write("# a list that goes on\n" * 10_000)

    running.signal_group(signal.SIGINT)
    # The list has no end until then: otherwise the program may see that first.
    running.process.wait(soon(STOP_S))
    said = running.end()

    assert said.code == 130
    assert said.err == "hitpaw: interrupted\n"


def status_counts(hitpaw: Program) -> dict[str, int]:
    counts: dict[str, int] = hitpaw.run("status", "out/hitpaw-journal.db", "--json").events[-1]["counts"]
    return counts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_by_a_system_it_waits_for_an_answer_that_takes_seconds(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, number: signal.Signals
) -> None:
    vendor.may_answer.clear()
    vendor.may_complete.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)

    running.signal_group(number)
    wait_until(lambda: signal_was_taken(running.process.pid))
    threading.Timer(2.5, vendor.may_answer.set).start()
    said = running.end()

    assert (said.code, said.summary["unfinished"], said.summary["uncertain"]) == (130, 1, 0)
    assert "stopping: 1 export sent, perhaps charged; waiting up to 9 s" in said.err


def test_the_grace_of_a_stop_can_be_set(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    vendor.may_answer.clear()
    flags = ("--stop-grace-s", "0.5", *QUICK)
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *flags)
    wait_until(lambda: vendor.charges.total() == 1)

    running.signal_group(signal.SIGTERM)
    said = running.end()

    assert said.code == 130
    assert said.took_s < soon(2)
    assert "waiting up to 0.5 s" in said.err


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "3601", "soon"])
def test_a_grace_that_is_no_time_is_refused(hitpaw: Program, value: str) -> None:
    said = hitpaw.run("enhance", "https://example.com/a.mp4", f"--stop-grace-s={value}")
    assert said.code == 2
    assert "stop-grace-s" in said.err.lower()


def test_hung_up_twice_and_terminated_beside_it_still_waits_for_the_answer(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    """As a closed terminal, its shell and the end of its session do it."""
    vendor.may_answer.clear()
    vendor.may_complete.clear()
    running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    wait_until(lambda: vendor.charges.total() == 1)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        running.signal_group(number)
        wait_until(lambda: signal_was_taken(running.process.pid))

    vendor.may_answer.set()
    said = running.end()
    assert (said.code, said.summary["unfinished"], said.summary["uncertain"]) == (130, 1, 0)


def test_under_nohup_a_closed_terminal_does_not_end_it(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.may_answer.clear()
    hitpaw.starts_anew = True
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running = hitpaw.start("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until(lambda: vendor.charges.total() == 1)
    running.signal_group(signal.SIGHUP)
    vendor.may_answer.set()
    said = running.end()
    assert (said.code, said.summary["done"]) == (0, 1)


def test_a_terminal_that_is_closed_takes_no_answer_with_it(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    vendor.may_answer.clear()
    vendor.may_complete.clear()
    ours, theirs = os.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_TERMINAL, "enhance", "https://example.com/a.mp4", "-o", "out", "--yes"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=hitpaw.folder,
        env={**os.environ, "HITPAW_CONFIG": os.devnull, **hitpaw.environment},
        start_new_session=True,
    )
    os.close(theirs)
    reader = threading.Thread(target=drained, args=(ours, ours_is_closed := threading.Event()))
    reader.start()
    wait_until(lambda: vendor.charges.total() == 1)
    ours_is_closed.set()
    reader.join()
    os.close(ours)  # The kernel sends SIGHUP to whoever has it as its terminal.
    wait_until(lambda: signal_was_taken(program.pid))
    threading.Timer(0.5, vendor.may_answer.set).start()
    assert program.wait(15) == 130
    assert status_counts(hitpaw)["submitted"] == 1


def drained(terminal: int, is_closed: threading.Event) -> None:
    """Read what a program writes to its terminal."""
    while not is_closed.is_set():
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 4096)
