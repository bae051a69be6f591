"""What a journal had when it was last written, kept outside of it, so that one that lost it is not taken for new.

The mark is written after a commit, never before, so a sound journal is never behind it. A journal that is behind has
lost commits: it was emptied, its -wal file is gone or cut off, or an older copy was put in its place. There are two:
one in the lock file beside the journal, and one in the user's state directory, which a backup of the journal's folder
doesn't bring back with it. A journal that comes from another machine has neither, and nothing to compare with.
"""

from __future__ import annotations

import json
import re
from typing import Final

import attrs

from hitpaw_async.errors import JournalError

__all__ = ["MARK_BYTES_MAX", "MARK_PREFIX", "Mark", "path_in", "path_line", "require_newest", "require_whole"]

MARK_BYTES_MAX: Final = 128

MARK_PREFIX: Final = "hitpaw-journal"

_ID: Final = re.compile(r"[0-9a-f]{16}")


@attrs.frozen
class Mark:
    """Which journal it is, and how many commits it has."""

    journal_id: str
    commits: int

    @property
    def has_id(self) -> bool:
        """Whether the id is one of ours, which may be part of a file's name."""
        return _ID.fullmatch(self.journal_id) is not None

    def to_bytes(self) -> bytes:
        """Always of one length: written over an older mark, it needs no room on the disk."""
        return f"{MARK_PREFIX} {self.journal_id} {self.commits:020d}\n".encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Mark | None:
        """The mark in a lock file; None where there is none, or none that can be read (the power may have failed)."""
        match data.partition(b"\n")[0].decode("ascii", "replace").split():
            case [prefix, journal_id, commits] if prefix == MARK_PREFIX and commits.isdecimal() and len(commits) == 20:
                return cls(journal_id, int(commits))
        return None


def path_line(path: str) -> bytes:
    """The line behind a mark that says where the journal lay."""
    return f"{json.dumps(path)}\n".encode("ascii")


def path_in(data: bytes) -> str | None:
    """Where a journal lay when its mark was written; None where that can't be read."""
    try:
        path = json.loads(data.split(b"\n")[1])
    except (ValueError, IndexError, RecursionError):
        return None
    return path if isinstance(path, str) else None


def require_whole(journal: str, lock: str, *, mark: Mark | None, found: Mark | None) -> None:
    """Refuse a journal that has lost what its mark says it had.

    Args:
        journal: The journal's path, for the message.
        lock: The lock file's path, for the message.
        mark: What the lock file says; None where it says nothing.
        found: What the journal says; None where it is empty or not there.

    Raises:
        JournalError: It has lost commits, or is another one.
    """
    if mark is None:
        return
    if found is None:
        lost = f"{journal} is empty, and had {mark.commits} commits when it was last written. Restore it from a copy."
    elif found.journal_id != mark.journal_id:
        lost = f"{journal} is not the journal that stood here before. Put that one back."
    elif found.commits < mark.commits:
        lost = (
            f"{journal} has {found.commits} of {mark.commits} commits: its newest part is lost (is its -wal file gone, "
            "or is this an older copy?). Restore the newest copy, with its -wal file."
        )
    else:
        return
    raise JournalError(
        f"{lost} Only if there is none, or if you mean it so, remove {lock}: what the journal does not know would then "
        "be submitted, and paid for, again."
    )


def require_newest(journal: str, kept: str, *, mark: Mark | None, found: Mark, last_path: str | None) -> None:
    """Refuse a journal that is older than what this user's programs have seen of it.

    Args:
        journal: The journal's path, for the message.
        kept: The path of the mark in the state directory, for the message.
        mark: What it says; None where it says nothing.
        found: What the journal says.
        last_path: Where the journal lay when it was written last.

    Raises:
        JournalError: It is older: a backup that was restored, or a copy of which another one was worked on.
    """
    if mark is None or found.commits >= mark.commits:
        return
    elsewhere = "" if last_path in (None, journal) else f" as {ascii(last_path)[1:-1]}"
    raise JournalError(
        f"{journal} is an older copy of a journal (restored from a backup?): it has {found.commits} of the "
        f"{mark.commits} commits that were written on this computer{elsewhere}. It does not know what has been paid "
        "for since, and would pay for that again, so nothing was submitted. Use the newest copy. If it is lost, first "
        "compare the results that you have, and the jobs in your HitPaw account, with `hitpaw status`; to go on "
        f"knowingly, remove {kept}."
    )
