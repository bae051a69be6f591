"""A server that serves ranges of files, or fails to in a chosen manner, and counts what it sends."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import attrs

from tests.support.http_server import Origin, Seen, head

if TYPE_CHECKING:
    import socket

PIECE_BYTES = 1 << 14
WAIT_MAX_S = 20


@attrs.frozen(eq=False)
class Exchange:
    """One request and its answer; the connection ends after it."""

    origin: FileServer
    connection: socket.socket
    seen: Seen

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.begin(status, len(body), **headers)
        self.send(body)

    def begin(self, status: int, length: int | None, **headers: str) -> None:
        named = {} if length is None else {"content_length": length}
        said = f"{status} {HTTPStatus(status).phrase}"
        self.connection.sendall(head(said, connection="close", **named, **headers))

    def send(self, body: bytes) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            self.connection.sendall(piece)
            self.origin.bytes_sent += len(piece)

    def wait_for_disconnect(self) -> None:
        """Say nothing until the client has gone."""
        self.origin.is_stalled.set()
        self.connection.settimeout(WAIT_MAX_S)
        try:
            if self.connection.recv(1) == b"":
                self.origin.is_disconnected.set()
        except ConnectionError:
            self.origin.is_disconnected.set()


Manner = Callable[[Exchange, bytes], None]


def ranges(exchange: Exchange, content: bytes, *, name_size: bool = True, **headers: str) -> None:
    """Serve what is asked for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.seen.headers.get("range", ""))
    assert match, "only ranges are asked for"
    first, last = int(match[1]), min(int(match[2]), len(content) - 1)
    if first >= len(content):
        exchange.answer(416, content_range=f"bytes */{len(content)}")
        return
    size = str(len(content)) if name_size else "*"
    exchange.answer(206, content[first : last + 1], content_range=f"bytes {first}-{last}/{size}", **headers)


def whole(exchange: Exchange, content: bytes) -> None:
    """Ignore ranges."""
    exchange.answer(200, content)


def whole_of_unknown_size(exchange: Exchange, content: bytes) -> None:
    """Ignore ranges, and tell no size."""
    exchange.begin(200, None)
    exchange.send(content)


def status(code: int) -> Any:
    """Answer with a status alone."""
    return lambda exchange, _: exchange.answer(code, b"<html>nothing here</html>")


def redirect(target: str, code: int = 302) -> Any:
    """Redirect."""
    return lambda exchange, _: exchange.answer(code, location=target)


def stall_after(requests: int) -> Any:
    """Serve that many ranges; then answer no more."""

    def manner(exchange: Exchange, content: bytes) -> None:
        if len(exchange.origin.requests) > requests:
            exchange.wait_for_disconnect()
        else:
            ranges(exchange, content)

    return manner


def stall_amid_body(exchange: Exchange, content: bytes) -> None:
    """Ignore ranges, and stop halfway."""
    exchange.begin(200, len(content))
    exchange.send(content[: len(content) // 2])
    exchange.wait_for_disconnect()


class FileServer(Origin):
    """What it serves is set in `content`: a path to its manner and bytes."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.content: dict[str, tuple[Manner, bytes]] = {}
        self.bytes_sent = 0
        self.is_stalled = threading.Event()
        self.is_disconnected = threading.Event()

    @property
    def requests(self) -> list[Seen]:
        return self.seen

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, content: bytes, manner: Manner = ranges, *, path: str = "/clip") -> str:
        """Serve bytes under a path; the URL."""
        self.content[path] = (manner, content)
        return self.base_url + path

    def _answer(self, connection: socket.socket, seen: Seen) -> None:
        manner, content = self.content[seen.path.partition("?")[0]]
        manner(Exchange(self, connection, seen), content)
