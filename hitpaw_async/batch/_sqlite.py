"""A journal in an SQLite file: one connection, one process, every transaction flushed to disk before it counts."""

from __future__ import annotations

import errno
import heapq
import logging
import os
import secrets
import sqlite3
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.batch._lock import FileLock
from hitpaw_async.batch._rows import CHANGING, COLUMNS, from_row, to_changes, to_forgetful_request, to_row
from hitpaw_async.batch._watermark import MARK_BYTES_MAX, Mark, require_whole
from hitpaw_async.batch.journal import Books, Cursor, IntentRefusedError, JobIdTakenError, JournalFullError
from hitpaw_async.errors import JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from hitpaw_async._core.jobstate import Item

__all__ = ["SCHEMA_VERSION", "SqliteStore", "has_wal_reset_bug"]

_LOG = logging.getLogger("hitpaw_async")

APPLICATION_ID: Final = 0x48507741
"""Marks the file as ours ("HPwA")."""

SCHEMA_VERSION: Final = 2

_MIGRATIONS: Final = (
    """
    CREATE TABLE items (
      sequence INTEGER PRIMARY KEY,
      key TEXT NOT NULL UNIQUE,
      priority INTEGER NOT NULL,
      state TEXT NOT NULL,
      request TEXT NOT NULL,
      target TEXT UNIQUE COLLATE NOCASE,
      reserved_credits INTEGER NOT NULL CHECK (reserved_credits >= 0),
      charged_credits INTEGER NOT NULL CHECK (charged_credits >= 0),
      written_off_credits INTEGER NOT NULL CHECK (written_off_credits >= 0),
      job_id TEXT UNIQUE,
      attempts INTEGER NOT NULL,
      hook_digest TEXT UNIQUE,
      resubmissions INTEGER NOT NULL,
      problem TEXT,
      path TEXT,
      queued_at REAL,
      submitted_at REAL,
      finished_at REAL,
      run INTEGER NOT NULL,
      version INTEGER NOT NULL
    );
    CREATE INDEX items_by_state ON items (state, priority DESC, sequence);
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE items ADD COLUMN converting_at REAL;
    ALTER TABLE items ADD COLUMN completed_at REAL;
    """,
)
"""One script a schema version, from nothing upwards."""

_COLUMNS_ADDED: Final = {"converting_at": 2, "completed_at": 2}
"""Columns that older schema versions lack, with the version that brought each."""

ID_SETTING: Final = "journal"
COMMITS_SETTING: Final = "commits"
"""Settings that the mark in the lock file is compared with."""

ROOM_BYTES: Final = 4 << 20
"""Set aside beside the journal, so that on a full disk the answers to what was sent can still be written."""

_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)

_INSERT: Final = f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_UPDATE: Final = f"UPDATE items SET {', '.join(f'{name} = ?' for name in CHANGING)} WHERE key = ? AND version < ?"  # noqa: S608
_UPDATE_AND_FORGET: Final = _UPDATE.replace("SET", "SET request = ?,", 1)
_PAGES: Final = (
    "WHERE state = ? AND priority = ? AND sequence > ? ORDER BY sequence LIMIT ?",
    "WHERE state = ? AND priority < ? ORDER BY priority DESC, sequence LIMIT ?",
)
"""What comes next of a state: of the cursor's priority, then of lower ones."""
_SET: Final = "INSERT OR REPLACE INTO settings VALUES (?, ?)"


def _selected(version: int) -> str:
    """The columns as a query names them: a file that is only looked at is not migrated, and may lack some."""
    return ", ".join(f"NULL AS {name}" if version < _COLUMNS_ADDED.get(name, 1) else name for name in COLUMNS)


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can lose a commit when a second connection resets the WAL (3.7.0 to 3.51.2)."""
    return (3, 7, 0) <= version <= (3, 51, 2)


def _is_full(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _advice_on(error: sqlite3.Error | OSError) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return "Name the file that a batch wrote; if this is the one, it is damaged: bring a copy of it back."
    return "Check the disk's space and the permissions; nothing is submitted without a journal."


def _mark_in(connection: sqlite3.Connection) -> Mark | None:
    """What a journal says of itself; None where nothing was ever written. One from before marks has no id."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not version:
        return None
    query = "SELECT name, value FROM settings WHERE name IN (?, ?)"
    settings = dict(connection.execute(query, (ID_SETTING, COMMITS_SETTING)).fetchall())
    return Mark(settings.get(ID_SETTING, ""), int(settings.get(COMMITS_SETTING, 0)))


class SqliteStore:
    """The journal file `path`, made where there is none.

    Args:
        path: The file. Its folder must exist.
        is_readonly: Look only: takes no lock, changes nothing, and works while another process runs the batch.

    Raises:
        JournalError: Another process works on it; it is damaged, has lost commits, is of another program or of a newer
            version.
    """

    is_blocking = True

    def __init__(self, path: Path, *, is_readonly: bool = False) -> None:
        self._path = path
        self._room_path = path.with_name(path.name + ".room")
        self._has_room = is_readonly
        self._lock: FileLock | None = None
        self._selected = _selected(SCHEMA_VERSION)
        if is_readonly and not path.is_file():
            raise JournalError(f"There is no journal {path}.")
        self._mark: Mark | None = None
        self._lock_path = path.with_name(path.name + ".lock")
        if is_readonly:
            self._roll_back_abandoned()
        else:
            self._lock = FileLock(self._lock_path)
        try:
            self._connection = self._connect(is_readonly=is_readonly)
        except BaseException:
            self._unlock()
            raise

    def _roll_back_abandoned(self) -> None:
        """Let SQLite undo what a killed process left half done, which it can't while only looking."""
        leftover = self._path.with_name(self._path.name + "-journal")
        if not leftover.is_file() or leftover.stat().st_size == 0:
            return
        try:
            lock = FileLock(self._lock_path)
        except JournalError:
            return  # somebody is at work: it is theirs
        try:
            with self._translated("opened"), closing(sqlite3.connect(self._path, timeout=10)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            lock.release()

    def _connect(self, *, is_readonly: bool) -> sqlite3.Connection:
        with self._translated("opened"):
            mark = None if self._lock is None else Mark.from_bytes(self._lock.read(MARK_BYTES_MAX))
            if not is_readonly:
                if not self._path.is_file() or not self._path.stat().st_size:
                    # Before SQLite sees it, which would throw a -wal file away that the content is perhaps in.
                    self._require_whole(mark, None)
                # Made here, so that nobody else can read the sources' URLs in it.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            mode = "ro" if is_readonly else "rw"
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=10,
            )
            try:
                self._check(connection)
                found = _mark_in(connection)
                if is_readonly:
                    if found is None:
                        raise JournalError(
                            f"{self._path} is empty: no journal was ever written into it, or it was emptied."
                        )
                    (version,) = connection.execute("PRAGMA user_version").fetchone()
                    self._selected = _selected(version)
                else:
                    self._require_whole(mark, found)
                    self._prepare(connection)
                    self._mark = self._begin_mark(connection, found)
                    self._set_room_aside()
            except BaseException:
                connection.close()
                raise
            return connection

    def _require_whole(self, mark: Mark | None, found: Mark | None) -> None:
        require_whole(str(self._path), str(self._lock_path), mark=mark, found=found)

    def _begin_mark(self, connection: sqlite3.Connection, found: Mark | None) -> Mark:
        """Give a journal that has none its id, and mark the lock file, so that it is sure to be there."""
        mark = found
        if mark is None or not mark.journal_id:
            mark = Mark(secrets.token_hex(8), 0)
            connection.executemany(_SET, [(ID_SETTING, mark.journal_id), (COMMITS_SETTING, "0")])
        assert self._lock is not None
        self._lock.write(mark.to_bytes())
        self._lock.flush()
        return mark

    def _set_room_aside(self) -> None:
        """Fill the room's file: only written bytes are sure to be there, whatever the file system."""
        with self._translated("opened"):
            try:
                with self._room_path.open("wb") as room:
                    for _ in range(ROOM_BYTES >> 16):
                        room.write(bytes(1 << 16))
                    room.flush()
                    os.fsync(room.fileno())
            except OSError:
                # The disk is as full as it was, and not fuller.
                self._room_path.unlink(missing_ok=True)
                raise
        self._has_room = True

    def make_room(self) -> bool:
        if not self._has_room:
            return False
        self._has_room = False
        with self._translated("written"):
            self._room_path.unlink(missing_ok=True)
        return True

    def _check(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application_id != APPLICATION_ID and (tables or application_id):
            raise JournalError(f"{self._path} is a database of another program. Name another file.")
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"{self._path} was written by a newer hitpaw-async (schema {version}). Upgrade: "
                "pip install --upgrade hitpaw-async"
            )
        # Not `quick_check`, which leaves out the indexes: a key that is missing in one would be submitted again.
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise JournalError(
                f"{self._path} is damaged ({str(verdict)[:80]}). Restore it from a copy; do not submit its videos "
                "again before you know what was charged."
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if has_wal_reset_bug(sqlite3.sqlite_version_info):
            # A reader (`hitpaw status`) is a second connection: without a WAL there is nothing to reset.
            connection.execute("PRAGMA journal_mode = TRUNCATE")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL lost acknowledged rows in a power-loss replay
        connection.execute("PRAGMA secure_delete = ON")  # forgotten URLs are overwritten, not only unlinked
        connection.execute("PRAGMA trusted_schema = OFF")
        self._migrate(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            # A migration and its record in one transaction: it happened, or it didn't.
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT;"
            )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = JournalFullError if _is_full(error) else JournalError
            reason = error.strerror if isinstance(error, OSError) else error
            raise kind(f"The journal {self._path} could not be {what} ({reason}). {_advice_on(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._translated("written"):
            self._connection.execute("BEGIN IMMEDIATE")
            mark, changes = None, self._connection.total_changes
            try:
                yield
                if self._connection.total_changes > changes:
                    mark = self._next_mark()
                self._connection.execute("COMMIT")
            except BaseException:
                # After a failed COMMIT the transaction may still be open; whether it happened is unknown either way.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        if mark is not None:
            self._keep_mark(mark)

    def _next_mark(self) -> Mark:
        assert self._mark is not None
        mark = attrs.evolve(self._mark, commits=self._mark.commits + 1)
        self.set_setting(COMMITS_SETTING, str(mark.commits))
        return mark

    def _keep_mark(self, mark: Mark) -> None:
        """After the commit: unflushed, it may be behind the journal and never ahead of it."""
        self._mark = mark
        assert self._lock is not None
        try:
            self._lock.write(mark.to_bytes())
        except OSError as error:
            # The commit is on disk. A mark that stays behind finds fewer losses, and calls no sound journal lost.
            _LOG.warning("The mark in %s could not be written (%s). Check the disk.", self._lock_path, error)

    def add(self, item: Item) -> None:
        try:
            self._connection.execute(_INSERT, to_row(item))
        except sqlite3.IntegrityError as error:
            raise JournalError(f"The journal has the key or the target of {item.key!r} already ({error}).") from None

    def get(self, key: str) -> Item | None:
        return self._one("key", key)

    def put(self, item: Item) -> None:
        if item.state is ItemState.SUBMITTING and not self._has_room:
            raise IntentRefusedError(
                f"The disk of the journal {self._path} is full. Nothing more is submitted; what was paid for is kept. "
                "Make room and resume."
            )
        try:
            update = (*to_changes(item), item.key, item.version)
            request = to_forgetful_request(item)
            if request is None:
                self._connection.execute(_UPDATE, update)
            else:
                self._connection.execute(_UPDATE_AND_FORGET, (request, *update))
        except sqlite3.IntegrityError:
            if item.job_id is None or self.find_job(item.job_id) is None:
                raise
            raise JobIdTakenError(f"The job id {item.job_id} stands at another item already.") from None

    def has_target(self, name: str) -> bool:
        query = "SELECT 1 FROM items WHERE target = ?"
        return self._connection.execute(query, (name,)).fetchone() is not None

    def find_job(self, job_id: str) -> Item | None:
        return self._one("job_id", job_id)

    def find_hook(self, digest: str) -> Item | None:
        return self._one("hook_digest", digest)

    def _one(self, column: str, value: str) -> Item | None:
        query = f"SELECT {self._selected} FROM items WHERE {column} = ?"  # noqa: S608
        row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else from_row(row)

    def page(self, states: Collection[ItemState], after: Cursor, limit: int) -> list[tuple[Cursor, Item]]:
        by_state = [self._page_of(state, after, limit) for state in states]
        rows = heapq.merge(*by_state, key=lambda row: (-row[1], row[0]))
        return [(Cursor(priority, sequence), from_row(row)) for sequence, priority, *row in islice(rows, limit)]

    def _page_of(self, state: ItemState, after: Cursor, limit: int) -> list[tuple[Any, ...]]:
        """The next rows of one state, in two walks along an index: in one query, SQLite sorts all there are."""
        selected, ask = f"SELECT sequence, priority, {self._selected} FROM items", self._connection.execute  # noqa: S608
        same, lower = (f"{selected} {page}" for page in _PAGES)
        rows = ask(same, (str(state), after.priority, after.sequence, limit)).fetchall()
        return rows + ask(lower, (str(state), after.priority, limit - len(rows))).fetchall()

    def books(self) -> Books:
        rows = self._connection.execute(
            "SELECT state, count(*), sum(charged_credits + written_off_credits), sum(reserved_credits)"
            " FROM items GROUP BY state"
        ).fetchall()
        return Books(
            counts={ItemState(state): count for state, count, _, _ in rows},
            spent_credits=sum(spent for _, _, spent, _ in rows),
            reserved_credits=sum(reserved for _, _, _, reserved in rows),
        )

    def setting(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        self._connection.execute(_SET, (name, value))

    def close(self) -> None:
        try:
            self._connection.close()
            if self._lock is not None:
                self._room_path.unlink(missing_ok=True)
        except (sqlite3.Error, OSError) as error:
            # Whatever was reported is on disk already, and the next opening makes the room anew.
            _LOG.warning("The journal %s was not closed in order (%s). Check the disk.", self._path, error)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
