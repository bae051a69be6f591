"""What has ended is looked at again from the command line, and several videos are settled at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import write_list
from tests.cli.test_enhance import QUICK, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

NAMES = ("fine", "fails-1", "fails-2", "lost-a", "lost-ab", "lost-b")


@pytest.fixture
def ended(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> Program:
    """A journal with a video that is done, two that failed, and three whose answers were lost."""
    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row(name) for name in NAMES[:3]]), "-o", "out", *QUICK)
    assert (said.summary["done"], said.summary["failed"]) == (1, 2)
    vendor.loses_replies = True
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row(name) for name in NAMES[3:]]), "-o", "out", *QUICK)
    vendor.loses_replies = False
    assert vendor.charges.total() == 6
    return hitpaw


def counts(program: Program) -> dict[str, int]:
    (status,) = program.run("status", "out", "--json").events
    return dict(status["counts"])


def test_failed_jobs_are_asked_for_again_at_no_cost(ended: Program, vendor: TinyVendor) -> None:
    before = vendor.polls["job-fails-1.mp4-1"]
    said = ended.run("resume", "out", "--failed", "--json")
    assert "2 videos to be looked at again, at no cost" in said.err
    assert {key: outcome["state"] for key, outcome in said.outcomes.items()} == dict.fromkeys(NAMES[1:3], "failed")
    assert vendor.polls["job-fails-1.mp4-1"] > before
    assert vendor.charges.total() == 6
    assert said.summary["credits_spent"] == 6


def test_a_result_that_was_deleted_is_fetched_again_by_how_its_key_begins(
    ended: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    there = ended.run("resume", "out", "--again", "fi")
    assert there.code == 2
    assert "its result is there" in there.err
    (tmp_path / "out" / "fine.mp4").unlink()
    said = ended.run("resume", "out", "--again", "fi", "--json")
    assert said.outcomes["fine"]["state"] == "done"
    assert (tmp_path / "out" / "fine.mp4").is_file()
    assert vendor.charges.total() == 6


def test_what_failed_is_paid_again_only_where_that_is_said(ended: Program, vendor: TinyVendor) -> None:
    refused = ended.run("resume", "out", "--again", "fails-1", "--pay-again")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert vendor.charges.total() == 6
    forgotten = ended.run("resume", "out", "--again", "fails-1", "--pay-again", "--yes")
    assert (forgotten.code, "--video-url" in forgotten.err) == (2, True)
    url = "https://videos.example.com/fails-1.mp4?sig=anew"
    said = ended.run("resume", "out", "--again", "fails-1", "--pay-again", "--yes", "--video-url", url, "--json")
    assert said.outcomes["fails-1"]["state"] == "failed"
    assert said.outcomes["fails-1"]["credits"] == 4
    assert vendor.charges["https://videos.example.com/fails-1.mp4"] == 2
    assert vendor.charges.total() == 7


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--again", "nobody"), "no item with the key"),
        (("--again", "fails"), "several keys begin with"),
        (("--again", ""), "several keys begin with"),
        (("--again", "lost-b"), "hitpaw reconcile"),
        (("--pay-again",), "need --again KEY or --failed"),
        (("--failed", "--video-url", "https://a.example/a.mp4"), "the URL of one video"),
    ],
)
def test_what_can_not_be_looked_at_again_is_told(ended: Program, flags: tuple[str, ...], problem: str) -> None:
    said = ended.run("resume", "out", *flags)
    assert said.code == 2
    assert problem in said.err
    assert counts(ended) == {"done": 1, "failed": 2, "uncertain": 3}


def test_several_are_settled_by_how_their_keys_begin(ended: Program, vendor: TinyVendor) -> None:
    several = ended.run("reconcile", "out", "--key", "lost", "--lost")
    assert (several.code, "several keys begin with" in several.err) == (2, True)
    assert counts(ended)["uncertain"] == 3
    said = ended.run("reconcile", "out", "--key", "lost-a", "--key", "lost-b", "--lost")
    assert (said.code, counts(ended)) == (0, {"done": 1, "failed": 4, "uncertain": 1})
    bound = ended.run("reconcile", "out", "--key", "lost", "--job-id", "job-lost-ab.mp4-1")
    assert bound.code == 0, bound.err
    assert ended.run("resume", "out", "--json").outcomes["lost-ab"]["state"] == "done"
    assert vendor.charges.total() == 6


def test_all_are_given_up_or_paid_again_at_once(ended: Program, vendor: TinyVendor) -> None:
    refused = ended.run("reconcile", "out", "--all", "--resubmit")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert counts(ended)["uncertain"] == 3
    assert ended.run("reconcile", "out", "--all", "--lost").code == 0
    assert counts(ended) == {"done": 1, "failed": 5}
    assert ended.run("reconcile", "out", "--all", "--lost").out == "Nothing is uncertain.\n"
    assert vendor.charges.total() == 6


def test_all_are_paid_again_where_that_is_said(ended: Program, vendor: TinyVendor) -> None:
    assert ended.run("reconcile", "out", "--all", "--resubmit", "--yes").code == 0
    assert vendor.charges.total() == 6
    assert ended.run("resume", "out", "--json").summary["done"] == 4
    assert vendor.charges.total() == 9


@pytest.mark.parametrize("flags", [("--all",), ("--all", "--job-id", "j"), ("--all", "--key", "a", "--lost")])
def test_what_says_too_little_or_too_much_settles_nothing(ended: Program, flags: tuple[str, ...]) -> None:
    assert ended.run("reconcile", "out", *flags).code == 2
    assert counts(ended)["uncertain"] == 3


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("job-lost-a.mp4-1\nl\n\n", {"done": 1, "failed": 3, "submitted": 1, "uncertain": 1}),
        ("s\nr\nskip\n", {"done": 1, "failed": 2, "queued": 1, "uncertain": 2}),
        ("l\nl\nq\n", {"done": 1, "failed": 2, "uncertain": 3}),
        ("l\n\x04", {"done": 1, "failed": 3, "uncertain": 2}),
    ],
)
def test_a_terminal_is_asked_about_each(ended: Program, answers: str, expected: dict[str, int]) -> None:
    code, shown = ended.on_terminal(answers, "reconcile", "out")
    assert code == 0, shown
    assert "lost-a: its job id, or (l)ost" in shown
    assert counts(ended) == expected
