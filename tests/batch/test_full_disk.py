"""A full disk: nothing more is sent, and what was paid for is still written down."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import ItemState, JournalError
from hitpaw_async._core.itemstate import Accepted, Intended, Item, Reserved, advance
from hitpaw_async.batch.journal import reserve as _reserve
from hitpaw_async.batch.journal.group_commit import Journal
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import JournalFullError
from hitpaw_async.batch.run.kept_poll_plan import PLAN_SETTING
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitpaw_async import BatchEvent

pytestmark = pytest.mark.anyio


class SmallDisk(SqliteStore):
    """A journal on a disk that can be full: then nothing can be written until the room is given up."""

    is_full = False

    def put(self, item: Item) -> None:
        if self.is_full and self._has_room:
            raise JournalFullError("the disk is full")
        super().put(item)


async def opened(path: Path) -> SmallDisk:
    return await anyio.to_thread.run_sync(SmallDisk, path)


async def test_a_disk_that_is_full_at_the_intent_lets_nothing_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: SqliteStore, item: object) -> None:
        if item.state is ItemState.SUBMITTING:  # type: ignore[attr-defined]
            raise JournalFullError("full")
        put(store, item)  # type: ignore[arg-type]

    put = SqliteStore.put
    monkeypatch.setattr(SqliteStore, "put", full)
    async with laboratory() as lab:
        with pytest.raises(JournalError):
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                await outcomes_of(batch, video("a"))
    assert lab.simulator.exports_received == 0


async def test_answers_are_still_written_on_a_full_disk_and_nothing_more_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = await opened(path)

    def fill_the_disk(event: BatchEvent) -> None:
        store.is_full = store.is_full or event.state is ItemState.SUBMITTING

    async with laboratory() as lab:
        with pytest.raises(JournalError, match="full"):
            async with lab.hitpaw.batch(journal=store, on_event=fill_the_disk) as batch:
                await outcomes_of(batch, *(video(number) for number in range(12)))
        charged = dict(lab.charged)
        async with lab.hitpaw.batch(journal=path) as batch:
            await outcomes_of(batch, *(video(number) for number in range(12)))
            statistics = batch.statistics()
    assert 0 < len(charged) < 12
    assert (statistics.done, statistics.uncertain) == (12, 0), "no answer was lost"
    assert set(lab.charged.values()) == {1}


async def test_the_room_is_there_while_the_journal_is_open_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = await opened(path)
    room = tmp_path / "journal.db.room"
    assert await anyio.Path(room).exists()
    size_bytes = (await anyio.Path(room).stat()).st_size
    await anyio.to_thread.run_sync(store.close)
    assert size_bytes == _reserve.ROOM_BYTES
    assert not await anyio.Path(room).exists()


async def test_a_disk_without_the_room_is_left_as_full_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "journal.db.room"
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if room.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JournalFullError, match=r"could not be opened \(No space left on device\)"):
            await opened(tmp_path / "journal.db")

    assert not room.exists()
    store = await opened(tmp_path / "journal.db")
    await anyio.to_thread.run_sync(store.close)


async def test_a_commit_that_failed_ends_the_batch_and_the_journal_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, and its answer was an error: whoever opens the journal next sees what is true."""
    journal = tmp_path / "journal.db"
    commits = 0
    transaction = SqliteStore.transaction

    @contextmanager
    def failing(store: SqliteStore) -> Iterator[None]:
        nonlocal commits
        with transaction(store):
            yield
        commits += 1
        if commits == 9:
            raise JournalError("disk I/O error")

    async with laboratory() as lab:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "transaction", failing)
            with pytest.raises(JournalError, match="disk I/O"):
                async with lab.hitpaw.batch(journal=journal) as batch:
                    await outcomes_of(batch, *(video(number) for number in range(10)))
        async with lab.hitpaw.batch(journal=journal) as batch:
            await outcomes_of(batch, *(video(number) for number in range(10)))
            statistics = batch.statistics()
    assert statistics.total == 10
    assert statistics.done + statistics.uncertain == 10
    assert set(lab.charged.values()) <= {1}


async def test_an_intent_that_is_refused_takes_no_answer_of_its_group_with_it(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    items = [Item(key=key, request=video(key), target=key, queued_at=0) for key in "ab"]
    sending = [advance(advance(item, Reserved(1)), Intended()) for item in items]

    def prepare() -> None:
        with store.transaction():
            for item in items:
                store.add(item)
            store.put(advance(items[1], Reserved(1)))
            store.put(sending[1])
        store.make_room()

    await anyio.to_thread.run_sync(prepare)
    journal = Journal(store)
    refused: list[str] = []

    async def record(item: Item) -> None:
        try:
            await journal.put(item)
        except JournalError:
            refused.append(item.key)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record, sending[0])
        tasks.start_soon(record, advance(sending[1], Accepted("job", None)))
        await anyio.wait_all_tasks_blocked()
        # Both wait: they go into one transaction.
        journal.close()
        tasks.start_soon(journal.serve)
    reopened = await opened(tmp_path / "journal.db")
    kept = await anyio.to_thread.run_sync(reopened.find_job, "job")
    await anyio.to_thread.run_sync(reopened.close)
    assert refused == ["a"]
    assert kept is not None
    assert kept.key == "b"


async def test_a_disk_that_fails_only_at_what_was_learned_ends_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_setting = SqliteStore.set_setting

    def failing(store: SqliteStore, name: str, value: str) -> None:
        if name == PLAN_SETTING:
            raise JournalError("disk I/O error")
        set_setting(store, name, value)

    monkeypatch.setattr(SqliteStore, "set_setting", failing)
    async with laboratory() as lab, lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(3)))
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert "how long jobs take" in caplog.text
