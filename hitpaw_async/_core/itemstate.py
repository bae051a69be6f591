"""The states of a batch's item, and the only events that may change it.

The table `TRANSITIONS` is documentation and code at once. An event that it doesn't list for a state is a bug of ours:
`advance` raises, and nothing happens. Each event applies itself to the item's other fields by `apply`.

    QUEUED ─> RESERVED ─> SUBMITTING ─> SUBMITTED ─> FETCHING ─> DONE
       │         │            │ │ └──────────────┐       │
       ├─────────┤            │ └─> REJECTED     └──> FAILED
       │         └─> SKIPPED  └─> UNCERTAIN ─> SUBMITTED (bound) | FAILED (given up) | QUEUED (a person pays again)
       └─> REJECTED

SUBMITTING is the intent: it is durable before the first byte of an export leaves, so after a crash it means "perhaps".
SKIPPED ends a run; a later run queues it again. A person may cancel what waits: it is REJECTED. UNCERTAIN changes only
when somebody knows more. DONE, FAILED and REJECTED stay as they are until somebody looks again, which costs nothing:
DONE and FAILED are SUBMITTED again, with the job and the charge that they have, and REJECTED is QUEUED (a later run
does that by itself if `may_pass`). A FAILED item is paid again only if a person says so.

Money: `reserved_credits` are set aside for the item; `charged_credits` is the cost that its accepted export counts as
(less, once a result shows that it can't have been as much); `written_off_credits` is the cost that earlier attempts,
which nobody could settle, count as. The books of a journal are the sums.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import attrs

from hitpaw_async._core.giveback import credits_at_most
from hitpaw_async._core.item import Item, Problem, may_pass
from hitpaw_async.models import ItemState

__all__ = [
    "TRANSITIONS",
    "Accepted",
    "AskedAgain",
    "Bound",
    "Cancelled",
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
    """An event met a state that has no transition for it: a bug of ours, never an operating error."""


@attrs.frozen
class Reserved:
    """The ledger set the worst case aside."""

    credits_upper: int
    minute_credits: int | None = None

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, reserved_credits=self.credits_upper, minute_credits=self.minute_credits, problem=None)


@attrs.frozen
class Intended:
    """The connection stands; the first byte of the export is about to leave."""

    hook_digest: str | None = None

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, attempts=item.attempts + 1, hook_digest=self.hook_digest)


@attrs.frozen
class NotAccepted:
    """An attempt certainly was not accepted: the body never left, or the vendor said "later"."""

    def apply(self, item: Item) -> Item:
        return item


@attrs.frozen
class Accepted:
    """The vendor answered with a job id: it is paid for."""

    job_id: str
    at: float
    credits_told: int | None = None

    def apply(self, item: Item) -> Item:
        charged = item.reserved_credits if self.credits_told is None else self.credits_told
        return attrs.evolve(
            item,
            job_id=self.job_id,
            submitted_at=self.at,
            charged_credits=charged,
            reserved_credits=0,
            minute_credits=item.minute_credits if self.credits_told is None else None,
            problem=None,
        )


@attrs.frozen
class ReplyLost:
    """The export was sent and its fate is unknown. The reservation stays."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, finished_at=self.at)


@attrs.frozen
class Refused:
    """A limit, or the vendor, refused it: not charged."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, reserved_credits=0, finished_at=self.at)


@attrs.frozen
class Cancelled:
    """A person cancelled it before it was submitted: it was in nobody's hands, and certainly not charged."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, reserved_credits=0, finished_at=self.at)


@attrs.frozen
class Skipped:
    """It was not submitted in this run: no budget, no credits, a key that was refused, a vendor out of reach."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, reserved_credits=0, finished_at=self.at)


@attrs.frozen
class Completed:
    """The task call says COMPLETED; the result is to be brought to disk."""

    at: float
    converting_at: float | None = None

    def apply(self, item: Item) -> Item:
        converting_at = self.converting_at or item.converting_at
        return attrs.evolve(item, problem=None, completed_at=self.at, converting_at=converting_at)


@attrs.frozen
class Saved:
    """The result is on disk, whole (or nobody asked for it on disk: no path)."""

    path: str | None
    at: float
    result_s: float | None = None
    """Longest length of the result in seconds, if that was read."""

    def apply(self, item: Item) -> Item:
        charged = credits_at_most(item.charged_credits, minute_credits=item.minute_credits, result_s=self.result_s)
        return attrs.evolve(item, path=self.path, finished_at=self.at, problem=None, charged_credits=charged)


@attrs.frozen
class VendorFailed:
    """The task call says ERROR, or that there is no such job."""

    problem: Problem
    at: float
    is_charged: bool = True

    def apply(self, item: Item) -> Item:
        charged = item.charged_credits if self.is_charged else 0
        return attrs.evolve(item, problem=self.problem, finished_at=self.at, charged_credits=charged)


@attrs.frozen
class ResultLost:
    """The vendor says that the result no longer exists."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, finished_at=self.at)


@attrs.frozen
class Restarted:
    """The journal was opened again: unfinished items of an earlier process are resumed."""

    run: int
    at: float

    def apply(self, item: Item) -> Item:
        if item.state is ItemState.SUBMITTING:
            lost = Problem("SubmissionUnknownError", "The process ended while the export was under way.")
            return attrs.evolve(item, run=self.run, problem=lost, finished_at=self.at)
        if item.state in (ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED):
            return attrs.evolve(item, run=self.run, reserved_credits=0, finished_at=None)
        return attrs.evolve(item, run=self.run)


@attrs.frozen
class Bound:
    """Somebody found the lost job id."""

    job_id: str
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(
            item,
            job_id=self.job_id,
            submitted_at=self.at,
            finished_at=None,
            charged_credits=item.reserved_credits,
            reserved_credits=0,
            problem=None,
        )


@attrs.frozen
class GaveUp:
    """A person gave the item up. The cost that it may have had counts as spent."""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        # No run has reported this: the next one that is asked for the item does.
        return attrs.evolve(_written_off(item), problem=self.problem, finished_at=self.at, run=0)


@attrs.frozen
class Resubmitted:
    """A person chose to pay again. The earlier attempt's cost, certain or possible, counts as spent."""

    def apply(self, item: Item) -> Item:
        return attrs.evolve(
            _written_off(item),
            job_id=None,
            problem=None,
            submitted_at=None,
            converting_at=None,
            completed_at=None,
            finished_at=None,
            resubmissions=item.resubmissions + 1,
        )


def _written_off(item: Item) -> Item:
    lost = item.reserved_credits + item.charged_credits
    written_off = item.written_off_credits + lost
    return attrs.evolve(item, written_off_credits=written_off, reserved_credits=0, charged_credits=0)


@attrs.frozen
class AskedAgain:
    """A person has the vendor asked again for a job that is paid for: it was given up, or its result was deleted."""

    credits_upper: int
    """Cost that it counts as if it was given up as not charged: the job may be finished after all."""

    def apply(self, item: Item) -> Item:
        if item.job_id is None:
            raise IllegalTransitionError("AskedAgain cannot happen to an item without a job")
        is_refunded = item.state is ItemState.FAILED and not item.charged_credits
        return attrs.evolve(
            item,
            problem=None,
            path=None,
            converting_at=None,
            completed_at=None,
            finished_at=None,
            charged_credits=self.credits_upper if is_refunded else item.charged_credits,
        )


@attrs.frozen
class Reconsidered:
    """A refused item is looked at again: it was not charged, and the reason may have passed."""

    run: int = 0
    """The run that takes it up; 0: the next one does."""

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=None, finished_at=None, run=self.run)


Event: TypeAlias = (
    Reserved
    | Intended
    | NotAccepted
    | Accepted
    | ReplyLost
    | Refused
    | Cancelled
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
    Cancelled: {
        _S.QUEUED: _S.REJECTED,
        _S.RESERVED: _S.REJECTED,
        _S.SKIPPED: _S.REJECTED,
        _S.REJECTED: _S.REJECTED,
    },
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
"""Event, then state before, to state after. Nothing else can happen."""


def advance(item: Item, event: Event) -> Item:
    """Return the item after an event.

    Raises:
        IllegalTransitionError: The table has no such transition.
    """
    after = TRANSITIONS[type(event)].get(item.state)
    if after is None:
        raise IllegalTransitionError(f"{type(event).__name__} cannot happen to an item that is {item.state}")
    return attrs.evolve(event.apply(item), state=after, version=item.version + 1)
