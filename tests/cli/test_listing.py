"""`hitpaw list`, and a person's own columns on their way through a batch."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli import main
from tests.cli.test_enhance import QUICK
from tests.cli.tiny_vendor import KEY, TinyVendor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.program import Program

FACTS = "30,30,1280,720"
LIST = f"""video_url,key,duration_s,frame_rate,width,height,Title,id
https://videos.example.com/fine.mp4,fine,{FACTS},Holiday,7
https://videos.example.com/bad.mp4?id=5,bad,{FACTS},"Sea, 2",
https://videos.example.com/lost.mp4,lost,{FACTS},,9
"""


@pytest.fixture
def listed(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> Program:
    """A journal with a video that is done and two that were not submitted."""
    (tmp_path / "list.csv").write_text(LIST)
    said = hitpaw.run("enhance", "-i", "list.csv", "-o", "out", "--budget", "2", *QUICK)
    outcomes = {event["key"]: event for event in said.events[:-1]}
    assert {key: (outcome["state"], outcome["row"]) for key, outcome in outcomes.items()} == {
        "fine": ("done", 2),
        "bad": ("skipped", 3),
        "lost": ("skipped", 4),
    }
    assert outcomes["bad"]["metadata"] == {"Title": "Sea, 2"}
    return hitpaw


def test_items_are_listed_by_state_with_what_they_cost_and_why_and_the_lists_own_columns(listed: Program) -> None:
    said = listed.run("list", "out", "--state", "skipped", "--json")
    assert said.code == 0
    first, second = said.events
    assert (first["event"], first["key"], first["row"], first["metadata"]) == ("item", "bad", 3, {"Title": "Sea, 2"})
    assert (first["state"], first["file"], first["credits"]) == ("skipped", "bad.mp4", None)
    assert first["video_url"] == "https://videos.example.com/bad.mp4?***"
    assert first["error"]["type"] == "BudgetExceededError"
    assert (second["key"], second["metadata"]) == ("lost", {"id": "9"})
    everything = listed.run("list", "out", "--json")
    assert {event["key"]: event["state"] for event in everything.events} == {
        "fine": "done",
        "bad": "skipped",
        "lost": "skipped",
    }
    several = listed.run("list", "out", "--state", "done", "--state", "FAILED", "--json")
    assert [event["key"] for event in several.events] == ["fine"]


def test_csv_joins_back_to_the_list(listed: Program) -> None:
    said = listed.run("list", "out", "--csv")
    assert said.code == 0
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(said.out))}
    given = {row["key"]: row for row in csv.DictReader(io.StringIO(LIST))}
    assert [*rows["fine"]] == [
        *("key", "row", "video_url", "state", "file", "credits", "job_id", "reason"),
        *("Title", "id"),
    ]
    for key, row in rows.items():
        assert (row["Title"], row["id"]) == (given[key]["Title"], given[key]["id"])
        assert LIST.splitlines()[int(row["row"]) - 1].split(",")[1] == key
    assert rows["fine"]["credits"] == "2"
    assert "budget" in rows["bad"]["reason"]


def test_people_get_a_table_and_what_to_do(listed: Program) -> None:
    shown = listed.run("list", "out", "--state", "skipped")
    assert shown.code == 0
    assert "bad" in shown.out
    assert "fine" not in shown.out
    assert "credits, at most" in shown.out
    assert "budget" in shown.out
    assert listed.run("list", "out", "--state", "failed").out == "There is none.\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [(("--state", "brokn"), "There is no state 'brokn'. There are: queued,"), (("--csv", "--json"), "Give one of")],
)
def test_a_slip_is_told(listed: Program, flags: tuple[str, ...], said: str) -> None:
    found = listed.run("list", "out", *flags)
    assert (found.code, said in found.err) == (2, True)


def test_json_lines_bring_own_fields_of_any_kind(hitpaw: Program, tmp_path: Path) -> None:
    fields = {
        "video_url": "https://videos.example.com/a.mp4",
        "duration_s": 9,
        "tags": ["a", "ä"],
        "n": 5,
        "none": None,
    }
    (tmp_path / "list.jsonl").write_text(json.dumps(fields) + "\n")
    said = hitpaw.run("enhance", "-i", "list.jsonl", "-o", "out", *QUICK)
    outcome, _ = said.events
    assert (outcome["row"], outcome["metadata"]) == (1, {"tags": '["a", "ä"]', "n": "5"})


def test_a_list_without_own_columns_has_row_numbers_and_the_command_line_has_none(
    hitpaw: Program, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("# mine\nhttps://videos.example.com/b.mp4\n")
    run = ("-o", "out", "--no-probe", *QUICK)
    assert hitpaw.run("enhance", "https://videos.example.com/a.mp4", "-i", "list.txt", *run).code == 0
    items = hitpaw.run("list", "out", "--json").events
    assert [(item["file"], item["row"], item["metadata"]) for item in items] == [("a.mp4", None, {}), ("b.mp4", 2, {})]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HITPAW_API_KEY", KEY)
    monkeypatch.setenv("HITPAW_API_BASE_URL", "http://127.0.0.1:9")
    yield
    assert not list(tmp_path.iterdir()), "nothing is made"


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "az://c/x", "file:///tmp/x", "https://h/x", "s3:/x"])
@pytest.mark.parametrize(
    "command",
    [
        ("enhance", "https://videos.example.com/a.mp4", "--yes", "--no-probe", "-o"),
        ("enhance", "https://videos.example.com/a.mp4", "--yes", "--no-probe", "--journal"),
        ("plan", "https://videos.example.com/a.mp4", "--no-probe", "-o"),
        ("demo", "-o"),
        ("status",),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_what_is_no_folder_of_this_machine_is_refused(
    command: tuple[str, ...], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, url]) == 2
    said = capsys.readouterr().err
    assert "not on this machine" in said
    assert "s3:/x " not in said


@pytest.mark.parametrize("url", ["s3://bucket/a.mp4", "gs://bucket/a.mp4", "file:///films/a.mp4", "ftp://h/a.mp4"])
@pytest.mark.usefixtures("no_network")
def test_a_source_that_the_vendor_can_not_fetch_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enhance", url, "--yes", "--no-probe"]) == 2
    assert "http or https URL" in capsys.readouterr().err
