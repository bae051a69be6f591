from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitpaw_async.cli import main
from hitpaw_async.cli.settings.batch import kept_settings
from tests.cli.program import Program, wait_until, write_list
from tests.cli.tiny_vendor import KEY, RESULT

if TYPE_CHECKING:
    from tests.cli.conftest import Simulated
    from tests.cli.tiny_vendor import TinyVendor

FACTS = {"duration_s": 20, "frame_rate": "30000/1001", "width": 640, "height": 360}
QUICK = ("--poll-interval-s", 0.02, "--json", "--yes")


def row(name: str, **fields: object) -> dict[str, object]:
    return {"video_url": f"https://videos.example.com/{name}.mp4?sig=source-secret", "key": name, **FACTS, **fields}


@pytest.mark.parametrize("reply", ["flat", "enveloped"])
def test_a_list_goes_through_any_server_that_speaks_v3(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, reply: str
) -> None:
    vendor.is_enveloped = reply == "enveloped"
    videos = write_list(tmp_path, [row(name) for name in ("one", "two", "three")])

    said = hitpaw.run(
        *("enhance", "-i", videos, "--base-url", vendor.base_url, "--budget", 6, "--journal", "j.db", "-o", "out"),
        *QUICK,
    )

    assert said.code == 0
    assert said.outcomes.keys() == {"one", "two", "three"}
    assert said.outcomes["two"] == {
        "event": "outcome",
        "key": "two",
        "video_url": "https://videos.example.com/two.mp4?***",
        "state": "done",
        "job_id": "job-two.mp4-1",
        "credits": 2,
        "path": str(tmp_path / "out" / "two.mp4"),
        "error": None,
    }
    assert (said.summary["done"], said.summary["total"], said.summary["credits_spent"]) == (3, 3, 6)
    assert said.summary["polls"] == vendor.polls.total()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.mp4", "two.mp4", "three.mp4"}
    assert all(path.read_bytes() == RESULT for path in (tmp_path / "out").iterdir())
    assert [*vendor.charges.values()] == [1, 1, 1]


def test_neither_the_key_nor_a_signature_is_shown_or_kept(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [row("good"), row("fails"), row("long", duration_s=700)])

    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 1
    journal = (tmp_path / "out" / "hitpaw-journal.db").read_bytes()
    for secret in (KEY, "source-secret", "result-secret"):
        assert secret not in said.out + said.err
        assert secret.encode() not in journal


def test_without_a_terminal_each_item_is_a_line_and_the_end_says_where_everything_is(
    hitpaw: Program, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row("good"), row("fails"), row("long", duration_s=700)])

    said = hitpaw.run("enhance", "-i", videos, "--poll-interval-s", 0.02, "--yes", "-o", "out")

    assert said.code == 1
    assert "done      good.mp4  at most 2 credits\n" in said.err
    assert "failed    https://videos.example.com/fails.mp4?***" in said.err
    assert "700.0 s long; at most 600 s are accepted" in said.err
    assert said.out.splitlines() == [
        "1 of 3 videos done, 1 failed, 1 rejected. At most 4 credits spent.",
        f"Results: {tmp_path / 'out'}",
        "Journal: out/hitpaw-journal.db",
    ]


def test_quiet_says_only_what_went_wrong(hitpaw: Program, tmp_path: Path) -> None:
    quiet = ("--poll-interval-s", 0.02, "-q", "--yes")
    good = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("good")]), *quiet, "-o", "a")
    bad = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("fails")]), *quiet, "-o", "b")

    assert (good.code, good.out, good.err) == (0, "", "")
    assert (bad.code, bad.out) == (1, "")
    assert bad.err.startswith("failed    https://videos.example.com/fails.mp4")


def test_a_refused_key_ends_it_with_3_and_one_sentence(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    hitpaw.environment["HITPAW_API_KEY"] = "wrong-key-77"
    videos = write_list(tmp_path, [row("one"), row("two")])

    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 3
    assert said.err.count("\n") == 1
    assert "The ApiKey is not valid" in said.err
    assert "HITPAW_API_KEY" in said.err
    assert "wrong-key-77" not in said.err
    assert said.summary["unfinished"] == 2
    assert not vendor.charges


def test_a_small_budget_ends_it_with_4_and_says_what_was_left(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row("one"), row("two"), row("fails")])

    said = hitpaw.run("enhance", "-i", videos, "-o", "out", "--budget", 5, *QUICK)

    assert said.code == 4
    assert sorted(outcome["state"] for outcome in said.outcomes.values()) == ["done", "done", "skipped"]
    assert said.outcomes["fails"]["error"]["type"] == "BudgetExceededError"
    assert "1 video not submitted: 1 credit of the budget left" in said.err
    assert "hitpaw resume out/hitpaw-journal.db --budget" in said.err
    assert vendor.charges.total() == 2


def test_a_larger_budget_lets_resume_submit_the_rest(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [row("one"), row("two"), row("three")])
    hitpaw.run("enhance", "-i", videos, "-o", "out", "--budget", 5, *QUICK)

    again = hitpaw.run("resume", "out/hitpaw-journal.db", "--json")
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "--budget", 6, "--json")

    assert again.code == 4
    assert said.code == 0
    assert said.summary["done"] == 3
    assert [*vendor.charges.values()] == [1, 1, 1]


def test_a_budget_is_not_lost_by_leaving_it_out(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("two")]), "-o", "out", "--budget", 4, *QUICK)

    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("three")]), "-o", "out", *QUICK)

    assert said.code == 4
    assert "a budget of 4 credits, which holds" in said.err
    assert vendor.charges.total() == 2


def test_the_vendors_pace_may_decide_how_many_are_under_way(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos, journal = write_list(tmp_path, [row("one"), row("two"), row("three")]), tmp_path / "out/hitpaw-journal.db"

    hitpaw.run("enhance", "-i", videos, "-o", "out", "-j", "auto", "--budget", 5, *QUICK)
    first = kept_settings(journal)
    said = hitpaw.run("resume", "out/hitpaw-journal.db", "-j", "2", "--budget", 6, "--json")
    second = kept_settings(journal)

    assert first is not None
    assert second is not None
    assert (first.limits.jobs_in_flight, second.limits.jobs_in_flight) == ("auto", 2)
    assert said.summary["done"] == 3
    assert [*vendor.charges.values()] == [1, 1, 1]


def test_an_empty_account_ends_it_with_4(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    vendor.account_credits = 1
    videos = write_list(tmp_path, [row("one"), row("two")])

    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 4
    skipped = [outcome for outcome in said.outcomes.values() if outcome["state"] == "skipped"]
    assert [outcome["error"]["code"] for outcome in skipped] == [501002]
    assert "too few credits" in said.err


def test_a_vendor_out_of_reach_ends_it_with_1_and_submits_nothing(program: Program, tmp_path: Path) -> None:
    program.environment = {"HITPAW_API_KEY": "any", "HITPAW_API_BASE_URL": "http://127.0.0.1:9"}
    videos = write_list(tmp_path, [row("one")])

    said = program.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 1
    assert said.outcomes["one"]["state"] == "skipped"
    assert "1 video not submitted: No connection" in said.err


def test_what_the_journal_knows_is_reported_and_not_paid_again(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("fails")]), "-o", "out", *QUICK)

    videos = write_list(tmp_path, [row("one"), row("fails"), row("two")])
    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert {key: outcome["state"] for key, outcome in said.outcomes.items()} == {
        "one": "done",
        "fails": "failed",
        "two": "done",
    }
    assert vendor.charges.total() == 3


def test_a_key_that_stands_for_another_video_is_refused_and_stops_nothing_else(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    videos = write_list(tmp_path, [row("one"), row("two", key="one")])

    said = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 1
    refused = [event for event in said.events if event.get("state") == "rejected"]
    assert ["'one' (row 2) stands for another video" in event["error"]["message"] for event in refused] == [True]
    assert vendor.charges.total() == 1


def test_two_processes_cannot_work_on_one_journal(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    vendor.may_complete.clear()
    videos = write_list(tmp_path, [row("one")])
    first = hitpaw.start("enhance", "-i", videos, "-o", "out", *QUICK)
    wait_until(lambda: vendor.polls.total() > 0)

    second = hitpaw.run("enhance", "-i", videos, "-o", "out", *QUICK)
    status = hitpaw.run("status", "out/hitpaw-journal.db", "--json")
    vendor.may_complete.set()

    assert first.end().code == 0
    assert (second.code, second.out) == (5, "")
    assert "Another process works on this journal" in second.err
    assert status.code == 0
    assert status.summary["counts"] == {"submitted": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("-", '{"video_url": "https://videos.example.com/a.mp4", "width": 640}\n'),
        ("-", "video_url,model\nhttps://videos.example.com/a.mp4,animation\n"),
        ("-", "# mine\n\nhttps://videos.example.com/a.mp4\n"),
    ],
)
def test_a_list_may_come_from_standard_input(hitpaw: Program, vendor: TinyVendor, name: str, text: str) -> None:
    said = hitpaw.run("enhance", "-i", name, "--no-probe", "-o", "out", *QUICK, stdin=text)

    assert said.code == 0
    assert vendor.charges == {"https://videos.example.com/a.mp4": 1}


def test_urls_and_a_list_go_together(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [row("one")])

    said = hitpaw.run("enhance", "https://x.example/two.mp4", "--no-probe", "-i", videos, "-o", "out", *QUICK)

    assert said.code == 0
    assert len(said.outcomes) == 2


def test_bad_rows_are_all_named_with_file_and_line_before_anything_is_spent(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(
        "video_url,model,duration_s\nhttps://a.example/a.mp4,17,20\nhttps://a.example/b.mp4,99,-1\nb.mp4,17,5\n"
    )

    said = hitpaw.run("enhance", "-i", "list.csv", "-o", "out", *QUICK)

    assert (said.code, said.out) == (2, "")
    assert "the input has 3 problems" in said.err
    for problem in ("list.csv:3: The model '99' is unknown", "list.csv:3: duration_s must be", "list.csv:4: video_url"):
        assert problem in said.err
    assert not (tmp_path / "out").exists()
    assert not vendor.charges


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("enhance",), "There is no video"),
        (("enhance", "--bugdet", "5", "https://a.example/a.mp4"), "Unknown option: "),
        (("enhance", "--budget", "2.5", "https://a.example/a.mp4"), "'2.5' is not a whole number"),
        (("enhance", "--model", "gpt", "https://a.example/a.mp4"), "The model 'gpt' is unknown"),
        (("enhance", "--resolution", "64x64", "https://a.example/a.mp4"), "the smallest that is accepted is 128x128"),
        (("enhance", "--name", "{nonsense}", "https://a.example/a.mp4"), "The name template"),
        (("enhance", "--base-url", "nowhere", "https://a.example/a.mp4"), "base_url must be an http or https URL"),
        (("enhance", "-i", "absent.txt"), "The list absent.txt can't be read: No such file"),
        (("enhance", "-j", "0", "https://a.example/a.mp4"), "-j: '0' is neither auto nor a whole number from 1"),
        (("enhance", "-j", "many", "https://a.example/a.mp4"), "'many' is neither auto nor a whole number"),
        (("enhance", "-j", "1000001", "https://a.example/a.mp4"), "a whole number from 1 to 1000000"),
        (("enhance", "--budget", "-1", "https://a.example/a.mp4"), "'-1' is not a whole number from 0"),
        (("plan", "a" * 300), "aaa can't be used: File name too long. Correct the path"),
        (("status", "a" * 300), "aaa can't be used: File name too long. Correct the path"),
        (
            ("enhance", "-o", "a" * 300, "https://a.example/a.mp4"),
            "can't be used: File name too long. Correct the path",
        ),
        (("plan", "https://a.example/a b.mp4"), "has a space or an invisible character in it"),
        (("resume", "absent.db"), "There is no journal absent.db"),
        (("nonsense",), "Unknown command"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HITPAW_API_KEY", "any")
    monkeypatch.setenv("HITPAW_API_BASE_URL", "http://127.0.0.1:9")

    code = main(arguments)

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("hitpaw: ")
    assert problem in said.err


def test_a_file_of_this_machine_is_no_source(program: Program, tmp_path: Path) -> None:
    program.environment = {"HITPAW_API_KEY": "any"}
    (tmp_path / "clip.mp4").write_bytes(b"x")

    said = program.run("enhance", "clip.mp4")

    assert said.code == 2
    assert "--serve-from DIR=https://" in said.err


def test_a_missing_key_ends_with_2_and_says_what_to_set(program: Program) -> None:
    said = program.run("enhance", "https://a.example/a.mp4")

    assert said.code == 2
    assert "Set HITPAW_API_KEY" in said.err


def test_the_key_may_stand_in_a_file(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    del hitpaw.environment["HITPAW_API_KEY"]
    (tmp_path / "key.txt").write_text(f"{KEY}\n")
    hitpaw.environment["HITPAW_API_KEY_FILE"] = "key.txt"

    said = hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one")]), "-o", "out", *QUICK)

    assert said.code == 0
    assert vendor.charges.total() == 1


@pytest.mark.slow
def test_real_clips_come_back_at_the_size_asked_for(program: Program, simulated: Simulated, tmp_path: Path) -> None:
    import av  # noqa: PLC0415 (an extra)

    program.environment = {"HITPAW_API_KEY": "any", "HITPAW_API_BASE_URL": simulated.base_url}
    sources = [f"{simulated.base_url}/files/{name}" for name in ("film.mov", "web.webm", "vendor-error.mp4")]

    said = program.run("enhance", *sources, "--resolution", "256x144", "-o", "out", *QUICK)

    assert said.code == 1
    assert (said.summary["done"], said.summary["failed"]) == (2, 1)
    assert simulated.charges == ["film.mov", "vendor-error.mp4", "web.webm"]
    assert said.summary["credits_spent"] == 50 - simulated.ledger["credits_left"]
    for name in ("film.mp4", "web.mp4"):
        with av.open(str(tmp_path / "out" / name)) as result:
            stream = result.streams.video[0]
            assert (stream.width, stream.height) == (256, 144)
            assert sum(1 for _ in result.decode(stream)) > 40


@pytest.mark.slow
def test_what_is_no_video_is_refused_before_spending_and_the_reason_is_named(
    program: Program, simulated: Simulated
) -> None:
    program.environment = {"HITPAW_API_KEY": "any", "HITPAW_API_BASE_URL": simulated.base_url}
    names = ("empty.mp4", "truncated.mp4", "text.mp4", "absent.mp4")

    said = program.run("enhance", *(f"{simulated.base_url}/files/{name}" for name in names), "-o", "out", *QUICK)

    assert said.code == 1
    reasons = {
        outcome["video_url"].rpartition("/")[2]: outcome["error"]["message"] for outcome in said.outcomes.values()
    }
    assert all(outcome["state"] == "rejected" for outcome in said.outcomes.values())
    assert "empty" in reasons["empty.mp4"]
    assert len({reason.split("cannot be used")[-1] for reason in reasons.values()}) == 4
    assert simulated.ledger["exports_received"] == 0


def without(module: str) -> tuple[str, ...]:
    """How to start the program on a machine that lacks a module."""
    code = f"import sys; sys.modules[{module!r}] = None; from hitpaw_async.cli import main; sys.exit(main())"
    return ("-c", code)


def test_without_pyav_the_worst_case_is_reserved_and_the_command_that_installs_it_is_named(
    hitpaw: Program, vendor: TinyVendor
) -> None:
    hitpaw.launcher = without("av")

    said = hitpaw.run("enhance", "https://a.example/a.mp4", "--budget", 159, "-o", "out", *QUICK)

    assert said.code == 4
    assert "up to 160 credits" in said.outcomes.popitem()[1]["error"]["message"]
    assert "pip install 'hitpaw-async[media]'" in said.err


def test_probing_without_pyav_is_an_error_that_names_the_command(hitpaw: Program, vendor: TinyVendor) -> None:
    hitpaw.launcher = without("av")

    said = hitpaw.run("enhance", "https://a.example/a.mp4", "--probe", "-o", "out", *QUICK)

    assert said.code == 2
    assert "pip install 'hitpaw-async[media]'" in said.err
    assert not vendor.charges


def with_pyav(version: str) -> tuple[str, ...]:
    """How to start the program on a machine that has a PyAV of some version."""
    code = f"import av, sys; av.__version__ = {version!r}; from hitpaw_async.cli import main; sys.exit(main())"
    return ("-c", code)


@pytest.mark.parametrize(
    "arguments", [("enhance", "https://a.example/a.mp4", "--probe", "-o", "out"), ("probe", "a.mp4")]
)
def test_a_pyav_that_nobody_has_tried_is_refused_with_a_sentence(
    hitpaw: Program, vendor: TinyVendor, arguments: tuple[str, ...]
) -> None:
    hitpaw.launcher = with_pyav("20.0.0")

    said = hitpaw.run(*arguments, *(QUICK if arguments[0] == "enhance" else ()))

    assert said.code == 2
    assert "PyAV 20.0.0 is installed; videos are read with PyAV 15 to 19. Install one of these" in said.err
    assert "Traceback" not in said.err
    assert not vendor.charges


def test_a_pyav_that_nobody_has_tried_is_done_without(hitpaw: Program, vendor: TinyVendor) -> None:
    hitpaw.launcher = with_pyav("20.0.0")

    said = hitpaw.run("enhance", "https://a.example/a.mp4", "--budget", 160, "-o", "out", *QUICK)

    assert said.code == 0
    assert "PyAV 20.0.0 is installed" in said.err
    assert vendor.charges.total() == 1


def test_what_was_begun_with_pyav_can_be_resumed_without(hitpaw: Program, vendor: TinyVendor) -> None:
    begun = hitpaw.run("enhance", "http://127.0.0.1:9/a.mp4", "--probe", "--budget", 0, "-o", "out", *QUICK)
    hitpaw.launcher = without("av")

    said = hitpaw.run("resume", "out", "--budget", 160, "--json")

    assert (begun.code, said.code) == (4, 0)
    assert "pip install 'hitpaw-async[media]'" in said.err
    assert vendor.charges.total() == 1


def test_a_reader_that_leaves_stops_the_batch_quietly(hitpaw: Program, vendor: TinyVendor, tmp_path: Path) -> None:
    videos = write_list(tmp_path, [row(f"v{number}") for number in range(40)])
    running = hitpaw.start("enhance", "-i", videos, "-o", "out", "-j", 2, *QUICK)
    assert running.process.stdout is not None

    running.process.stdout.readline()
    running.process.stdout.close()
    running.process.stdout = Path(os.devnull).open()  # noqa: SIM115 (communicate closes it)
    said = running.end()

    assert said.code == 130
    assert "standard output can't be written to" in said.err
    assert "hitpaw resume out/hitpaw-journal.db" in said.err
    assert vendor.charges.total() < 40


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_it_shows_the_price_and_asks(
    hitpaw: Program, vendor: TinyVendor, tmp_path: Path, answer: str, code: int
) -> None:
    videos = write_list(tmp_path, [row("one"), row("two")])
    arguments = ("enhance", "-i", videos, "--budget", 5, "-o", "out", "--poll-interval-s", 0.02)

    ended, shown = hitpaw.on_terminal(answer, *arguments, stdout=subprocess.DEVNULL)

    assert ended == code
    assert "2 videos to submit for up to 4 credits (1.33 by the second)." in shown
    assert "1 credit of the budget would be left." in shown
    assert "? [y/N]" in shown
    assert vendor.charges.total() == (2 if answer == "y\n" else 0)
    assert (tmp_path / "out").exists() is (answer == "y\n")
