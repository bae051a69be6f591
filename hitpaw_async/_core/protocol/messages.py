"""The messages of any dialect: calls, replies and webhooks, and the two values that each may carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._redact import excerpt

if TYPE_CHECKING:
    from hitpaw_async._core.retry import CallKind

__all__ = [
    "JOB_ID_CHARS_MAX",
    "NOBODYS_JOB",
    "RETRY_AFTER_MAX_S",
    "Call",
    "Reply",
    "Webhook",
    "is_job_id",
    "parse_retry_after",
]

JOB_ID_CHARS_MAX: Final = 256
RETRY_AFTER_MAX_S: Final = 10**7

NOBODYS_JOB: Final = "00000000-0000-0000-0000-000000000000"
"""A job id that the vendor never gave: asking for it only shows who answers."""


@attrs.frozen
class Call:
    """One request, ready to send: a POST of JSON."""

    kind: CallKind
    path: str
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Reply:
    """A response as received, not decoded yet."""

    status_code: int
    body: bytes = attrs.field(default=b"", repr=False)
    retry_after_s: float | None = None
    """Seconds of the `Retry-After` header, already resolved against a clock."""
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Texts that must not be shown, should the body echo them."""

    def excerpt(self) -> str:
        """Return the beginning of the body, as it may be shown."""
        # More characters than an excerpt looks at, whatever their size: it must know where it cuts.
        return excerpt(self.body[:8192].decode("utf-8", "replace"), secrets=self.secrets)


@attrs.frozen
class Webhook:
    """The content of a webhook. A hint, never a fact: webhooks are unsigned."""

    job_id: str
    status_text: str


def is_job_id(value: object) -> bool:
    """Tell if a value can be a job id: a short printable string (a lone surrogate would break a journal later)."""
    return isinstance(value, str) and 0 < len(value) <= JOB_ID_CHARS_MAX and value.isprintable() and bool(value.strip())


def parse_retry_after(header: str | None, *, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait.

    Args:
        header: Its value: seconds, or an HTTP date.
        now: The wall clock, in seconds since the epoch.

    Returns:
        Seconds, at least 0; None if there is no header or it can't be read.
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
