"""An item as its outcome: what a run yields, rebuilt from the journal where an earlier run found it out."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hitpaw_async import errors
from hitpaw_async._core.itemstate import Problem
from hitpaw_async.models import ItemState, Job, JobStatus, Outcome

if TYPE_CHECKING:
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.models import ExportRequest

__all__ = ["outcome_of", "problem_of"]

_STATUS_BY_STATE = {
    ItemState.SUBMITTED: JobStatus.WAITING,
    ItemState.FETCHING: JobStatus.COMPLETED,
    ItemState.DONE: JobStatus.COMPLETED,
    ItemState.FAILED: JobStatus.ERROR,
}


def problem_of(error: errors.HitPawError) -> Problem:
    """An error as a journal keeps it."""
    code = error.code if isinstance(error, errors.APIError) else None
    if isinstance(error, errors.MediaError):
        code = error.status_code
    return Problem(type(error).__name__, str(error), code)


def outcome_of(
    item: Item,
    *,
    request: ExportRequest | None = None,
    job: Job | None = None,
    error: errors.HitPawError | None = None,
) -> Outcome:
    """The outcome of an item.

    Args:
        item: The item in its last state.
        request: The request as it was given, where this run has it.
        job: The job as last seen in this run.
        error: Why it is not DONE, where this run found out.
    """
    seen = job if job is not None else _job_of(item)
    return Outcome(
        key=item.key,
        request=request or item.request,
        state=item.state,
        job=seen,
        credits=item.spent_credits or (0 if item.job_id is not None else None),
        path=None if item.path is None else Path(item.path),
        error=error if error is not None else _error_of(item),
        submitted_at=_moment(item.submitted_at),
        finished_at=_moment(item.finished_at),
    )


def _job_of(item: Item) -> Job | None:
    if item.job_id is None:
        return None
    status = _STATUS_BY_STATE.get(item.state, JobStatus.UNRECOGNIZED)
    return Job(job_id=item.job_id, status=status, status_text=status.value)


def _error_of(item: Item) -> errors.HitPawError | None:
    if item.problem is None:
        return None
    kind = getattr(errors, item.problem.kind, errors.HitPawError)
    if not (isinstance(kind, type) and issubclass(kind, errors.HitPawError)):
        kind = errors.HitPawError
    # An API error's HTTP status is not kept: its code is.
    status = {"status_code": item.problem.code} if issubclass(kind, errors.MediaError) else {}
    return kind.restored(
        item.problem.message, code=item.problem.code, request=item.request, job=_job_of(item), **status
    )


def _moment(seconds: float | None) -> datetime.datetime | None:
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
