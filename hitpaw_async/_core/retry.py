"""Decides after a failed call: first by the progress of the send, then by the failure.

A task call costs nothing and may always be asked again. An export costs money the moment it is accepted, and the vendor
has neither an idempotency key nor a list of jobs. So an export is sent again only when it certainly was not accepted:
its body never left, or the vendor itself refused it, with a code of its own. Everything else is UNKNOWN, and stays so
until somebody finds out.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import errors

if TYPE_CHECKING:
    from hitpaw_async.policies import RetryPolicy

__all__ = ["PASSING", "CallKind", "Decision", "RetryBudget", "SendProgress", "Verdict", "backoff_s", "decide"]

PASSING: Final = (errors.TransportError, errors.ProtocolError, errors.ServerError, errors.RateLimitError)
"""Errors after which another attempt may succeed."""


class CallKind(Enum):
    """The vendor's two calls."""

    EXPORT = "export"
    TASK = "task"


class SendProgress(IntEnum):
    """Progress of a request's send. If it cannot be watched, handing the request over counts as BODY_BEGUN."""

    NOT_BEGUN = 0
    HEADERS_BEGUN = 1
    BODY_BEGUN = 2


class Verdict(Enum):
    """Decision about a failed call."""

    RETRY = auto()
    """Send it again, after `Decision.wait_s`."""
    PAUSE = auto()
    """The same, and the whole client sends nothing meanwhile."""
    GIVE_UP = auto()
    """It certainly was not accepted; the error is final."""
    UNKNOWN = auto()
    """It may have been accepted: never send it again."""


@attrs.frozen
class Decision:
    """A verdict, and how long to wait where it says so."""

    verdict: Verdict
    wait_s: float = 0.0


@attrs.define
class RetryBudget:
    """A token bucket that all retries of a client share, so that they stay a small part of its calls."""

    tokens_max: float
    refill: float
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.tokens_max

    def take(self) -> bool:
        """Take a token for one retry; False where none is left."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def credit_success(self) -> None:
        """Put a part of a token back after a call that went well."""
        self.tokens = min(self.tokens_max, self.tokens + self.refill)


def backoff_s(failures: int, *, first_s: float, max_s: float, draw: float) -> float:
    """Return the pause after so many failures in a row: exponential, bounded, with full jitter.

    Args:
        failures: Failures in a row, from 1.
        first_s: Longest pause after the first one.
        max_s: Longest pause of all.
        draw: A random number from [0, 1).
    """
    return draw * min(max_s, first_s * 2.0 ** min(failures - 1, 60))


def decide(
    kind: CallKind,
    error: errors.HitPawError,
    *,
    progress: SendProgress,
    attempt: int,
    elapsed_s: float,
    policy: RetryPolicy,
    budget: RetryBudget,
    draw: float,
) -> Decision:
    """Decide after a failed attempt. A retry takes a token from `budget`.

    Args:
        kind: Which call it was.
        error: The failure, as one of the library's own exceptions.
        progress: How far the send got.
        attempt: The number of this attempt, from 1.
        elapsed_s: Seconds since the first attempt began, without pauses of the whole client.
        policy: The bounds.
        budget: The client's retry budget.
        draw: A random number from [0, 1).
    """
    verdict = _export_verdict(error, progress) if kind is CallKind.EXPORT else _task_verdict(error)
    if verdict in (Verdict.GIVE_UP, Verdict.UNKNOWN):
        return Decision(verdict)
    wait_s = backoff_s(attempt, first_s=policy.backoff_first_s, max_s=policy.backoff_max_s, draw=draw)
    if isinstance(error, errors.RateLimitError) and error.retry_after_s is not None:
        # The vendor said when: the time bound doesn't know better.
        wait_s += error.retry_after_s
        is_allowed = error.retry_after_s <= policy.retry_after_max_s
    else:
        is_allowed = elapsed_s + wait_s <= policy.time_max_s
    if attempt >= policy.attempts_max or not is_allowed or not budget.take():
        return Decision(Verdict.GIVE_UP)
    return Decision(verdict, wait_s)


def _export_verdict(error: errors.HitPawError, progress: SendProgress) -> Verdict:
    if isinstance(error, errors.InternalError):
        # Sent again, it would only fail again.
        return Verdict.UNKNOWN if progress is SendProgress.BODY_BEGUN else Verdict.GIVE_UP
    if isinstance(error, errors.TransportError):
        return Verdict.UNKNOWN if progress is SendProgress.BODY_BEGUN else Verdict.RETRY
    # Nobody goes on with a request that was answered so, whoever answered.
    if isinstance(error, (errors.ConfigurationError, errors.AuthenticationError, errors.InsufficientCreditsError)):
        return Verdict.GIVE_UP
    if isinstance(error, errors.RateLimitError):
        return Verdict.PAUSE
    if not isinstance(error, errors.APIError) or not error.is_from_vendor or _may_be_anybodys(error):
        return Verdict.UNKNOWN
    refusals = (errors.InvalidVideoURLError, errors.BadRequestError, errors.JobNotFoundError)
    return Verdict.GIVE_UP if isinstance(error, refusals) else Verdict.UNKNOWN


def _may_be_anybodys(error: errors.APIError) -> bool:
    """Tell if a refusal has an HTTP status for its code, as that of a gateway that answers in JSON has.

    A gateway may have passed the export on before it answered, e.g. where it looks at what comes back.
    """
    return error.status_code >= 400 and error.code is not None and 400 <= error.code < 600


def _task_verdict(error: errors.HitPawError) -> Verdict:
    if isinstance(error, errors.RateLimitError):
        return Verdict.PAUSE
    if isinstance(error, (errors.TransportError, errors.ProtocolError, errors.ServerError)):
        return Verdict.RETRY
    if isinstance(error, errors.APIError) and not isinstance(error, errors.AuthenticationError):
        return Verdict.GIVE_UP if error.is_from_vendor else Verdict.RETRY
    return Verdict.GIVE_UP
