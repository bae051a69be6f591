"""The vendor's webhooks, received: a framework-free core, and the same as an ASGI application.

Webhooks are unsigned. Every body gets the same response on every path, so a stranger cannot tell valid ones from
others. A webhook is a hint for the batch, which asks the task call before it believes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol

import attrs

from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.errors import ProtocolError

__all__ = ["WebhookReceiver", "WebhookReply", "WebhookSink"]

BODY_BYTES_MAX: Final = 64 * 1024
TOKEN_CHARS_MAX: Final = 128


class WebhookSink(Protocol):
    """Receiver of hints; a `BatchScheduler` is one."""

    def notify(self, token: str, webhook: Webhook) -> None:
        """Take a hint that came in on the path `token`. Returns at once."""
        ...


@attrs.frozen
class WebhookReply:
    """Response to a webhook."""

    status_code: int = 202
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"), ("cache-control", "no-store"))
    body: bytes = b'{"ok":true}'


_REPLY: Final = WebhookReply()
"""To everybody, whatever came in: a path that is known must not be told from one that isn't."""


class WebhookReceiver:
    """Takes webhooks on `PREFIX/TOKEN` and hands what they say to a sink. Also an ASGI application, alone or mounted.

    Args:
        sink: Receiver of hints.
        body_bytes_max: A longer body is not read to its end.
    """

    def __init__(self, sink: WebhookSink, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._sink = sink
        self.body_bytes_max = body_bytes_max

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> WebhookReply:
        """Take one request; any framework may call it.

        Args:
            method: The HTTP method.
            path: The path, without a query. Its last part is the token.
            headers: By lower-case name.
            body: The body; one that is longer than `body_bytes_max` is ignored.

        Returns:
            The same answer to everything.
        """
        token = path.rpartition("/")[2]
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_webhook = method == "POST" and kind == "application/json" and len(body) <= self.body_bytes_max
        if is_webhook and 0 < len(token) <= TOKEN_CHARS_MAX:
            try:
                webhook = V3.decode_webhook(body)
            except ProtocolError:
                return _REPLY
            self._sink.notify(token, webhook)
        return _REPLY

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        body = await self._read(receive)
        if body is None:
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply = self.handle(scope["method"], scope["path"], headers, body)
        encoded = [(name.encode(), value.encode()) for name, value in reply.headers]
        length = (b"content-length", str(len(reply.body)).encode())
        await send({"type": "http.response.start", "status": reply.status_code, "headers": [*encoded, length]})
        await send({"type": "http.response.body", "body": reply.body})

    async def _read(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> bytes | None:
        """The body, up to one byte more than is allowed; None where the sender hung up."""
        body = bytearray()
        while len(body) <= self.body_bytes_max:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)


async def _live(
    receive: Callable[[], Awaitable[Mapping[str, Any]]], send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
