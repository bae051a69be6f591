from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli import _INTERRUPTED, main
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.overview import COMMANDS
from hitpaw_async.simulator.clips import SAMPLE
from tests.cli.program import SUMMARY_KEYS, Program, write_list
from tests.cli.test_enhance import QUICK, row, without

if TYPE_CHECKING:
    from tests.cli.conftest import Simulated
    from tests.cli.tiny_vendor import TinyVendor


@pytest.mark.parametrize("command", [("plan",), ("enhance", "--dry-run")])
def test_a_plan_says_what_would_become_of_each_and_spends_nothing_and_makes_nothing(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, command: tuple[str, ...]
) -> None:
    del hitpaw.environment["HITPAW_API_KEY"]
    rows = [row("one"), row("long", duration_s=700), row("two"), row("dear", resolution="7680x4320", frame_rate=60)]
    videos = write_list(tmp_path, rows)

    said = hitpaw.run(*command, "-i", videos, "--budget", 5, "-o", "out", "--json")
    shown = hitpaw.run(*command, "-i", videos, "--budget", 5, "-o", "out")

    assert (said.code, shown.code) == (0, 0)
    *items, summary = said.events
    assert {item["key"]: item["action"] for item in items} == {
        "one": "submit",
        "long": "reject",
        "two": "submit",
        "dear": "skip",
    }
    assert summary.keys() >= SUMMARY_KEYS
    assert (summary["submit"], summary["rejected"], summary["skipped"], summary["credits_upper"]) == (2, 1, 1, 4)
    assert "2 videos to submit for up to 4 credits (1.33 by the second); 1 not within the budget" in shown.out
    assert "1 credit of the budget would be left." in shown.out
    assert "source-secret" not in shown.out + said.out
    assert not vendor.charges
    assert {path.name for path in tmp_path.iterdir()} == {"list.jsonl"}


def test_a_plan_takes_the_journal_into_account_and_leaves_it_alone(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("two")]), "--budget", 3, "-o", "out", *QUICK)
    journal = tmp_path / "out" / "hitpaw-journal.db"
    before = journal.read_bytes()

    videos = write_list(tmp_path, [row("one"), row("three")])
    said = hitpaw.run("plan", "-i", videos, "--budget", 4, "-o", "out", "--json")

    *items, summary = said.events
    actions = {item["key"]: (item["action"], item["state"]) for item in items}
    assert sorted(actions.values(), key=str) == [("known", "done"), ("skip", None), ("submit", None)]
    assert (summary["done"], summary["credits_spent"], summary["credits_left"]) == (1, 2, 0)
    assert journal.read_bytes() == before


def test_a_plan_of_many_videos_is_not_a_page_of_each(hitpaw: Program, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [*(row(f"v{number}") for number in range(250)), row("long", duration_s=700)])

    said = hitpaw.run("plan", "-i", videos)

    assert "700.0 s long" in said.out
    assert "… and 250 more videos; --json lists them all." in said.out
    assert "v17.mp4" not in said.out


def test_status_says_where_a_batch_stands_and_what_to_type(hitpaw: Program, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [row("one"), row("two"), row("fails")])
    hitpaw.run("enhance", "-i", videos, "--budget", 5, "-j", 1, "-o", "out", *QUICK)

    shown = hitpaw.run("status", "out")
    said = hitpaw.run("status", "out/hitpaw-journal.db", "--json")

    assert (shown.code, said.code) == (0, 0)
    assert shown.out.startswith("2 of 3 videos done, 1 skipped. At most 4 credits spent, 1 of the budget left.\n")
    assert "hitpaw resume out/hitpaw-journal.db" in shown.out
    assert said.summary["counts"] == {"done": 2, "skipped": 1}
    assert said.summary.keys() == SUMMARY_KEYS | {"counts", "credits_left"}


@pytest.mark.parametrize("command", ["status", "resume", "reconcile"])
def test_a_file_that_is_no_journal_is_refused(hitpaw: Program, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes.txt").write_text("Not a database. " * 100)

    said = hitpaw.run(command, "notes.txt")

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("hitpaw: ")


def test_another_host_is_used_when_it_is_named_and_warned_of(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "--budget", 1, "-o", "out", *QUICK)
    hitpaw.environment["HITPAW_API_BASE_URL"] = "http://127.0.0.1:9"

    kept = hitpaw.run("resume", "out", "--budget", 2, "--json")
    named = hitpaw.run("resume", "out", "--base-url", "http://127.0.0.1:9", "--json")

    assert (kept.code, vendor.charges.total()) == (0, 1)
    assert "HITPAW_API_BASE_URL is not used" in kept.err
    assert f"warning: this batch was at {vendor.base_url}" in named.err


@pytest.mark.parametrize("command", ["enhance", "resume"])
def test_a_host_that_cannot_be_used_is_refused_and_not_warned_of(hitpaw: Program, tmp_path: Path, command: str) -> None:
    videos = write_list(tmp_path, [row("one")])
    hitpaw.run("enhance", "-i", videos, "--budget", 1, "-o", "out", *QUICK)
    words = {"enhance": ("-i", videos, "--budget", 2, "-o", "out"), "resume": ("out",)}[command]

    said = hitpaw.run(command, *words, "--base-url", "ftp://x")

    assert said.code == 2
    assert said.err.startswith("hitpaw: base_url must be an http or https URL")
    assert said.err.count("hitpaw: ") == 1


@pytest.mark.parametrize("command", ["status", "report", "resume"])
def test_a_list_in_place_of_a_journal_is_named_as_such(hitpaw: Program, tmp_path: Path, command: str) -> None:
    (tmp_path / "x.csv").write_text("video_url\nhttps://videos.example.com/a.mp4\n" * 100)

    said = hitpaw.run(command, "x.csv")

    assert said.code == 2
    assert "file is not a database" in said.err
    assert "Name the file that a batch wrote" in said.err


def test_task_asks_once_and_hides_the_signature_unless_told(hitpaw: Program, vendor: TinyVendor) -> None:
    job_id = vendor.accept("https://videos.example.com/a.mp4")

    first = hitpaw.run("task", job_id, "--json")
    shown = hitpaw.run("task", job_id)
    told = hitpaw.run("task", job_id, "--show-url")

    assert first.events == [
        {"event": "task", "job_id": job_id, "status": "CONVERTING", "res_url": None, "credits": None}
    ]
    assert "status   COMPLETED\n" in shown.out
    assert "result-secret" not in shown.out
    assert "sig=result-secret" in told.out
    assert vendor.polls.total() == 3


@pytest.mark.parametrize(("key", "job_id", "code"), [("wrong", "any", 3), (None, "absent", 1)])
def test_task_fails_with_the_vendors_reason(hitpaw: Program, key: str | None, job_id: str, code: int) -> None:
    if key is not None:
        hitpaw.environment["HITPAW_API_KEY"] = key

    said = hitpaw.run("task", job_id)

    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("hitpaw: The vendor answered: ")


@pytest.mark.slow
def test_probe_tells_facts_and_price_of_files_and_urls(program: Program, clips: Path, simulated: Simulated) -> None:
    sources = (clips / "film.mov", f"{simulated.base_url}/files/smooth.mp4", "--trusted-host", "127.0.0.1")

    said = program.run("probe", *sources, "--resolution", "1280x720", "--json")
    shown = program.run("probe", *sources, "--resolution", "1280x720")

    film, smooth = said.events
    assert (said.code, shown.code) == (0, 0)
    assert (film["width"], film["height"], film["frame_rate"], film["container"]) == (480, 270, "24000/1001", "mov")
    assert (film["credits_upper"], smooth["credits_upper"]) == (1, 2)
    assert "426x240" in shown.out


@pytest.mark.slow
def test_probe_trusts_the_vendors_own_host(program: Program, simulated: Simulated) -> None:
    program.environment["HITPAW_API_BASE_URL"] = simulated.base_url

    said = program.run("probe", f"{simulated.base_url}/files/smooth.mp4", "--json")

    assert said.code == 0
    assert said.events[0]["credits_upper"] == 4


@pytest.mark.parametrize(
    ("name", "reason"), [("empty.mp4", "empty"), ("text.mp4", "cannot be used"), ("too-small.mp4", "96x96")]
)
def test_probe_names_what_is_wrong(program: Program, clips: Path, name: str, reason: str) -> None:
    said = program.run("probe", clips / name, "--json")

    assert said.code == 1
    assert reason in " ".join(said.events[0]["problems"])


def test_models_come_from_the_codes_own_tables(program: Program) -> None:
    shown = program.run("models")
    said = program.run("models", "--json")

    assert (shown.code, said.code) == (0, 0)
    assert "17   general-denoise-balance   General Denoise Model (Balance)" in shown.out
    assert "Limits: 128x128 to 7680x4320, 10 minutes, 200 MB; mp4, avi, mov, mkv, webm." in shown.out
    kinds = [event["event"] for event in said.events]
    assert (kinds.count("model"), kinds.count("price"), kinds.count("limits")) == (10, 12, 1)


def test_a_reader_that_leaves_early_is_no_error_to_speak_of(program: Program) -> None:
    running = program.start("models", "--json")
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.process.stdout = None

    assert running.end().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("arguments", [("models",), ("enhance", "-i", "list.jsonl", "-o", "out", *map(str, QUICK))])
def test_a_full_disk_behind_standard_output_is_said_in_a_sentence(
    hitpaw: Program, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    write_list(tmp_path, [row("one")])
    with Path("/dev/full").open("w") as full:
        said = hitpaw.start(*arguments, stdout=full.fileno()).end()

    assert said.code == 130
    assert "output can't be written" in said.err


@pytest.mark.parametrize("module", ["cyclopts", "platformdirs", "rich"])
def test_without_the_extra_the_command_that_installs_it_is_named(program: Program, module: str) -> None:
    program.launcher = without(module)

    said = program.run("models")

    assert (said.code, said.out) == (2, "")
    assert "pip install 'hitpaw-async[cli]'" in said.err


@pytest.mark.parametrize(("command", "module"), [("simulate", "uvicorn"), ("demo", "starlette")])
def test_without_the_simulators_extra_the_command_that_installs_it_is_named(
    program: Program, module: str, command: str
) -> None:
    program.launcher = without(module)

    said = program.run(command)

    assert (said.code, said.out) == (2, "")
    assert "pip install 'hitpaw-async[simulator]'" in said.err


def test_a_bug_is_a_sentence_and_blames_nobody(program: Program) -> None:
    code = (
        "import sys; from hitpaw_async.media import _reading; _reading.video_stream = lambda *_: None.width; "
        "from hitpaw_async.cli import main; sys.exit(main())"
    )
    program.launcher = ("-c", code)

    said = program.run("probe", SAMPLE)

    assert said.code == 1
    assert "This is a bug in hitpaw-async (AttributeError in hitpaw_async.media._reading, line " in said.out
    assert "damaged" not in said.out


def test_a_bug_anywhere_is_a_sentence_without_a_traceback(program: Program) -> None:
    code = (
        "import sys; from hitpaw_async.cli import main; from hitpaw_async.cli.commands import models; "
        "models.print_models = lambda: [][1]; sys.exit(main())"
    )
    program.launcher = ("-c", code)

    said = program.run("models")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("hitpaw: This is a bug in hitpaw-async (IndexError in ")
    assert "Traceback" not in said.err


def test_help_loads_neither_httpx_nor_av(program: Program) -> None:
    code = (
        "import json, sys; from hitpaw_async.cli import main; main(['--help']); "
        "json.dump([name for name in ('httpx', 'av', 'sqlite3', 'starlette') if name in sys.modules], sys.stderr)"
    )
    program.launcher = ("-c", code)

    said = program.run()

    assert said.code == 0
    assert "enhance" in said.out
    assert json.loads(said.err) == []


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_is_there_before_anything_is_loaded(program: Program, arguments: tuple[str, ...]) -> None:
    loaded = "[name for name in ('cyclopts', 'rich', 'attrs', 'anyio', 'hitpaw_async.errors') if name in sys.modules]"
    program.launcher = ("-c", f"import sys; from hitpaw_async.cli import main; main(sys.argv[1:]); print({loaded})")

    said = program.run(*arguments)

    assert said.code == 0
    assert said.out.endswith("\n[]\n")
    assert max(map(len, said.out.splitlines())) <= 88


def test_the_overview_knows_the_commands_that_there_are() -> None:
    from hitpaw_async.cli.app import app  # noqa: PLC0415

    registered = [name for name in app if not name.startswith("-")]
    said = {name: app[name].default_command.__doc__.splitlines()[0] for name in COMMANDS}
    assert sorted(registered) == sorted(COMMANDS)
    assert said == COMMANDS
    assert _INTERRUPTED == ExitCode.INTERRUPTED


@pytest.mark.parametrize("command", [*COMMANDS])
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: hitpaw {command}" in capsys.readouterr().out


def test_the_version_is_the_packages(program: Program) -> None:
    from importlib.metadata import version  # noqa: PLC0415

    assert program.run("--version").out.strip() == version("hitpaw-async")
    assert sys.version_info >= (3, 11)


def test_a_plan_goes_by_the_budget_that_the_journal_has(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    """As `enhance` would: 2 of its 5 credits are spent, and each of the others costs 2."""
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "--budget", 5, "-o", "out", *QUICK)
    videos = write_list(tmp_path, [row(name) for name in ("one", "two", "three")])

    said = hitpaw.run("plan", "-i", videos, "-o", "out", "--json")
    raised = hitpaw.run("plan", "-i", videos, "-o", "out", "--budget", 6, "--json")

    assert (said.summary["submit"], said.summary["skip"], said.summary["credits_left"]) == (1, 1, 1)
    assert "a budget of 5 credits, which holds" in said.err
    assert (raised.summary["submit"], raised.summary["credits_left"]) == (2, 0)
    assert vendor.charges.total() == 1
