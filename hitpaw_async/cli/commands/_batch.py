"""Running a batch to its end, and its last words."""

import os
from pathlib import Path

import anyio

from hitpaw_async.cli.output import tables
from hitpaw_async.cli.output.messages import (
    complain,
    hints,
    summary_text,
)
from hitpaw_async.cli.run import BatchRun
from hitpaw_async.cli.settings.batch import (
    BatchSettings,
    kept_settings,
)

__all__ = ["is_same_host", "run_batch", "warn_of_changes"]


def run_batch(run: BatchRun) -> int:
    ending = anyio.run(run.run)
    if not run.is_json and not run.is_quiet:
        tables.print_prose(summary_text(ending))
    for hint in hints(ending):
        complain(hint)
    if ending.is_stuck:
        # The interpreter's end would wait for the thread that waits for a terminal or a reader.
        os._exit(ending.exit_code)
    return ending.exit_code


def warn_of_changes(journal: Path, settings: BatchSettings) -> None:
    """Say where a batch is about to go on differently from how it was started."""
    kept = kept_settings(journal)
    if kept is None:
        return
    if not is_same_host(settings.base_url, kept.base_url):
        complain(f"warning: this batch was at {kept.base_url}; its jobs are asked for at {settings.base_url} now")


def is_same_host(one: str, other: str) -> bool:
    return one.strip().rstrip("/") == other.strip().rstrip("/")
