"""What happens in a batch, as values: progress displays, JSON lines, logs, telemetry and services read the same events.

An item's events come in this order, some of them not at all, STATUS and DOWNLOADING several times:

    QUEUED ─> RESERVED ─> SUBMITTING ─> SUBMITTED ─> STATUS ─> DOWNLOADING ─> FINISHED
                              └───────> UNCERTAIN ─> SUBMITTED, where its job is found

A run that comes to its end has one FINISHED for every item that it took up. An item that a person gives up, that a
later run reports again, or that a batch in the background tries again, has another.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import attrs

from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.models import ItemState, JobStatus, Outcome

__all__ = ["BatchEvent", "EventKind", "WaitReason"]


class EventKind(StrEnum):
    """What kind of thing happened."""

    SNAPSHOT = "snapshot"
    """The first event of every `BatchScheduler.events()`: `statistics` say where the batch stands. After it comes one
    event for each item that is under way: how it stands."""
    QUEUED = "queued"
    """An item is in the journal and waits: new, to be tried again, or to be paid again by a person's choice. Told once:
    a run that takes up what waits says nothing before it is RESERVED."""
    RESERVED = "reserved"
    """Its worst case is set aside."""
    SUBMITTING = "submitting"
    """Its intent is durable, its export is about to leave."""
    SUBMITTED = "submitted"
    """Its `job_id` is durable: it is paid for."""
    UNCERTAIN = "uncertain"
    """The answer to its export was lost. Where there are webhooks it waits for one, else FINISHED follows at once."""
    STATUS = "status"
    """The vendor says another status of its job."""
    DOWNLOADING = "downloading"
    """Its result is being brought to disk; `received_bytes` of `total_bytes` are there."""
    FINISHED = "finished"
    """`outcome` says how it ended this run. No reader ever misses one."""
    WAITING = "waiting"
    """An item waits for `waiting_for`."""
    BUDGET = "budget"
    """Credits were reserved, spent or given back."""
    STOPPED = "stopped"
    """The batch submits nothing more in this run; `detail` says why."""
    ENDED = "ended"
    """A run is over; `detail` says what ended it early, if anything did."""


class WaitReason(StrEnum):
    """What an item waits for, other than its turn."""

    BUDGET = "budget"
    """Room in the budget: reservations are open that may yet be given back."""
    WEBHOOK = "webhook"
    """A webhook that tells the job of an export whose answer was lost."""
    VENDOR = "vendor"
    """Room at the vendor, which takes no more for now (HTTP 429): a job that is there must end first."""


@attrs.frozen(kw_only=True)
class BatchEvent:
    """One thing that happened."""

    kind: EventKind
    at: float
    """Seconds since the epoch."""
    number: int = 0
    """Grows by one with every event of a batch, from 1, as long as its journal is open."""
    key: str | None = None
    """The item, where it is about one."""
    label: str | None = None
    """What to call the item on a screen: its result's file name, else its source's."""
    state: ItemState | None = None
    """The item's state."""
    job_id: str | None = None
    """The item's job, once it is known."""
    status: JobStatus | None = None
    spent_credits: int = 0
    """Spent by the whole batch so far, all runs of its journal."""
    reserved_credits: int = 0
    """Reserved by the whole batch now."""
    left_credits: int | None = None
    """What the budget still has; None without a budget."""
    received_bytes: int | None = None
    total_bytes: int | None = None
    waiting_for: WaitReason | None = None
    detail: str | None = None
    outcome: Outcome | None = None
    """How the item ended (FINISHED)."""
    statistics: BatchStatistics | None = None
    """Where the batch stands (SNAPSHOT and ENDED)."""
    dropped: int = 0
    """How many events this reader missed just before this one, because it was slow. Figures that a newer figure
    replaced (bytes, credits) don't count."""

    @property
    def is_figure(self) -> bool:
        """Whether a newer one of its kind and item makes it worthless."""
        return self.kind is EventKind.BUDGET or self.received_bytes is not None

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON has it: what is None is left out, and no URL, path or secret is in it.

        `kind` is called `event`. In place of `outcome` stand `credits`, `file` (the result's name), `error` (`type`,
        `message`, `code`), `submitted_at` and `finished_at`, as in `Outcome.to_dict`; `statistics` has its own fields
        and their `total`.
        """
        fields: dict[str, Any] = {"event": str(self.kind)}
        for name in _PLAIN_FIELDS:
            value = getattr(self, name)
            if value is not None:
                fields[name] = str(value) if isinstance(value, StrEnum) else value
        if self.dropped:
            fields["dropped"] = self.dropped
        if self.outcome is not None:
            fields |= _outcome_fields(self.outcome)
        if self.statistics is not None:
            fields["statistics"] = {**attrs.asdict(self.statistics), "total": self.statistics.total}
        return fields


_PLAIN_FIELDS: Final = tuple(
    field.name for field in attrs.fields(BatchEvent) if field.name not in ("kind", "outcome", "statistics", "dropped")
)

_OF_OUTCOMES: Final = ("credits", "file", "error", "submitted_at", "finished_at")
"""Fields of an outcome that an event has beside its own: no URL, path or column of a person's."""


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    fields = outcome.to_dict()
    return {name: fields[name] for name in _OF_OUTCOMES if fields[name] is not None}
