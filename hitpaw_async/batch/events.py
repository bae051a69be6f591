"""What happens in a batch, as values: progress displays, JSON lines, logs and services all read the same events."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from hitpaw_async.models import ItemState, JobStatus

__all__ = ["BatchEvent", "EventKind"]


class EventKind(StrEnum):
    """What kind of thing happened."""

    STATE = "state"
    """An item is in another state (or new)."""
    STATUS = "status"
    """The vendor says another status of an item's job."""
    DOWNLOAD = "download"
    """Bytes of a result arrived."""
    STOPPED = "stopped"
    """The batch submits nothing more in this run; `detail` says why."""


@attrs.frozen(kw_only=True)
class BatchEvent:
    """One thing that happened."""

    kind: EventKind
    at: float
    """Seconds since the epoch."""
    key: str | None = None
    """The item, where it is about one."""
    label: str | None = None
    """What to call the item on a screen: its result's file name, else its source's."""
    state: ItemState | None = None
    status: JobStatus | None = None
    spent_credits: int = 0
    """Spent by the whole batch so far, all runs of its journal."""
    reserved_credits: int = 0
    """Reserved by the whole batch now."""
    received_bytes: int | None = None
    total_bytes: int | None = None
    detail: str | None = None
