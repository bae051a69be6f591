"""A full disk: nothing more is sent, and what was paid for is still written down."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import ItemState, JournalError
from hitpaw_async.batch import _sqlite
from hitpaw_async.batch._sqlite import SqliteStore
from hitpaw_async.batch.journal import JournalFullError
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitpaw_async import BatchEvent
    from hitpaw_async._core.jobstate import Item

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
    assert size_bytes == _sqlite.ROOM_BYTES
    assert not await anyio.Path(room).exists()


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
