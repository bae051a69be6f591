"""What keeps a journal from being written: a program that holds it, no file handle, no thread. Nothing paid is lost."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import BatchLimits, JournalError
from hitpaw_async.batch.journal import reserve as _reserve
from hitpaw_async.batch.journal import sqlite as _sqlite
from hitpaw_async.batch.journal import sqlite_errors as _sqlite_errors
from hitpaw_async.batch.journal.group_commit import Journal, Pending, _apply
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import IntentRefusedError
from hitpaw_async.models import ItemState
from tests.batch.laboratory import laboratory, outcomes_of, video
from tests.batch.test_claim import _intended
from tests.batch.test_journal import accepted, added, item, put
from tests.support.patience import soon

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async import BatchEvent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of open files")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    monkeypatch.setattr(_sqlite, "has_wal_reset_bug", lambda _: True)
    monkeypatch.setattr(_sqlite, "HELD_ASIDE_S", 0.05)
    opened = SqliteStore(tmp_path / "journal.db")
    added(opened, item("a"))
    _intended(opened)
    return opened


def test_what_is_paid_for_waits_for_a_reader_and_says_so(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM items").fetchall()
    said = list[str]()

    def warn(text: str, *arguments: object) -> None:
        said.append(text % arguments)
        if len(said) == 3:
            reader.execute("COMMIT")

    monkeypatch.setattr(_sqlite_errors._LOG, "warning", warn)
    put(store, accepted(item("a"), "job"))
    reader.close()
    found = store.find_job("job")
    store.close()
    assert found is not None
    assert "Another program holds the journal" in said[0]


def test_a_reader_that_never_ends_is_not_waited_for_for_ever(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_errors, "HELD_MAX_S", 0.2)
    reader = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM items").fetchall()
    with pytest.raises(JournalError, match=r"Another program holds it.*close that"):
        put(store, accepted(item("a"), "job"))
    reader.close()
    store.close()


@pytest.mark.parametrize("grace_s", [0.0, 0.3])
def test_a_stop_ends_the_waiting_after_its_grace(
    store: SqliteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grace_s: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_sqlite_errors, "HURRIED_S", 0.1)
    holder = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    store.hurry(grace_s)
    began_at = time.monotonic()
    with pytest.raises(JournalError, match=r"Another program holds it.*close that"):
        put(store, accepted(item("a"), "job"))
    assert grace_s <= time.monotonic() - began_at < grace_s + soon(5)
    assert "until the batch had to stop" in caplog.text
    holder.execute("ROLLBACK")
    put(store, accepted(item("a"), "job"))
    holder.close()
    assert store.find_job("job") is not None, "it is written where it can be, also after the grace"
    store.close()


def test_a_later_stop_gives_no_more_time(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_sqlite_errors, "HURRIED_S", 0.0)
    store.hurry(0.1)
    store.hurry(3600)
    holder = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError):
        put(store, accepted(item("a"), "job"))
    holder.close()
    store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("at", ["submitting", "submitted", "finished"])
async def test_a_batch_is_left_promptly_while_another_program_holds_its_journal(
    tmp_path: Path, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = tmp_path / "journal.db"
    seen = anyio.Event()

    def look(event: BatchEvent) -> None:
        if event.kind.value == at:
            seen.set()

    def hold() -> sqlite3.Connection:
        holder = sqlite3.connect(journal, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        return holder

    videos = [video(number) for number in range(4)]
    limits = BatchLimits(submissions=2, stop_grace_s=0.2)
    async with laboratory() as lab:
        with anyio.fail_after(20):
            async with lab.hitpaw.batch(journal=journal, limits=limits, on_event=look) as batch:
                outbox = batch.run(videos)
                await seen.wait()
                holder = await anyio.to_thread.run_sync(hold)
                await anyio.sleep(0.2)  # what is under way gets as far as the journal
                del outbox
        await anyio.to_thread.run_sync(holder.close)
        accepted_unwritten = caplog.text.count("the journal could not keep it")
        async with lab.hitpaw.batch(journal=journal) as batch:
            outcomes = await outcomes_of(batch, *videos)
    uncertain = [key for key, outcome in outcomes.items() if outcome.state is ItemState.UNCERTAIN]
    assert set(lab.charged.values()) <= {1}, "nothing is paid twice"
    assert len(uncertain) >= accepted_unwritten, "what was not written is said, and kept as uncertain"
    assert {outcome.state for outcome in outcomes.values()} <= {ItemState.DONE, ItemState.UNCERTAIN}


def test_who_only_looks_holds_nobody_up(store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "LOOKED_AT_ITEMS", 100)
    added(store, *(item(str(number)) for number in range(250)))
    looking = SqliteStore(tmp_path / "journal.db", is_readonly=True)
    asked = 0
    ask = SqliteStore._ask

    def writing_meanwhile(self: SqliteStore, query: str, *values: object) -> object:
        nonlocal asked
        rows = ask(self, query, *values)
        if self is looking:
            asked += 1
            added(store, item(f"meanwhile {asked}"))
        return rows

    monkeypatch.setattr(SqliteStore, "_ask", writing_meanwhile)
    books = looking.books()
    monkeypatch.undo()
    looking.close()
    store.close()
    assert asked >= 3
    assert books.count(ItemState.QUEUED) >= 250


def test_an_answer_is_written_with_the_handles_set_aside(store: SqliteStore) -> None:
    hog = list[int]()
    try:
        while True:
            hog.append(os.open(os.devnull, os.O_RDONLY))
            if len(hog) > 100_000:
                pytest.skip("there is no limit of open files")
    except OSError:
        pass
    try:
        pending = Pending[None](lambda opened: opened.put(accepted(item("a"), "job")))
        _apply(store, [pending])
        assert pending.error is None
    finally:
        for handle in hog:
            os.close(handle)
    assert store.find_job("job") is not None
    store.close()


def test_handles_that_can_not_be_set_aside_again_are_missed(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("none is left")

    assert store._reserve.give_handles()
    monkeypatch.setattr(type(store._reserve), "_take_handles", refuse)
    assert not store._reserve.retake_handles()
    with pytest.raises(IntentRefusedError, match="No file handle is left"):
        _intended(store)
    monkeypatch.undo()
    assert store._reserve.retake_handles()
    store.close()


def test_without_handles_set_aside_no_intent_is_written(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reserve.Reserve, "retake_handles", lambda _: False)
    with pytest.raises(IntentRefusedError, match="No file handle is left"):
        _intended(store)
    store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_answer_is_written_where_no_thread_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await anyio.to_thread.run_sync(SqliteStore, tmp_path / "journal.db")
    journal = Journal(store)

    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.serve)
        try:
            await journal.do(lambda opened: opened.add(item("a")))
            with monkeypatch.context() as patch:
                patch.setattr(anyio.to_thread, "run_sync", refuse)
                await journal.do(lambda opened: opened.put(accepted(item("a"), "job")))
            found = await journal.do(lambda opened: opened.find_job("job"))
        finally:
            journal.close()
    assert found is not None
