"""The platform's upload by a presigned PUT: what is asked for, and what the answer gives. Pure.

Source: platform document, `/api/oss/presign-put`.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import Call
from hitpaw_async._core.retry import CallKind
from hitpaw_async._redact import redact_url
from hitpaw_async._urls.addresses import is_web_url

if TYPE_CHECKING:
    from hitpaw_async._core.protocol.dialect import Dialect
    from hitpaw_async._core.protocol.messages import Reply

__all__ = ["UPLOAD_TYPES", "PresignedPut", "decode_presign", "encode_presign", "expire_seconds", "upload_type"]

PRESIGN_PATH: Final = "/api/oss/presign-put"
UPLOAD_TYPES: Final = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}
"""The video files that the vendor's storage takes, by their endings."""
EXPIRE_MIN_S: Final = 60
EXPIRE_MAX_S: Final = 7200
SLOW_BYTES_PER_S: Final = 125_000
"""1 Mbit/s: the slowest line that a link is asked to live for."""


@attrs.frozen(kw_only=True)
class PresignedPut:
    """Target of an upload, and the URL of the uploaded file."""

    upload_url: str = attrs.field(repr=lambda url: repr(redact_url(url)))
    access_url: str = attrs.field(repr=lambda url: repr(redact_url(url)))
    object_key: str
    content_type: str
    """Exact value of the Content-Type header."""


def upload_type(ending: str) -> str | None:
    """The content type of a file by its ending (".mp4", any case); None where the vendor's storage takes no such."""
    return UPLOAD_TYPES.get(ending.lower())


def expire_seconds(size_bytes: int) -> int:
    """Return the deadline of an upload of that size on a slow line, within the vendor's limit."""
    return min(EXPIRE_MAX_S, max(EXPIRE_MIN_S, math.ceil(size_bytes / SLOW_BYTES_PER_S)))


def encode_presign(file_name: str, content_type: str, *, size_bytes: int) -> Call:
    """The call that asks where a file may be put. It costs nothing."""
    fields = {"filename": file_name, "content_type": content_type, "expire_seconds": expire_seconds(size_bytes)}
    return Call(CallKind.TASK, PRESIGN_PATH, json.dumps(fields).encode())


def decode_presign(dialect: Dialect, reply: Reply) -> PresignedPut:
    """Decode the vendor's answer.

    Raises:
        APIError: It refused.
        ProtocolError: It can't be understood.
    """
    data = dialect.success_fields(reply).get("data")
    fields = data if isinstance(data, dict) else {}
    made: dict[str, str] = {}
    for field in attrs.fields(PresignedPut):
        value = fields.get(field.name)
        if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 8192:
            raise errors.ProtocolError(f"The answer to a request for an upload has no usable {field.name}.")
        made[field.name] = value
    if not is_web_url(made["upload_url"]) or not is_web_url(made["access_url"]):
        raise errors.ProtocolError("The answer to a request for an upload has no URL where one belongs.")
    if not made["content_type"].isascii():
        raise errors.ProtocolError("The answer to a request for an upload has no usable content_type.")
    return PresignedPut(**made)
