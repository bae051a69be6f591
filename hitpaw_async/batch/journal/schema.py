"""The tables of a journal in SQLite: their versions, and the queries on them."""

from __future__ import annotations

from typing import Final

from hitpaw_async.batch.journal.rows import (
    CHANGING,
    COLUMNS,
)

__all__ = [
    "APPLICATION_ID",
    "BOOKS",
    "COLUMNS_ADDED",
    "COMMITS_SETTING",
    "ID_SETTING",
    "INSERT",
    "MIGRATIONS",
    "PAGES",
    "SCHEMA_VERSION",
    "UPDATE",
    "UPDATE_AND_FORGET",
    "selected_columns",
]

APPLICATION_ID: Final = 0x48507741
"""Marks the file as ours ("HPwA")."""

SCHEMA_VERSION: Final = 3

MIGRATIONS: Final = (
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

COLUMNS_ADDED: Final = {"converting_at": 2, "completed_at": 2, "minute_credits": 3}
"""Columns that older schema versions lack, with the version that brought each."""

ID_SETTING: Final = "journal"

COMMITS_SETTING: Final = "commits"
"""Settings that the mark in the lock file is compared with."""

INSERT: Final = f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608

UPDATE: Final = f"UPDATE items SET {', '.join(f'{name} = ?' for name in CHANGING)} WHERE key = ? AND version < ?"  # noqa: S608

UPDATE_AND_FORGET: Final = UPDATE.replace("SET", "SET request = ?,", 1)

PAGES: Final = (
    "WHERE state = ? AND priority = ? AND sequence > ? ORDER BY sequence LIMIT ?",
    "WHERE state = ? AND priority < ? ORDER BY priority DESC, sequence LIMIT ?",
)
"""What comes next of a state: of the cursor's priority, then of lower ones."""

BOOKS: Final = (
    "SELECT state, count(*), sum(charged_credits + written_off_credits), sum(reserved_credits), max(sequence) FROM"
    " (SELECT * FROM items WHERE sequence > ? ORDER BY sequence LIMIT ?) GROUP BY state"
)


def selected_columns(version: int) -> str:
    """The columns as a query names them: a file that is only looked at is not migrated, and may lack some."""
    return ", ".join(f"NULL AS {name}" if version < COLUMNS_ADDED.get(name, 1) else name for name in COLUMNS)
