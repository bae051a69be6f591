"""A web server on the loopback that serves ranges, or fails to in a chosen way, and counts what it sends."""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

PIECE_BYTES = 1 << 14
WAIT_MAX_S = 20


@attrs.frozen
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_GET(self) -> None:
        self.origin.requests.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
        manner, content = self.origin.content[self.path.partition("?")[0]]
        manner(self, content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        """Be quiet."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.begin(status, len(body), **headers)
        self.send(body)

    def begin(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("content-length", str(length))
        else:
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, body: bytes) -> None:
        try:
            for start in range(0, len(body), PIECE_BYTES):
                self.wfile.write(body[start : start + PIECE_BYTES])
                self.origin.bytes_sent += len(body[start : start + PIECE_BYTES])
        except OSError:
            self.close_connection = True

    def wait_for_disconnect(self) -> None:
        """Say nothing until the client has gone."""
        self.origin.is_stalled.set()
        self.connection.settimeout(WAIT_MAX_S)
        self.close_connection = True
        try:
            if self.connection.recv(1) == b"":
                self.origin.is_disconnected.set()
        except ConnectionError:
            self.origin.is_disconnected.set()


def ranges(exchange: Exchange, content: bytes, *, name_size: bool = True, **headers: str) -> None:
    """Serve what is asked for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.headers["range"] or "")
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


class Server(ThreadingHTTPServer):
    """A thread a connection; a client that leaves is nothing to report."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Origin:
    """The server. What it serves is set in `content`: a path to its manner and bytes."""

    def __init__(self) -> None:
        self.content: dict[str, tuple[Callable[[Exchange, bytes], None], bytes]] = {}
        self.requests: list[Asked] = []
        self.bytes_sent = 0
        self.is_stalled = threading.Event()
        self.is_disconnected = threading.Event()
        handler = type("Handler", (Exchange,), {"origin": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, content: bytes, manner: Callable[[Exchange, bytes], None] = ranges, *, path: str = "/clip") -> str:
        """Serve bytes under a path; the URL."""
        self.content[path] = (manner, content)
        return self.url + path
