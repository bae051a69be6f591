"""Which videos go first, and what a budget reaches in each order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.program import write_list
from tests.cli.test_enhance import QUICK, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program
    from tests.cli.tiny_vendor import TinyVendor

LONG = {"duration_s": 170}  # Three minutes: 6 credits in 1080P; the others cost 2.
ROWS = [row("long", **LONG), row("one"), row("two"), row("urgent", priority=5, **LONG)]


@pytest.mark.parametrize(
    ("order", "submitted"),
    [("given", ["long"]), ("cheapest", ["one", "two"]), ("priority", ["urgent"])],
)
def test_what_the_plan_says_is_what_the_run_does(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, order: str, submitted: list[str]
) -> None:
    videos = write_list(tmp_path, ROWS)

    planned = hitpaw.run("plan", "-i", videos, "--budget", 7, "--order", order, "--json")
    said = hitpaw.run("enhance", "-i", videos, "--budget", 7, "--order", order, *QUICK)

    *items, summary = planned.events
    assert [item["key"] for item in items if item["action"] == "submit"] == submitted
    assert {name: fit["videos"] for name, fit in summary["fits"].items()} == {"priority": 1, "given": 1, "cheapest": 2}
    assert said.code == 4
    done = [key for key, outcome in said.outcomes.items() if outcome["state"] == "done"]
    assert sorted(done) == submitted
    assert sorted(url.rpartition("/")[2] for url in vendor.charges) == [f"{name}.mp4" for name in submitted]


def test_the_plan_tells_what_each_tier_costs_and_what_would_be_enough(hitpaw: Program, tmp_path: Path) -> None:
    rows = [row("one"), row("small", resolution="1280x720"), row("dear", resolution="7680x4320", frame_rate=60)]
    videos = write_list(tmp_path, [*rows, row("long", duration_s=700)])

    shown = hitpaw.run("plan", "-i", videos, "--budget", 5)
    said = hitpaw.run("plan", "-i", videos, "--budget", 5, "--json")

    assert said.summary["tiers"] == [
        {"action": "submit", "tier": "720P", "videos": 1, "credits_upper": 1, "credits_exact": pytest.approx(1 / 3)},
        {"action": "submit", "tier": "1080P", "videos": 1, "credits_upper": 2, "credits_exact": pytest.approx(2 / 3)},
        {"action": "skip", "tier": "8K", "videos": 1, "credits_upper": 8, "credits_exact": pytest.approx(8 / 3)},
    ]
    table = [line.split() for line in shown.out.splitlines()]
    assert ["submit", "720P", "1", "1", "0.33"] in table
    assert ["skip", "8K", "1", "8", "2.67"] in table
    assert ["reject", "1"] in table
    assert "2 credits of the budget would be left. With 6 more it would be enough for all." in shown.out


def test_what_waits_in_the_journal_keeps_its_turn(hitpaw: Program, tmp_path: Path) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("waiting", priority=3)]), "--budget", 1, *QUICK)

    videos = write_list(tmp_path, [row("new"), row("urgent", priority=9)])
    said = hitpaw.run("plan", "-i", videos, "--budget", 100, "--json")

    assert [item["key"] for item in said.events[:-1]] == ["urgent", "waiting", "new"]


def test_an_order_that_does_not_exist_is_refused(hitpaw: Program, tmp_path: Path) -> None:
    said = hitpaw.run("plan", "-i", write_list(tmp_path, ROWS), "--order", "cheep")
    assert said.code == 2
    assert "cheapest" in said.err
