"""Parses the response to a download: range, size and version; or the reason it can't be used. Pure.

Only a body whose end can be told from a broken connection is worth reading, and only a strong validator proves that two
bodies are parts of one file: a strong ETag, or a Last-Modified that is old enough (RFC 9110, section 8.8.2.2).
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._core.protocol.messages import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["ExpectedBody", "Remedy", "UnusableReplyError", "content_range", "expected_body"]

_COUNT: Final = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_HTTP_DATE: Final = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_STRONG_AFTER: Final = timedelta(seconds=1)
"""Minimum age of a file for its date to tell two versions apart."""
_NOT_A_VIDEO: Final = ("text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml")
_RETRYABLE_STATUSES: Final = (408, 425, 429)
"""The client errors that say "not now" rather than "not this"."""


class Remedy(Enum):
    """Remedy after a reply that can't be used."""

    AGAIN = auto()
    """The same again, going on where it stopped."""
    ANEW = auto()
    """Restart from byte 0: the partial file belongs to another version."""
    FRESH_URL = auto()
    """Another URL of the same result: this one is refused."""


class UnusableReplyError(Exception):
    """A reply, or a body, that can't be used. Never leaves the download.

    Attributes:
        reason: Why, as a part of a sentence.
        remedy: The remedy.
        status_code: The HTTP status, where that is what was wrong.
        retry_after_s: Seconds that the server asked to wait, or None.
        is_foreign: True if the body is something else than a video: another URL may have the result.
    """

    def __init__(
        self,
        reason: str,
        remedy: Remedy = Remedy.AGAIN,
        *,
        status_code: int | None = None,
        retry_after_s: float | None = None,
        is_foreign: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        self.is_foreign = is_foreign


@attrs.frozen(kw_only=True)
class ExpectedBody:
    """The byte range, total size and version that a response announces."""

    start: int
    """The file's byte that it begins with."""
    end: int | None
    """The file's byte before which it ends; None where a chunked body doesn't tell."""
    total: int | None
    """Bytes of the whole file; None where a chunked body doesn't tell."""
    validator: str | None
    """Strong validator of the version: a strong ETag, or a Last-Modified that is old enough."""


def expected_body(
    status_code: int, headers: Mapping[str, str], *, start: int, validator: str | None, total: int | None, now: float
) -> ExpectedBody:
    """Read the announced body from a response's head.

    Args:
        status_code: The HTTP status.
        headers: By lower-case name.
        start: The first byte that was asked for; 0 means that no range was.
        validator: The version that a range was asked of.
        total: How long that version is; None where it didn't tell.
        now: Seconds since the epoch, for a `Retry-After` that is a date.

    Raises:
        UnusableReplyError: It can't be used.
    """
    if status_code not in (200, 206):
        raise _refusal(status_code, headers, start=start, now=now)
    _require_video(headers)
    length = _content_length(headers)
    if status_code == 200:
        if length == 0:
            raise UnusableReplyError("the result is empty")
        return ExpectedBody(start=0, end=length, total=length, validator=_strong_etag(headers) or _strong_date(headers))
    return _read_range(headers, length, start=start, validator=validator, total=total)


def _refusal(status_code: int, headers: Mapping[str, str], *, start: int, now: float) -> UnusableReplyError:
    reason = f"the server answered HTTP {status_code}"
    if status_code in _RETRYABLE_STATUSES or status_code >= 500:
        retry_after_s = parse_retry_after(headers.get("retry-after"), now=now)
        return UnusableReplyError(reason, status_code=status_code, retry_after_s=retry_after_s)
    if status_code == 416:
        return UnusableReplyError(reason, Remedy.ANEW if start else Remedy.AGAIN, status_code=status_code)
    remedy = Remedy.FRESH_URL if 400 <= status_code < 500 else Remedy.AGAIN
    return UnusableReplyError(reason, remedy, status_code=status_code)


def _require_video(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise UnusableReplyError("the server compressed the result, though it was asked not to")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _NOT_A_VIDEO:
        reason = f"the server answered with a page ({kind}) instead of a video"
        raise UnusableReplyError(reason, is_foreign=True)


def _content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is not None:
        if _COUNT.fullmatch(text) is None:
            raise UnusableReplyError("the server's Content-Length is not a number")
        return int(text)
    if headers.get("transfer-encoding", "").strip().lower() != "chunked":
        raise UnusableReplyError("the server didn't say where the result ends, so that a broken one would look whole")
    return None


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    text = headers.get("etag", "").strip()
    return text if _STRONG_ETAG.fullmatch(text) else None


def _strong_date(headers: Mapping[str, str]) -> str | None:
    """The Last-Modified, where the file can't have changed again within the same second before it was sent."""
    text = headers.get("last-modified", "").strip()
    try:
        [modified] = _http_dates(text)
        # Gateways add a second Date.
        sent = min(_http_dates(headers.get("date", "")))
    except ValueError:
        return None
    return text if sent - modified >= _STRONG_AFTER else None


def _http_dates(text: str) -> list[datetime]:
    return [parsedate_to_datetime(date) for date in _HTTP_DATE.findall(text)]


def _is_same_version(headers: Mapping[str, str], validator: str | None) -> bool:
    """Tell if a part is of the requested version. A server need not repeat a date that it was given."""
    if validator is None or validator.startswith('"'):
        return _strong_etag(headers) == validator
    return headers.get("last-modified", validator).strip() == validator


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """The first and the last byte of a range and the length of the whole, as the server says; None where it doesn't."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def _read_range(
    headers: Mapping[str, str], length: int | None, *, start: int, validator: str | None, total: int | None
) -> ExpectedBody:
    named = content_range(headers)
    if named is None:
        raise UnusableReplyError("the server answered with a range that it didn't name", Remedy.ANEW)
    first, last, whole = named
    if not start or first != start or not first <= last < whole:
        raise UnusableReplyError("the server answered with another range than was asked for", Remedy.ANEW)
    if length not in (None, last + 1 - first):
        raise UnusableReplyError("the server's range and its length contradict each other", Remedy.ANEW)
    if not _is_same_version(headers, validator) or total not in (None, whole):
        raise UnusableReplyError("the server answered with a part of another version of the result", Remedy.ANEW)
    return ExpectedBody(start=first, end=last + 1, total=whole, validator=validator)
