"""A batch's events as server-sent events: bytes for any framework to write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Self

import anyio

from hitpaw_async._validators import checked_number
from hitpaw_async.errors import EventsLostError

if TYPE_CHECKING:
    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.events.hub import EventStream

__all__ = ["HEARTBEAT_S", "SSE_HEADERS", "ServerSentEvents"]

HEARTBEAT_S: Final = 15.0
"""Between two comments on a silent stream: below the idle time-outs of common proxies (nginx: 60 s)."""

HEARTBEAT_MAX_S: Final = 24 * 3600.0

SSE_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""The second one keeps nginx from collecting events."""

_RETRY: Final = b"retry: 3000\n\n"
_HEARTBEAT: Final = b": still here\n\n"


class ServerSentEvents:
    """The chunks of one answer. It begins with a snapshot, and so does a reader that comes back (`Last-Event-ID`).

    A reader that is hopelessly behind is cut off: its browser connects again, and gets a snapshot.

    Args:
        stream: One reader's events. Whoever opened it closes it.
        heartbeat_s: After so many silent seconds a comment is sent, so that proxies keep the connection and a reader
            that has gone is noticed.

    Raises:
        ConfigurationError: `heartbeat_s` is no number of seconds that can be waited.
    """

    def __init__(self, stream: EventStream, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = stream
        self._heartbeat_s = checked_number(heartbeat_s, 0.001, HEARTBEAT_MAX_S, name="heartbeat_s")
        self._has_begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            return _RETRY
        with anyio.move_on_after(self._heartbeat_s):
            try:
                return _encoded(await anext(self._stream))
            except EventsLostError:
                raise StopAsyncIteration from None
        return _HEARTBEAT


def _encoded(event: BatchEvent) -> bytes:
    # JSON in ASCII has no line break: one `data:` line holds it.
    data = json.dumps(event.to_dict(), separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n".encode()
