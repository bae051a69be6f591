"""What a journal had when it was last written, kept in its lock file, so that one that lost it is not taken for new.

The mark is written after a commit, never before, so a sound journal is never behind it. A journal that is behind has
lost commits: it was emptied, its -wal file is gone or cut off, or an older copy was put in its place. A journal that
was moved or copied without its lock file has no mark, and nothing to compare with.
"""

from __future__ import annotations

from typing import Final

import attrs

from hitpaw_async.errors import JournalError

__all__ = ["MARK_BYTES_MAX", "Mark", "require_whole"]

MARK_BYTES_MAX: Final = 128

_PREFIX: Final = "hitpaw-journal"


@attrs.frozen
class Mark:
    """Which journal it is, and how many commits it has."""

    journal_id: str
    commits: int

    def to_bytes(self) -> bytes:
        """Always of one length: written over an older mark, it needs no room on the disk."""
        return f"{_PREFIX} {self.journal_id} {self.commits:020d}\n".encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Mark | None:
        """The mark in a lock file; None where there is none, or none that can be read (the power may have failed)."""
        match data.decode("ascii", "replace").split():
            case [prefix, journal_id, commits] if prefix == _PREFIX and commits.isdecimal() and len(commits) == 20:
                return cls(journal_id, int(commits))
        return None


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
