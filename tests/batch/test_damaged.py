"""A journal with values that are none of ours, and names beside it that lead elsewhere: refused in words."""

from __future__ import annotations

import gc
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from hitpaw_async import JournalError
from hitpaw_async._core.itemstate import Completed, Saved, advance
from hitpaw_async.batch.journal.opening import recover
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import Cursor
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.models import ItemState
from hitpaw_async.report import write_report
from tests.batch.test_journal import accepted, added, item, put

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.batch.journal.store import JournalStore

EDITS = {
    "an unknown state": "UPDATE items SET state = 'paused'",
    "a state that is a number": "UPDATE items SET state = 5",
    "a state that is a BLOB": "UPDATE items SET state = x'00ff'",
    "a state that is no UTF-8": "UPDATE items SET state = CAST(x'ff' AS TEXT)",
    "a key that is no UTF-8": "UPDATE items SET key = CAST(x'ff' AS TEXT)",
    "a key that is a BLOB": "UPDATE items SET key = x'00'",
    "credits beyond 64 bits": "UPDATE items SET charged_credits = 9223372036854775807",
    "credits that are text": "UPDATE items SET charged_credits = 'many'",
    "credits that are a fraction": "UPDATE items SET reserved_credits = 1.5",
    "a version that is text": "UPDATE items SET version = 'x'",
    "a run that is negative": "UPDATE items SET run = -1",
    "SUBMITTED without a job id": "UPDATE items SET state = 'submitted', job_id = NULL",
    "SUBMITTED with an empty job id": "UPDATE items SET state = 'submitted', job_id = ''",
    "a job id that is a BLOB": "UPDATE items SET job_id = x'6162'",
    "a request that is no JSON": "UPDATE items SET request = '{'",
    "a request that is a list": "UPDATE items SET request = '[]'",
    "a request of another kind": "UPDATE items SET request = '{\"video_url\": 5}'",
    "a request of 100,000 brackets": f"UPDATE items SET request = '{'[' * 100_000}'",
    "a request that is a BLOB": "UPDATE items SET request = x'ff'",
    "a problem of 100,000 brackets": f"UPDATE items SET problem = '{'[' * 100_000}'",
    "a problem that is a number": "UPDATE items SET problem = 7",
    "a time that is text": "UPDATE items SET submitted_at = 'yesterday'",
    "a time after all calendars": "UPDATE items SET finished_at = 1e300",
    "a time before 1970": "UPDATE items SET queued_at = -0.5",
    "a price of a minute that is negative": "UPDATE items SET minute_credits = -1",
    "a price of a minute that is text": "UPDATE items SET minute_credits = 'x'",
    "a time that is infinite": "UPDATE items SET queued_at = 9e999",
    "a path that is a BLOB": "UPDATE items SET path = x'00'",
    "no items": "DROP TABLE items",
    "no settings": "DROP TABLE settings",
    "a counter of commits that is none": "UPDATE settings SET value = 'x' WHERE name = 'commits'",
    "a counter of commits of 5,000 digits": f"UPDATE settings SET value = '{'9' * 5000}' WHERE name = 'commits'",
    "an id that is a BLOB": "UPDATE settings SET value = x'00' WHERE name = 'journal'",
    "a number of runs that is none": "UPDATE settings SET value = 'x' WHERE name = 'run'",
    "a number of runs of 5,000 digits": f"UPDATE settings SET value = '{'9' * 5000}' WHERE name = 'run'",
    "a setting that is a BLOB": "UPDATE settings SET value = x'00'",
}


def used(path: Path) -> None:
    store = SqliteStore(path)
    with store.transaction():
        recover(store, now=1.0)
    added(store, item("a"))
    put(store, advance(advance(accepted(item("a"), "job"), Completed(3.5, None)), Saved("a.mp4", 4.5)))
    store.close()


def looked_through(store: JournalStore) -> None:
    store.books()
    store.setting("run")
    for _, each in store.page(tuple(ItemState), Cursor(), 100):
        outcome_of(each).to_dict() if hasattr(outcome_of(each), "to_dict") else outcome_of(each)


@pytest.mark.parametrize("edit", EDITS)
def test_foreign_values_let_no_foreign_error_out(tmp_path: Path, edit: str) -> None:
    """Whoever opens, looks, recovers: a `JournalError`, or nothing. One of them at least sees it."""
    path = tmp_path / "journal.db"
    used(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(EDITS[edit])
    connection.close()
    seen = 0
    for is_readonly in (True, False):
        store = None
        try:
            store = SqliteStore(path, is_readonly=is_readonly)
            if not is_readonly:
                with store.transaction():
                    recover(store, now=2.0)
            looked_through(store)
        except JournalError as error:
            seen += "amaged" in str(error)
        finally:
            if store is not None:
                store.close()
            if "UTF-8" in edit:
                gc.collect()  # A statement that SQLite could not read to its end holds the file until it is freed.
    assert seen


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("suffix", [".lock", ".room", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_beside_a_journal_is_never_followed(tmp_path: Path, suffix: str, kind: str) -> None:
    victim, path = tmp_path / "victim.txt", tmp_path / "journal.db"
    victim.write_bytes(b"precious" * 1000)
    link = path.with_name(path.name + suffix)
    if kind == "symbolic":
        link.symlink_to(victim)
    elif suffix in (".lock", ".room"):
        link.hardlink_to(victim)
    else:
        pytest.skip("SQLite's own")
    try:
        store = SqliteStore(path)
        added(store, item("a"))
        store.close()
    except JournalError as error:
        assert str(link) in str(error)  # noqa: PT017 (refused, or the link is gone)
        assert "Remove it." in str(error)  # noqa: PT017 (the same)
    assert victim.read_bytes() == b"precious" * 1000


def test_a_lock_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "poetry.lock"
    theirs.write_text("# This file is automatically @generated\n" * 50)
    before = theirs.read_bytes()
    with pytest.raises(JournalError, match="another program's file"):
        SqliteStore(tmp_path / "poetry")
    assert theirs.read_bytes() == before


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_report_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2")
    path, victim = tmp_path / "journal.db", tmp_path / "victim.txt"
    victim.write_text("precious")
    used(path)
    monkeypatch.setattr("secrets.token_hex", lambda _: "known")
    (tmp_path / ".report.html.known.part").symlink_to(victim)
    with pytest.raises(Exception, match="can't be written"):
        await write_report(path, tmp_path / "report.html", is_fetching=False)
    assert victim.read_text() == "precious"
