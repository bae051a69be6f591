"""Opening a batch: whatever it ends in, no journal stays locked that nobody holds."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import ConfigurationError
from hitpaw_async.batch import opening
from hitpaw_async.batch._sqlite import SqliteStore
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
