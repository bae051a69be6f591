"""JSON Lines on standard output: the promised events, one compact line each, written in a thread and flushed."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import attrs

from hitpaw_async._format import own_columns, row_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitpaw_async.batch.events.statistics import BatchStatistics
    from hitpaw_async.models import Outcome

__all__ = ["JsonLines", "origin_fields", "outcome_event", "summary_event", "write_line"]


_OF_OUTCOMES: Final = ("key", "video_url", "state", "job_id", "credits", "path", "error")


def outcome_event(outcome: Outcome) -> dict[str, Any]:
    """The line of an item: the promised fields of `Outcome.to_dict`, and its row and columns, if it has some."""
    fields = outcome.to_dict()
    line = {"event": "outcome", **{name: fields[name] for name in _OF_OUTCOMES}}
    return {**line, **(origin_fields(outcome.request.metadata) if fields["metadata"] else {})}


def origin_fields(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Where in a list an item is from, and a person's own columns: in an outcome's line where there are some."""
    return {"row": row_number(metadata), "metadata": own_columns(metadata)}


def summary_event(statistics: BatchStatistics) -> dict[str, Any]:
    """What the last line says: where the batch stands, over all runs of its journal."""
    return {
        "event": "summary",
        "done": statistics.done,
        "failed": statistics.failed,
        "rejected": statistics.rejected,
        "skipped": statistics.skipped,
        "uncertain": statistics.uncertain,
        "unfinished": statistics.unfinished,
        "total": statistics.total,
        "credits_spent": statistics.credits_spent,
        "credits_reserved": statistics.credits_reserved,
        "polls": statistics.polls,
    }


def write_line(event: dict[str, Any]) -> None:
    """Write an event. Blocks while nobody reads.

    Raises:
        OSError: Standard output can't be written to: nobody reads it any more, or its disk is full.
    """
    sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    sys.stdout.flush()


@attrs.define(eq=False)
class JsonLines:
    """Events on their way out. A reader that pauses holds up whoever awaits `write`, and nobody else."""

    is_stuck: bool = False
    """Whether a write was given up because nobody read: its thread is still there."""
    _turn: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    async def write(self, event: dict[str, Any], *, timeout_s: float | None = None) -> None:
        """Write an event after those before it.

        Args:
            event: What the line says.
            timeout_s: After so long it is given up, in seconds; None waits for the reader as long as it takes.

        Raises:
            OSError: Standard output can't be written to.
        """
        with anyio.move_on_after(timeout_s) as scope:
            await anyio.to_thread.run_sync(self._write, event, abandon_on_cancel=True)
        self.is_stuck = scope.cancelled_caught

    def _write(self, event: dict[str, Any]) -> None:
        # A write whose caller was cancelled may still be at it.
        with self._turn:
            write_line(event)
