"""A journal in an SQLite file: one connection, one process, every transaction flushed to disk before it counts."""

from __future__ import annotations

import heapq
import logging
import os
import sqlite3
from collections import Counter
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.batch.journal.claim import Claim, set_setting
from hitpaw_async.batch.journal.lock import FileLock
from hitpaw_async.batch.journal.reserve import Reserve
from hitpaw_async.batch.journal.rows import (
    CHANGING,
    COLUMNS,
    from_row,
    is_count,
    to_changes,
    to_forgetful_request,
    to_request,
    to_row,
)
from hitpaw_async.batch.journal.sqlite_errors import HELD_ASIDE_S, TRY_S, Patience, code_of, translated
from hitpaw_async.batch.journal.store import (
    Books,
    Cursor,
    IntentRefusedError,
    JobIdTakenError,
    JournalFullError,
    RowChangedError,
)
from hitpaw_async.batch.journal.watermark import Mark
from hitpaw_async.errors import JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from hitpaw_async._core.itemstate import Item

__all__ = ["ID_SETTING", "SCHEMA_VERSION", "SqliteStore", "has_wal_reset_bug"]

_LOG = logging.getLogger("hitpaw_async")

APPLICATION_ID: Final = 0x48507741
"""Marks the file as ours ("HPwA")."""

SCHEMA_VERSION: Final = 3

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
    "ALTER TABLE items ADD COLUMN minute_credits INTEGER;",
)
"""One script a schema version, from nothing upwards."""

_COLUMNS_ADDED: Final = {"converting_at": 2, "completed_at": 2, "minute_credits": 3}
"""Columns that older schema versions lack, with the version that brought each."""

SYNCHRONOUS: Final = "FULL"
"""How far SQLite goes to disk with a commit. NORMAL lost acknowledged rows in a power-loss replay."""

ID_SETTING: Final = "journal"
COMMITS_SETTING: Final = "commits"
"""Settings that the mark in the lock file is compared with."""

_SIDE_SUFFIXES: Final = ("-journal", "-wal", "-shm")
"""Of the files that SQLite makes beside a journal."""

_INSERT: Final = f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_UPDATE: Final = f"UPDATE items SET {', '.join(f'{name} = ?' for name in CHANGING)} WHERE key = ? AND version < ?"  # noqa: S608
_UPDATE_AND_FORGET: Final = _UPDATE.replace("SET", "SET request = ?,", 1)
_PAGES: Final = (
    "WHERE state = ? AND priority = ? AND sequence > ? ORDER BY sequence LIMIT ?",
    "WHERE state = ? AND priority < ? ORDER BY priority DESC, sequence LIMIT ?",
)
"""What comes next of a state: of the cursor's priority, then of lower ones."""
_BOOKS: Final = (
    "SELECT state, count(*), sum(charged_credits + written_off_credits), sum(reserved_credits), max(sequence) FROM"
    " (SELECT * FROM items WHERE sequence > ? ORDER BY sequence LIMIT ?) GROUP BY state"
)
_STATES: Final = frozenset(ItemState)

LOOKED_AT_ITEMS: Final = 10_000
"""Rows in one query of who only looks at a journal."""


def _selected(version: int) -> str:
    """The columns as a query names them: a file that is only looked at is not migrated, and may lack some."""
    return ", ".join(f"NULL AS {name}" if version < _COLUMNS_ADDED.get(name, 1) else name for name in COLUMNS)


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can lose a commit when a second connection resets the WAL (3.7.0 to 3.51.2)."""
    return (3, 7, 0) <= version <= (3, 51, 2)


def _mark_in(connection: sqlite3.Connection) -> Mark | None:
    """What a journal says of itself; None where nothing was ever written. One from before marks has no id."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not version:
        return None
    query = "SELECT name, value FROM settings WHERE name IN (?, ?)"
    settings = dict(connection.execute(query, (ID_SETTING, COMMITS_SETTING)).fetchall())
    journal_id, commits = settings.get(ID_SETTING, ""), settings.get(COMMITS_SETTING, "0")
    if version < 0 or not isinstance(journal_id, str) or not str(commits).isdecimal() or len(str(commits)) > 18:
        raise JournalError(
            "The journal's own settings are damaged. Restore it from a copy; do not submit its videos again before you "
            "know what was charged."
        )
    return Mark(journal_id, int(commits))


def _changed_by_others(path: Path, key: str, advice: str) -> str:
    row = ascii(key)[:80]
    return f"Another program changed the row of {row} in the journal {path}, while a batch worked on it. {advice}"


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
        # Whatever leads to it: SQLite's own files, the lock and the room stand beside the file itself.
        self._path = path = Path(os.path.realpath(path))
        self._reserve = Reserve(path.with_name(path.name + ".room"))
        self._is_starved = False
        self._patience = Patience(path)
        self._claim: Claim | None = None
        self._selected = _selected(SCHEMA_VERSION)
        if is_readonly and not path.is_file():
            raise JournalError(f"There is no journal {path}.")
        self._mark: Mark | None = None
        self._require_no_links()
        if is_readonly:
            self._roll_back_abandoned()
        else:
            with self._translated("opened"):
                self._claim = Claim(path)
        try:
            self._connection = self._connect(is_readonly=is_readonly)
        except BaseException:
            self._let_go()
            raise

    @property
    def _has_room(self) -> bool:
        return self._reserve.has_room

    def _require_no_links(self) -> None:
        """SQLite would follow them, and write over what they lead to."""
        for suffix in _SIDE_SUFFIXES:
            beside = self._path.with_name(self._path.name + suffix)
            if beside.is_symlink():
                raise JournalError(f"{beside} is a symbolic link, and no file of the journal's. Remove it.")

    def _roll_back_abandoned(self) -> None:
        """Let SQLite undo what a killed process left half done, which it can't while only looking."""
        leftover = self._path.with_name(self._path.name + "-journal")
        if not leftover.is_file() or leftover.stat().st_size == 0:
            return
        try:
            lock = FileLock(self._path.with_name(self._path.name + ".lock"))
        except JournalError:
            return  # somebody is at work: it is theirs
        try:
            with (
                self._translated("opened"),
                closing(sqlite3.connect(self._path, timeout=HELD_ASIDE_S)) as connection,
            ):
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            lock.release()

    def _connect(self, *, is_readonly: bool) -> sqlite3.Connection:
        with self._translated("opened"):
            mode = "ro" if is_readonly else "rw"
            connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=HELD_ASIDE_S,
            )
            try:
                self._check(connection, is_readonly=is_readonly)
                found = _mark_in(connection)
                if self._claim is None:
                    if found is None:
                        raise JournalError(
                            f"{self._path} is empty: no journal was ever written into it, or it was emptied."
                        )
                    (version,) = connection.execute("PRAGMA user_version").fetchone()
                    self._selected = _selected(version)
                else:
                    self._claim.require_whole(connection, found)
                    self._prepare(connection)
                    self._mark = self._begin_claim(self._claim, connection, found)
                    self._reserve.set_aside()
                    connection.execute(f"PRAGMA busy_timeout = {int(1000 * min(TRY_S, HELD_ASIDE_S))}")
            except BaseException:
                connection.close()
                raise
            return connection

    def _begin_claim(self, claim: Claim, connection: sqlite3.Connection, found: Mark | None) -> Mark:
        connection.execute("BEGIN IMMEDIATE")
        mark = claim.begin(connection, found, names=(ID_SETTING, COMMITS_SETTING))
        connection.execute("COMMIT")
        # Into the file itself: who opens it by another name, or a copy, has no WAL and would read an earlier holder.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        claim.keep_first(mark)
        return mark

    def make_room(self) -> bool:
        if self._is_starved:
            self._is_starved = False
            return self._reserve.give_handles()
        with self._translated("written"):
            return self._reserve.give_room()

    def _check(self, connection: sqlite3.Connection, *, is_readonly: bool) -> None:
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
        if is_readonly:
            return  # it reads the whole file, which would hold up who works on it
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
        connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        connection.execute("PRAGMA secure_delete = ON")  # forgotten URLs are overwritten, not only unlinked
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cache_spill = OFF")  # only a commit waits for who holds the journal, and waits long
        self._migrate(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            # A migration and its record in one transaction: it happened, or it didn't.
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT;"
            )

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return translated(self._path, what)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        claim, connection = self._claim, self._connection
        assert claim is not None
        with self._translated("written"):
            claim.require_held()
            self._wait_for(lambda: connection.execute("BEGIN IMMEDIATE"))
            mark, changes = None, connection.total_changes
            with claim.transaction:
                try:
                    claim.require_token(connection)
                    yield
                    if connection.total_changes > changes:
                        mark = self._next_mark()
                    self._wait_for(lambda: connection.execute("COMMIT"))
                except BaseException as error:
                    # After a failed COMMIT it may still be open; whether it happened is unknown either way.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    self._require_handles(error)
                    raise
        if mark is not None:
            self._mark = mark
            claim.keep(mark)
        self._reserve.retake_handles()

    def _wait_for(self, act: Callable[[], object]) -> None:
        self._patience.apply(act, said_every_s=HELD_ASIDE_S)

    def hurry(self, grace_s: float) -> None:
        """From now on, wait `grace_s` for whoever holds the journal. For any thread."""
        self._patience.hurry(grace_s)

    def _require_handles(self, error: BaseException) -> None:
        """Tell a lack of file handles from other reasons why SQLite can't open its own files.

        Raises:
            JournalFullError: None is left.
        """
        if code_of(error) != sqlite3.SQLITE_CANTOPEN or not self._reserve.is_starving():
            return
        self._is_starved = True
        raise JournalFullError(
            f"The journal {self._path} could not be written: no file handle is left. Let this process have more open "
            "files (ulimit -n), or close some."
        ) from error

    def _next_mark(self) -> Mark:
        assert self._mark is not None
        mark = attrs.evolve(self._mark, commits=self._mark.commits + 1)
        self.set_setting(COMMITS_SETTING, str(mark.commits))
        return mark

    def add(self, item: Item) -> None:
        try:
            self._connection.execute(_INSERT, to_row(item))
        except sqlite3.IntegrityError as error:
            raise JournalError(f"The journal has the key or the target of {item.key!r} already ({error}).") from None

    def get(self, key: str) -> Item | None:
        return self._one("key", key)

    def put(self, item: Item) -> None:
        if item.state is ItemState.SUBMITTING:
            self._require_reserve()
        try:
            update = (*to_changes(item), item.key, item.version)
            request = to_forgetful_request(item)
            if request is None:
                changed = self._connection.execute(_UPDATE, update)
            else:
                changed = self._connection.execute(_UPDATE_AND_FORGET, (request, *update))
        except sqlite3.IntegrityError:
            if item.job_id is None or self.find_job(item.job_id) is None:
                raise
            raise JobIdTakenError(f"The job id {item.job_id} stands at another item already.") from None
        if changed.rowcount != 1:
            self._put_late(item)

    def _require_reserve(self) -> None:
        if not self._reserve.has_room:
            raise IntentRefusedError(
                f"The disk of the journal {self._path} is full. Nothing more is submitted; what was paid for is kept. "
                "Make room and resume."
            )
        if not self._reserve.retake_handles():
            raise IntentRefusedError(
                f"No file handle is left for the journal {self._path}. Nothing more is submitted; what was paid for is "
                "kept. Let this process have more open files (ulimit -n), and resume."
            )

    def _put_late(self, item: Item) -> None:
        """The row is newer, or gone. An older version changes nothing, unless money hangs on it.

        Raises:
            RowChangedError: It was an intent, and nobody would know of the export; or a job that was paid for, and the
                row is gone or has another one.
        """
        if item.state is ItemState.SUBMITTING:
            raise RowChangedError(_changed_by_others(self._path, item.key, "Nothing more is submitted; resume."))
        if item.state is not ItemState.SUBMITTED:
            return
        row = self.get(item.key)
        if row is None or row.job_id not in (None, item.job_id):
            raise RowChangedError(_changed_by_others(self._path, item.key, "Look at it with `hitpaw list`."))
        if row.job_id is None:
            # Whatever somebody made of the row meanwhile: it was paid for.
            self.put(attrs.evolve(item, version=row.version + 1))

    def renew(self, item: Item) -> None:
        self._connection.execute("UPDATE items SET request = ? WHERE key = ?", (to_request(item), item.key))

    def keys(self, prefix: str, limit: int) -> list[str]:
        query = "SELECT key FROM items WHERE key >= ? AND substr(key, 1, ?) = ? ORDER BY key LIMIT ?"
        return [key for (key,) in self._ask(query, prefix, len(prefix), prefix, limit)]

    def has_target(self, name: str) -> bool:
        query = "SELECT 1 FROM items WHERE target = ?"
        return bool(self._ask(query, name))

    def find_job(self, job_id: str) -> Item | None:
        return self._one("job_id", job_id)

    def find_hook(self, digest: str) -> Item | None:
        return self._one("hook_digest", digest)

    def _one(self, column: str, value: str) -> Item | None:
        query = f"SELECT {self._selected} FROM items WHERE {column} = ?"  # noqa: S608
        row = self._ask(query, value)
        return None if not row else from_row(row[0])

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows at once: nothing stays open that would keep others from writing."""
        with self._translated("read"):
            return self._connection.execute(query, values).fetchall()

    def page(self, states: Collection[ItemState], after: Cursor, limit: int) -> list[tuple[Cursor, Item]]:
        by_state = [self._page_of(state, after, limit) for state in states]
        rows = heapq.merge(*by_state, key=lambda row: (-row[1], row[0]))
        return [(Cursor(priority, sequence), from_row(row)) for sequence, priority, *row in islice(rows, limit)]

    def _page_of(self, state: ItemState, after: Cursor, limit: int) -> list[tuple[Any, ...]]:
        """The next rows of one state, in two walks along an index: in one query, SQLite sorts all there are."""
        selected = f"SELECT sequence, priority, {self._selected} FROM items"  # noqa: S608
        same, lower = (f"{selected} {page}" for page in _PAGES)
        rows = self._ask(same, str(state), after.priority, after.sequence, limit)
        return rows + self._ask(lower, str(state), after.priority, limit - len(rows))

    def books(self) -> Books:
        """Counts and sums; while only looking, of so many rows at a time that nobody who writes has to wait."""
        at_a_time = LOOKED_AT_ITEMS if self._claim is None else -1
        counts: Counter[ItemState] = Counter()
        spent, reserved, after, found = 0, 0, -1, at_a_time
        while found == at_a_time:
            found = 0
            rows = self._ask(_BOOKS, after, at_a_time)
            for state, count, spent_here, reserved_here, _ in rows:
                if state not in _STATES or not (is_count(spent_here) and is_count(reserved_here)):
                    raise self._damaged(f"its rows in the state {ascii(state)[:40]}")
                counts[ItemState(state)] += count
                found, spent, reserved = found + count, spent + spent_here, reserved + reserved_here
            after = max((row[-1] for row in rows), default=after)
        return Books(counts=counts, spent_credits=spent, reserved_credits=reserved)

    def setting(self, name: str) -> str | None:
        rows = self._ask("SELECT value FROM settings WHERE name = ?", name)
        if rows and not isinstance(rows[0][0], str):
            raise self._damaged(f"its setting {name!r}")
        return rows[0][0] if rows else None

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"The journal {self._path} is damaged ({what}). Restore it from a copy; do not submit its videos again "
            "before you know what was charged."
        )

    def set_setting(self, name: str, value: str) -> None:
        set_setting(self._connection, name, value)

    def close(self) -> None:
        if self._claim is not None and self._claim.is_inherited:
            return  # a fork of the process that has it: SQLite must not touch the file here, not even to close it
        try:
            self._connection.close()
            if self._claim is not None:
                self._reserve.remove()
        except (sqlite3.Error, OSError) as error:
            # Whatever was reported is on disk already, and the next opening makes the room anew.
            _LOG.warning("The journal %s was not closed in order (%s). Check the disk.", self._path, error)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._claim is not None:
            self._claim.release()
