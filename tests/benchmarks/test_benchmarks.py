"""Every benchmark still runs and says what it has to. What the figures are is nobody's business here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as program
from benchmarks.measures import Goal, Row, Series, quartiles
from benchmarks.report import as_markdown

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ROWS = {
    "cpu": {"cpu-per-job", "cpu-per-job-fast", "cpu-per-job-aiohttp", "cpu-per-job-floor"},
    "width": {"jobs-in-time-2000", "jobs-in-time-2000-aiometer", "jobs-in-time-10000"},
    "scale": {"cpu-per-job-width"},
    "footprint": {
        "memory-per-job",
        "memory-per-job-bytes",
        "memory-once",
        "memory-per-job-resident",
        "memory-of-length",
    },
    "planning": {
        "polls-unrelated",
        "polls-predicted",
        "polls-memoryless",
        "polls-drifting",
        "makespan",
        "auto-refuses",
        "auto-slows",
    },
    "durable": {"durable-transitions", "durable-transitions-alone"},
    "startup": {"import", "first-client"},
    "download": {"download-cpu-httpx", "download-cpu-httpx-8", "download-lag-p99"},
    "storage": {"upload-cpu", "upload-memory", "result-cpu", "result-cpu-extra", "result-memory", "intake"},
}


@pytest.mark.parametrize("name", program.NAMES)
def test_quick_run_has_its_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found.json"
    program.main(["--quick", "--only", name, "--json", str(found)])
    said = json.loads(found.read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in said["benchmarks"][name]["rows"]}
    assert ROWS[name] <= rows.keys()
    assert all(row["ours"] and row["ratio"]["median"] >= 0 for row in rows.values())
    table = capsys.readouterr().out
    assert all(row["measure"] in table for row in rows.values())


def test_ratio_is_the_median_of_ratios_within_rounds() -> None:
    row = Row(name="x", measure="x", unit="ms", ours=[1, 20, 3], peer=[1, 10, 1], goal=Goal.at_most(2))
    assert row.ratios == [1, 2, 3]
    assert quartiles(row.ratios) == (1.5, 2, 2.5)
    assert row.is_reached
    assert "| 2 [1.5, 2.5] | <= 2 | yes |" in as_markdown([row])


def test_table_of_an_earlier_run_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found.json"
    program.main(["--quick", "--only", "durable", "--json", str(found)])
    table = capsys.readouterr().out
    program.main(["--read", str(found)])
    assert capsys.readouterr().out == table


def test_goal_that_is_missed_says_so() -> None:
    row = Row(name="x", measure="x", unit="jobs", ours=[4.9], goal=Goal.at_least(5))
    assert row.is_reached is False
    assert "**no**" in as_markdown([row])


def test_plots_are_drawn_from_series(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the group `bench` alone")
    from benchmarks import plots  # noqa: PLC0415

    lines = [Series(plot=name, label="ours", x=[10.0, 1000.0], y=[1.0, 2.0]) for name in plots.PLOTS]
    drawn = plots.draw(lines, tmp_path)
    assert {path.stem for path in drawn} == plots.PLOTS.keys()
    assert all(path.read_text(encoding="utf-8").startswith("<?xml") for path in drawn)
