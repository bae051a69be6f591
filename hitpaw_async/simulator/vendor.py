"""The vendor as a plain value: keys, a balance, jobs in time and the ledger. No HTTP, no clock of its own, no I/O."""

from __future__ import annotations

import hmac
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from enum import Enum, IntEnum, auto
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from hitpaw_async._core import limits, pricing
from hitpaw_async._redact import redact_url
from hitpaw_async.models import ExportRequest, JobStatus, Resolution, VideoFacts

__all__ = ["Charge", "ErrorCode", "JobDuration", "RefusedError", "ResultState", "SimulatedJob", "Vendor"]

JobDuration: TypeAlias = float | Callable[[ExportRequest], float]
"""Seconds from an export's acceptance to its job's end: the same for all jobs, or by their requests."""

WAITING_S: Final = 3.0
CONVERTING_FIXED_S: Final = 2.0
CONVERTING_SHARE: Final = 0.5
"""Seconds of conversion for each second of video."""
CONVERTING_SPREAD: Final = 0.2
"""Conversions are this share longer or shorter, by the job's number."""


class ErrorCode(IntEnum):
    """The vendor's error codes. Source: v3 document, "Error Responses"; those after it are assumed."""

    KEY_NOT_VALID = 501001
    CREDITS_NOT_ENOUGH = 501002
    URL_NOT_VALID = 501016

    REQUEST_NOT_VALID = 501000
    JOB_NOT_FOUND = 501404
    TOO_MANY_REQUESTS = 501429
    STORAGE_FAILED = 501507


class RefusedError(Exception):
    """The vendor says no. Never leaves the application: it becomes a reply."""

    def __init__(self, status_code: HTTPStatus, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.message = message

    @classmethod
    def url_not_valid(cls, detail: str = "") -> RefusedError:
        """The refusal of a source, in the vendor's words, and why."""
        message = f"The video url is not valid: {detail}" if detail else "The video url is not valid"
        return cls(HTTPStatus.BAD_REQUEST, ErrorCode.URL_NOT_VALID, message)

    @classmethod
    def request_not_valid(cls, detail: str) -> RefusedError:
        """The refusal of a request's body. v3 documents none: status and code are assumed."""
        message = f"The request is not valid: {detail}"
        return cls(HTTPStatus.BAD_REQUEST, ErrorCode.REQUEST_NOT_VALID, message)


@attrs.frozen(kw_only=True)
class Charge:
    """One payment: it is final at the moment of acceptance, whatever becomes of the reply."""

    job_id: str
    video_url: str = attrs.field(repr=lambda url: repr(redact_url(url)))
    credits: int
    model_id: int
    resolution: Resolution
    at_s: float
    """Time it was charged, by the simulator's clock."""


class ResultState(Enum):
    """State of a job's file."""

    PENDING = auto()
    READY = auto()
    FAILED = auto()


@attrs.define(kw_only=True, eq=False)
class SimulatedJob:
    """A job that was accepted and paid for. Its status follows from the time and from its result."""

    job_id: str
    signature: str = attrs.field(repr=False)
    """Secret part of the result's URL."""
    request: ExportRequest
    waiting_until_s: float
    done_at_s: float
    duration_s: float
    """From its acceptance to its end."""
    is_doomed: bool
    """True if it ends in ERROR, whatever its result."""
    result_state: ResultState = ResultState.PENDING
    result_path: Path | None = None
    """The file; None where the result has no file of its own."""

    def status(self, now_s: float) -> JobStatus:
        """The status at a moment of the simulator's clock."""
        if now_s < self.waiting_until_s:
            return JobStatus.WAITING
        if now_s < self.done_at_s:
            return JobStatus.CONVERTING
        if self.is_doomed or self.result_state is ResultState.FAILED:
            return JobStatus.ERROR
        return JobStatus.COMPLETED if self.result_state is ResultState.READY else JobStatus.CONVERTING

    def has_signature(self, signature: str) -> bool:
        """Tell if a URL carries this job's signature."""
        return hmac.compare_digest(signature.encode("utf-8", "replace"), self.signature.encode())


@attrs.define(kw_only=True, eq=False)
class Vendor:
    """One account's balance, its jobs and its ledger. The balance bounds how many jobs there can be."""

    credits_left: int
    speed: float
    api_keys: Collection[str] | None
    """The keys that are accepted; None: any that is not empty."""
    seed: int | None
    """Makes job ids and signatures repeatable; None: nobody can guess them."""
    job_duration_s: JobDuration | None = None
    """Seconds that jobs take; None: as the module `simulator` says."""
    ledger: list[Charge] = attrs.field(init=False, factory=list)
    jobs: dict[str, SimulatedJob] = attrs.field(init=False, factory=dict)
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.SystemRandom() if self.seed is None else random.Random(self.seed)  # noqa: S311 (wished for)

    def check_key(self, key: str | None) -> None:
        """Refuse a call without a valid key.

        Raises:
            RefusedError: 401 / 501001.
        """
        is_known = bool(key) if self.api_keys is None else key in self.api_keys
        if not is_known:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, ErrorCode.KEY_NOT_VALID, "The ApiKey is not valid")

    def accept(
        self, request: ExportRequest, facts: VideoFacts, *, now_s: float, is_doomed: bool = False
    ) -> SimulatedJob:
        """Check a request against what was measured, charge it and begin its job. All or nothing.

        Raises:
            RefusedError: 400 / 501016, the source breaks a limit; 402 / 501002, the balance is too small.
        """
        problems = limits.broken_limits(request, facts)
        if problems:
            raise RefusedError.url_not_valid(" ".join(problems))
        price = pricing.estimate(request, facts=facts).upper
        if price > self.credits_left:
            raise RefusedError(
                HTTPStatus.PAYMENT_REQUIRED, ErrorCode.CREDITS_NOT_ENOUGH, "The coins for this APIKEY is not enough"
            )
        assert request.model is not None
        self.credits_left -= price
        job = self._begin(request, facts, now_s=now_s, is_doomed=is_doomed)
        charge = Charge(
            job_id=job.job_id,
            video_url=request.video_url,
            credits=price,
            model_id=int(request.model),
            resolution=request.resolution,
            at_s=now_s,
        )
        self.ledger.append(charge)
        return job

    def _begin(self, request: ExportRequest, facts: VideoFacts, *, now_s: float, is_doomed: bool) -> SimulatedJob:
        waiting_s, converting_s = self._durations_s(request, facts)
        waiting_until_s = now_s + waiting_s / self.speed
        job = SimulatedJob(
            job_id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            signature=f"{self._random.getrandbits(128):032x}",
            request=request,
            waiting_until_s=waiting_until_s,
            done_at_s=waiting_until_s + converting_s / self.speed,
            duration_s=(waiting_s + converting_s) / self.speed,
            is_doomed=is_doomed,
        )
        self.jobs[job.job_id] = job
        return job

    def _durations_s(self, request: ExportRequest, facts: VideoFacts) -> tuple[float, float]:
        """Return the waiting and converting times of a request that is being charged."""
        asked_s = self.job_duration_s(request) if callable(self.job_duration_s) else self.job_duration_s
        if asked_s is not None:
            waiting_s = min(WAITING_S, asked_s)
            return waiting_s, asked_s - waiting_s
        draw = random.Random(len(self.ledger) + 1).random()  # noqa: S311 (repeatable on purpose)
        factor = 1 + CONVERTING_SPREAD * (2 * draw - 1)
        return WAITING_S, (CONVERTING_FIXED_S + CONVERTING_SHARE * (facts.duration_s or 0.0)) * factor

    def find(self, job_id: str) -> SimulatedJob:
        """The job with an id.

        Raises:
            RefusedError: 404; v3 documents none, so status and code are assumed.
        """
        if job_id not in self.jobs:
            raise RefusedError(HTTPStatus.NOT_FOUND, ErrorCode.JOB_NOT_FOUND, "The job does not exist")
        return self.jobs[job_id]

    def charges_by_url(self) -> Counter[str]:
        """Count the charges of each source."""
        return Counter(charge.video_url for charge in self.ledger)
