"""A journal may come from anybody: its host gets no key, its folder no results, unless the key's owner named them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.settings import trust as trusting
from hitpaw_async.cli.settings.batch import BatchSettings
from hitpaw_async.cli.settings.trust import host_of_journal, require_own_output, sealed_settings
from tests.cli.program import write_list
from tests.cli.test_enhance import QUICK, row
from tests.cli.tiny_vendor import KEY, TinyVendor
from tests.support.http_server import Origin, says

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.program import Program

OWN = BatchSettings(base_url="https://enterprise.example", output="/somewhere/else")


def edited(journal: Path, **settings: Any) -> None:
    """The journal as a stranger hands it on."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        [(text,)] = connection.execute("SELECT value FROM settings WHERE name = 'note:command_line'")
        changed = json.dumps({**json.loads(text), **settings})
        connection.execute("UPDATE settings SET value = ? WHERE name = 'note:command_line'", (changed,))


@pytest.fixture
def stranger() -> Iterator[Origin]:
    with Origin(says("401 No", b'{"code": 501001, "message": "no"}')) as origin:
        yield origin


@pytest.fixture
def journal(hitpaw: Program, tmp_path: Path) -> Path:
    """One video is done, one waits for a larger budget."""
    hitpaw.run("enhance", "-i", write_list(tmp_path, [row("one"), row("two")]), "--budget", 2, "-o", "out", *QUICK)
    return tmp_path / "out" / "hitpaw-journal.db"


@pytest.mark.parametrize("command", [("resume", "out"), ("reconcile", "out", "--key", "x", "--job-id", "j")])
def test_the_key_does_not_go_to_a_host_that_only_the_journal_names(
    hitpaw: Program, journal: Path, stranger: Origin, command: tuple[str, ...]
) -> None:
    edited(journal, base_url=f"http://127.0.0.1:{stranger.port}", budget=1000)
    said = hitpaw.run(*command)
    assert said.code == 2
    assert f"--base-url http://127.0.0.1:{stranger.port}" in said.err
    assert stranger.seen == []


def test_a_host_that_the_person_names_is_used(hitpaw: Program, journal: Path, stranger: Origin) -> None:
    host = f"http://127.0.0.1:{stranger.port}"
    edited(journal, base_url=host)
    assert hitpaw.run("resume", "out", "--budget", 4, "--base-url", host).code == 3
    assert stranger.seen


def test_the_owners_own_journal_goes_on_wherever_it_was(
    hitpaw: Program, journal: Path, vendor: TinyVendor, tmp_path: Path
) -> None:
    del hitpaw.environment["HITPAW_API_BASE_URL"]
    (tmp_path / "elsewhere").mkdir()
    journal.rename(tmp_path / "elsewhere" / "library.db")
    said = hitpaw.run("resume", tmp_path / "elsewhere" / "library.db", "--budget", 4, "--json")
    assert said.code == 0, said.err
    assert vendor.charges.total() == 2


def test_results_do_not_go_to_a_folder_that_only_the_journal_names(
    hitpaw: Program, journal: Path, vendor: TinyVendor, tmp_path: Path
) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    edited(journal, output=str(elsewhere), budget=10)
    said = hitpaw.run("resume", "out")
    assert said.code == 2
    assert "-o DIR" in said.err
    assert not elsewhere.exists()
    assert vendor.charges.total() == 1
    assert hitpaw.run("resume", "out", "-o", elsewhere, "--json").code == 0


def test_a_seal_holds_for_its_key_its_host_and_its_folder() -> None:
    sealed = sealed_settings(OWN, KEY)
    assert host_of_journal(sealed, KEY) == OWN.base_url
    assert KEY not in sealed.to_json()
    forged = [
        sealed_settings(OWN, "another key"),
        BatchSettings(base_url="https://evil.example", output=OWN.output, seal=sealed.seal),
        BatchSettings(base_url=OWN.base_url, output="/home", seal=sealed.seal),
        OWN,
    ]
    for settings in forged:
        with pytest.raises(UsageError, match="--base-url"):
            host_of_journal(settings, KEY)


def test_without_a_seal_the_configured_host_and_a_folder_nearby_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journals of older versions have none."""
    monkeypatch.delenv("HITPAW_API_BASE_URL", raising=False)
    old = BatchSettings(base_url="https://api.hitpaw.com", output=str(tmp_path / "out"))
    assert host_of_journal(old, KEY) == old.base_url
    require_own_output(old, KEY, tmp_path / "out" / "journal.db")
    require_own_output(old, KEY, tmp_path / "journal.db")
    monkeypatch.setenv("HITPAW_API_BASE_URL", "https://enterprise.example/")
    assert host_of_journal(OWN, KEY) == OWN.base_url
    with pytest.raises(UsageError, match="-o DIR"):
        require_own_output(OWN, KEY, tmp_path / "journal.db")


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_the_person_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr(trusting, "is_terminal", lambda _: True)
    monkeypatch.setattr(trusting, "confirm", lambda question: asked.append(question) or answer)
    if answer:
        assert host_of_journal(OWN, KEY) == OWN.base_url
        require_own_output(OWN, KEY, tmp_path / "journal.db")
    else:
        with pytest.raises(UsageError):
            host_of_journal(OWN, KEY)
        with pytest.raises(UsageError):
            require_own_output(OWN, KEY, tmp_path / "journal.db")
    assert [OWN.base_url in asked[0], "somewhere/else" in asked[1]] == [True, True]
