"""The vendor's side of the wire: read a request's body strictly, write a reply."""

from __future__ import annotations

import hashlib
import json
import re
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from hitpaw_async._core import limits
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ExportRequest, JobStatus, VideoModel
from hitpaw_async.simulator.vendor import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = [
    "BODY_BYTES_MAX",
    "MEDIA_TYPES",
    "TaskReply",
    "bytes_reply",
    "json_object",
    "json_reply",
    "origin_of",
    "parse_export",
    "parse_job_id",
    "read_body",
    "refusal_reply",
    "success_reply",
    "task_fields",
]

BODY_BYTES_MAX: Final = 1 << 16
DRAINED_BYTES_MAX: Final = 1 << 20
MEDIA_TYPES: Final = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".webm": "video/webm",
}
"""Formats of results. v3 names input formats only; the same five are assumed for the output."""


class TaskReply(StrEnum):
    """The shape of the task call's reply: v3's text and its sample disagree."""

    FLAT = "flat"
    ENVELOPED = "enveloped"


_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_RANGE: Final = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", re.IGNORECASE)


async def read_body(request: Request) -> bytes:
    """A request's body, bounded.

    Raises:
        RefusedError: It is larger than 64 KiB.
    """
    received = bytearray()
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        # A little more is read and dropped: an answer in the middle of the sending would often not be heard.
        if size_bytes > DRAINED_BYTES_MAX:
            break
        received += chunk[: BODY_BYTES_MAX - len(received)]
    if size_bytes > BODY_BYTES_MAX:
        raise RefusedError.request_not_valid(f"its body is larger than {BODY_BYTES_MAX >> 10} KiB.")
    return bytes(received)


def json_object(body: bytes) -> dict[str, object]:
    """The object that a body holds.

    Raises:
        RefusedError: It is not JSON, or no object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError.request_not_valid("its body is not JSON.") from None
    if not isinstance(value, dict):
        raise RefusedError.request_not_valid("its body is not a JSON object.")
    return value


def parse_export(fields: Mapping[str, object]) -> ExportRequest:
    """The request that an export's fields make.

    Raises:
        RefusedError: 400; with 501016 where it is the video's URL that can't be one.
    """
    try:
        request = ExportRequest(
            _text(fields, "video_url"),
            model=_model(fields),
            resolution=_resolution(fields),
            extension=_text(fields, "extension", ".mp4").lower(),
            web_hook_url=_text(fields, "web_hook_url") if fields.get("web_hook_url") is not None else None,
        )
    except InvalidRequestError as error:
        raise RefusedError.request_not_valid(" ".join(error.problems)) from None
    for problem in limits.broken_limits(request):
        if problem.startswith("video_url"):
            raise RefusedError.url_not_valid()
        raise RefusedError.request_not_valid(problem)
    if request.extension not in MEDIA_TYPES:
        raise RefusedError.request_not_valid(f"extension must be one of {', '.join(MEDIA_TYPES)}.")
    return request


def parse_job_id(fields: Mapping[str, object]) -> str:
    """The job id that a task call's fields name.

    Raises:
        RefusedError: They name none.
    """
    return _text(fields, "job_id")


def _text(fields: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = fields.get(name)
    if value is None:
        value = default
    if not isinstance(value, str) or not value:
        raise RefusedError.request_not_valid(f"{name} must be a text.")
    return value


def _model(fields: Mapping[str, object]) -> VideoModel:
    """By `model_id`, or by `model_name` (a later revision of v3), which needs `original_resolution`."""
    model_id, model_name = fields.get("model_id"), fields.get("model_name")
    if (model_id is None) == (model_name is None):
        raise RefusedError.request_not_valid("exactly one of model_id and model_name must be given.")
    if model_name is None:
        if not isinstance(model_id, int):
            raise RefusedError.request_not_valid("model_id must be a whole number.")
        return VideoModel.parse(model_id)
    if not isinstance(model_name, str) or model_name.isdecimal():
        raise RefusedError.request_not_valid("model_name must be a name.")
    if fields.get("original_resolution") is None:
        raise RefusedError.request_not_valid("model_name needs original_resolution.")
    return VideoModel.parse(model_name)


def _resolution(fields: Mapping[str, object]) -> tuple[int, int]:
    value = fields.get("resolution")
    if not isinstance(value, list) or len(value) != 2:
        raise RefusedError.request_not_valid("resolution must be [width, height].")
    return value[0], value[1]


def origin_of(request: Request) -> str:
    """Scheme, host and port under which a caller reached the simulator, e.g. `http://127.0.0.1:8787`."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = request.scope.get("server") or ("127.0.0.1", None)
        host = name if port is None else f"{name}:{port}"
    return f"{request.scope['scheme']}://{host}"


def json_reply(fields: object, *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Any value as a JSON reply. ASCII only, so that no text can break it."""
    return Response(json.dumps(fields), status_code, headers, "application/json")


def success_reply(data: Mapping[str, object]) -> Response:
    """The vendor's envelope around the data of a success."""
    return json_reply({"code": 200, "message": "Success", "data": data})


def refusal_reply(refused: RefusedError, *, retry_after_s: int | None = None) -> Response:
    """The vendor's envelope of an error."""
    headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    fields = {"code": int(refused.code), "message": refused.message}
    return json_reply(fields, status_code=refused.status_code, headers=headers)


def task_fields(job_id: str, status: JobStatus, res_url: str) -> dict[str, str]:
    """Build the fields of a task reply and a webhook; `res_url` is empty until the job is COMPLETED."""
    return {"job_id": job_id, "status": status.value, "res_url": res_url if status is JobStatus.COMPLETED else ""}


def bytes_reply(content: bytes, request: Request, *, media_type: str) -> Response:
    """Content from memory, whole or the one range that is asked for. Several ranges are answered with the whole."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Accept-Ranges": "bytes", "ETag": etag}
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", etag) != etag or asked.groups() == ("", ""):
        return Response(content, HTTPStatus.OK, headers, media_type)
    first, end = _range_bounds(asked[1], asked[2], len(content))
    if first >= end:
        return Response(
            b"", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {**headers, "Content-Range": f"bytes */{len(content)}"}
        )
    headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(content)}"
    return Response(content[first:end], HTTPStatus.PARTIAL_CONTENT, headers, media_type)


def _range_bounds(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    """From where to where (exclusive). Without a first position, it is the last so many bytes."""
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    return int(first), min(size_bytes, int(last) + 1 if last else size_bytes)
