"""Durable transitions per second, 100 callers at once: the journal's groups, against aiosqlite one by one.

    python -m benchmarks.journal

The same rows, the same SQL, the same pragmas (synchronous = FULL), a file each on the same disk, rounds interleaved.
And what a single caller waits, who has nobody to share a flush with.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiosqlite
import anyio
import attrs

from benchmarks.stub_vendor import requests
from hitpaw_async._core.itemstate import Item
from hitpaw_async.batch.journal.group_commit import Journal
from hitpaw_async.batch.journal.rows import to_changes
from hitpaw_async.batch.journal.schema import UPDATE
from hitpaw_async.batch.journal.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["measure"]

CALLERS: Final = 100


def _items(count: int) -> list[Item]:
    return [Item(key=request.key, request=request) for request in requests(iter([30.0] * count))]


def _prepare(path: Path, items: list[Item]) -> SqliteStore:
    store = SqliteStore(path)
    with store.transaction():
        for item in items:
            store.add(item)
    return store


async def _ours_hz(path: Path, *, callers: int, transitions: int) -> float:
    items = _items(callers)
    journal = Journal(await anyio.to_thread.run_sync(_prepare, path, items))

    async def call(item: Item) -> None:
        for version in range(1, transitions + 1):
            await journal.put(attrs.evolve(item, version=version))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.serve)
        began_s = time.perf_counter()
        async with anyio.create_task_group() as calls:
            for item in items:
                calls.start_soon(call, item)
        took_s = time.perf_counter() - began_s
        journal.close()
    return callers * transitions / took_s


async def _aiosqlite_hz(path: Path, *, callers: int, transitions: int) -> float:
    items = _items(callers)
    store = await anyio.to_thread.run_sync(_prepare, path, items)
    mode = store._connection.execute("PRAGMA journal_mode").fetchone()[0]
    await anyio.to_thread.run_sync(store.close)
    lock = anyio.Lock()
    async with contextlib.AsyncExitStack() as stack:
        connection = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
        await connection.execute(f"PRAGMA journal_mode = {mode}")
        await connection.execute("PRAGMA synchronous = FULL")

        async def call(item: Item) -> None:
            for version in range(1, transitions + 1):
                after = attrs.evolve(item, version=version)
                async with lock:
                    await connection.execute("BEGIN IMMEDIATE")
                    await connection.execute(UPDATE, (*to_changes(after), after.key, after.version))
                    await connection.execute("COMMIT")

        began_s = time.perf_counter()
        async with anyio.create_task_group() as calls:
            for item in items:
                calls.start_soon(call, item)
        return callers * transitions / (time.perf_counter() - began_s)


def _run(work: Callable[..., object], **options: int) -> float:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        return anyio.run(lambda: work(Path(folder) / "journal.db", **options))  # type: ignore[arg-type,return-value]


def measure(*, rounds: int = 15) -> dict[str, float]:
    """Medians, and the median of the rounds' ratios."""
    results: list[tuple[float, float, float, float]] = []
    for _ in range(rounds):
        ours = _run(_ours_hz, callers=CALLERS, transitions=30)
        theirs = _run(_aiosqlite_hz, callers=CALLERS, transitions=2)
        alone = _run(_ours_hz, callers=1, transitions=100)
        theirs_alone = _run(_aiosqlite_hz, callers=1, transitions=100)
        results.append((ours, theirs, alone, theirs_alone))
    return {
        "ours_hz": statistics.median(ours for ours, _, _, _ in results),
        "aiosqlite_hz": statistics.median(theirs for _, theirs, _, _ in results),
        "ours_to_aiosqlite": statistics.median(ours / theirs for ours, theirs, _, _ in results),
        "one_caller_ms": statistics.median(1000 / alone for _, _, alone, _ in results),
        "one_caller_to_aiosqlite": statistics.median(theirs / ours for _, _, ours, theirs in results),
    }


def _rows() -> Iterator[str]:
    for name, value in measure().items():
        yield f"{name:26} {value:10.2f}"


def main() -> None:
    """Print the figures."""
    for row in _rows():
        print(row)


if __name__ == "__main__":
    main()
