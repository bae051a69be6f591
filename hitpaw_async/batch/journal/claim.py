"""The claim of one process on a journal: it alone works on it, by whatever name, and notices when that is over.

Three locks stand for it: on the lock file beside the journal, on the journal itself, and on the journal's mark in the
user's state directory, which copies of a journal share. A token in the journal says who has it: each transaction looks
at it, and at whether the names still lead to the files that were opened.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sqlite3
import threading
import weakref
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.batch.journal.lock import DatabaseLock, FileLock
from hitpaw_async.batch.journal.state_folder import state_folder
from hitpaw_async.batch.journal.watermark import MARK_BYTES_MAX, Mark, path_in, path_line, require_newest, require_whole
from hitpaw_async.errors import JournalBusyError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCRATCH_SETTING", "Claim", "Holder", "set_setting"]

_LOG = logging.getLogger("hitpaw_async")

HOLDER_SETTING: Final = "holder"
PATH_SETTING: Final = "path"
SCRATCH_SETTING: Final = "scratch"
"""Set in a copy that is only planned on: nothing outside of it follows it."""

STATE_FOLDER: Final = "journals"
_LINES_BYTES_MAX: Final = 1 << 16
_ASKED_FOR_S: Final = 0.5


@attrs.frozen
class Holder:
    """Who works on a journal."""

    token: str
    pid: int
    host: str

    @classmethod
    def new(cls) -> Holder:
        """This process, with a token that no other has."""
        return cls(secrets.token_hex(8), os.getpid(), socket.gethostname())

    def to_text(self) -> str:
        """The setting's value."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def in_journal(cls, path: Path) -> Holder | None:
        """Who has a journal open for work, as it says itself; None where that can't be read."""
        try:
            address = f"{path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=_ASKED_FOR_S)) as connection:
                query = "SELECT value FROM settings WHERE name = ?"
                return cls.from_text(connection.execute(query, (HOLDER_SETTING,)).fetchone()[0])
        except (sqlite3.Error, TypeError, ValueError):
            return None

    @classmethod
    def from_text(cls, text: str) -> Holder:
        """The holder of a setting's value.

        Raises:
            ValueError: It is none.
        """
        match json.loads(text):
            case {"token": str(token), "pid": int(pid), "host": str(host)}:
                return cls(token, pid, host)
        raise ValueError(text)


def set_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep a text in a journal."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


def _setting(connection: sqlite3.Connection, name: str) -> object:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


class Claim:
    """The claim on the journal `path`, which must be free of links.

    Raises:
        JournalBusyError: Another process has one.
        JournalError: The journal has lost what it had, or can't be locked.
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._holder = Holder.new()
        self._lock: FileLock | None = None
        self._database: DatabaseLock | None = None
        self._outside: FileLock | None = None
        self._mark: Mark | None = None
        self.transaction = threading.RLock()
        """Held during a transaction: no child is forked with half of one."""
        self.is_inherited = False
        """Whether this is a child that was forked, to which nothing of this belongs."""
        with self._named_holder():
            try:
                self._take()
            except BaseException:
                self.release()
                raise
        _CLAIMS.add(self)

    def _take(self) -> None:
        self._lock = FileLock(self._lock_path)
        self._beside = Mark.from_bytes(self._lock.read(MARK_BYTES_MAX))
        if not self._path.is_file() or not self._path.stat().st_size:
            # Before SQLite sees it, which would throw a -wal file away that the content is perhaps in.
            self._require_whole(None)
        self._database = DatabaseLock(self._path)

    @contextlib.contextmanager
    def _named_holder(self) -> Iterator[None]:
        try:
            yield
        except JournalBusyError as error:
            holder = Holder.in_journal(self._path)
            if holder is None:
                raise
            text = f"{error} It is process {holder.pid} on {ascii(holder.host)[1:-1]}."
            raise JournalBusyError(text, pid=holder.pid, host=holder.host) from None

    def _require_whole(self, found: Mark | None) -> None:
        require_whole(str(self._path), str(self._lock_path), mark=self._beside, found=found)

    def require_whole(self, connection: sqlite3.Connection, found: Mark | None) -> None:
        """Refuse a journal that has lost commits, or of which this is another name or another copy.

        Raises:
            JournalBusyError: Another process works on a copy of it.
            JournalError: It must not be worked on.
        """
        self._require_whole(found)
        if found is not None and found.has_id and _setting(connection, SCRATCH_SETTING) is None:
            self._require_one_name(connection)
            with self._named_holder():
                self._lock_outside(found)

    def _require_one_name(self, connection: sqlite3.Connection) -> None:
        """SQLite keeps what is unfinished beside a name: by a second one, it would not be seen."""
        try:
            known = json.loads(str(_setting(connection, PATH_SETTING)))
            first = Path(known)
            is_same_file = first.samefile(self._path)
            is_same_name = first.name == self._path.name and first.parent.samefile(self._path.parent)
        except (OSError, ValueError, TypeError, RecursionError):
            return  # never opened before, or moved
        if is_same_file and not is_same_name:
            raise JournalError(
                f"{self._path} is another name (a hard link or a mount) of the journal {ascii(known)[1:-1]}. Use that "
                "one: by two names of one file, what was paid for can be lost."
            )

    def _lock_outside(self, found: Mark) -> None:
        """Lock the mark in the state directory. Without one, no older copy is recognised: that is said, and borne."""
        try:
            path = state_folder(STATE_FOLDER) / found.journal_id
            self._outside = FileLock(path)
        except JournalBusyError:
            raise
        except (OSError, JournalError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            _LOG.warning(
                "Nothing is kept of the journal %s outside of its folder, so an older copy of it, from a backup, would "
                "not be recognised: %s",
                self._path,
                reason,
            )
            return
        data = self._outside.read(_LINES_BYTES_MAX)
        mark = Mark.from_bytes(data)
        require_newest(str(self._path), str(path), mark=mark, found=found, last_path=path_in(data))

    def begin(self, connection: sqlite3.Connection, found: Mark | None, *, names: tuple[str, str]) -> Mark:
        """Write down who has the journal, and mark it. In a transaction of the caller's.

        Args:
            connection: The journal.
            found: What the journal says of itself.
            names: Of the settings with its id and the number of its commits.
        """
        mark = found
        if mark is None or not mark.journal_id:
            mark = Mark(secrets.token_hex(8), 0)
            for name, value in zip(names, (mark.journal_id, "0"), strict=True):
                set_setting(connection, name, value)
        set_setting(connection, HOLDER_SETTING, self._holder.to_text())
        set_setting(connection, PATH_SETTING, json.dumps(str(self._path)))
        is_scratch = _setting(connection, SCRATCH_SETTING) is not None
        if self._outside is None and not is_scratch and (found is None or not found.journal_id):
            self._lock_outside(mark)
        return mark

    def keep_first(self, mark: Mark) -> None:
        """Keep the mark of an opening, so that it is sure to be there.

        Raises:
            OSError: It can't be written.
        """
        assert self._lock is not None
        self._mark = mark
        self._lock.write(mark.to_bytes())
        self._lock.flush()
        if self._outside is not None:
            with self._warned(self._outside):
                self._outside.write(mark.to_bytes() + path_line(str(self._path)))
                self._outside.flush()

    def keep(self, mark: Mark) -> None:
        """Keep the mark of a commit, after it: unflushed, it may be behind the journal and never ahead of it."""
        self._mark = mark
        for lock in (self._lock, self._outside):
            if lock is not None:
                with self._warned(lock):
                    lock.write(mark.to_bytes())

    @contextlib.contextmanager
    def _warned(self, lock: FileLock) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # The commit is on disk. A mark that stays behind finds fewer losses, and calls no sound journal lost.
            _LOG.warning("The mark in %s could not be written (%s). Check the disk.", lock.path, error)

    def require_held(self) -> None:
        """Check that the journal is still this process's own: before each transaction.

        Raises:
            JournalError: It is not. Nothing may be submitted any more.
        """
        if self.is_inherited:
            raise JournalError(
                f"The journal {self._path} belongs to the process that opened it (process {self._holder.pid}), of "
                "which this one is a fork. Open a batch of its own here, once that one has ended."
            )
        assert self._lock is not None
        assert self._database is not None
        if not self._database.is_there():
            raise JournalError(
                f"The journal {self._path} was moved, removed or replaced while a batch worked on it. Nothing more is "
                "submitted. Put it back where it was (not a copy), and resume."
            )
        if not self._lock.is_there():
            self._renew_lock()

    def _renew_lock(self) -> None:
        """Somebody removed the lock file: make it anew. Without one, only the lock on the journal keeps others out."""
        assert self._lock is not None
        assert self._database is not None
        try:
            self._lock.renew()
            if self._mark is not None:
                self._lock.write(self._mark.to_bytes())
        except (JournalError, OSError):
            if self._database.is_locked:
                return  # the next transaction tries again
            raise JournalError(
                f"The lock file {self._lock_path} was removed or replaced while a batch worked on the journal: another "
                "process may work on it. Nothing more is submitted. See that it is the only one, and resume."
            ) from None

    def require_token(self, connection: sqlite3.Connection) -> None:
        """Check that no other process has taken the journal over: within each transaction.

        Raises:
            JournalError: One has.
        """
        said = _setting(connection, HOLDER_SETTING)
        if said == self._holder.to_text():
            return
        try:
            other = Holder.from_text(str(said))
            who = f"process {other.pid} on {ascii(other.host)[1:-1]}"
        except ValueError:
            who = "another program"
        raise JournalError(
            f"The journal {self._path} was taken over by {who} while a batch worked on it. Nothing more is submitted "
            "here: let that one go on, or end it and resume."
        )

    def release(self) -> None:
        """Let go, after the connection was closed. Not for a child that was forked: it holds nothing."""
        _CLAIMS.discard(self)
        if self.is_inherited:
            return
        for lock in (self._outside, self._lock, self._database):
            if lock is not None:
                lock.release()
        self._outside = self._lock = self._database = None

    def disinherit(self) -> None:
        """In a child that was forked: nothing of this is its own. What it has inherited is closed, not unlocked."""
        self.is_inherited = True
        for lock in (self._outside, self._lock, self._database):
            if lock is not None:
                lock.forget()


_CLAIMS: Final[weakref.WeakSet[Claim]] = weakref.WeakSet()

_held_at_fork: Final[list[Claim]] = []


def _before_fork() -> None:
    _held_at_fork[:] = list(_CLAIMS)
    for claim in _held_at_fork:
        claim.transaction.acquire()


def _after_fork_in_parent() -> None:
    for claim in _held_at_fork:
        claim.transaction.release()
    _held_at_fork.clear()


def _after_fork_in_child() -> None:
    for claim in _held_at_fork:
        claim.disinherit()
    _after_fork_in_parent()
    _CLAIMS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
