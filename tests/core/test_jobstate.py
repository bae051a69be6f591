"""Every state meets every event: what the table documents happens, and nothing else can."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core import itemstate as jobstate
from hitpaw_async._core.itemstate import (
    Accepted,
    AskedAgain,
    Bound,
    Cancelled,
    Completed,
    Event,
    GaveUp,
    IllegalTransitionError,
    Intended,
    Item,
    NotAccepted,
    Problem,
    Reconsidered,
    Refused,
    ReplyLost,
    Reserved,
    Restarted,
    Resubmitted,
    ResultLost,
    Saved,
    Skipped,
    VendorFailed,
    advance,
    may_pass,
)
from hitpaw_async.models import ItemState
from tests.core.values import JOB_ID, a_request

PROBLEM = Problem("BadRequestError", "The vendor answered: no.", 400)
NOW = 1_700_000_000.0

EVENTS: dict[str, Event] = {
    "reserved": Reserved(6),
    "intended": Intended(),
    "not accepted": NotAccepted(),
    "accepted": Accepted(JOB_ID, NOW),
    "reply lost": ReplyLost(PROBLEM, NOW),
    "refused": Refused(PROBLEM, NOW),
    "cancelled": Cancelled(PROBLEM, NOW),
    "skipped": Skipped(PROBLEM, NOW),
    "completed": Completed(NOW),
    "saved": Saved("out/a.mp4", NOW),
    "vendor failed": VendorFailed(PROBLEM, NOW),
    "result lost": ResultLost(PROBLEM, NOW),
    "restarted": Restarted(2, NOW),
    "bound": Bound(JOB_ID, NOW),
    "gave up": GaveUp(PROBLEM, NOW),
    "resubmitted": Resubmitted(),
    "asked again": AskedAgain(9),
    "reconsidered": Reconsidered(3),
}

# Columns are states before, "-" is what cannot happen.
TABLE = """
                queued    reserved   submitting submitted fetching  done  rejected skipped failed uncertain
reserved        reserved  -          -          -         -         -     -        -       -      -
intended        -         submitting -          -         -         -     -        -       -      -
not_accepted    -         -          reserved   -         -         -     -        -       -      -
accepted        -         -          submitted  -         -         -     -        -       -      -
reply_lost      -         -          uncertain  -         -         -     -        -       -      -
refused         rejected  rejected   rejected   -         -         -     -        -       -      -
cancelled       rejected  rejected   -          -         -         -     rejected rejected -      -
skipped         skipped   skipped    skipped    -         -         -     -        -       -      -
completed       -         -          -          fetching  fetching  -     -        -       -      -
saved           -         -          -          done      done      -     -        -       -      -
vendor_failed   -         -          -          failed    failed    -     -        -       -      -
result_lost     -         -          -          -         failed    -     -        -       -      -
restarted       queued    queued     uncertain  submitted fetching  -     -        queued  -      -
bound           -         -          -          -         -         -     -        -       -      submitted
gave_up         -         -          -          -         -         -     -        -       -      failed
resubmitted     -         -          -          -         -         -     -        -       queued queued
asked_again     -         -          -          -         -         submitted -    -       submitted -
reconsidered    -         -          -          -         -         -     queued   -       -      -
"""


def transitions() -> list[tuple[str, str, str | None]]:
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return [
        (name.replace("_", " "), before, None if after == "-" else after)
        for name, *cells in rows
        for before, after in zip(head, cells, strict=True)
    ]


def an_item(state: str = "queued", **fields: Any) -> Item:
    return Item(key="a", request=a_request(), state=ItemState(state), version=9, **fields)


def test_the_table_names_every_state_and_every_event() -> None:
    rows = transitions()
    assert {before for _, before, _ in rows} == {state.value for state in ItemState}
    assert {type(EVENTS[name]) for name, _, _ in rows} == set(jobstate.TRANSITIONS)
    assert len(rows) == 180


@pytest.mark.parametrize(("name", "before", "after"), transitions())
def test_a_state_meets_an_event(name: str, before: str, after: str | None) -> None:
    item = an_item(before, reserved_credits=6, job_id=JOB_ID)
    if after is None:
        with pytest.raises(IllegalTransitionError, match=f"{type(EVENTS[name]).__name__} cannot happen .* {before}"):
            advance(item, EVENTS[name])
        assert item == an_item(before, reserved_credits=6, job_id=JOB_ID)
        return
    changed = advance(item, EVENTS[name])
    assert changed.state.value == after
    assert changed.version == 10
    assert (changed.key, changed.request, changed.queued_at) == (item.key, item.request, item.queued_at)


LOOKED_AT_AGAIN = (Resubmitted, AskedAgain, Reconsidered)


@pytest.mark.parametrize("state", [state for state in ItemState if state.is_terminal])
def test_a_terminal_state_is_left_only_where_somebody_looks_again(state: ItemState) -> None:
    assert state.value in ("done", "rejected", "failed")
    ways_out = {name for name, before, after in transitions() if before == state.value != after and after}
    assert ways_out
    assert all(isinstance(EVENTS[name], LOOKED_AT_AGAIN) for name in ways_out)


def test_a_done_item_is_never_paid_again() -> None:
    assert ("resubmitted", "done", None) in transitions()


def test_an_item_that_was_given_up_without_a_job_can_not_be_asked_for() -> None:
    with pytest.raises(IllegalTransitionError, match="without a job"):
        after(*LOST, "gave up", "asked again")


def test_a_job_that_was_not_charged_counts_again_once_it_is_asked_for_again() -> None:
    item = advance(after(*PAID), VendorFailed(PROBLEM, NOW, is_charged=False))
    assert advance(item, AskedAgain(9)).charged_credits == 9


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem("MediaError", "The source answered HTTP 404.", 404), True),
        (Problem("MediaError", "The source answered HTTP 403.", 403), True),
        (Problem("MediaError", "The source answered HTTP 401.", 401), True),
        (Problem("MediaError", "The source answered HTTP 503.", 503), True),
        (Problem("MediaError", "It is no video."), False),
        (Problem("MediaError", "The source answered HTTP 400.", 400), False),
        (Problem("InvalidVideoURLError", "The vendor could not use the URL.", 501016), True),
        (Problem("TransportError", "No such host."), True),
        (Problem("InvalidRequestError", "The source is 700 s long."), False),
        (Problem("BadRequestError", "The model is not supported.", 501099), False),
        (Problem("SomethingElse", "?"), False),
        (None, False),
    ],
)
def test_which_refusals_may_pass(problem: Problem | None, expected: bool) -> None:
    assert may_pass(problem) is expected


def after(*names: str, start: Item | None = None) -> Item:
    item = start or Item(key="a", request=a_request())
    for name in names:
        item = advance(item, EVENTS[name])
    return item


SENT = ("reserved", "intended")
PAID = (*SENT, "accepted")
LOST = (*SENT, "reply lost")


@pytest.mark.parametrize(
    ("path", "reserved", "charged", "written_off"),
    [
        ((), 0, 0, 0),
        (("reserved",), 6, 0, 0),
        (SENT, 6, 0, 0),
        ((*SENT, "not accepted"), 6, 0, 0),
        ((*SENT, "not accepted", "intended"), 6, 0, 0),
        (PAID, 0, 6, 0),
        ((*PAID, "completed"), 0, 6, 0),
        ((*PAID, "completed", "saved"), 0, 6, 0),
        ((*PAID, "saved"), 0, 6, 0),
        ((*PAID, "vendor failed"), 0, 6, 0),
        ((*PAID, "completed", "result lost"), 0, 6, 0),
        ((*PAID, "restarted"), 0, 6, 0),
        ((*PAID, "completed", "restarted"), 0, 6, 0),
        (("refused",), 0, 0, 0),
        (("reserved", "refused"), 0, 0, 0),
        ((*SENT, "refused"), 0, 0, 0),
        (("skipped",), 0, 0, 0),
        (("reserved", "skipped"), 0, 0, 0),
        ((*SENT, "skipped"), 0, 0, 0),
        (("skipped", "restarted"), 0, 0, 0),
        (("reserved", "restarted"), 0, 0, 0),
        ((*SENT, "restarted"), 6, 0, 0),
        (LOST, 6, 0, 0),
        ((*LOST, "bound"), 0, 6, 0),
        ((*LOST, "bound", "saved"), 0, 6, 0),
        ((*LOST, "gave up"), 0, 0, 6),
        ((*LOST, "resubmitted"), 0, 0, 6),
        ((*LOST, "resubmitted", "reserved"), 6, 0, 6),
        ((*LOST, "resubmitted", *PAID), 0, 6, 6),
        ((*LOST, "resubmitted", *PAID, "vendor failed"), 0, 6, 6),
        ((*LOST, "resubmitted", *LOST), 6, 0, 6),
        ((*LOST, "resubmitted", *LOST, "gave up"), 0, 0, 12),
        ((*LOST, "resubmitted", "refused"), 0, 0, 6),
        ((*PAID, "vendor failed", "asked again"), 0, 6, 0),
        ((*PAID, "vendor failed", "asked again", "completed", "saved"), 0, 6, 0),
        ((*PAID, "saved", "asked again", "completed", "result lost"), 0, 6, 0),
        ((*PAID, "vendor failed", "resubmitted"), 0, 0, 6),
        ((*PAID, "vendor failed", "resubmitted", *PAID), 0, 6, 6),
        ((*LOST, "gave up", "resubmitted", *PAID), 0, 6, 6),
        (("refused", "reconsidered"), 0, 0, 0),
        (("refused", "reconsidered", *PAID), 0, 6, 0),
    ],
)
def test_money_along_a_path(path: tuple[str, ...], reserved: int, charged: int, written_off: int) -> None:
    item = after(*path)
    assert (item.reserved_credits, item.charged_credits, item.written_off_credits) == (reserved, charged, written_off)
    assert item.spent_credits == charged + written_off


@pytest.mark.parametrize("told", [0, 2, 6, 9])
def test_what_the_vendor_tells_is_charged(told: int) -> None:
    item = advance(after(*SENT), Accepted(JOB_ID, NOW, told))
    assert (item.charged_credits, item.reserved_credits, item.job_id) == (told, 0, JOB_ID)


def test_a_failed_job_that_is_not_charged_gives_its_credits_back() -> None:
    item = advance(after(*LOST, "resubmitted", *PAID), VendorFailed(PROBLEM, NOW, is_charged=False))
    assert (item.charged_credits, item.written_off_credits) == (0, 6)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PAID, {"job_id": JOB_ID, "submitted_at": NOW, "finished_at": None, "problem": None, "attempts": 1}),
        ((*SENT, "not accepted", "intended"), {"attempts": 2, "job_id": None}),
        ((*PAID, "saved"), {"path": "out/a.mp4", "finished_at": NOW, "job_id": JOB_ID}),
        ((*PAID, "vendor failed"), {"problem": PROBLEM, "finished_at": NOW, "path": None}),
        ((*PAID, "completed", "result lost"), {"problem": PROBLEM, "finished_at": NOW}),
        (LOST, {"problem": PROBLEM, "finished_at": NOW, "job_id": None}),
        ((*LOST, "bound"), {"problem": None, "finished_at": None, "job_id": JOB_ID, "submitted_at": NOW}),
        ((*LOST, "resubmitted"), {"problem": None, "finished_at": None, "resubmissions": 1, "attempts": 1}),
        ((*LOST, "resubmitted", *LOST, "resubmitted"), {"resubmissions": 2, "attempts": 2}),
        ((*LOST, "gave up"), {"problem": PROBLEM, "finished_at": NOW}),
        (("refused",), {"problem": PROBLEM, "finished_at": NOW}),
        (("skipped",), {"problem": PROBLEM, "finished_at": NOW}),
        (("skipped", "restarted"), {"finished_at": None, "run": 2}),
        (("skipped", "restarted", "reserved"), {"problem": None}),
        ((*PAID, "restarted"), {"run": 2, "job_id": JOB_ID, "submitted_at": NOW}),
        ((*PAID, "saved", "asked again"), {"path": None, "job_id": JOB_ID, "submitted_at": NOW, "finished_at": None}),
        ((*PAID, "vendor failed", "asked again"), {"problem": None, "job_id": JOB_ID, "resubmissions": 0}),
        ((*PAID, "vendor failed", "resubmitted"), {"job_id": None, "submitted_at": None, "resubmissions": 1}),
        (("refused", "reconsidered"), {"problem": None, "finished_at": None, "run": 3, "resubmissions": 0}),
    ],
)
def test_what_a_path_leaves_behind(path: tuple[str, ...], expected: dict[str, object]) -> None:
    item = after(*path)
    assert {name: getattr(item, name) for name in expected} == expected


def test_an_export_under_way_when_the_process_ended_is_uncertain_and_says_why() -> None:
    item = after(*SENT, "restarted")
    assert item.problem is not None
    assert item.problem.kind == "SubmissionUnknownError"
    assert (item.finished_at, item.run, item.job_id) == (NOW, 2, None)


def test_each_attempt_has_a_webhook_path_of_its_own() -> None:
    first = advance(after("reserved"), Intended("first"))
    assert first.hook_digest == "first"
    for digest in ("second", None):
        again = advance(advance(first, NotAccepted()), Intended(digest))
        assert (again.hook_digest, again.attempts) == (digest, 2)


def test_what_a_person_gave_up_has_been_reported_by_no_run() -> None:
    reported = advance(after(*SENT), Restarted(7, NOW))
    assert reported.run == 7
    assert advance(reported, GaveUp(PROBLEM, NOW)).run == 0


def test_the_moment_of_converting_is_kept_once_it_was_seen() -> None:
    seen = advance(after(*PAID), Completed(NOW, converting_at=NOW - 60))
    assert (seen.converting_at, seen.completed_at) == (NOW - 60, NOW)
    later = advance(seen, Completed(NOW + 9))
    assert (later.converting_at, later.completed_at) == (NOW - 60, NOW + 9)
    assert after(*PAID, "completed").converting_at is None


def test_an_unknown_event_is_a_bug_as_well() -> None:
    with pytest.raises(KeyError):
        advance(an_item(), "accepted")  # type: ignore[arg-type]


def may_charge(item: Item, event: Event) -> bool:
    """Whether the vendor may have charged the attempt that this event ends."""
    return item.state is ItemState.SUBMITTING and isinstance(event, (Accepted, ReplyLost, Restarted))


def next_event(state: ItemState, pick: int, *, is_any: bool) -> Event:
    """One of all events, or one of those that can happen, where there are any."""
    possible = [name for name, before, after in transitions() if before == state.value and after]
    names = possible if possible and not is_any else sorted(EVENTS)
    return EVENTS[names[pick % len(names)]]


PICKS = st.lists(st.tuples(st.integers(0, 59), st.sampled_from([False, False, True])), max_size=40)
MAY_RESERVE = {ItemState.RESERVED, ItemState.SUBMITTING, ItemState.UNCERTAIN}
MAY_HAVE_A_JOB = {ItemState.SUBMITTED, ItemState.FETCHING, ItemState.DONE, ItemState.FAILED}


@given(picks=PICKS)
def test_whatever_happens_no_charge_is_lost_and_none_is_made_twice(picks: list[tuple[int, bool]]) -> None:
    item, charges = Item(key="a", request=a_request()), 0
    for pick, is_any in picks:
        event, before = next_event(item.state, pick, is_any=is_any), attrs.evolve(item)
        try:
            item = advance(item, event)
        except IllegalTransitionError:
            assert item == before
            continue
        charges += may_charge(before, event)
        assert item.version == before.version + 1
        assert not before.state.is_terminal or isinstance(event, (*LOOKED_AT_AGAIN, Cancelled))
        assert charges <= 1 + item.resubmissions
        assert item.spent_credits + item.reserved_credits >= 6 * charges
        assert min(item.reserved_credits, item.charged_credits, item.written_off_credits) >= 0
        assert item.reserved_credits == 0 or item.state in MAY_RESERVE
        assert item.charged_credits == 0 or item.state in MAY_HAVE_A_JOB
        assert item.job_id is None or item.state in MAY_HAVE_A_JOB
