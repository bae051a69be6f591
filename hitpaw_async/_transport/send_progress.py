"""Progress of one send, which decides if it may be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from hitpaw_async._core.retry import SendProgress
from hitpaw_async._transport.exceptions import proves_nothing_left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["SendWatch"]


@attrs.define(eq=False)
class SendWatch:
    """Sees how far one send got, through httpcore's trace events."""

    before_first_byte: Callable[[], Awaitable[None]] | None = None
    """Awaited once: when the connection stands and before anything is written to it."""
    progress: SendProgress = SendProgress.NOT_BEGUN
    _has_events: bool = False
    _is_announced: bool = False

    async def announce(self) -> None:
        """Run `before_first_byte`, once."""
        if self.before_first_byte is not None and not self._is_announced:
            self._is_announced = True
            await self.before_first_byte()

    def expect_events(self) -> None:
        """Events will tell when the send begins: until they do, nothing has been sent."""
        self._has_events = True

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take one of httpcore's events. Those of a proxy's CONNECT are not ours."""
        self._has_events = True
        request = info.get("request")
        if request is None or request.method == b"CONNECT":
            return
        if event.endswith(".send_request_headers.started"):
            await self.announce()
            self.progress = max(self.progress, SendProgress.HEADERS_BEGUN)
        elif event.endswith(".send_request_body.started"):
            self.progress = SendProgress.BODY_BEGUN

    def note_failure(self, error: Exception) -> None:
        """Without events (a mock, a transport of the caller's), only a failure to connect proves that nothing left."""
        if not self._has_events and not proves_nothing_left(error):
            self.progress = SendProgress.BODY_BEGUN

    def note_answer(self) -> None:
        """An answer came, so all of it has left, whoever was watching."""
        self.progress = SendProgress.BODY_BEGUN

    def note_deadline(self) -> None:
        """The deadline passed: without events, it counts as sent."""
        if not self._has_events:
            self.progress = SendProgress.BODY_BEGUN
