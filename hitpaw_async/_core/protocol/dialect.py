"""The vendor's wire format: build a call, decode a reply. One `Dialect` object per vendor API.

Decoding is strict about kinds (a null, list or number is not a job id; a bool is not a code) and tolerant of fields it
does not know. It either returns a `Job` or raises one of the library's exceptions, whatever bytes come in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import attrs
import cattrs

from hitpaw_async import errors
from hitpaw_async._core.retry import CallKind
from hitpaw_async._redact import excerpt
from hitpaw_async._urls.addresses import URL_CHARS_MAX, is_web_url
from hitpaw_async.models import Job, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hitpaw_async.models import ExportRequest

__all__ = [
    "NOBODYS_JOB",
    "V3",
    "Call",
    "Dialect",
    "Reply",
    "Webhook",
    "has_envelope",
    "is_job_id",
    "is_own_word",
    "parse_retry_after",
]

JOB_ID_CHARS_MAX: Final = 256
CREDITS_MAX: Final = 10**9
CODE_MAX: Final = 10**9
RETRY_AFTER_MAX_S: Final = 10**7
SUCCESS_CODES: Final = (200, 0)
"""v3 answers 200; the vendor's platform has been seen to answer 0."""

REFUSAL_CODES: Final = range(501000, 502000)
"""The family of v3's documented refusals (501001, 501002, 501016)."""

PLATFORM_CODES: Final = range(100_000_000, 200_000_000)
"""The family of the vendor's platform (e.g. 110400002, no such task), which v3 shares a house with."""

NOBODYS_JOB: Final = "00000000-0000-0000-0000-000000000000"
"""A job id that the vendor never gave: who is asked for it says only who he is."""

NESTING_MAX: Final = 8
"""How deep in an export's answer a job id is looked for."""


@attrs.frozen
class Call:
    """One request, ready to send: a POST of JSON."""

    kind: CallKind
    path: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Reply:
    """What came back, before anybody believes it."""

    status_code: int
    body: bytes = attrs.field(default=b"", repr=False)
    retry_after_s: float | None = None
    """Seconds of the `Retry-After` header, already resolved against a clock."""
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """What must not be shown, should the body echo it."""

    def excerpt(self) -> str:
        """The beginning of the body, as it may be shown."""
        # More characters than an excerpt looks at, whatever their size: it must know where it cuts.
        return excerpt(self.body[:8192].decode("utf-8", "replace"), secrets=self.secrets)


@attrs.frozen
class Webhook:
    """What a webhook says. A hint, never a fact: webhooks are unsigned."""

    job_id: str
    status_text: str


@attrs.frozen
class _WireJob:
    """The fields of a job, flat or inside `data`. Kinds are enforced by `_CONVERTER`."""

    job_id: str | None = None
    status: str | None = None
    res_url: str | None = None
    consume_coins: int | None = None


def _bounded(_: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    # A journal keeps codes, and SQLite has 64 bits for them.
    if value is not None and abs(value) > CODE_MAX:
        raise ValueError(f"{attribute.name} is out of range")


@attrs.frozen
class _WireCodes:
    code: int | None = attrs.field(default=None, validator=_bounded)
    error_code: int | None = attrs.field(default=None, validator=_bounded)


class _WrongKindError(ValueError):
    """A field of the vendor's is of another kind than it should be."""


def _exact(kind: type) -> Any:
    def structure(value: object, _: object) -> object:
        if type(value) is not kind:
            raise _WrongKindError(f"expected {kind.__name__}, not {type(value).__name__}")
        return value

    return structure


# cattrs would turn null into 'None' and True into 1; a job id that was never given must not come into being here.
_CONVERTER: Final = cattrs.Converter(detailed_validation=False)
for _kind in (str, int):
    _CONVERTER.register_structure_hook(_kind, _exact(_kind))

_Wire = TypeVar("_Wire", _WireJob, _WireCodes)

_PASSING: Final = (errors.ServerError, errors.RateLimitError)
"""Whoever says that: another answer may follow."""


def is_own_word(error: errors.APIError) -> bool:
    """Whether an error is certainly the vendor's own: it has one of the vendor's codes, not an HTTP status for a code.

    Gateways, too, answer in JSON with a `code`, mostly the HTTP status once more. Nothing is final that one says.
    """
    return (
        error.is_from_vendor
        and error.code is not None
        and (error.code in REFUSAL_CODES or error.code in PLATFORM_CODES)
    )


def has_envelope(reply: Reply) -> bool:
    """Whether a reply to a task call could be the vendor's: a JSON object with a code, or with a job's fields."""
    try:
        fields = _json_object(reply)
    except errors.ProtocolError:
        return False
    codes = (fields.get("code"), fields.get("error_code"))
    return any(type(code) is int for code in codes) or ("job_id" in fields and "status" in fields)


def is_job_id(value: object) -> bool:
    """Whether a value can be a job id: a short printable text (a lone surrogate would break a journal later)."""
    return isinstance(value, str) and 0 < len(value) <= JOB_ID_CHARS_MAX and value.isprintable() and bool(value.strip())


def parse_retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks to wait.

    Args:
        header: Its value: seconds, or an HTTP date.
        now: The wall clock, in seconds since the epoch.

    Returns:
        Seconds, at least 0; None where there is no header or it can't be read.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(min(int(text.lstrip("0")[:12] or "0"), RETRY_AFTER_MAX_S))
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 (rare, and slow to import)

    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return min(max(0.0, moment - now), float(RETRY_AFTER_MAX_S))


@attrs.frozen(kw_only=True)
class Dialect:
    """How one of the vendor's APIs spells its calls."""

    name: str
    export_path: str
    task_path: str
    key_header: str
    errors_by_code: Mapping[int, type[errors.APIError]]
    statuses: Mapping[str, JobStatus]
    """What the vendor's words mean, in capitals."""

    def encode_export(self, request: ExportRequest, *, web_hook_url: str | None = None) -> Call:
        """The call that submits a video. `web_hook_url` stands in for the request's own, where given."""
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
        return Call(CallKind.EXPORT, self.export_path, _to_json(fields))

    def encode_task(self, job_id: str) -> Call:
        """The call that asks for a job.

        Raises:
            InvalidRequestError: `job_id` can't be one.
        """
        if not is_job_id(job_id):
            raise errors.InvalidRequestError([f"{ascii(job_id)[:60]} is not a job id."])
        return Call(CallKind.TASK, self.task_path, _to_json({"job_id": job_id}))

    def decode_export(self, reply: Reply) -> Job:
        """The job that an export's reply announces.

        A job that is named has been paid for: its id counts, whatever the HTTP status, the code and the rest say.

        Raises:
            APIError: The vendor refused, or failed; its subclass says how.
            ProtocolError: A reply that can't be understood: the export may have been accepted.
            ConfigurationError: A redirect; the vendor documents none.
        """
        announced = _announced(reply)
        job_id = announced.job_id
        if job_id is not None:
            return Job(job_id=job_id, credits=announced.credits)
        if not announced.has_oddity:
            self._success(reply)
        raise errors.ProtocolError("The export's reply has no usable job id.", reply.excerpt())

    def decode_task(self, reply: Reply, *, job_id: str) -> Job:
        """The job that a task call's reply describes, flat or enveloped.

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
        """Check that whoever answered a task call about no job in the world can be the vendor.

        Raises:
            APIError: A failure that passes, or the key was refused.
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
        if isinstance(failure, _PASSING):
            raise failure
        raise errors.ProtocolError(f"HTTP {reply.status_code} is no answer of the vendor's.", reply.excerpt())

    def decode_webhook(self, body: bytes) -> Webhook:
        """What a webhook's body says.

        Raises:
            ProtocolError: It is not what the vendor documents.
        """
        reply = Reply(status_code=200, body=body)
        wire = _job_fields(_json_object(reply), reply)
        if not is_job_id(wire.job_id) or wire.job_id is None:
            raise errors.ProtocolError("The webhook has no usable job id.", reply.excerpt())
        return Webhook(wire.job_id, excerpt(wire.status or "", chars_max=60))

    def success_fields(self, reply: Reply) -> dict[str, object]:
        """The fields of a reply to any other call that claims no failure.

        Raises:
            APIError: The vendor refused.
            ProtocolError: It can't be understood.
            ConfigurationError: It redirects.
        """
        return self._success(reply)

    def _decode(self, reply: Reply) -> _WireJob:
        return _job_fields(self._success(reply), reply)

    def _success(self, reply: Reply) -> dict[str, object]:
        """The fields of a reply that claims no failure."""
        if 300 <= reply.status_code < 400:
            raise errors.ConfigurationError(
                f"The vendor's address answered with a redirect (HTTP {reply.status_code}). It is not followed, "
                "because the key would go along. Set the right base_url (--base-url, HITPAW_API_BASE_URL)."
            )
        if not 200 <= reply.status_code < 300:
            self._raise_refusal(reply)
        fields = _json_object(reply)
        codes = _structure(fields, _WireCodes, reply)
        code = codes.code if codes.code is not None else codes.error_code
        if code is not None and code not in SUCCESS_CODES:
            self._raise_error(reply, code, fields)
        return fields

    def _raise_refusal(self, reply: Reply) -> NoReturn:
        """Raise what an HTTP status of 400 or more means; the body may be anybody's."""
        try:
            fields = _json_object(reply)
            codes = _structure(fields, _WireCodes, reply)
        except errors.ProtocolError:
            fields, codes = {}, _WireCodes()
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
        """The vendor's code decides; then the HTTP status, where a 200 may carry one as its code."""
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


V3: Final = Dialect(
    name="v3",
    export_path="/api/v3/video-enhancer/export",
    task_path="/api/v3/video-enhancer-api/task",
    key_header="ApiKey",
    errors_by_code={
        501001: errors.AuthenticationError,
        501002: errors.InsufficientCreditsError,
        501016: errors.InvalidVideoURLError,
        110400002: errors.JobNotFoundError,
    },
    statuses={
        **{status.value: status for status in JobStatus},
        **dict.fromkeys(("PENDING", "INPUT_PREPARING"), JobStatus.WAITING),
        **dict.fromkeys(("CONVERT_COMPLETED", "OUTPUT_SAVING", "OUTPUT_SAVED"), JobStatus.CONVERTING),
        **dict.fromkeys(
            ("ERROR_INTERRUPTION", "TIMEOUT", "CANCEL", "CANCELED", "CANCELLED", "REJECT", "REJECTED", "NSFW"),
            JobStatus.ERROR,
        ),
    },
)
"""The vendor's v3 API. Source: v3 document; paths, header and codes as given there, except for 110400002 and the words
beyond its four, which the vendor's platform and its MCP server (`internal/handler/task_status.go`) have."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: `json` makes new ones for each text that asks for anything but its defaults.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _to_json(fields: Mapping[str, object]) -> bytes:
    return _ENCODER.encode(fields).encode("ascii")


def _json_object(reply: Reply) -> dict[str, object]:
    value: object = None
    is_json = True
    try:
        value = _DECODER.decode(reply.body.decode("utf-8"))
    except (ValueError, RecursionError):
        # ValueError: not UTF-8, not JSON, NaN, an integer of thousands of digits. RecursionError: thousands of
        # brackets.
        is_json = False
    if not is_json:
        # Raised outside the handler: the original would hang on as __context__, and it holds the whole body.
        raise errors.ProtocolError("The reply is not JSON.", reply.excerpt())
    if not isinstance(value, dict):
        raise errors.ProtocolError("The reply is not a JSON object.", reply.excerpt())
    return value


def _structure(fields: Mapping[str, object], kind: type[_Wire], reply: Reply) -> _Wire:
    try:
        return _CONVERTER.structure(fields, kind)
    except ValueError as error:
        reason = str(error)
    # Raised outside the handler: the original would hang on as __context__, and its frames hold the whole body.
    raise errors.ProtocolError(f"The reply has a field of the wrong kind ({reason}).", reply.excerpt())


def _job_fields(fields: Mapping[str, object], reply: Reply) -> _WireJob:
    data = fields.get("data")
    if data is None:
        return _structure(fields, _WireJob, reply)
    if not isinstance(data, dict):
        raise errors.ProtocolError("The reply's data is not a JSON object.", reply.excerpt())
    # The document's text has the fields at the top, its sample has them inside `data`: inside wins, the top fills in.
    top = {name: fields[name] for name in ("job_id", "status", "res_url") if name in fields}
    return _structure({**top, **data}, _WireJob, reply)


@attrs.frozen
class _Announced:
    """What an export's reply says of a job, whatever else it says."""

    job_id: str | None = None
    has_oddity: bool = False
    """Whether something stands for the job id that can't be one: no refusal, then, is certain."""
    credits: int | None = None


def _announced(reply: Reply) -> _Announced:
    """The job id in an export's reply: inside `data`, at the top, or if there is exactly one, wherever it stands."""
    try:
        body = json.loads(reply.body, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return _Announced()
    fields = body if isinstance(body, dict) else {}
    data = fields.get("data")
    named = [place["job_id"] for place in (data, fields) if isinstance(place, dict) and "job_id" in place]
    found = list(_named_ids(body, NESTING_MAX))
    usable = [value for value in named if is_job_id(value)]
    others = {value.strip() for value in found if isinstance(value, str) and is_job_id(value.strip())}
    if not usable and len(others) == 1 and not any(char.isspace() for char in next(iter(others))):
        usable = [*others]
    if not usable:
        is_empty = all(value is None or value == "" for value in found)
        return _Announced(has_oddity=not is_empty)
    merged = {**fields, **data} if isinstance(data, dict) else fields
    coins = merged.get("consume_coins")
    is_price = type(coins) is int and 0 <= coins <= CREDITS_MAX
    return _Announced(job_id=usable[0], credits=coins if is_price else None)


def _named_ids(value: object, depth_left: int) -> Iterator[object]:
    """Whatever stands under a name such as `job_id`, `jobId` or `JobID`, at any place."""
    if not depth_left:
        return
    if isinstance(value, list):
        for entry in value:
            yield from _named_ids(entry, depth_left - 1)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name.replace("_", "").replace("-", "").lower() == "jobid":
                yield entry
            else:
                yield from _named_ids(entry, depth_left - 1)


def _is_same_id(told: str, asked: str) -> bool:
    return told == asked or told.strip().casefold() == asked.strip().casefold()


def _plain_word(status: str) -> str:
    return status.strip().upper().replace("-", "_").replace(" ", "_")


def _is_result_url(url: str | None) -> bool:
    return url is not None and len(url) <= URL_CHARS_MAX and url.isprintable() and is_web_url(url)


def _credits(wire: _WireJob, reply: Reply) -> int | None:
    if wire.consume_coins is not None and not 0 <= wire.consume_coins <= CREDITS_MAX:
        raise errors.ProtocolError("The reply's consume_coins is not a number of credits.", reply.excerpt())
    return wire.consume_coins
