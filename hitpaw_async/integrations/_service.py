"""What a service opens at its start: one client, and a batch in the background where it is asked for."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio.lowlevel
import attrs

from hitpaw_async.batch.events.hub import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, MutableMapping
    from types import FrameType

    from hitpaw_async.batch.background import BackgroundBatch
    from hitpaw_async.client import AsyncHitPaw
    from hitpaw_async.errors import HitPawError

__all__ = ["ended_by_a_stop", "hide_webhook_tokens", "log_for_operator", "opened"]

_LOG = logging.getLogger("hitpaw_async")

_ACCESS_LOGS: Final = ("uvicorn.access", "hypercorn.access", "granian.access", "aiohttp.access")

_TOKEN: Final = re.compile(r"/[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
"""The last part of a webhook's path: 32 random bytes."""

_STREAMS: Final[dict[EventStream, Callable[[Callable[[], None]], object]]] = {}
"""Streams that are open in services, and how a signal has something done in the event loop of each."""


@asynccontextmanager
async def opened(
    client: Callable[[], AsyncHitPaw], batch: Callable[[AsyncHitPaw], BackgroundBatch] | None
) -> AsyncIterator[tuple[AsyncHitPaw, BackgroundBatch | None]]:
    """Open both, and close them in order."""
    hide_webhook_tokens()
    async with client() as hitpaw:
        if batch is None:
            yield hitpaw, None
            return
        async with batch(hitpaw) as jobs:
            yield hitpaw, jobs


def log_for_operator(error: HitPawError) -> None:
    """Log an error whose words are not for a caller."""
    _LOG.error("A request failed: %s: %s", type(error).__name__, error)


def hide_webhook_tokens() -> None:
    """Keep the tokens of webhooks' paths out of the access logs of uvicorn, hypercorn, granian and aiohttp.

    Whoever knows a token may post a hint. `lifespan` and `setup` call this.
    """
    for name in _ACCESS_LOGS:
        logger = logging.getLogger(name)
        if _without_tokens not in logger.filters:
            logger.addFilter(_without_tokens)


def _without_tokens(record: logging.LogRecord) -> bool:
    """Redact a record in place. Formatters take its arguments apart, so they keep their places."""
    record.msg = _redacted(record.msg)
    if isinstance(record.args, tuple):
        record.args = tuple(_redacted(argument) for argument in record.args)
    elif isinstance(record.args, dict):
        _redact_values(record.args)
    for name in ("first_request_line", "request_line"):
        if name in vars(record):
            setattr(record, name, _redacted(getattr(record, name)))
    return True


def _redact_values(values: MutableMapping[str, Any]) -> None:
    for name, value in [*values.items()]:
        values[name] = _redacted(value)


def _redacted(value: Any) -> Any:
    return _TOKEN.sub("/***", value) if isinstance(value, str) else value


@contextmanager
def ended_by_a_stop(stream: EventStream) -> Iterator[None]:
    """Let a stream end as soon as the process is told to stop (SIGINT, SIGTERM).

    Servers wait for open responses before they end the application's lifespan, and a stream of events has no end.
    """
    native: Any = anyio.lowlevel.current_token().native_token
    _STREAMS[stream] = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    _listen_for_signals()
    try:
        yield
    finally:
        del _STREAMS[stream]


def _listen_for_signals() -> None:
    """Go before the handlers that the server has set by now. A server without any is not asked to stop by signals."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _EndStreams):
            signal.signal(number, _EndStreams(handler))


@attrs.frozen
class _EndStreams:
    """A signal's handler that ends the streams, and goes on with the one before it."""

    _before: Callable[[int, FrameType | None], Any]

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        for stream, schedule in [*_STREAMS.items()]:
            with suppress(RuntimeError):  # its event loop has ended
                schedule(stream.close)
        return self._before(number, frame)
