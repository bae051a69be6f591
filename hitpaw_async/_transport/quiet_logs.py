"""Keeps the HTTP libraries' own loggers from writing down what this library's requests carry.

httpx's INFO line has whole URLs, signatures included; httpcore's DEBUG lines have the headers of replies, and with them
where a redirect leads. Only records made while one of our requests is being sent are touched: whoever else uses httpx
in this process sees what they always saw.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from hitpaw_async._redact import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["redacted_http_logs"]

_PARTS: Final = ("connection", "http11", "http2", "proxy", "socks")
_NAMES: Final = (
    *("httpx", "httpx2"),
    *(f"{library}.{part}" for library in ("httpcore", "httpcore2") for part in _PARTS),
)
_LOGGERS: Final = tuple(logging.getLogger(name) for name in _NAMES)
"""httpx's and its fork's. A filter sees what its own logger is given, not what loggers below it are."""
_RESULT: Final = "return_value="

_is_ours: Final = ContextVar("hitpaw_async_request", default=False)


def _redact(record: logging.LogRecord) -> bool:
    """Redact a record of ours; let all of them pass."""
    if _is_ours.get():
        said, mark, _ = record.getMessage().partition(_RESULT)
        record.msg, record.args = excerpt(said + mark) + ("..." if mark else ""), None
    return True


@contextmanager
def redacted_http_logs() -> Iterator[None]:
    """While it is open, what this task makes the HTTP libraries log is redacted."""
    for logger in _LOGGERS:
        # Each time: `logging.config` may have removed it.
        if _redact not in logger.filters:
            logger.addFilter(_redact)
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)
