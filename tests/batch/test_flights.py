"""A flight forgets what the journal keeps, and nothing else."""

from __future__ import annotations

import attrs
import pytest

from hitpaw_async import ExportRequest
from hitpaw_async._core.itemstate import Item
from hitpaw_async.batch.events.event import BatchEvent, EventKind, WaitReason
from hitpaw_async.batch.journal.rows import from_row, to_row
from hitpaw_async.batch.run.in_flight import Flight
from hitpaw_async.models import ItemState, Job, JobStatus
from tests.batch.laboratory import HALF_A_MINUTE, video

SIGNED = "https://videos.test/a.mp4?signature=secret"


@pytest.mark.parametrize(
    "request_given",
    [
        video("a"),
        video("a", key="mine"),
        ExportRequest(SIGNED, model=17, resolution="1280x720"),
        ExportRequest(SIGNED, model=17, resolution="1280x720", key="mine", facts=HALF_A_MINUTE, priority=3),
        ExportRequest(SIGNED, model=17, resolution="1280x720", web_hook_url="https://me.test/hook?token=secret"),
        video("a", web_hook_url="https://me.test/hook?token=secret"),
    ],
    ids=["plain", "key", "signed", "signed, key", "signed hook", "signed hook of a plain video"],
)
def test_the_request_lands_as_it_was_given(request_given: ExportRequest) -> None:
    item = Item(key=request_given.key, request=request_given, state=ItemState.SUBMITTED, job_id="j")
    flight = Flight.of(item, request_given, label=None, source_s=None, asked_age_s=0.0)
    in_journal = from_row(to_row(item))
    assert flight.request_of(in_journal) == request_given


def test_a_request_that_this_run_was_not_given_lands_as_the_journal_has_it() -> None:
    item = from_row(to_row(Item(key="k", request=video("a"), state=ItemState.SUBMITTED, job_id="j")))
    assert Flight.of(item, None, label=None, source_s=None, asked_age_s=None).request_of(item) is item.request


def test_the_job_is_as_last_seen() -> None:
    flight = Flight.of(
        Item(key="k", request=video("a"), state=ItemState.SUBMITTED, job_id="j"),
        None,
        label=None,
        source_s=None,
        asked_age_s=0.0,
    )
    assert flight.job is None
    seen = Job(job_id="j", status=JobStatus.CONVERTING, status_text="CONVERTING")
    assert flight.saw(seen)
    assert not flight.saw(attrs.evolve(seen))
    assert flight.job == seen
    done = attrs.evolve(seen, status=JobStatus.COMPLETED, status_text="COMPLETED", res_url="https://r.test/a.mp4")
    assert flight.saw(done)
    assert flight.job is done


@pytest.mark.parametrize(
    ("state", "seen", "kind", "waiting_for"),
    [
        (ItemState.SUBMITTED, None, EventKind.SUBMITTED, None),
        (ItemState.SUBMITTED, JobStatus.CONVERTING, EventKind.STATUS, None),
        (ItemState.FETCHING, JobStatus.COMPLETED, EventKind.DOWNLOADING, None),
        (ItemState.UNCERTAIN, None, EventKind.WAITING, WaitReason.WEBHOOK),
    ],
)
def test_a_late_reader_is_told_how_it_stands(
    state: ItemState, seen: JobStatus | None, kind: EventKind, waiting_for: WaitReason | None
) -> None:
    item = Item(key="k", request=video("a"), state=state, job_id="j")
    flight = Flight.of(item, None, label="a.mp4", source_s=None, asked_age_s=0.0)
    if seen is not None:
        flight.saw(Job(job_id="j", status=seen, status_text=str(seen)))
    snapshot = BatchEvent(kind=EventKind.SNAPSHOT, at=1.0, number=7, spent_credits=3)
    assert flight.told(snapshot) == BatchEvent(
        kind=kind,
        at=1.0,
        number=7,
        key="k",
        label="a.mp4",
        state=state,
        job_id="j",
        status=seen,
        spent_credits=3,
        waiting_for=waiting_for,
    )
