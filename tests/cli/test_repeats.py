"""Rows that name one video twice, and rows that give one key to two videos: both commands say so, and stop nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.program import write_list
from tests.cli.test_enhance import QUICK, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor


def test_a_key_for_two_videos_is_named_with_both_rows_and_the_others_go_on(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    rows = [row("one", key="k"), row("two"), row("other", key="k"), row("three")]
    videos = write_list(tmp_path, rows)

    planned = hitpaw.run("plan", "-i", videos, "-o", "out", "--json")
    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)
    again = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    *items, summary = planned.events
    assert (summary["submit"], summary["reject"]) == (3, 1)
    [refused] = [item for item in items if item["action"] == "reject"]
    assert "(row 3)" in refused["reasons"][0]
    assert "(row 1)" in refused["reasons"][0]
    for run in (said, again):
        assert run.code == 1, "one was left out"
        [error] = [event["error"] for event in run.events[:-1] if event["error"] is not None]
        assert "(row 3)" in error["message"]
        assert "(row 1)" in error["message"]
        assert run.summary["done"] == 3
    assert vendor.charges.total() == 3


@pytest.mark.parametrize("command", [("plan", "--json"), ("enhance", *QUICK)])
def test_rows_that_name_a_video_once_more_are_counted(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, command: tuple[object, ...]
) -> None:
    videos = write_list(tmp_path, [row("one"), row("two"), row("one"), row("one")])

    said = hitpaw.run(*command, "-i", videos, "-o", "out")

    assert said.code == 0
    assert "4 rows, 2 videos: 2 name an earlier one again" in said.err or '"repeated":2' in said.out
    assert vendor.charges.total() == (2 if command[0] == "enhance" else 0)


def test_a_plan_counts_what_the_list_repeats_and_not_what_the_journal_knows(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("two")]), "--budget", 2, "-o", "out", *QUICK)

    said = hitpaw.run("plan", "-i", write_list(tmp_path, [row("one"), row("two"), row("two")]), "-o", "out", "--json")

    assert said.summary["repeated"] == 1
    assert vendor.charges.total() == 1
