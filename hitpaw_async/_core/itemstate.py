"""What an item of a batch is, and the only ways in which it may change.

The table below is the documentation and the code at once. An event that the table doesn't list for a state is a bug of
ours: `advance` raises, and nothing happens.

    QUEUED ─> RESERVED ─> SUBMITTING ─> SUBMITTED ─> FETCHING ─> DONE
       │         │            │ │ └──────────────┐       │
       ├─────────┤            │ └─> REJECTED     └──> FAILED
       │         └─> SKIPPED  └─> UNCERTAIN ─> SUBMITTED (bound) | FAILED (given up) | QUEUED (a person pays again)
       └─> REJECTED

SUBMITTING is the intent: it is durable before the first byte of an export leaves, so after a crash it means "perhaps".
SKIPPED ends a run; a later run queues it again. UNCERTAIN changes only when somebody knows more. DONE, FAILED and
REJECTED stay as they are until somebody looks again, which costs nothing: DONE and FAILED are SUBMITTED again, with the
job and the charge that they have, and REJECTED is QUEUED (a later run does that by itself where `may_pass`). A FAILED
item is paid again only where a person says so.

Money: `reserved_credits` is what the item has set aside, `charged_credits` what its accepted export counts as (less,
once a result shows that it can't have been as much),
`written_off_credits` what earlier attempts that nobody could settle count as. The books of a journal are the sums.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import attrs

from hitpaw_async._core.giveback import credits_at_most
from hitpaw_async.models import ExportRequest, ItemState

__all__ = [
    "TRANSITIONS",
    "Accepted",
    "AskedAgain",
    "Bound",
    "Completed",
    "Event",
    "GaveUp",
    "IllegalTransitionError",
    "Intended",
    "Item",
    "NotAccepted",
    "Problem",
    "Reconsidered",
    "Refused",
    "ReplyLost",
    "Reserved",
    "Restarted",
    "Resubmitted",
    "ResultLost",
    "Saved",
    "Skipped",
    "VendorFailed",
    "advance",
    "may_pass",
]


class IllegalTransitionError(AssertionError):
    """An event met a state that doesn't know it: a bug of ours, never of the world."""


@attrs.frozen
class Problem:
    """Why an item is not DONE, as it is kept in a journal."""

    kind: str
    """The exception's class name."""
    message: str
    code: int | None = None
    """The vendor's error code, where it gave one; of a source that could not be had, its host's HTTP status."""


@attrs.frozen(kw_only=True)
class Item:
    """One video of a batch, as its journal row has it. Times are seconds since the epoch."""

    key: str
    request: ExportRequest
    state: ItemState = ItemState.QUEUED
    target: str | None = None
    """The result's file name in the output folder, decided before anything is spent."""
    reserved_credits: int = 0
    charged_credits: int = 0
    written_off_credits: int = 0
    minute_credits: int | None = None
    """What a whole minute costs, where the length alone was unknown and the vendor told no charge: see `giveback`."""
    job_id: str | None = None
    attempts: int = 0
    """How often an intent was recorded."""
    hook_digest: str | None = None
    """The digest of the path on which a webhook about the last attempt would come in. The path is kept nowhere."""
    resubmissions: int = 0
    """How often a person chose to pay again."""
    problem: Problem | None = None
    path: str | None = None
    queued_at: float | None = None
    submitted_at: float | None = None
    converting_at: float | None = None
    """When its job was first seen CONVERTING, where the process that saw it also saw it COMPLETED."""
    completed_at: float | None = None
    """When its job was seen COMPLETED and the download began."""
    finished_at: float | None = None
    run: int = 0
    """The number of the journal's opening that touched the item last."""
    version: int = 0
    """Grows with every change: an older one never replaces a newer."""

    @property
    def spent_credits(self) -> int:
        """What counts as spent on the item."""
        return self.charged_credits + self.written_off_credits


@attrs.frozen
class Reserved:
    """The ledger set the worst case aside."""

    credits_upper: int
    minute_credits: int | None = None

    def changes(self, _: Item) -> dict[str, Any]:
        return {
            "reserved_credits": self.credits_upper,
            "minute_credits": self.minute_credits,
            "problem": None,
        }


@attrs.frozen
class Intended:
    """The connection stands; the first byte of the export is about to leave."""

    hook_digest: str | None = None

    def changes(self, item: Item) -> dict[str, Any]:
        return {"attempts": item.attempts + 1, "hook_digest": self.hook_digest}


@attrs.frozen
class NotAccepted:
    """An attempt certainly was not accepted: the body never left, or the vendor said "later"."""

    def changes(self, _: Item) -> dict[str, Any]:
        return {}


@attrs.frozen
class Accepted:
    """The vendor answered with a job id: it is paid for."""

    job_id: str
    at: float
    credits_told: int | None = None

    def changes(self, item: Item) -> dict[str, Any]:
        charged = item.reserved_credits if self.credits_told is None else self.credits_told
        return {
            "job_id": self.job_id,
            "submitted_at": self.at,
            "charged_credits": charged,
            "reserved_credits": 0,
            "minute_credits": item.minute_credits if self.credits_told is None else None,
            "problem": None,
        }


@attrs.frozen
class ReplyLost:
    """The export was sent and nobody knows what became of it. The reservation stays."""

    problem: Problem
    at: float

    def changes(self, _: Item) -> dict[str, Any]:
        return {"problem": self.problem, "finished_at": self.at}


@attrs.frozen
class Refused:
    """A limit, or the vendor, refused it: not charged."""

    problem: Problem
    at: float

    def changes(self, _: Item) -> dict[str, Any]:
        return {"problem": self.problem, "reserved_credits": 0, "finished_at": self.at}


@attrs.frozen
class Skipped:
    """It was not submitted in this run: no budget, no credits, a key that was refused, a vendor out of reach."""

    problem: Problem
    at: float

    def changes(self, _: Item) -> dict[str, Any]:
        return {"problem": self.problem, "reserved_credits": 0, "finished_at": self.at}


@attrs.frozen
class Completed:
    """The task call says COMPLETED; the result is to be brought to disk."""

    at: float
    converting_at: float | None = None

    def changes(self, item: Item) -> dict[str, Any]:
        return {"problem": None, "completed_at": self.at, "converting_at": self.converting_at or item.converting_at}


@attrs.frozen
class Saved:
    """The result is on disk, whole (or nobody asked for it on disk: no path)."""

    path: str | None
    at: float
    result_s: float | None = None
    """How long it lasts at most, in seconds, where that was read."""

    def changes(self, item: Item) -> dict[str, Any]:
        charged = credits_at_most(item.charged_credits, minute_credits=item.minute_credits, result_s=self.result_s)
        return {"path": self.path, "finished_at": self.at, "problem": None, "charged_credits": charged}


@attrs.frozen
class VendorFailed:
    """The task call says ERROR, or that there is no such job."""

    problem: Problem
    at: float
    is_charged: bool = True

    def changes(self, item: Item) -> dict[str, Any]:
        charged = item.charged_credits if self.is_charged else 0
        return {"problem": self.problem, "finished_at": self.at, "charged_credits": charged}


@attrs.frozen
class ResultLost:
    """The vendor says that the result no longer exists."""

    problem: Problem
    at: float

    def changes(self, _: Item) -> dict[str, Any]:
        return {"problem": self.problem, "finished_at": self.at}


@attrs.frozen
class Restarted:
    """The journal was opened again: what an earlier process left is taken up."""

    run: int
    at: float

    def changes(self, item: Item) -> dict[str, Any]:
        if item.state is ItemState.SUBMITTING:
            lost = Problem("SubmissionUnknownError", "The process ended while the export was under way.")
            return {"run": self.run, "problem": lost, "finished_at": self.at}
        if item.state in (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED):
            return {"run": self.run, "reserved_credits": 0, "finished_at": None}
        return {"run": self.run}


@attrs.frozen
class Bound:
    """Somebody found the lost job id."""

    job_id: str
    at: float

    def changes(self, item: Item) -> dict[str, Any]:
        return {
            "job_id": self.job_id,
            "submitted_at": self.at,
            "finished_at": None,
            "charged_credits": item.reserved_credits,
            "reserved_credits": 0,
            "problem": None,
        }


@attrs.frozen
class GaveUp:
    """A person gave the item up. What it may have cost counts as spent."""

    problem: Problem
    at: float

    def changes(self, item: Item) -> dict[str, Any]:
        # No run has reported this: the next one that is asked for the item does.
        return {"problem": self.problem, "finished_at": self.at, "run": 0, **_written_off(item)}


@attrs.frozen
class Resubmitted:
    """A person chose to pay again. What the attempt before cost, or may have cost, counts as spent."""

    def changes(self, item: Item) -> dict[str, Any]:
        forgotten = dict.fromkeys(("job_id", "problem", "submitted_at", "converting_at", "completed_at", "finished_at"))
        return {**forgotten, "resubmissions": item.resubmissions + 1, **_written_off(item)}


def _written_off(item: Item) -> dict[str, Any]:
    lost = item.reserved_credits + item.charged_credits
    return {
        "written_off_credits": item.written_off_credits + lost,
        "reserved_credits": 0,
        "charged_credits": 0,
    }


@attrs.frozen
class AskedAgain:
    """A person has the vendor asked again for a job that is paid for: it was given up, or its result was deleted."""

    credits_upper: int
    """What it counts as where it was given up as not charged: the job may be finished after all."""

    def changes(self, item: Item) -> dict[str, Any]:
        if item.job_id is None:
            raise IllegalTransitionError("AskedAgain cannot happen to an item without a job")
        is_refunded = item.state is ItemState.FAILED and not item.charged_credits
        forgotten = dict.fromkeys(("problem", "path", "converting_at", "completed_at", "finished_at"))
        return {**forgotten, "charged_credits": self.credits_upper if is_refunded else item.charged_credits}


@attrs.frozen
class Reconsidered:
    """A refused item is looked at again: it was not charged, and the reason may have passed."""

    run: int = 0
    """The run that takes it up; 0: the next one does."""

    def changes(self, _: Item) -> dict[str, Any]:
        return {"problem": None, "finished_at": None, "run": self.run}


Event: TypeAlias = (
    Reserved
    | Intended
    | NotAccepted
    | Accepted
    | ReplyLost
    | Refused
    | Skipped
    | Completed
    | Saved
    | VendorFailed
    | ResultLost
    | Restarted
    | Bound
    | GaveUp
    | Resubmitted
    | AskedAgain
    | Reconsidered
)

_S = ItemState

TRANSITIONS: Final[dict[type[Any], dict[ItemState, ItemState]]] = {
    Reserved: {_S.QUEUED: _S.RESERVED},
    Intended: {_S.RESERVED: _S.SUBMITTING},
    NotAccepted: {_S.SUBMITTING: _S.RESERVED},
    Accepted: {_S.SUBMITTING: _S.SUBMITTED},
    ReplyLost: {_S.SUBMITTING: _S.UNCERTAIN},
    Refused: {_S.QUEUED: _S.REJECTED, _S.RESERVED: _S.REJECTED, _S.SUBMITTING: _S.REJECTED},
    Skipped: {_S.QUEUED: _S.SKIPPED, _S.RESERVED: _S.SKIPPED, _S.SUBMITTING: _S.SKIPPED},
    Completed: {_S.SUBMITTED: _S.FETCHING, _S.FETCHING: _S.FETCHING},
    Saved: {_S.SUBMITTED: _S.DONE, _S.FETCHING: _S.DONE},
    VendorFailed: {_S.SUBMITTED: _S.FAILED, _S.FETCHING: _S.FAILED},
    ResultLost: {_S.FETCHING: _S.FAILED},
    Restarted: {
        _S.QUEUED: _S.QUEUED,
        _S.RESERVED: _S.QUEUED,
        _S.SKIPPED: _S.QUEUED,
        _S.SUBMITTING: _S.UNCERTAIN,
        _S.SUBMITTED: _S.SUBMITTED,
        _S.FETCHING: _S.FETCHING,
    },
    Bound: {_S.UNCERTAIN: _S.SUBMITTED},
    GaveUp: {_S.UNCERTAIN: _S.FAILED},
    Resubmitted: {_S.UNCERTAIN: _S.QUEUED, _S.FAILED: _S.QUEUED},
    AskedAgain: {_S.FAILED: _S.SUBMITTED, _S.DONE: _S.SUBMITTED},
    Reconsidered: {_S.REJECTED: _S.QUEUED},
}
"""Event, then state before, to state after. What is not here cannot happen."""


_OF_THE_SOURCE: Final = frozenset({"InvalidVideoURLError", "TransportError"})
"""Kinds of problems that lie with a source's address or its host, and not with what was asked for."""

_PASSING_STATUSES: Final = frozenset({401, 403, 404, 408, 410, 423, 425, 429})
"""HTTP statuses with which a source's host says "not now" or "not you": signed anew or uploaded, it is there."""


def may_pass(problem: Problem | None) -> bool:
    """Whether what an item was refused for may be over by the next run: the source was not to be had.

    A limit that is broken, and a file that is no video, stay so.
    """
    if problem is None:
        return False
    if problem.kind == "MediaError":
        return problem.code in _PASSING_STATUSES or (problem.code or 0) >= 500
    return problem.kind in _OF_THE_SOURCE


def advance(item: Item, event: Event) -> Item:
    """The item after an event.

    Raises:
        IllegalTransitionError: The table has no such transition.
    """
    after = TRANSITIONS[type(event)].get(item.state)
    if after is None:
        raise IllegalTransitionError(f"{type(event).__name__} cannot happen to an item that is {item.state}")
    return attrs.evolve(item, state=after, version=item.version + 1, **event.changes(item))
