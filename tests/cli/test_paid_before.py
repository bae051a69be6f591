"""Another output folder does not pay for the same videos again without a word."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import Running, wait_until, write_list
from tests.cli.test_enhance import row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

RUN = ("--poll-interval-s", 0.02, "--json", "--no-probe")


@pytest.fixture
def state(hitpaw: Program, tmp_path: Path) -> Path:
    hitpaw.environment["HITPAW_STATE_DIR"] = str(tmp_path / "state")
    return tmp_path / "state"


def index_of(state: Path) -> Path:
    return state / "paid" / "paid.db"


def remembered(state: Path) -> int:
    connection = sqlite3.connect(index_of(state))
    try:
        return int(connection.execute("SELECT count(*) FROM paid").fetchone()[0])
    finally:
        connection.close()


def enhance(
    hitpaw: Program, folder: Path, output: str, *names: str, consent: tuple[object, ...] = ("--yes",)
) -> Running:
    return hitpaw.start(
        "enhance", "-i", write_list(folder, [row(name) for name in names]), "-o", output, *RUN, *consent
    )


def test_another_folder_is_refused_where_nobody_is_asked_and_told_with_a_yes(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path
) -> None:
    assert enhance(hitpaw, tmp_path, "one", "a", "b").end().code == 0
    refused = enhance(hitpaw, tmp_path, "two", "b", "c", consent=("--budget", 99)).end()
    assert refused.code == 2
    assert "1 video of these was paid for already in another batch" in refused.err
    assert "--yes" in refused.err
    assert not (tmp_path / "two").exists()
    assert vendor.charges.total() == 2
    said = enhance(hitpaw, tmp_path, "two", "b", "c").end()
    assert said.code == 0
    assert "warning: 1 video of these was paid for already" in said.err
    assert vendor.charges.total() == 4
    assert remembered(state) == 4


def test_the_same_batch_and_what_it_waits_for_are_no_question(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path
) -> None:
    assert enhance(hitpaw, tmp_path, "out", "a", "b", consent=("--budget", 2)).end().code == 4
    again = enhance(hitpaw, tmp_path, "out", "a", "b", consent=("--budget", 4)).end()
    assert (again.code, vendor.charges.total()) == (0, 2)
    assert "paid for already" not in again.err
    assert remembered(state) == 2


def test_other_spellings_and_signatures_are_the_same_video_and_another_size_is_not(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path
) -> None:
    first = {"video_url": "https://videos.example.com/a.mp4?X-Amz-Signature=1", "key": "mine", "duration_s": 9}
    again = {"video_url": "HTTPS://VIDEOS.example.com:443/a.mp4?X-Amz-Signature=2", "key": "other", "duration_s": 9}
    for number, (fields, code) in enumerate([(first, 0), (again, 2), ({**again, "resolution": "1280x720"}, 0)]):
        run = ("--budget", 999, "-o", f"out-{number}", *RUN)
        assert hitpaw.run("enhance", "-i", write_list(tmp_path, [fields]), *run).code == code
    assert vendor.charges.total() == 2
    assert all(b"example" not in path.read_bytes() for path in (state / "paid").iterdir())
    assert stat.S_IMODE(index_of(state).stat().st_mode) == 0o600 or sys.platform == "win32"


def test_what_may_have_been_paid_counts_and_what_was_not_does_not(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path
) -> None:
    vendor.loses_replies = True
    enhance(hitpaw, tmp_path, "one", "lost").end()
    vendor.loses_replies = False
    assert enhance(hitpaw, tmp_path, "two", "lost", consent=("--budget", 9)).end().code == 2
    vendor.account_credits = 1
    assert enhance(hitpaw, tmp_path, "three", "poor").end().code == 4
    vendor.account_credits = 99
    assert enhance(hitpaw, tmp_path, "four", "poor", consent=("--budget", 9)).end().code == 0
    assert remembered(state) == 2


def test_a_deleted_journal_is_another_batch(hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path) -> None:
    enhance(hitpaw, tmp_path, "out", "a").end()
    shutil.rmtree(tmp_path / "out")
    assert enhance(hitpaw, tmp_path, "out", "a", consent=("--budget", 9)).end().code == 2
    assert vendor.charges.total() == 1
    assert remembered(state) == 1


def test_another_vendor_is_another_account(hitpaw: Program, tmp_path: Path, state: Path) -> None:
    from tests.cli.tiny_vendor import TinyVendor as Vendor  # noqa: PLC0415 (a second one)

    enhance(hitpaw, tmp_path, "one", "a").end()
    with Vendor() as other:
        hitpaw.environment["HITPAW_API_BASE_URL"] = other.base_url
        assert enhance(hitpaw, tmp_path, "two", "a", consent=("--budget", 9)).end().code == 0
        assert other.charges.total() == 1
    assert remembered(state) == 2


@pytest.mark.parametrize("damage", ["garbage", "empty", "a folder", "no table", "state is a file", "no writing"])
def test_an_index_that_can_not_be_used_stops_no_batch_and_is_told(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path, damage: str
) -> None:
    index = index_of(state)
    if damage == "state is a file":
        state.write_text("")
    else:
        index.parent.mkdir(parents=True)
    match damage:
        case "garbage":
            index.write_bytes(b"garbage" * 1000)
        case "empty":
            index.write_bytes(b"")
        case "a folder":
            index.mkdir()
        case "no table":
            connection = sqlite3.connect(index)
            connection.execute("CREATE TABLE paid (other TEXT)")
            connection.close()
        case "no writing":
            if os.geteuid() == 0:
                pytest.skip("root writes everywhere")
            index.parent.chmod(0o500)
    for output in ("one", "two"):
        said = enhance(hitpaw, tmp_path, output, "a", consent=("--budget", 9)).end()
        if damage == "empty":
            assert said.code == (0 if output == "one" else 2)
        else:
            assert said.code == 0, said.err
            assert said.err.count("what other batches have paid for is not known") >= 1
            assert "Traceback" not in said.err
    assert vendor.charges.total() == (1 if damage == "empty" else 2)


def test_batches_side_by_side_are_all_remembered(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path
) -> None:
    running = []
    for number in range(4):
        (tmp_path / f"{number}").mkdir()
        names = [f"{number}-{video}" for video in range(5)]
        running.append(enhance(hitpaw, tmp_path / f"{number}", f"out-{number}", *names))
    for each in running:
        said = each.end()
        assert said.code == 0
        assert "not known" not in said.err
    assert remembered(state) == vendor.charges.total() == 20


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_was_sent_when_the_program_ended_is_remembered(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path, number: signal.Signals
) -> None:
    vendor.may_complete.clear()
    running = enhance(hitpaw, tmp_path, "out", "a", "b")
    wait_until(lambda: vendor.charges.total() == 2)
    if number is signal.SIGKILL:
        wait_until(lambda: index_of(state).is_file() and remembered(state) == 2)
    running.signal_group(number)
    running.end()
    assert remembered(state) == 2
    assert enhance(hitpaw, tmp_path, "two", "a", consent=("--budget", 9)).end().code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("answer", "charged"), [("n\n", 1), ("y\n", 2)])
def test_a_person_is_asked(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, state: Path, answer: str, charged: int
) -> None:
    enhance(hitpaw, tmp_path, "one", "a").end()
    arguments = ("enhance", "-i", "list.jsonl", "-o", "two", "--poll-interval-s", "0.02", "--no-probe")
    code, shown = hitpaw.on_terminal(answer, *arguments)
    assert "was paid for already in another batch" in shown
    assert "[y/N]" in shown
    assert (code == 0) is (charged == 2)
    assert vendor.charges.total() == charged
    assert state.is_dir()
