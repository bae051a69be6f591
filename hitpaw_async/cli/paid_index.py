"""What this user's batches have paid for, whichever journal they were in: digests alone, no URL and no name.

A journal keeps a batch from paying twice. Another output folder has another journal, which knows nothing of the first:
this index does, and `enhance` asks. It only helps to ask: a journal alone decides what is submitted, and a batch runs
as well where the index can't be read or written.
"""

from __future__ import annotations

import datetime
import hashlib
import sqlite3
import time
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.to_thread
import attrs

from hitpaw_async import errors
from hitpaw_async._core.renewal import is_waiting
from hitpaw_async._format import counted
from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.batch.journal.schema import ID_SETTING
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.state_folder import state_folder
from hitpaw_async.batch.run.admission import find_known
from hitpaw_async.cli.output.messages import complain
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.models import ExportRequest, Outcome

__all__ = ["PaidBefore", "Remembering", "paid_before"]

FILE_NAME: Final = "paid.db"
BUSY_WAIT_S: Final = 2.0
"""How long another process that writes is waited for."""
PAUSE_S: Final = 0.2
"""Between two writes: what is paid for meanwhile is written together."""
LAST_WRITE_S: Final = 3.0
GROUP_ITEMS: Final = 500

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS paid (
  video BLOB NOT NULL, journal BLOB NOT NULL, at REAL NOT NULL, PRIMARY KEY (video, journal)
) WITHOUT ROWID
"""


@attrs.frozen
class PaidBefore:
    """Videos that are about to be paid for, and were before."""

    videos: int
    last_at: float
    """When the last of them was, in seconds since the epoch."""

    def __str__(self) -> str:
        day = datetime.datetime.fromtimestamp(self.last_at, datetime.UTC).date()
        was = "was" if self.videos == 1 else "were"
        return (
            f"{counted(self.videos, 'video')} of these {was} paid for already in another batch, or may have been (the "
            f"last on {day}). This batch has a journal of its own, and pays for {'it' if self.videos == 1 else 'them'} "
            "again."
        )


def paid_before(base_url: str, journal: Path, requests: Iterable[ExportRequest]) -> PaidBefore | None:
    """The videos that another batch of this user has paid for at this vendor, and this one would pay for again.

    Args:
        base_url: The vendor.
        journal: This batch's journal, if there is one.
        requests: What is asked for.

    Returns:
        None where there is none, or nobody can know: that is said.

    Raises:
        JournalError: This batch's journal can't be read.
    """
    try:
        path = state_folder("paid") / FILE_NAME
        if not path.is_file():
            return None
        with closing(_connected(path)) as index, _store_of(journal) as known:
            own, videos, last_at = known.digest, 0, 0.0
            for group in _in_groups(requests):
                digests = {_video(base_url, request): request for request in group}
                marks = ", ".join("?" * len(digests))
                query = f"SELECT video, max(at) FROM paid WHERE journal != ? AND video IN ({marks}) GROUP BY video"  # noqa: S608
                for video, at in index.execute(query, (own, *digests)).fetchall():
                    if known.would_pay(digests[video]):
                        videos, last_at = videos + 1, max(last_at, at)
            return PaidBefore(videos, last_at) if videos else None
    except (OSError, sqlite3.Error) as error:
        _say(error)
        return None


def _in_groups(requests: Iterable[ExportRequest]) -> Iterator[list[ExportRequest]]:
    left = iter(requests)
    while group := list(islice(left, GROUP_ITEMS)):
        yield group


def _video(base_url: str, request: ExportRequest) -> bytes:
    """What stands for a video, what is made of it, and the vendor."""
    return hashlib.sha256(f"{base_url.rstrip('/').lower()}\n{request.identity}".encode()).digest()[:16]


def _journal(name: str | None) -> bytes:
    """What stands for a journal."""
    return hashlib.sha256((name or "").encode()).digest()[:16]


def _say(error: Exception) -> None:
    reason = error.strerror or error if isinstance(error, OSError) else error
    complain(
        f"warning: what other batches have paid for is not known or kept ({reason}). It lies in the folder that "
        "HITPAW_STATE_DIR names; where its file is damaged, delete it."
    )


def _connected(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=BUSY_WAIT_S, isolation_level=None)
    try:
        connection.execute(_TABLE)
    except BaseException:
        connection.close()
        raise
    return connection


@attrs.define
class _Known:
    """A journal that is only looked at; None is one that doesn't exist yet."""

    store: SqliteStore | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.store is not None:
            self.store.close()

    @property
    def digest(self) -> bytes:
        """What stands for it."""
        return _journal(None if self.store is None else self.store.setting(ID_SETTING))

    def would_pay(self, request: ExportRequest) -> bool:
        """Whether a request would be paid for in it."""
        item = None if self.store is None else find_known(self.store, request)
        return item is None or is_waiting(item)


def _store_of(journal: Path) -> _Known:
    return _Known(SqliteStore(journal, is_readonly=True) if journal.is_file() else None)


class Remembering:
    """Keeps in the index what a batch pays for, or may have paid for.

    Args:
        base_url: The vendor.
        journal: The batch's journal, which must be there by the time that something is paid for.
    """

    def __init__(self, base_url: str, journal: Path) -> None:
        self._base_url = base_url
        self._journal = journal
        self._own: bytes | None = None
        self._news: dict[str, Outcome | bool] = {}
        """By key: how it ended; whether it is perhaps paid for."""
        self._is_over = False
        self._is_finishing = False
        self._writing = anyio.Lock()

    def on_event(self, event: BatchEvent) -> None:
        """Take an event in. It costs next to nothing."""
        if self._is_over or event.key is None:
            return
        if event.kind in (EventKind.SUBMITTING, EventKind.SUBMITTED, EventKind.UNCERTAIN):
            self._news[event.key] = True
        elif event.kind is EventKind.FINISHED and event.outcome is not None:
            self._news[event.key] = event.outcome

    async def serve(self, batch: BatchScheduler) -> None:
        """Write what has come in, again and again."""
        while not self._is_finishing:
            await anyio.sleep(PAUSE_S)
            async with self._writing:
                if not self._is_finishing:
                    await self._write(batch)

    async def finish(self, batch: BatchScheduler) -> None:
        """Write the last of it, whatever has ended the batch."""
        # The batch closes after this, and answers nobody then.
        self._is_finishing = True
        with anyio.move_on_after(LAST_WRITE_S, shield=True):
            async with self._writing:
                await self._write(batch)

    async def _write(self, batch: BatchScheduler) -> None:
        news, self._news = self._news, {}
        paid: list[bytes] = []
        unpaid: list[bytes] = []
        for key, said in news.items():
            try:
                outcome = await batch.find(key) if isinstance(said, bool) else said
            except errors.JournalError:
                return  # the batch says so itself
            if outcome is not None:
                is_paid = outcome.job is not None or outcome.state in (ItemState.SUBMITTING, ItemState.UNCERTAIN)
                (paid if is_paid else unpaid).append(_video(self._base_url, outcome.request))
        if paid or unpaid:
            await anyio.to_thread.run_sync(self._keep, paid, unpaid, abandon_on_cancel=True)

    def _keep(self, paid: list[bytes], unpaid: list[bytes]) -> None:
        """Write digests. Blocks; the first failure is the last try."""
        try:
            if self._own is None:
                with _store_of(self._journal) as known:
                    self._own = known.digest
            own, now = self._own, time.time()
            with closing(_connected(state_folder("paid") / FILE_NAME)) as index:
                index.execute("BEGIN IMMEDIATE")
                index.executemany("INSERT OR IGNORE INTO paid VALUES (?, ?, ?)", ((video, own, now) for video in paid))
                index.executemany(
                    "DELETE FROM paid WHERE video = ? AND journal = ?", ((video, own) for video in unpaid)
                )
                index.execute("COMMIT")
        except (OSError, sqlite3.Error, errors.JournalError) as error:
            self._is_over = True
            _say(error)
