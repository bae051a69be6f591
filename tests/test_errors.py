"""The exception tree: what a program may rely on, also after a pickle or a journal."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from hitpaw_async import errors
from hitpaw_async.models import ExportRequest, Job, JobStatus

REQUEST = ExportRequest("https://example.com/a.mp4?Signature=s1gn4ture", model=17, resolution=(1920, 1080))
JOB = Job(job_id="j-1", status=JobStatus.ERROR, status_text="ERROR", res_url="https://cdn.example.com/a?s1gn4ture")

# An example of each exception, and the attributes that it has.
EXAMPLES: list[tuple[errors.HitPawError, dict[str, Any]]] = [
    (errors.HitPawError("Something."), {}),
    (errors.ConfigurationError("Set HITPAW_API_KEY."), {}),
    (errors.MissingExtraError("Probing", "media"), {"extra": "media"}),
    (errors.InvalidRequestError(iter(["One.", "Two."])), {"problems": ("One.", "Two.")}),
    *[
        (
            kind(400, 7, "no", is_from_vendor=False),
            {"status_code": 400, "code": 7, "message": "no", "is_from_vendor": False},
        )
        for kind in (
            errors.APIError,
            errors.AuthenticationError,
            errors.InsufficientCreditsError,
            errors.InvalidVideoURLError,
            errors.BadRequestError,
            errors.JobNotFoundError,
            errors.ServerError,
        )
    ],
    (
        errors.RateLimitError(429, None, "no", retry_after_s=1.5),
        {"status_code": 429, "code": None, "message": "no", "is_from_vendor": True, "retry_after_s": 1.5},
    ),
    (errors.TransportError("No connection."), {}),
    (errors.ProtocolError("The reply is not JSON.", "<h1>"), {"body": "<h1>"}),
    (errors.SubmissionUnknownError(REQUEST, "No answer."), {"request": REQUEST}),
    (errors.JobFailedError(JOB), {"job": JOB}),
    (errors.JobTimeoutError(JOB, 1.5), {"job": JOB, "timeout_s": 1.5}),
    (
        errors.DownloadError("Gone.", is_gone=True, is_refused=True),
        {"is_gone": True, "is_taken": False, "is_refused": True, "is_unstored": False},
    ),
    (
        errors.StorageError("No such object.", location="s3://work/a.mp4", is_missing=True),
        {
            "location": "s3://work/a.mp4",
            "is_taken": False,
            "is_denied": False,
            "is_missing": True,
            "is_changed": False,
        },
    ),
    (errors.MediaError("Not a video."), {"status_code": None}),
    (errors.MediaError("It answered HTTP 403.", status_code=403), {"status_code": 403}),
    (errors.BudgetExceededError(8, 3), {"needed_credits": 8, "left_credits": 3}),
    (errors.QueueFullError(7), {"unfinished": 7}),
    (errors.ItemCancelledError("It was cancelled before it was submitted."), {}),
    (errors.EventsLostError(9), {"behind": 9}),
    (errors.InternalError("KeyError", "a, line 1"), {"kind": "KeyError", "place": "a, line 1"}),
    (errors.JournalError("The disk is full."), {}),
    (errors.JournalBusyError("Another process.", pid=7, host="a"), {"pid": 7, "host": "a"}),
]

PARENTS: dict[str, tuple[type[BaseException], ...]] = {
    "HitPawError": (Exception,),
    "ConfigurationError": (errors.HitPawError,),
    "MissingExtraError": (errors.ConfigurationError, ImportError),
    "InvalidRequestError": (errors.HitPawError,),
    "APIError": (errors.HitPawError,),
    "AuthenticationError": (errors.APIError,),
    "InsufficientCreditsError": (errors.APIError,),
    "InvalidVideoURLError": (errors.APIError,),
    "BadRequestError": (errors.APIError,),
    "JobNotFoundError": (errors.APIError,),
    "RateLimitError": (errors.APIError,),
    "ServerError": (errors.APIError,),
    "TransportError": (errors.HitPawError,),
    "ProtocolError": (errors.HitPawError,),
    "SubmissionUnknownError": (errors.HitPawError,),
    "JobFailedError": (errors.HitPawError,),
    "JobTimeoutError": (errors.HitPawError, TimeoutError),
    "DownloadError": (errors.HitPawError,),
    "StorageError": (errors.HitPawError,),
    "MediaError": (errors.HitPawError,),
    "BudgetExceededError": (errors.HitPawError,),
    "QueueFullError": (errors.HitPawError,),
    "EventsLostError": (errors.HitPawError,),
    "ItemCancelledError": (errors.HitPawError,),
    "InternalError": (errors.HitPawError,),
    "JournalError": (errors.HitPawError,),
    "JournalBusyError": (errors.JournalError,),
}

each_example = pytest.mark.parametrize(
    ("error", "attributes"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)


def test_the_tree_is_the_contracts() -> None:
    assert {name: getattr(errors, name).__bases__ for name in errors.__all__} == PARENTS


def test_there_is_an_example_of_each() -> None:
    assert {type(error).__name__ for error, _ in EXAMPLES} == set(errors.__all__)


@each_example
def test_an_exception_has_its_attributes(error: errors.HitPawError, attributes: dict[str, Any]) -> None:
    assert vars(error) == attributes


@each_example
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_exception_survives_pickling(error: errors.HitPawError, attributes: dict[str, Any], protocol: int) -> None:
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
    assert vars(again) == attributes


@each_example
def test_a_note_survives_pickling_and_copying(error: errors.HitPawError, attributes: dict[str, Any]) -> None:
    noted = copy.copy(error)
    noted.add_note("wait for job j-1")
    for again in (pickle.loads(pickle.dumps(noted)), copy.deepcopy(noted)):
        assert again.__notes__ == ["wait for job j-1"]
    assert vars(error) == attributes


@each_example
def test_a_message_is_a_sentence_and_shows_no_secret(error: errors.HitPawError, attributes: dict[str, Any]) -> None:
    text = str(error)
    assert text[0].isupper()
    assert text.endswith((".", "]'", "'<h1>'"))
    assert ".." not in text
    assert "s1gn4ture" not in f"{text} {error!r}"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.AuthenticationError(401, 501001, "The ApiKey is not valid"), "HITPAW_API_KEY"),
        (errors.InsufficientCreditsError(402, 501002, "no"), "Buy credits"),
        (errors.InvalidVideoURLError(400, 501016, "no"), "Check that the URL"),
        (errors.JobNotFoundError(404, None, "no"), "Check the job id"),
        (errors.RateLimitError(429, None, "no"), "max_connections"),
        (errors.ServerError(500, None, "no"), "Try again later"),
        (errors.MissingExtraError("Probing", "media"), "pip install 'hitpaw-async[media]'"),
        (errors.SubmissionUnknownError(REQUEST, "No answer."), "hitpaw reconcile"),
        (errors.JobTimeoutError(JOB, 60), "do not submit the video again"),
        (errors.JobFailedError(JOB), "support with this job id"),
        (errors.BudgetExceededError(8, 3), "Raise the budget"),
        (errors.InvalidRequestError(["extension must be a text."]), "Correct the request: extension must be a text."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_says_who_must_act_and_how(error: errors.HitPawError, advice: str) -> None:
    assert advice in str(error)


@pytest.mark.parametrize(
    ("code", "message", "shown"),
    [
        (501001, "The ApiKey is not valid", "The vendor answered: The ApiKey is not valid (HTTP 401, code 501001). "),
        (None, "no.", "The vendor answered: no (HTTP 401). "),
        (0, "", "The vendor answered: no message (HTTP 401, code 0). "),
    ],
)
def test_an_api_error_shows_what_the_vendor_said(code: int | None, message: str, shown: str) -> None:
    assert str(errors.AuthenticationError(401, code, message)).startswith(shown)


def test_a_timeout_of_a_job_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        raise errors.JobTimeoutError(JOB, 1)


@each_example
def test_an_exception_is_restored_from_what_a_journal_kept(
    error: errors.HitPawError, attributes: dict[str, Any]
) -> None:
    kept = {**attributes, "nobody_declares_this": 1}
    again = type(error).restored(str(error), **kept)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == attributes


@each_example
def test_an_exception_restored_with_nothing_but_its_message_still_has_its_attributes(
    error: errors.HitPawError, attributes: dict[str, Any]
) -> None:
    again = type(error).restored("As it was written down.", job=JOB, request=REQUEST, code=7)
    assert str(again) == "As it was written down."
    for name in attributes:
        assert hasattr(again, name)
    assert getattr(again, "code", 7) == 7
    assert ("job" in vars(again)) == ("job" in attributes)
    assert ("request" in vars(again)) == ("request" in attributes)


def test_each_exception_is_documented_with_its_attributes() -> None:
    for error, attributes in EXAMPLES:
        documentation = inspect.getdoc(type(error)) or ""
        inherited = {name for base in type(error).__mro__[1:] for name in vars(base).get("__annotations__", {})}
        for name in attributes.keys() - inherited:
            assert f"{name}: " in documentation, (type(error), name)
