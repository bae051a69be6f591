"""What shares a transaction, and what never waits for one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import pytest

from hitpaw_async import BatchLimits
from hitpaw_async._core.itemstate import Item
from hitpaw_async.batch.journal import group_commit as journal_module
from hitpaw_async.batch.journal.group_commit import Journal
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.sqlite import SqliteStore
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio]


@pytest.fixture(autouse=True)
async def _time_limit() -> AsyncIterator[None]:
    with anyio.fail_after(20):
        yield


class CountingStore(MemoryStore):
    """Counts what each transaction adds; belongs in a thread, as a file does."""

    is_blocking = True

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.groups.append(0)
        yield

    def add(self, item: Item) -> None:
        super().add(item)
        self.groups[-1] += 1


def added(journal: Journal, name: str) -> journal_module.Pending[None]:
    item = Item(key=name, request=video(name, key=name))
    return journal.begin(lambda store: store.add(item))


@pytest.fixture
async def counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Journal, CountingStore]]:
    """A journal whose groups wait for a minute where they wait at all."""
    monkeypatch.setattr(journal_module, "LINGER_MAX_S", 60.0)
    store = CountingStore()
    journal = Journal(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.serve)
        yield journal, store
        journal.close()


async def _after_a_slow_pair(journal: Journal, store: CountingStore) -> None:
    pair = [added(journal, name) for name in ("first", "second")]
    for pending in pair:
        await pending.outcome()
    assert store.groups == [2]
    journal._last_s = 60.0
    store.groups.clear()


async def test_a_small_group_waits_for_as_many_as_came_before(counted: tuple[Journal, CountingStore]) -> None:
    journal, store = counted
    await _after_a_slow_pair(journal, store)
    third = added(journal, "third")
    await anyio.wait_all_tasks_blocked()
    assert store.groups == []
    fourth = added(journal, "fourth")
    await third.outcome()
    await fourth.outcome()
    assert store.groups == [2]


async def test_a_small_group_does_not_wait_for_long(counted: tuple[Journal, CountingStore]) -> None:
    journal, store = counted
    await _after_a_slow_pair(journal, store)
    journal._last_s = 0.001
    await added(journal, "third").outcome()
    assert store.groups == [1]


async def test_nobody_waits_for_others_where_there_are_none(counted: tuple[Journal, CountingStore]) -> None:
    journal, store = counted
    for number in range(3):
        await added(journal, str(number)).outcome()
        journal._last_s = 60.0
    assert store.groups == [1, 1, 1]


async def test_a_journal_that_closes_waits_for_nobody(counted: tuple[Journal, CountingStore]) -> None:
    journal, store = counted
    await _after_a_slow_pair(journal, store)
    third = added(journal, "third")
    await anyio.wait_all_tasks_blocked()
    journal.close()
    await third.outcome()
    assert store.groups == [1]


async def test_videos_that_are_pulled_while_the_disk_is_busy_are_taken_in_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    transaction, add = SqliteStore.transaction, SqliteStore.add

    @contextmanager
    def counted(store: SqliteStore) -> Iterator[None]:
        groups.append(0)
        with transaction(store):
            yield

    def slow_at_first(store: SqliteStore, item: Item) -> None:
        if not any(groups):
            anyio.from_thread.run(anyio.wait_all_tasks_blocked)
        groups[-1] += 1
        add(store, item)

    monkeypatch.setattr(SqliteStore, "transaction", counted)
    monkeypatch.setattr(SqliteStore, "add", slow_at_first)
    limits = BatchLimits(jobs_in_flight=20, submissions=8)
    async with laboratory() as lab, lab.hitpaw.batch(journal=tmp_path / "journal.db", limits=limits) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(8)))
    assert len(outcomes) == sum(groups) == 8
    assert sum(count > 0 for count in groups) <= 2
    assert lab.charged == {str(number): 1 for number in range(8)}
