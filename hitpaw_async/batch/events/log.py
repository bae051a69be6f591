"""A batch's events as log records of the logger `hitpaw_async`, with the event's fields for structured logs.

Ends are logged at INFO (FINISHED, STOPPED, ENDED), with the reason in their words, all else at DEBUG. A record's
`extra` has the fields of `BatchEvent.to_dict`, each as `hitpaw_` and its name, so that none gets in the way of
`logging`'s own:

| field | |
|---|---|
| `hitpaw_event` | the kind, e.g. `finished` |
| `hitpaw_number`, `hitpaw_at` | the event's number; seconds since the epoch |
| `hitpaw_key`, `hitpaw_label`, `hitpaw_state`, `hitpaw_job_id` | the item, where it is about one |
| `hitpaw_status` | the vendor's status of its job |
| `hitpaw_spent_credits`, `hitpaw_reserved_credits`, `hitpaw_left_credits` | the books of the batch |
| `hitpaw_received_bytes`, `hitpaw_total_bytes` | of a result |
| `hitpaw_credits`, `hitpaw_file`, `hitpaw_error` | how it ended; `hitpaw_error` has `type`, `message` and `code` |
| `hitpaw_submitted_at`, `hitpaw_finished_at` | when the vendor accepted it, and when it ended (ISO 8601) |
| `hitpaw_waiting_for`, `hitpaw_detail`, `hitpaw_statistics` | as in `BatchEvent` |

None of them has a key of the API, a path, or a URL's query.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hitpaw_async.batch.events.event import EventKind

if TYPE_CHECKING:
    from hitpaw_async.batch.events.event import BatchEvent

__all__ = ["is_logged", "log_event"]

_LOG = logging.getLogger("hitpaw_async")

_ENDS: Final = frozenset({EventKind.FINISHED, EventKind.STOPPED, EventKind.ENDED})


def _level(kind: EventKind) -> int:
    return logging.INFO if kind in _ENDS else logging.DEBUG


def is_logged(kind: EventKind) -> bool:
    """Whether somebody wants events of this kind in the log."""
    return _LOG.isEnabledFor(_level(kind))


def log_event(event: BatchEvent) -> None:
    """Log one event, where somebody wants it."""
    if not is_logged(event.kind):
        return
    extra = {f"hitpaw_{name}": value for name, value in event.to_dict().items()}
    subject = " ".join(str(part) for part in (event.kind, event.label, event.state) if part is not None)
    reason = _reason(event)
    _LOG.log(_level(event.kind), "%s%s", subject, "" if reason is None else f": {reason}", extra=extra)


def _reason(event: BatchEvent) -> str | None:
    """Why it is so, if there is anything to say."""
    error = None if event.outcome is None else event.outcome.error
    return event.detail if error is None else f"{type(error).__name__}: {error}"
