"""The library's errors as HTTP problems (RFC 9457), and outcomes as JSON. No framework; no secret in either."""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from hitpaw_async import errors
from hitpaw_async.models import Outcome

__all__ = ["PROBLEM_TYPE", "ProblemDetails", "outcome_fields", "problem_details_of"]

PROBLEM_TYPE: Final = "application/problem+json"

RETRY_AFTER_S: Final = 30
"""What a caller is told to wait where nobody knows."""

_OPERATOR_DETAIL: Final = "The service can't do this at the moment. Its operator finds the reason in its log."


@attrs.frozen
class _Rule:
    status_code: int
    title: str
    is_callers: bool = False
    """Whether the error's own words are for the caller; else they are for the operator's log."""
    has_retry_after: bool = False


_RULES: Final[dict[type[errors.HitPawError], _Rule]] = {
    errors.InvalidRequestError: _Rule(422, "The request breaks a limit", is_callers=True),
    errors.InvalidVideoURLError: _Rule(422, "The video's URL can't be used", is_callers=True),
    errors.BadRequestError: _Rule(422, "The request was refused", is_callers=True),
    errors.MediaError: _Rule(422, "The source is not a video that can be read", is_callers=True),
    errors.JobNotFoundError: _Rule(404, "There is no such job", is_callers=True),
    errors.SubmissionUnknownError: _Rule(409, "Nobody knows whether the video was accepted: don't send it again"),
    errors.QueueFullError: _Rule(503, "Too many videos are unfinished", is_callers=True, has_retry_after=True),
    errors.RateLimitError: _Rule(503, "The vendor asks to wait", has_retry_after=True),
    errors.BudgetExceededError: _Rule(402, "The budget has no room for the video"),
    errors.InsufficientCreditsError: _Rule(503, "The vendor's account has too few credits"),
    errors.JobTimeoutError: _Rule(504, "The job was not finished in time: it goes on", is_callers=True),
    errors.JobFailedError: _Rule(502, "The vendor could not process the video", is_callers=True),
    errors.DownloadError: _Rule(502, "The result could not be fetched"),
    errors.ItemCancelledError: _Rule(409, "The video was cancelled before it was submitted", is_callers=True),
    errors.TransportError: _Rule(502, "The vendor can't be reached"),
    errors.ProtocolError: _Rule(502, "The vendor's answer can't be understood"),
    errors.ServerError: _Rule(502, "The vendor failed"),
    errors.InternalError: _Rule(500, "There is a bug in the service"),
    errors.HitPawError: _Rule(500, "The service is not able to do this"),
}
"""By class; a class that isn't listed is treated as its nearest listed base."""


@attrs.frozen(kw_only=True)
class ProblemDetails:
    """What to answer."""

    status_code: int
    headers: dict[str, str]
    fields: dict[str, Any]
    is_operators: bool
    """Whether the operator must act: then the error belongs in the log, and its words not in the answer."""


def problem_details_of(error: errors.HitPawError) -> ProblemDetails:
    """The answer to a request that ended in this error."""
    kind = next(base for base in type(error).__mro__ if base in _RULES)
    rule = _RULES[kind]
    fields: dict[str, Any] = {
        "type": f"urn:hitpaw-async:{_kebab(type(error).__name__)}",
        "title": rule.title,
        "status": rule.status_code,
        "detail": str(error) if rule.is_callers else _OPERATOR_DETAIL,
    }
    if isinstance(error, errors.InvalidRequestError):
        fields["problems"] = list(error.problems)
    job = getattr(error, "job", None)
    if job is not None:
        fields["job_id"] = job.job_id
    headers = {"cache-control": "no-store"}
    if rule.has_retry_after:
        told_s = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(max(1, round(told_s))) if told_s else str(RETRY_AFTER_S)
    return ProblemDetails(
        status_code=rule.status_code, headers=headers, fields=fields, is_operators=not rule.is_callers
    )


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON for an HTTP answer: `Outcome.to_dict` without the path, of which the file's name is there."""
    fields = outcome.to_dict()
    del fields["path"]
    return fields


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.removesuffix("Error")).lower()
