"""One journal, one process: by whatever name, with or without its lock file, on whatever file system, after a fork."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if sys.platform == "win32":
    pytest.skip("links and forks", allow_module_level=True)
import fcntl

from hitpaw_async import JournalBusyError, JournalError
from hitpaw_async._core.itemstate import Accepted, Intended, Reserved, advance
from hitpaw_async.batch.journal import claim as _claim
from hitpaw_async.batch.journal import lock as _lock
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.state_folder import state_folder
from hitpaw_async.batch.journal.store import RowChangedError
from hitpaw_async.models import ItemState
from tests.batch.test_journal import accepted, added, item, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOLDER = (
    "import pathlib, sys; from hitpaw_async.batch.journal.sqlite import SqliteStore;"
    "store = SqliteStore(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
)


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process that works on a journal."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.kill()


def by_symlink(path: Path) -> Path:
    other = path.with_name("elsewhere.db")
    other.symlink_to(path)
    return other


def by_linked_folder(path: Path) -> Path:
    folder = path.parent.with_name("linked")
    folder.symlink_to(path.parent)
    return folder / path.name


def by_hard_link(path: Path) -> Path:
    other = path.with_name("elsewhere.db")
    os.link(path, other)
    return other


def without_lock_file(path: Path) -> Path:
    path.with_name(f"{path.name}.lock").unlink()
    return path


def by_copy(path: Path) -> Path:
    other = path.with_name("copy.db")
    shutil.copy(path, other)
    return other


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    journal = folder / "journal.db"
    store = SqliteStore(journal)
    added(store, item("a"))
    store.close()
    return journal


@pytest.mark.parametrize("other_name", [by_symlink, by_linked_folder, by_hard_link, without_lock_file, by_copy])
def test_no_second_process_comes_in_by_another_name(path: Path, other_name: Callable[[Path], Path]) -> None:
    with held(path) as pid:
        with pytest.raises(JournalBusyError, match="Another process works on this journal") as raised:
            SqliteStore(other_name(path))
        assert (raised.value.pid, raised.value.host) == (pid, socket.gethostname())
        assert f"process {pid}" in str(raised.value)


def test_no_second_batch_of_this_process_comes_in_either(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(JournalBusyError):
        SqliteStore(by_hard_link(path))
    added(store, item("b"))
    store.close()


def test_a_second_name_of_a_journal_is_refused_with_its_first_one(path: Path) -> None:
    with pytest.raises(JournalError, match="Use that one") as raised:
        SqliteStore(by_hard_link(path))
    assert str(path) in str(raised.value)
    SqliteStore(path).close()


def test_a_journal_may_be_moved(path: Path) -> None:
    moved = path.with_name("moved.db")
    path.rename(moved)
    SqliteStore(moved).close()
    folder = path.parent.rename(path.parent.with_name("other"))
    SqliteStore(folder / "moved.db").close()


def test_a_relative_path_stays_with_its_folder(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = SqliteStore(Path("journal.db"))
    monkeypatch.chdir(tmp_path)
    added(store, item("b"))
    store.close()
    assert {file.name for file in path.parent.iterdir()} <= {"journal.db", "journal.db.lock", "journal.db-journal"}
    assert [file.name for file in tmp_path.glob("journal*")] == []


def test_a_lock_file_that_was_removed_is_made_anew(path: Path) -> None:
    store = SqliteStore(path)
    lock = path.with_name("journal.db.lock")
    lock.unlink()
    added(store, item("b"))
    assert lock.read_bytes().startswith(b"hitpaw-journal ")
    with pytest.raises(JournalBusyError, match="lock file"):
        SqliteStore(path)
    store.close()


def test_without_a_lock_on_the_journal_a_lock_file_that_is_anothers_ends_the_batch(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lock.DatabaseLock, "_try_lock", lambda _: False)
    store = SqliteStore(path)
    lock = path.with_name("journal.db.lock")
    lock.unlink()
    other = _lock.FileLock(lock)
    with pytest.raises(JournalError, match="was removed or replaced"):
        added(store, item("b"))
    other.release()
    store.close()


def moved_away(path: Path) -> None:
    path.rename(path.with_name("away.db"))


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize("lose", [moved_away, removed, replaced])
def test_a_journal_that_is_not_where_it_was_takes_nothing_more(path: Path, lose: Callable[[Path], None]) -> None:
    store = SqliteStore(path)
    lose(path)
    with pytest.raises(JournalError, match="moved, removed or replaced"):
        added(store, item("b"))
    store.close()


def test_a_process_from_which_the_journal_was_taken_over_writes_nothing_more(path: Path) -> None:
    store = SqliteStore(path)
    other = _claim.Holder("another token", 4711, "another-host")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE settings SET value = ? WHERE name = 'holder'", (other.to_text(),))
    connection.close()
    with pytest.raises(JournalError, match="taken over by process 4711 on another-host"):
        added(store, item("b"))
    store.close()
    store = SqliteStore(path)
    assert store.get("b") is None
    store.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_called_by_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(JournalError, match="has no locks that work") as raised:
        SqliteStore(path)
    assert not isinstance(raised.value, JournalBusyError)
    assert os.strerror(number) in str(raised.value)


def test_a_file_system_on_which_whoever_asks_gets_the_lock_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(JournalError, match="whoever asks gets the lock"):
        SqliteStore(path)


def _intended(store: SqliteStore) -> None:
    put(store, advance(advance(item("a"), Reserved(3)), Intended()))


def changed(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    "sql", ["UPDATE items SET version = version + 5, state = 'rejected'", "DELETE FROM items"], ids=["newer", "gone"]
)
def test_an_intent_that_changes_no_row_is_refused(path: Path, sql: str) -> None:
    store = SqliteStore(path)
    changed(path, sql)
    with pytest.raises(RowChangedError, match="Another program changed the row of 'a'"):
        _intended(store)
    store.close()


def test_a_job_that_was_paid_for_is_written_whatever_became_of_its_row(path: Path) -> None:
    store = SqliteStore(path)
    _intended(store)
    changed(path, "UPDATE items SET version = version + 5, state = 'rejected'")
    put(store, accepted(item("a"), "job"))
    found = store.get("a")
    assert found is not None
    assert (found.state, found.job_id, found.charged_credits) == (ItemState.SUBMITTED, "job", 3)
    with pytest.raises(RowChangedError):
        put(store, attrs.evolve(accepted(item("a"), "another"), version=1))
    with pytest.raises(RowChangedError):
        put(store, advance(advance(advance(item("gone"), Reserved(3)), Intended()), Accepted("lost", 2.5)))
    store.close()


def _in_child(work: Callable[[], None]) -> None:
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_a_forked_child_neither_writes_nor_ends_its_parents_claim(path: Path) -> None:
    store = SqliteStore(path)

    def work() -> None:
        with pytest.raises(JournalError, match="belongs to the process that opened it"):
            added(store, item("from the child"))
        store.close()

    _in_child(work)
    assert path.with_name("journal.db.room").exists()
    refused = subprocess.run([sys.executable, "-c", HOLDER, str(path)], capture_output=True, text=True, check=False)
    assert "Another process works on this journal" in refused.stderr
    added(store, item("b"))
    store.close()


def test_a_forked_child_that_lives_on_keeps_no_journal_locked(path: Path) -> None:
    store = SqliteStore(path)
    context = multiprocessing.get_context("fork")
    begun, may_end = context.Event(), context.Event()

    def live_on() -> None:
        begun.set()
        may_end.wait(60)

    child = context.Process(target=live_on)
    child.start()
    assert begun.wait(30)
    store.close()
    SqliteStore(path).close()
    may_end.set()
    child.join(30)


def test_a_folder_restored_from_a_backup_is_not_submitted_again(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(path.parent, backup)
    store = SqliteStore(path)
    added(store, item("b"))
    store.close()
    shutil.rmtree(path.parent)
    shutil.copytree(backup, path.parent)
    with pytest.raises(JournalError, match=r"older copy of a journal.*nothing was submitted") as raised:
        SqliteStore(path)
    [kept] = state_folder("journals").iterdir()
    assert f"remove {kept}" in str(raised.value)
    SqliteStore(path, is_readonly=True).close()
    kept.unlink()
    SqliteStore(path).close()


def test_of_two_copies_the_one_that_was_left_behind_is_refused(path: Path) -> None:
    other = by_copy(path)
    store = SqliteStore(other)
    added(store, item("b"))
    store.close()
    with pytest.raises(JournalError, match="older copy") as raised:
        SqliteStore(path)
    assert f"as {other}" in str(raised.value)


@pytest.mark.parametrize("spoil", ["no home", "a file", "read-only"])
def test_without_a_state_directory_the_journal_works_and_says_what_is_missing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("HITPAW_STATE_DIR", str(tmp_path / "a file" if spoil == "a file" else tmp_path / "state"))
    if spoil == "no home":
        monkeypatch.setattr("hitpaw_async.batch.journal.state_folder.state_folder_from_environment", lambda: None)
    if spoil == "read-only":
        monkeypatch.setattr(os, "access", lambda *_: False)
    store = SqliteStore(path)
    added(store, item("b"))
    store.close()
    assert "would not be recognised" in caplog.text


@pytest.mark.parametrize("journal_id", ["../../../escape", "a" * 300, "", "0123456789ABCDEF", "nul\0"])
def test_a_journals_id_leads_to_no_file_elsewhere(path: Path, journal_id: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE settings SET value = ? WHERE name = 'journal'", (journal_id,))
    connection.close()
    path.with_name("journal.db.lock").unlink()
    before = {file.name for file in state_folder("journals").iterdir()}
    SqliteStore(path).close()
    added_files = {file.name for file in state_folder("journals").iterdir()} - before
    assert len(added_files) == (journal_id == "")


def test_the_mark_outside_says_where_the_journal_lay(path: Path) -> None:
    [kept] = state_folder("journals").iterdir()
    mark, where = kept.read_text().splitlines()
    assert mark.startswith("hitpaw-journal ")
    assert json.loads(where) == str(path)
