"""Opening a batch: whatever it ends in, no journal stays locked that nobody holds."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import ConfigurationError, JournalBusyError
from hitpaw_async.batch.journal import opening
from hitpaw_async.batch.journal.sqlite import SqliteStore
from tests.batch.laboratory import laboratory

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_an_output_folder_that_is_refused_leaves_the_journal_free(tmp_path: Path) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    output.write_text("a file")
    async with laboratory() as lab:
        with pytest.raises(ConfigurationError, match="output folder"):
            async with lab.hitpaw.batch(journal=journal, output=output):
                pass
        async with lab.hitpaw.batch(journal=journal) as batch:
            assert batch.statistics().total == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_journal_whose_opening_asyncio_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    class SlowStore(SqliteStore):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            begun.set()
            may_end.wait(10)

        def close(self) -> None:
            super().close()
            ended.set()

    journal = tmp_path / "journal.db"
    with monkeypatch.context() as patch:
        patch.setattr(opening, "SqliteStore", SlowStore)
        task = asyncio.ensure_future(opening.open_store(journal, output=None))
        assert await anyio.to_thread.run_sync(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_end.set()
        assert await anyio.to_thread.run_sync(ended.wait, 10)
    opened = await opening.open_store(journal, output=None)
    await anyio.to_thread.run_sync(opened.store.close)


@pytest.mark.parametrize(
    "given",
    [
        {"budget": "500"},
        {"budget": 500.0},
        {"budget": True},
        {"limits": 16},
        {"journal": b"bytes.db"},
        {"journal": 5},
        {"journal": ""},
        {"journal": "nul\0.db"},
        {"output": 5},
        {"output": b"folder"},
        {"webhooks": "http://hooks.test/"},
        {"name": None},
        {"journal_wait_s": "5"},
        {"journal_wait_s": -1},
        {"journal_wait_s": float("nan")},
    ],
    ids=str,
)
async def test_a_setting_of_another_kind_is_refused_before_anything_is_opened(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory() as lab:
        with pytest.raises(ConfigurationError):
            lab.hitpaw.batch(**{"journal": journal, **given})
        assert not await anyio.Path(journal).exists()


async def test_a_relative_journal_stays_where_it_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    await anyio.Path(elsewhere).mkdir()
    monkeypatch.chdir(tmp_path)
    async with laboratory() as lab:
        batch = lab.hitpaw.batch(journal="journal.db")
        monkeypatch.chdir(elsewhere)
        async with batch:
            assert await anyio.Path(tmp_path / "journal.db.room").exists()
    assert [path async for path in anyio.Path(elsewhere).iterdir()] == []
    assert not await anyio.Path(tmp_path / "journal.db.room").exists()


async def test_a_journal_that_another_process_has_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOOKED_AFTER_S", 0.01)
    journal = tmp_path / "journal.db"
    holder = await anyio.to_thread.run_sync(SqliteStore, journal)
    said, is_said = list[str](), anyio.Event()

    def warn(text: str, error: object) -> None:
        said.append(text % error)
        is_said.set()

    monkeypatch.setattr(opening._LOG, "warning", warn)
    async with laboratory() as lab:
        with pytest.raises(JournalBusyError):
            async with lab.hitpaw.batch(journal=journal, journal_wait_s=0.05):
                pass
        said.clear()
        is_said = anyio.Event()

        async def work() -> None:
            async with lab.hitpaw.batch(journal=journal, journal_wait_s=math.inf) as batch:
                assert batch.statistics().total == 0

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await is_said.wait()
                await anyio.to_thread.run_sync(holder.close)
    assert len(said) == 1
    assert "Another process works on this journal" in said[0]
