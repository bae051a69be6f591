"""The exception tree: everything that this library raises is a `HitPawError`.

Each message says what happened, who must act and how. Values for programs are attributes; nobody has to parse a
message. All exceptions survive pickling, so they may cross process boundaries.
"""

from __future__ import annotations

from typing import ClassVar

from hitpaw_async._errors import ConfigurationError, HitPawError, InternalError, InvalidRequestError, MissingExtraError
from hitpaw_async.models import ExportRequest, Job

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "DownloadError",
    "EventsLostError",
    "HitPawError",
    "InsufficientCreditsError",
    "InternalError",
    "InvalidRequestError",
    "InvalidVideoURLError",
    "ItemCancelledError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "JournalBusyError",
    "JournalError",
    "MediaError",
    "MissingExtraError",
    "ProtocolError",
    "QueueFullError",
    "RateLimitError",
    "ServerError",
    "StorageError",
    "SubmissionUnknownError",
    "TransportError",
]


def _credits(count: int) -> str:
    return f"{count} credit{'' if count == 1 else 's'}"


class APIError(HitPawError):
    """The vendor answered with an error.

    Attributes:
        status_code: The HTTP status.
        code: The vendor's error code, or None where the reply had none.
        message: The vendor's words, bounded and redacted.
        is_from_vendor: True if the reply had the vendor's shape; False for a gateway's or a stranger's page.
    """

    advice: ClassVar[str] = "See the vendor's documentation for this code, or ask its support."

    status_code: int = 0
    code: int | None = None
    message: str = ""
    is_from_vendor: bool = True

    def __init__(self, status_code: int, code: int | None, message: str, *, is_from_vendor: bool = True) -> None:
        code_part = "" if code is None else f", code {code}"
        said = message.rstrip(". ") or "no message"
        super().__init__(f"The vendor answered: {said} (HTTP {status_code}{code_part}). {self.advice}")
        self.status_code = status_code
        self.code = code
        self.message = message
        self.is_from_vendor = is_from_vendor


class AuthenticationError(APIError):
    """401 / 501001: the API key was refused."""

    advice = "Check the key in HITPAW_API_KEY: nothing is submitted until it is accepted."


class InsufficientCreditsError(APIError):
    """402 / 501002: the account has too few credits."""

    advice = "Buy credits in your HitPaw account, then run again: what was not submitted is taken up where it stopped."


class InvalidVideoURLError(APIError):
    """400 / 501016: the vendor could not use the video's URL."""

    advice = "Check that the URL is public, has not expired and names a video file; a refused export is not charged."


class BadRequestError(APIError):
    """Another refusal of the request (HTTP 4xx)."""

    advice = "Correct the request; a refused export is not charged."


class JobNotFoundError(APIError):
    """The vendor does not know the job id."""

    advice = "Check the job id, and that the key and the address are those of the account that submitted it."


class RateLimitError(APIError):
    """429: too many requests, still after all retries.

    Attributes:
        retry_after_s: Seconds that the vendor asked to wait, or None where it didn't say.
    """

    advice = "Wait, or lower max_connections and the poll rate."

    retry_after_s: float | None = None

    def __init__(
        self,
        status_code: int,
        code: int | None,
        message: str,
        *,
        is_from_vendor: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status_code, code, message, is_from_vendor=is_from_vendor)
        self.retry_after_s = retry_after_s


class ServerError(APIError):
    """The vendor, or a gateway before it, failed (HTTP 5xx, 408, 409, 425)."""

    advice = "Try again later; if it lasts, tell the vendor's support."


class TransportError(HitPawError):
    """The network failed, and it is certain that the vendor did not accept an export by this call."""


class ProtocolError(HitPawError):
    """The reply is not what the vendor documents.

    Attributes:
        body: The beginning of the reply, bounded and redacted.
    """

    body: str = ""

    def __init__(self, message: str, body: str = "") -> None:
        shown = f" The reply began: {body!r}" if body else ""
        super().__init__(f"{message}{shown}")
        self.body = body


class SubmissionUnknownError(HitPawError):
    """An export was sent and its answer was lost: it may have been accepted and charged. It is never sent again.

    Attributes:
        request: The request; None only if an error was `restored` without it.
    """

    request: ExportRequest = None  # type: ignore[assignment]

    def __init__(self, request: ExportRequest, reason: str) -> None:
        super().__init__(
            f"Nobody can know whether this export was accepted and charged: {reason.rstrip('. ')}. "
            "It was not sent again. Look at your HitPaw account; in a batch, settle it with `hitpaw reconcile`."
        )
        self.request = request


class JobFailedError(HitPawError):
    """The vendor gave the job up (status ERROR).

    Attributes:
        job: The job as last seen; None only where an error was `restored` without it.
    """

    job: Job = None  # type: ignore[assignment]

    def __init__(self, job: Job) -> None:
        super().__init__(
            f"HitPaw could not process job {job.job_id} (status {job.status_text}). Whether it was charged is not "
            "documented: ask the vendor's support with this job id."
        )
        self.job = job


class JobTimeoutError(HitPawError, TimeoutError):
    """The job was not finished in the time given. It goes on at the vendor and is paid for.

    Attributes:
        job: The job as last seen; None only where an error was `restored` without it.
        timeout_s: Seconds for which it was awaited.
    """

    job: Job = None  # type: ignore[assignment]
    timeout_s: float = 0.0

    def __init__(self, job: Job, timeout_s: float) -> None:
        super().__init__(
            f"Job {job.job_id} was not finished after {timeout_s:g} s (last status: {job.status_text or 'none'}). "
            "It goes on at the vendor: wait for it again with its job id; do not submit the video again."
        )
        self.job = job
        self.timeout_s = timeout_s


class DownloadError(HitPawError):
    """A result could not be brought to disk. The file on disk is complete or absent, never half a file.

    Attributes:
        is_gone: True where its host said, as long as it was asked, that the result does not exist.
        is_taken: True where a file of that name exists and may not be replaced.
        is_refused: True where its host refused it, or sent something else than a video: that may pass.
        is_unstored: True where the disk or the folder did not take it: others will not be stored either.
    """

    is_gone: bool = False
    is_taken: bool = False
    is_refused: bool = False
    is_unstored: bool = False

    def __init__(
        self,
        message: str,
        *,
        is_gone: bool = False,
        is_taken: bool = False,
        is_refused: bool = False,
        is_unstored: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_gone = is_gone
        self.is_taken = is_taken
        self.is_refused = is_refused
        self.is_unstored = is_unstored


class StorageError(HitPawError):
    """A bucket, or another store, did not take, give or sign what was asked of it, or a local file could not be staged.

    The object is complete or absent. Unless an attribute says otherwise, it may pass.

    Attributes:
        location: The object or file, e.g. `s3://bucket/name`; never signed.
        is_taken: True where an object of that name exists and may not be replaced.
        is_denied: True where the credentials were refused, or don't allow it.
        is_missing: True where there is no such object, bucket or file.
        is_changed: True where a file or an object was changed by somebody else meanwhile.
    """

    location: str = ""
    is_taken: bool = False
    is_denied: bool = False
    is_missing: bool = False
    is_changed: bool = False

    def __init__(
        self,
        message: str,
        *,
        location: str = "",
        is_taken: bool = False,
        is_denied: bool = False,
        is_missing: bool = False,
        is_changed: bool = False,
    ) -> None:
        super().__init__(message)
        self.location = location
        self.is_taken = is_taken
        self.is_denied = is_denied
        self.is_missing = is_missing
        self.is_changed = is_changed


class MediaError(HitPawError):
    """A source is not a video that can be read: empty, truncated or of another kind.

    Attributes:
        status_code: The HTTP status with which its host refused it; None where that is not the reason.
    """

    status_code: int | None = None

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class BudgetExceededError(HitPawError):
    """An item was not submitted because its worst-case price does not fit what is left of the budget.

    Attributes:
        needed_credits: Highest possible price of the item.
        left_credits: Rest of the budget.
    """

    needed_credits: int = 0
    left_credits: int = 0

    def __init__(self, needed_credits: int, left_credits: int) -> None:
        super().__init__(
            f"Not submitted: it may cost up to {_credits(needed_credits)} and {left_credits} of the budget "
            f"{'is' if left_credits == 1 else 'are'} left. "
            "Raise the budget and resume."
        )
        self.needed_credits = needed_credits
        self.left_credits = left_credits


class JournalError(HitPawError):
    """The journal cannot be opened, read or written; nothing is submitted without it."""


class JournalBusyError(JournalError):
    """Another process works on the journal; one at a time may.

    Attributes:
        pid: Its process id on its own host, where it is known.
        host: The name of that host.
    """

    pid: int | None = None
    host: str | None = None

    def __init__(self, message: str, *, pid: int | None = None, host: str | None = None) -> None:
        super().__init__(message)
        self.pid = pid
        self.host = host


class QueueFullError(HitPawError):
    """A batch in the background takes nothing more in for now.

    Attributes:
        unfinished: Number of items it has to finish.
    """

    unfinished: int = 0

    def __init__(self, unfinished: int) -> None:
        super().__init__(f"The queue is full ({unfinished} unfinished videos). Submit it later, or raise waiting_max.")
        self.unfinished = unfinished


class ItemCancelledError(HitPawError):
    """An item was cancelled before it was submitted: nothing was sent or charged. `again` queues it anew."""


class EventsLostError(HitPawError):
    """A reader of a batch's events was so far behind that it was cut off. The batch goes on.

    Attributes:
        behind: Number of events that no reader may miss that were waiting for it.
    """

    behind: int = 0

    def __init__(self, behind: int) -> None:
        super().__init__(
            f"This reader of the batch's events was {behind} finished items behind and was cut off; the batch goes on. "
            "Call events() again: it begins with where the batch stands. Read faster, or do slow work elsewhere."
        )
        self.behind = behind
