"""Errors as HTTP answers: every class has one, the table in the documentation is the code's, and no secret gets out."""

from __future__ import annotations

import json
import re

import attrs
import pytest

import hitpaw_async.integrations
from hitpaw_async import ExportRequest, Job, Outcome, errors
from hitpaw_async._format import ROW_NAME
from hitpaw_async.integrations._problems import _RULES, outcome_fields, problem_details_of
from hitpaw_async.models import ItemState

REQUEST = ExportRequest("https://videos.test/a.mp4?signature=hunter2", model=17, resolution="1920x1080")
API = (400, 501000, "no")
SAMPLES: list[tuple[errors.HitPawError, int]] = [
    (errors.InvalidRequestError(["Too small."]), 422),
    (errors.InvalidVideoURLError(*API), 422),
    (errors.BadRequestError(*API), 422),
    (errors.MediaError("not a video"), 422),
    (errors.JobNotFoundError(*API), 404),
    (errors.SubmissionUnknownError(REQUEST, "the answer was lost"), 409),
    (errors.QueueFullError(7), 503),
    (errors.RateLimitError(*API, retry_after_s=12.4), 503),
    (errors.BudgetExceededError(4, 1), 402),
    (errors.InsufficientCreditsError(*API), 503),
    (errors.JobTimeoutError(Job(job_id="j"), 5), 504),
    (errors.TransportError("refused"), 502),
    (errors.ProtocolError("garbage", "<html>"), 502),
    (errors.ServerError(*API), 502),
    (errors.JobFailedError(Job(job_id="j")), 502),
    (errors.DownloadError("gone"), 502),
    (errors.ItemCancelledError("cancelled"), 409),
    (errors.AuthenticationError(*API), 500),
    (errors.ConfigurationError("no key"), 500),
    (errors.MissingExtraError("It", "otel"), 500),
    (errors.JournalError("The journal /srv/secret.db is damaged."), 500),
    (errors.JournalBusyError("Process 7 works on /srv/secret.db.", pid=7, host="encoder"), 500),
    (errors.EventsLostError(5), 500),
    (errors.StorageError("/srv/secret.mp4 was not taken."), 500),
    (errors.InternalError("KeyError"), 500),
    (errors.APIError(*API), 500),
    (errors.HitPawError("something"), 500),
]


def test_every_error_has_a_sample() -> None:
    assert {type(error).__name__ for error, _ in SAMPLES} == set(errors.__all__)


@pytest.mark.parametrize(("error", "status"), SAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_has_its_status_and_the_operators_words_stay_inside(error: errors.HitPawError, status: int) -> None:
    problem = problem_details_of(error)
    text = json.dumps(problem.fields)
    assert problem.status_code == problem.fields["status"] == status
    assert re.fullmatch(r"urn:hitpaw-async:[a-z-]+", problem.fields["type"])
    assert "hunter2" not in text
    assert "/srv" not in text
    assert (str(error) == problem.fields["detail"]) is not problem.is_operators
    documented = next(line for line in _documented() if f"`{type(error).__name__}`" in line or "all others" in line)
    assert f"| {status} |" in documented


def test_callers_are_told_what_to_correct_and_when_to_come_back() -> None:
    assert problem_details_of(errors.InvalidRequestError(["Too small."])).fields["problems"] == ["Too small."]
    assert problem_details_of(errors.RateLimitError(*API, retry_after_s=12.4)).headers["retry-after"] == "12"
    assert problem_details_of(errors.QueueFullError(7)).headers["retry-after"] == "30"
    assert problem_details_of(errors.JobFailedError(Job(job_id="j"))).fields["job_id"] == "j"


def test_the_table_lists_what_the_code_maps() -> None:
    listed = set(re.findall(r"`(\w+Error)`", "\n".join(_documented())))
    assert {kind.__name__ for kind in _RULES} - {"HitPawError"} <= listed


def test_an_outcome_as_json_has_no_signature() -> None:
    fields = outcome_fields(Outcome(key="k", request=REQUEST, state=ItemState.SUBMITTED, job=Job(job_id="j")))
    assert "hunter2" not in json.dumps(fields)
    assert (fields["state"], fields["job_id"], fields["file"]) == ("submitted", "j", None)
    assert fields["metadata"] == {}


def test_an_outcome_as_json_has_a_persons_own_columns() -> None:
    request = attrs.evolve(REQUEST, metadata={"customer": "Ada", ROW_NAME: "7"})
    fields = outcome_fields(Outcome(key="k", request=request, state=ItemState.QUEUED))
    assert fields["metadata"] == {"customer": "Ada"}


def _documented() -> list[str]:
    return [line for line in (hitpaw_async.integrations.__doc__ or "").splitlines() if line.startswith("|")]
