"""Opening a journal: where it is, what lies in the output folder, and what the last process left in the middle."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import attrs

from hitpaw_async._core.jobstate import Restarted, advance
from hitpaw_async._partfile import make_folder
from hitpaw_async.batch._memory import MemoryStore
from hitpaw_async.batch._sqlite import SqliteStore
from hitpaw_async.batch.journal import PAGE_ITEMS, Cursor
from hitpaw_async.batch.naming import NamesTaken
from hitpaw_async.errors import ConfigurationError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from hitpaw_async.batch.journal import Books, JournalStore

__all__ = ["Opened", "open_store", "recover"]

RUN_SETTING: Final = "run"


@attrs.frozen
class Opened:
    """An open store, and which file names results must not have."""

    store: JournalStore
    names_taken: NamesTaken


async def open_store(source: str | os.PathLike[str] | JournalStore | None, *, output: Path | None) -> Opened:
    """Open a journal and its output folder, in a thread.

    Raises:
        JournalError: The journal can't be opened.
        ConfigurationError: The output folder can't be made.
    """
    opening = _Opening(source, output)
    try:
        return await anyio.to_thread.run_sync(opening.open)
    except BaseException:
        opening.abandon()
        raise


class _Opening:
    """Opens in a thread. What nobody waits for any more is closed: asyncio cancels the waiting, not the thread."""

    def __init__(self, source: str | os.PathLike[str] | JournalStore | None, output: Path | None) -> None:
        self._source = source
        self._output = output
        self._opened: Opened | None = None
        self._is_abandoned = False
        self._lock = threading.Lock()

    def open(self) -> Opened:
        # The folder first: where it is refused, no journal may stay open.
        names_taken = _names_in(self._output)
        opened = Opened(_store_of(self._source), names_taken)
        with self._lock:
            self._opened = opened
            if self._is_abandoned:
                opened.store.close()
        return opened

    def abandon(self) -> None:
        """Leave nothing open, now or once it has been opened."""
        with self._lock:
            self._is_abandoned = True
            if self._opened is not None:
                self._opened.store.close()


def recover(store: JournalStore, *, now: float) -> tuple[int, Books]:
    """Number this opening, and find out what the last process left in the middle of a send: that is UNCERTAIN.

    Returns:
        The number of this opening, and what the journal adds up to.
    """
    run = int(store.setting(RUN_SETTING) or 0) + 1
    store.set_setting(RUN_SETTING, str(run))
    while rows := store.page((ItemState.SUBMITTING,), Cursor(), PAGE_ITEMS):
        for _, item in rows:
            store.put(advance(item, Restarted(run, now)))
    # A reservation that never came to a send was given back when the process ended. No run has taken the item up.
    while rows := store.page((ItemState.RESERVED,), Cursor(), PAGE_ITEMS):
        for _, item in rows:
            store.put(advance(item, Restarted(0, now)))
    return run, store.books()


def _store_of(source: str | os.PathLike[str] | JournalStore | None) -> JournalStore:
    if source is None:
        return MemoryStore()
    if isinstance(source, (str, os.PathLike)):
        return SqliteStore(Path(source))
    return source


def _names_in(output: Path | None) -> NamesTaken:
    if output is None:
        return NamesTaken(())
    try:
        make_folder(output)
        return NamesTaken(entry.name for entry in os.scandir(output))
    except OSError as error:
        raise ConfigurationError(
            f"The output folder {output} cannot be used ({error.strerror}). Name another."
        ) from None
