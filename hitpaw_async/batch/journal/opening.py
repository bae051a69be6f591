"""Opening a journal: where it is, what lies in the output folder, and what the last process left in the middle."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import anyio.to_thread
import attrs

from hitpaw_async._core.itemstate import Restarted, advance
from hitpaw_async._redact import redact_url
from hitpaw_async._tasks import in_thread
from hitpaw_async.batch.file_names import NamesTaken
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.download.file_names import is_elsewhere
from hitpaw_async.download.part_file import make_folder
from hitpaw_async.errors import ConfigurationError, JournalBusyError, JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from hitpaw_async.batch.journal.store import Books, JournalStore

__all__ = ["JournalSource", "Opened", "anchored", "open_store", "recover"]

_LOG = logging.getLogger("hitpaw_async")

RUN_SETTING: Final = "run"

RUN_DIGITS_MAX: Final = 15

LOOKED_AFTER_S: Final = 0.5
"""While another process has the journal, it is tried again so often."""


@attrs.frozen
class Opened:
    """An open store, and which file names results must not have."""

    store: JournalStore
    names_taken: NamesTaken


JournalSource: TypeAlias = "str | os.PathLike[str] | JournalStore | None"


def anchored(source: JournalSource) -> JournalSource:
    """The same journal, whatever the current folder is by the time that it is opened.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(source, (str, os.PathLike)):
        path: str | bytes = os.fspath(source)
        if isinstance(path, str) and is_elsewhere(path):
            raise ConfigurationError(f"A journal is a file of this machine, not {ascii(redact_url(path))[:80]}.")
        if isinstance(path, str) and path and "\0" not in path:
            return Path(path).absolute()
    elif source is None or hasattr(source, "transaction"):
        return source
    raise ConfigurationError(f"A journal is the path of a file, or None, not {ascii(source)[:60]}.")


async def open_store(source: JournalSource, *, output: Path | None, wait_s: float = 0.0) -> Opened:
    """Open a journal and its output folder, in a thread.

    Args:
        source: The journal.
        output: The folder.
        wait_s: How long another process that works on the journal is waited for.

    Raises:
        JournalBusyError: Another process works on the journal.
        JournalError: The journal can't be opened.
        ConfigurationError: The output folder can't be made.
    """
    until_s = anyio.current_time() + wait_s
    is_told = False
    while True:
        try:
            return await _open_once(source, output)
        except JournalBusyError as error:
            left_s = until_s - anyio.current_time()
            if left_s <= 0:
                raise
            if not is_told:
                _LOG.warning("%s It is waited for.", error)
            is_told = True
            await anyio.sleep(min(left_s, LOOKED_AFTER_S))


async def _open_once(source: JournalSource, output: Path | None) -> Opened:
    opening = _Opening(source, output)
    try:
        return await in_thread(opening.open)
    except BaseException:
        opening.abandon()
        raise


class _Opening:
    """Opens in a thread. What nobody waits for any more is closed: asyncio cancels the waiting, not the thread."""

    def __init__(self, source: JournalSource, output: Path | None) -> None:
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
    kept = store.setting(RUN_SETTING) or "0"
    if not kept.isdecimal() or len(kept) > RUN_DIGITS_MAX:
        raise JournalError(
            f"The journal's number of runs is damaged ({ascii(kept)[:40]}). Restore it from a copy; do not submit its "
            "videos again before you know what was charged."
        )
    run = int(kept) + 1
    store.set_setting(RUN_SETTING, str(run))
    while rows := store.page((ItemState.SUBMITTING,), Cursor(), PAGE_ITEMS):
        for _, item in rows:
            store.put(advance(item, Restarted(run, now)))
    # A reservation that never came to a send was given back when the process ended. No run has taken the item up.
    while rows := store.page((ItemState.RESERVED,), Cursor(), PAGE_ITEMS):
        for _, item in rows:
            store.put(advance(item, Restarted(0, now)))
    return run, store.books()


def _store_of(source: JournalSource) -> JournalStore:
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
