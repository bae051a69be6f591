from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli import main
from tests.cli.program import Program, write_list
from tests.cli.test_enhance import QUICK, row
from tests.cli.tiny_vendor import KEY, TinyVendor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL = "out/hitpaw-journal.db"


@pytest.fixture
def lost(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> Program:
    """A journal with one video whose answer was lost, and one that is done."""
    return lose_one(hitpaw, vendor, tmp_path)


@pytest.fixture(scope="module")
def lost_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The same, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("lost")
    with TinyVendor() as vendor:
        environment = {"HITPAW_API_KEY": KEY, "HITPAW_API_BASE_URL": vendor.base_url}
        yield lose_one(Program(folder, environment), vendor, folder)


def lose_one(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> Program:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("fine")]), "-o", "out", *QUICK)
    vendor.loses_replies = True
    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("lost")]), "-o", "out", *QUICK)
    vendor.loses_replies = False
    assert said.code == 1
    assert said.outcomes["lost"]["state"] == "uncertain"
    assert said.outcomes["lost"]["error"]["type"] == "SubmissionUnknownError"
    assert "1 video may have been accepted and charged" in said.err
    return hitpaw


def test_an_export_without_an_answer_is_never_sent_again_by_itself(lost: Program, vendor: TinyVendor) -> None:
    said = lost.run("resume", JOURNAL, "--json")

    assert said.code == 1
    assert (said.summary["uncertain"], said.summary["credits_reserved"]) == (1, 2)
    assert vendor.charges.total() == 2


def test_the_list_says_which_when_why_and_what_to_do(lost_for_all: Program) -> None:
    shown = lost_for_all.run("reconcile", JOURNAL)
    said = lost_for_all.run("reconcile", JOURNAL, "--json")

    assert (shown.code, said.code) == (0, 0)
    assert "key     lost\nvideo   https://videos.example.com/lost.mp4?***\nwhen    2" in shown.out
    for flags in ("--key KEY --job-id ID", "--key KEY --lost", "--key KEY --resubmit"):
        assert f"hitpaw reconcile {JOURNAL} {flags}\n" in shown.out
    (event,) = said.events
    assert (event["event"], event["key"]) == ("uncertain", "lost")
    assert "accepted and charged" in event["reason"]


def test_a_job_that_was_found_is_bound_and_its_result_fetched(
    lost: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    bound = lost.run("reconcile", JOURNAL, "--key", "lost", "--job-id", "job-lost.mp4-1")
    said = lost.run("resume", JOURNAL, "--json")

    assert (bound.code, said.code) == (0, 0)
    assert f"hitpaw resume {JOURNAL}" in bound.out
    assert said.outcomes["lost"]["path"] == str(tmp_path / "out" / "lost.mp4")
    assert (tmp_path / "out" / "lost.mp4").is_file()
    assert vendor.charges.total() == 2
    assert said.summary["credits_spent"] == 4


def test_a_lost_video_can_be_given_up_and_its_price_counts_as_spent(lost: Program, vendor: TinyVendor) -> None:
    given_up = lost.run("reconcile", JOURNAL, "--key", "lost", "--lost")
    said = lost.run("resume", JOURNAL, "--json")

    assert given_up.code == 0
    assert said.code == 1
    assert (said.summary["failed"], said.summary["credits_spent"], said.summary["credits_reserved"]) == (1, 4, 0)
    assert vendor.charges.total() == 2


def test_a_lost_video_can_be_paid_again_on_demand(lost: Program, vendor: TinyVendor) -> None:
    queued = lost.run("reconcile", JOURNAL, "--key", "lost", "--resubmit", "--yes")
    said = lost.run("resume", JOURNAL, "--json")

    assert (queued.code, said.code) == (0, 0)
    assert vendor.charges["https://videos.example.com/lost.mp4"] == 2
    assert said.summary["credits_spent"] == 6


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--key", "nobody", "--lost"), "The journal has no item with the key 'nobody'"),
        (("--key", "fine", "--lost"), "is done, not uncertain"),
        (("--key", "lost", "--job-id", "no-such-job"), "The job does not exist"),
        (("--key", "lost", "--job-id", "job-fine.mp4-1"), "stands at the item 'fine' already"),
        (("--key", "lost"), "Give --key and exactly one of"),
        (("--key", "lost", "--lost", "--resubmit"), "Give --key and exactly one of"),
        (("--lost",), "Give --key and exactly one of"),
    ],
)
def test_what_cannot_be_settled_changes_nothing(
    lost_for_all: Program,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.setenv("HITPAW_API_KEY", KEY)
    journal = str(lost_for_all.folder / JOURNAL)

    code = main(["reconcile", journal, *arguments])

    assert code == 2
    assert problem in capsys.readouterr().err
    assert main(["status", journal, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"done": 1, "uncertain": 1}


def test_a_refused_key_binds_nothing(
    lost_for_all: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A wrong key is not the one that the journal was written with: the host has to be named by whoever types this.
    monkeypatch.setenv("HITPAW_API_KEY", "wrong")
    monkeypatch.setenv("HITPAW_API_BASE_URL", lost_for_all.environment["HITPAW_API_BASE_URL"])
    journal = str(lost_for_all.folder / JOURNAL)

    assert main(["reconcile", journal, "--key", "lost", "--job-id", "job-lost.mp4-1"]) == 3
    assert "The ApiKey is not valid" in capsys.readouterr().err
    assert main(["status", journal, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["uncertain"] == 1


def test_nothing_uncertain_is_said_so(hitpaw: Program, tmp_path: Path) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("fine")]), "-o", "out", *QUICK)

    said = hitpaw.run("reconcile", JOURNAL)

    assert (said.code, said.out) == (0, "Nothing is uncertain.\n")
