"""What SQLite says that goes wrong, in words that say what to do; and what is borne, for how long."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hitpaw_async.batch.journal.group_commit import JournalFullError
from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["HELD_ASIDE_S", "code_of", "patiently", "translated"]

_LOG = logging.getLogger("hitpaw_async")

HELD_ASIDE_S: Final = 10.0
"""How long opening and looking wait for another program that holds the journal (a browser of databases, a backup)."""

HELD_MAX_S: Final = 3600.0
"""How long a transaction waits for it: there may be the id of a job in it that has been paid for. Meanwhile nothing is
submitted, for that needs a transaction, too."""

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


def patiently(path: Path, act: Callable[[], object]) -> None:
    """Do what another program that holds the journal keeps from being done: try again, and say so, for long.

    SQLite itself waits for `HELD_ASIDE_S` each time.

    Raises:
        sqlite3.Error: It failed for another reason, or for too long.
    """
    began_at_s = time.monotonic()
    while True:
        try:
            act()
        except sqlite3.OperationalError as error:
            waited_s = time.monotonic() - began_at_s
            if code_of(error) != sqlite3.SQLITE_BUSY or waited_s > HELD_MAX_S:
                raise
            _LOG.warning(
                "Another program holds the journal %s, for %d s now: a browser of databases, a backup, a copy under "
                "way. Close it: nothing can be written down before, so nothing more is submitted.",
                path,
                waited_s,
            )
        else:
            return
