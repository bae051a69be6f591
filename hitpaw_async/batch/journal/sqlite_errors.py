"""What SQLite says that goes wrong, in words that say what to do; and what is borne, for how long."""

from __future__ import annotations

import errno
import logging
import math
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.batch.journal.store import JournalFullError
from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["HELD_ASIDE_S", "TRY_S", "Patience", "code_of", "translated"]

_LOG = logging.getLogger("hitpaw_async")

HELD_ASIDE_S: Final = 10.0
"""How long opening and looking wait for another program that holds the journal (a browser of databases, a backup)."""

HELD_MAX_S: Final = 3600.0
"""How long a transaction waits for it: there may be the id of a job in it that has been paid for. Meanwhile nothing is
submitted, for that needs a transaction, too."""

TRY_S: Final = 0.25
"""How long SQLite waits by itself: after that it is looked whether the batch is to stop."""

HURRIED_S: Final = 1.0
"""How long a transaction waits at least, also once the batch is to stop: somebody may be just looking."""

_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)


_DAMAGED: Final = "It is damaged: restore a copy. Submit none of its videos again before you know what was charged."


def code_of(error: BaseException) -> int | None:
    """SQLite's own number of an error, without the details; None where it is none of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _is_full(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL_ERRNOS
    return code_of(error) == sqlite3.SQLITE_FULL


def _advice_on(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, sqlite3.Error) and code_of(error) is None:
        return _DAMAGED  # Python's own: a text that is none
    match code_of(error):
        case sqlite3.SQLITE_NOTADB:
            return "Name the file that a batch wrote; if this is the one, it is damaged: bring a copy of it back."
        case sqlite3.SQLITE_BUSY:
            return "Another program holds it (a browser of databases, a backup): close that, and go on."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_ERROR:
            return _DAMAGED
    return "Check the disk's space and the permissions; nothing is submitted without a journal."


@contextmanager
def translated(path: Path, what: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into the library's errors.

    Args:
        path: The journal.
        what: What could not be done with it, e.g. "opened".

    Raises:
        JournalError: It could not.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        kind = JournalFullError if _is_full(error) else JournalError
        reason = error.strerror if isinstance(error, OSError) else error
        raise kind(f"The journal {path} could not be {what} ({reason}). {_advice_on(error)}") from error


@attrs.define(eq=False)
class Patience:
    """Does what another program that holds the journal keeps from being done: tries again, and says so, for long."""

    _path: Path
    _give_up_at_s: float = math.inf

    def hurry(self, grace_s: float) -> None:
        """From now on, wait that long. Called from another thread than the one that waits."""
        self._give_up_at_s = min(self._give_up_at_s, time.monotonic() + grace_s)

    def apply(self, act: Callable[[], object], *, said_every_s: float) -> None:
        """Do `act`, as soon as it can be done. SQLite itself waits for `TRY_S` each time.

        Raises:
            sqlite3.Error: It failed for another reason, or for too long.
        """
        began_at_s = time.monotonic()
        said_at_s = 0.0
        while True:
            try:
                act()
            except sqlite3.OperationalError as error:
                waited_s = time.monotonic() - began_at_s
                is_late = time.monotonic() > self._give_up_at_s and waited_s > HURRIED_S
                if code_of(error) != sqlite3.SQLITE_BUSY or waited_s > HELD_MAX_S:
                    raise
                if is_late:
                    _LOG.warning(
                        "Another program held the journal %s until the batch had to stop: something was not written "
                        "down. What was under way counts as uncertain, and what is paid for is asked for again, when "
                        "it is opened again.",
                        self._path,
                    )
                    raise
                if waited_s < said_at_s + said_every_s:
                    continue
                said_at_s = waited_s
                _LOG.warning(
                    "Another program holds the journal %s, for %d s now: a browser of databases, a backup, a copy "
                    "under way. Close it: nothing can be written down before, so nothing more is submitted.",
                    self._path,
                    waited_s,
                )
            else:
                return
