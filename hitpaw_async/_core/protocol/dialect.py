"""A dialect of the vendor's: build a call, decode a reply. One `Dialect` object per vendor API.

Decoding is strict about kinds (a null, list or number is not a job id; a bool is not a code) and tolerant of fields it
does not know. It either returns a `Job` or raises one of the library's exceptions, whatever bytes come in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.fields import (
    CREDITS_MAX,
    WireCodes,
    WireJob,
    announced_job,
    job_fields,
    json_object,
    structured,
    to_json,
)
from hitpaw_async._core.protocol.messages import Call, Reply, Webhook, is_job_id
from hitpaw_async._core.retry import CallKind
from hitpaw_async._redact import excerpt
from hitpaw_async._urls.addresses import URL_CHARS_MAX, is_web_url
from hitpaw_async.models import Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitpaw_async.models import ExportRequest

__all__ = ["Dialect", "has_envelope", "is_own_word"]

SUCCESS_CODES: Final = (200, 0)
"""v3 answers 200; the vendor's platform has been seen to answer 0."""

REFUSAL_CODES: Final = range(501000, 502000)
"""The family of v3's documented refusals (501001, 501002, 501016)."""

PLATFORM_CODES: Final = range(100_000_000, 200_000_000)
"""The family of the vendor's platform (e.g. 110400002, no such task), which answers beside v3."""

_TRANSIENT: Final = (errors.ServerError, errors.RateLimitError)
"""Errors after which another answer may follow, whoever sent them."""


def is_own_word(error: errors.APIError) -> bool:
    """Tell if an error is certainly the vendor's own: it has one of the vendor's codes, not an HTTP status as its code.

    Gateways, too, answer in JSON with a `code`, mostly the HTTP status once more. Their errors are never final.
    """
    return (
        error.is_from_vendor
        and error.code is not None
        and (error.code in REFUSAL_CODES or error.code in PLATFORM_CODES)
    )


def has_envelope(reply: Reply) -> bool:
    """Tell if a reply to a task call could be the vendor's: a JSON object with a code, or with a job's fields."""
    try:
        fields = json_object(reply)
    except errors.ProtocolError:
        return False
    codes = (fields.get("code"), fields.get("error_code"))
    return any(type(code) is int for code in codes) or ("job_id" in fields and "status" in fields)


@attrs.frozen(kw_only=True)
class Dialect:
    """The calls and replies of one of the vendor's APIs."""

    name: str
    export_path: str
    task_path: str
    key_header: str
    errors_by_code: Mapping[int, type[errors.APIError]]
    statuses: Mapping[str, JobStatus]
    """Status by the vendor's word for it, in capitals."""

    def encode_export(self, request: ExportRequest, *, web_hook_url: str | None = None) -> Call:
        """Build the call that submits a video. `web_hook_url`, if given, replaces the request's own."""
        fields: dict[str, object] = {
            "video_url": request.video_url,
            "extension": request.extension,
            "resolution": [*request.resolution],
        }
        if request.model is not None:
            fields["model_id"] = int(request.model)
        if request.model_name is not None:
            fields["model_name"] = request.model_name
        if request.original_resolution is not None:
            fields["original_resolution"] = [*request.original_resolution]
        hook = web_hook_url or request.web_hook_url
        if hook is not None:
            fields["web_hook_url"] = hook
        return Call(CallKind.EXPORT, self.export_path, to_json(fields))

    def encode_task(self, job_id: str) -> Call:
        """Build the call that polls a job.

        Raises:
            InvalidRequestError: `job_id` can't be one.
        """
        if not is_job_id(job_id):
            raise errors.InvalidRequestError([f"{ascii(job_id)[:60]} is not a job id."])
        return Call(CallKind.TASK, self.task_path, to_json({"job_id": job_id}))

    def decode_export(self, reply: Reply) -> Job:
        """Return the job that an export's reply names.

        A job that is named has been paid for: its id counts, whatever the HTTP status, the code and the rest say.

        Raises:
            APIError: The vendor refused, or failed; its subclass says how.
            ProtocolError: A reply that can't be understood: the export may have been accepted.
            ConfigurationError: A redirect; the vendor documents none.
        """
        announced = announced_job(reply)
        job_id = announced.job_id
        if job_id is not None:
            return Job(job_id=job_id, credits=announced.credits)
        if not announced.has_oddity:
            self._success(reply)
        raise errors.ProtocolError("The export's reply has no usable job id.", reply.excerpt())

    def decode_task(self, reply: Reply, *, job_id: str) -> Job:
        """Return the job that a task call's reply describes, flat or enveloped.

        Raises:
            APIError: The vendor refused, or failed; its subclass says how.
            ProtocolError: A reply that can't be understood.
            ConfigurationError: A redirect; the vendor documents none.
        """
        wire = self._decode(reply)
        if wire.status is None:
            raise errors.ProtocolError("The task's reply has no status.", reply.excerpt())
        if wire.job_id is not None and not _is_same_id(wire.job_id, job_id):
            raise errors.ProtocolError("The task's reply is about another job.", reply.excerpt())
        status = self.statuses.get(wire.status) or self.statuses.get(_plain_word(wire.status), JobStatus.UNRECOGNIZED)
        # A word that is known hides nothing, and most words are.
        is_plain = wire.status in self.statuses
        status_text = wire.status if is_plain else excerpt(wire.status, chars_max=60, secrets=reply.secrets)
        res_url = (wire.res_url or "").strip() or None
        if status is JobStatus.COMPLETED and not _is_result_url(res_url):
            raise errors.ProtocolError("The job is COMPLETED, yet the reply has no usable res_url.", reply.excerpt())
        return Job(
            job_id=job_id,
            status=status,
            status_text=status_text,
            res_url=res_url if _is_result_url(res_url) else None,
            credits=_credits(wire, reply),
        )

    def require_vendor(self, reply: Reply) -> None:
        """Check that the reply to a task call about a job that never existed can be the vendor's.

        Raises:
            APIError: A transient failure, or the key was refused.
            ProtocolError: The vendor would not say that.
            ConfigurationError: A redirect; the vendor documents none.
        """
        failure: errors.APIError | None = None
        try:
            self._success(reply)
        except errors.APIError as error:
            failure = error
        if isinstance(failure, errors.AuthenticationError):
            raise failure
        if has_envelope(reply):
            return
        if isinstance(failure, _TRANSIENT):
            raise failure
        raise errors.ProtocolError(f"HTTP {reply.status_code} is no answer of the vendor's.", reply.excerpt())

    def decode_webhook(self, body: bytes) -> Webhook:
        """Decode a webhook's body.

        Raises:
            ProtocolError: It is not what the vendor documents.
        """
        reply = Reply(status_code=200, body=body)
        wire = job_fields(json_object(reply), reply)
        if not is_job_id(wire.job_id) or wire.job_id is None:
            raise errors.ProtocolError("The webhook has no usable job id.", reply.excerpt())
        return Webhook(wire.job_id, excerpt(wire.status or "", chars_max=60))

    def success_fields(self, reply: Reply) -> dict[str, object]:
        """Return the fields of a reply to any other call, if it claims no failure.

        Raises:
            APIError: The vendor refused.
            ProtocolError: It can't be understood.
            ConfigurationError: It redirects.
        """
        return self._success(reply)

    def _decode(self, reply: Reply) -> WireJob:
        return job_fields(self._success(reply), reply)

    def _success(self, reply: Reply) -> dict[str, object]:
        """Return the fields of a reply that claims no failure."""
        if 300 <= reply.status_code < 400:
            raise errors.ConfigurationError(
                f"The vendor's address answered with a redirect (HTTP {reply.status_code}). It is not followed, "
                "because the key would go along. Set the right base_url (--base-url, HITPAW_API_BASE_URL)."
            )
        if not 200 <= reply.status_code < 300:
            self._raise_refusal(reply)
        fields = json_object(reply)
        codes = structured(fields, WireCodes, reply)
        code = codes.code if codes.code is not None else codes.error_code
        if code is not None and code not in SUCCESS_CODES:
            self._raise_error(reply, code, fields)
        return fields

    def _raise_refusal(self, reply: Reply) -> NoReturn:
        """Raise what an HTTP status of 400 or more means; the body may be anybody's."""
        try:
            fields = json_object(reply)
            codes = structured(fields, WireCodes, reply)
        except errors.ProtocolError:
            fields, codes = {}, WireCodes()
        self._raise_error(reply, codes.code if codes.code is not None else codes.error_code, fields)

    def _raise_error(self, reply: Reply, code: int | None, fields: Mapping[str, object]) -> NoReturn:
        said = fields.get("message") or fields.get("msg")
        message = (excerpt(said, secrets=reply.secrets) if isinstance(said, str) else "") or reply.excerpt()
        kind = self._error_kind(reply.status_code, code)
        is_from_vendor = code is not None
        if kind is errors.RateLimitError:
            raise errors.RateLimitError(
                reply.status_code, code, message, is_from_vendor=is_from_vendor, retry_after_s=reply.retry_after_s
            )
        raise kind(reply.status_code, code, message, is_from_vendor=is_from_vendor)

    def _error_kind(self, status_code: int, code: int | None) -> type[errors.APIError]:
        """Choose by the vendor's code, then by the HTTP status, which a 200 may carry as its code."""
        if code is not None and code in self.errors_by_code:
            return self.errors_by_code[code]
        status = code if status_code < 400 and code is not None else status_code
        by_status: dict[int, type[errors.APIError]] = {
            401: errors.AuthenticationError,
            402: errors.InsufficientCreditsError,
            404: errors.JobNotFoundError,
            408: errors.ServerError,
            409: errors.ServerError,
            425: errors.ServerError,
            429: errors.RateLimitError,
        }
        if status in by_status:
            return by_status[status]
        if 500 <= status < 600:
            return errors.ServerError
        if 400 <= status < 500 or status in REFUSAL_CODES:
            return errors.BadRequestError
        return errors.APIError


def _is_same_id(told: str, asked: str) -> bool:
    return told == asked or told.strip().casefold() == asked.strip().casefold()


def _plain_word(status: str) -> str:
    return status.strip().upper().replace("-", "_").replace(" ", "_")


def _is_result_url(url: str | None) -> bool:
    return url is not None and len(url) <= URL_CHARS_MAX and url.isprintable() and is_web_url(url)


def _credits(wire: WireJob, reply: Reply) -> int | None:
    if wire.consume_coins is not None and not 0 <= wire.consume_coins <= CREDITS_MAX:
        raise errors.ProtocolError("The reply's consume_coins is not a number of credits.", reply.excerpt())
    return wire.consume_coins
