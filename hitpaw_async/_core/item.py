"""An item of a batch as a value: the row that a journal keeps of it, and why it is not DONE."""

from __future__ import annotations

from typing import Final

import attrs

from hitpaw_async.models import ExportRequest, ItemState

__all__ = ["Item", "Problem", "may_pass"]


@attrs.frozen
class Problem:
    """Reason an item is not DONE, as a journal keeps it."""

    kind: str
    """The exception's class name."""
    message: str
    code: int | None = None
    """The vendor's error code, if it gave one; for a source that could not be fetched, the HTTP status of its host."""


@attrs.frozen(kw_only=True)
class Item:
    """One video of a batch, as in its journal row. Times are seconds since the epoch."""

    key: str
    request: ExportRequest
    state: ItemState = ItemState.QUEUED
    target: str | None = None
    """The result's file name in the output folder, decided before anything is spent."""
    reserved_credits: int = 0
    charged_credits: int = 0
    written_off_credits: int = 0
    minute_credits: int | None = None
    """Price of a whole minute, if only the length was unknown and the vendor told no charge: see `giveback`."""
    job_id: str | None = None
    attempts: int = 0
    """Number of intents recorded."""
    hook_digest: str | None = None
    """Digest of the webhook path of the last attempt. The path itself is stored nowhere."""
    resubmissions: int = 0
    """Number of times a person chose to pay again."""
    problem: Problem | None = None
    path: str | None = None
    queued_at: float | None = None
    submitted_at: float | None = None
    converting_at: float | None = None
    """Time its job was first seen CONVERTING, if the same process also saw it COMPLETED."""
    completed_at: float | None = None
    """Time its job was seen COMPLETED and the download began."""
    finished_at: float | None = None
    run: int = 0
    """Number of the journal's opening that last changed the item."""
    version: int = 0
    """Grows with every change: an older version never replaces a newer one."""

    @property
    def spent_credits(self) -> int:
        """Credits that count as spent on the item."""
        return self.charged_credits + self.written_off_credits


_OF_THE_SOURCE: Final = frozenset({"InvalidVideoURLError", "TransportError"})
"""Kinds of problems caused by a source's address or its host, not by the request."""

_TRANSIENT_STATUSES: Final = frozenset({401, 403, 404, 408, 410, 423, 425, 429})
"""HTTP statuses by which a source's host says "not now" or "not you": a new signature or an upload may help."""


def may_pass(problem: Problem | None) -> bool:
    """Tell if the reason an item was refused for may be gone by the next run: its source could not be fetched.

    A broken limit and a file that is not a video stay so.
    """
    if problem is None:
        return False
    if problem.kind == "MediaError":
        return problem.code in _TRANSIENT_STATUSES or (problem.code or 0) >= 500
    return problem.kind in _OF_THE_SOURCE
