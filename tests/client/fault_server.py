"""A vendor of raw bytes on the loopback that fails at a chosen stage, and knows which exports it could have charged."""

from __future__ import annotations

import gzip
import json
import select
import socket
import struct
import threading
from contextlib import ExitStack, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Self

import attrs
import pytest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = [
    "ACCEPTING",
    "JOB_ID",
    "PREMATURE",
    "RESULT_URL",
    "Fault",
    "FaultServer",
    "Received",
    "by_name",
    "deadline_s",
    "unused_port",
]

JOB_ID: Final = "tZgnWAwQT80RgLNp4QToNHSW"
RESULT_URL: Final = "https://cdn.example.com/enhanced.mp4?Signature=s1gn4ture"
PATIENCE_S: Final = 10.0


class Fault(Enum):
    """The stage at which an exchange fails, or how it is answered."""

    NONE = auto()
    NONE_CHUNKED = auto()
    NONE_GZIPPED = auto()
    NONE_AFTER_EARLY_HINTS = auto()
    NONE_THEN_FIN = auto()

    # Before the body was read whole.
    RESET_ON_ACCEPT = auto()
    FIN_ON_ACCEPT = auto()
    HANG_WITHOUT_READING = auto()
    RESET_AFTER_HEADERS = auto()
    GARBAGE_ON_ACCEPT = auto()

    # After it was read whole: the vendor may have charged.
    FIN = auto()
    RESET = auto()
    HANG = auto()
    STATUS_LINE_THEN_FIN = auto()
    HEADERS_THEN_FIN = auto()
    HEADERS_THEN_RESET = auto()
    HEADERS_THEN_HANG = auto()
    GARBAGE = auto()
    BAD_CHUNK = auto()
    TRUNCATED_WITHOUT_LENGTH = auto()
    HUGE_HEADER = auto()
    BAD_GZIP = auto()
    GZIP_BOMB = auto()
    DRIP_FEED = auto()
    MEGABYTES = auto()
    EMPTY = auto()
    HTML = auto()
    GATEWAY_502 = auto()
    GATEWAY_403 = auto()
    GATEWAY_429 = auto()
    VENDOR_500 = auto()

    # The vendor's own refusals.
    RATE_LIMIT = auto()
    BAD_KEY = auto()
    NO_CREDITS = auto()
    BAD_URL = auto()
    REDIRECT = auto()

    SCRIPTED = auto()
    """The server's own `reply`, as it is."""


PREMATURE: Final = frozenset(
    {Fault.RESET_ON_ACCEPT, Fault.FIN_ON_ACCEPT, Fault.HANG_WITHOUT_READING, Fault.RESET_AFTER_HEADERS}
    | {Fault.GARBAGE_ON_ACCEPT}
)
"""Faults before the body was read whole."""

ACCEPTING: Final = frozenset(
    fault
    for fault in Fault
    if Fault.FIN.value <= fault.value <= Fault.VENDOR_500.value and fault is not Fault.GATEWAY_429
)
"""Faults after the body was read whole and without an answer that the vendor would give. A 429 is "not accepted",
whoever says it."""


@attrs.frozen
class Received:
    """One request that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def whole(status: str, body: bytes, *lines: str) -> bytes:
    return head(status, f"Content-Length: {len(body)}", *lines) + body


def vendor(status: str, code: int, message: str, *lines: str) -> bytes:
    return whole(status, json.dumps({"code": code, "message": message}).encode(), *lines)


SUCCESS: Final = json.dumps(
    {"code": 200, "data": {"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL}}
).encode()
HALF: Final = head("200 OK", f"Content-Length: {len(SUCCESS)}") + SUCCESS[:20]
PADDED: Final = SUCCESS.replace(b"{", b"{" + b" " * (2 << 20), 1)


def gzipped(body: bytes) -> bytes:
    return whole("200 OK", gzip.compress(body), "Content-Encoding: gzip")


class End(Enum):
    """What follows the last byte of an answer."""

    KEEP = auto()
    FIN = auto()
    RESET = auto()
    HANG = auto()


ANSWERS: Final[dict[Fault, tuple[bytes, End]]] = {
    Fault.NONE: (whole("200 OK", SUCCESS), End.KEEP),
    Fault.NONE_CHUNKED: (
        head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SUCCESS), SUCCESS),
        End.KEEP,
    ),
    Fault.NONE_GZIPPED: (gzipped(SUCCESS), End.KEEP),
    Fault.NONE_AFTER_EARLY_HINTS: (head("103 Early Hints", "Link: </x>") + whole("200 OK", SUCCESS), End.KEEP),
    Fault.NONE_THEN_FIN: (whole("200 OK", SUCCESS), End.FIN),
    Fault.FIN: (b"", End.FIN),
    Fault.RESET: (b"", End.RESET),
    Fault.HANG: (b"", End.HANG),
    Fault.STATUS_LINE_THEN_FIN: (b"HTTP/1.1 200 OK\r\n", End.FIN),
    Fault.HEADERS_THEN_FIN: (HALF, End.FIN),
    Fault.HEADERS_THEN_RESET: (HALF, End.RESET),
    Fault.HEADERS_THEN_HANG: (HALF, End.HANG),
    Fault.GARBAGE: (b"\x16\x03\x01 not HTTP at all\r\n\r\n", End.FIN),
    Fault.BAD_CHUNK: (head("200 OK", "Transfer-Encoding: chunked") + b"ZZ\r\n" + SUCCESS, End.FIN),
    Fault.TRUNCATED_WITHOUT_LENGTH: (head("200 OK", "Connection: close") + SUCCESS[:30], End.FIN),
    Fault.HUGE_HEADER: (head("200 OK", "X: " + "x" * 300_000), End.FIN),
    Fault.BAD_GZIP: (whole("200 OK", b"not gzip", "Content-Encoding: gzip"), End.KEEP),
    Fault.GZIP_BOMB: (gzipped(PADDED), End.KEEP),
    Fault.MEGABYTES: (whole("200 OK", PADDED), End.KEEP),
    Fault.EMPTY: (whole("200 OK", b""), End.KEEP),
    Fault.HTML: (whole("200 OK", b"<h1>Sign in</h1>", "Content-Type: text/html"), End.KEEP),
    Fault.GATEWAY_502: (whole("502 Bad Gateway", b"<h1>Bad gateway</h1>"), End.KEEP),
    Fault.GATEWAY_403: (whole("403 Forbidden", b"<h1>Blocked</h1>"), End.KEEP),
    Fault.GATEWAY_429: (whole("429 Too Many Requests", b"slow down", "Retry-After: 0"), End.KEEP),
    Fault.VENDOR_500: (vendor("500 Internal Server Error", 500000, "Ouch"), End.KEEP),
    Fault.RATE_LIMIT: (vendor("429 Too Many Requests", 429, "Slow down", "Retry-After: 0"), End.KEEP),
    Fault.BAD_KEY: (vendor("401 Unauthorized", 501001, "The ApiKey is not valid"), End.KEEP),
    Fault.NO_CREDITS: (vendor("402 Payment Required", 501002, "The coins for this APIKEY is not enough"), End.KEEP),
    Fault.BAD_URL: (vendor("400 Bad Request", 501016, "The video url is not valid"), End.KEEP),
}


class FaultServer:
    """Plays one fault an exchange, in turn; the last one for ever. Use it as a context manager.

    Args:
        faults: What happens to each exchange: a new connection, or a further request on a kept one.
        redirect_to: Where `Fault.REDIRECT` leads.
        retry_after: The `Retry-After` of `Fault.RATE_LIMIT`.
        reply: The whole answer of `Fault.SCRIPTED`.
        tls: Speaks TLS, where given.
    """

    def __init__(
        self,
        *faults: Fault,
        redirect_to: str = "",
        retry_after: str = "0",
        reply: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._faults = faults or (Fault.NONE,)
        self._redirect_to = redirect_to
        self._retry_after = retry_after
        self._reply = reply
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._exchanges = 0
        self._under_way = 0
        self.busiest = 0
        """The most requests that were under way at once."""
        self.port: int = self._listener.getsockname()[1]
        self.received: list[Received] = []
        """Requests that arrived whole: each export among them could be charged."""
        self.arrived = threading.Event()
        """Set when a request has arrived whole."""
        self.accepted = threading.Event()
        """Set when a connection has been accepted."""
        self.ended = threading.Event()
        """Set when a connection has been ended by the server."""
        self.endings = threading.Semaphore(0)
        """One for each connection that the server has ended."""
        self.may_read = threading.Event()
        self.may_read.set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for event in (self._released, self.may_read, self.may_answer):
            event.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(PATIENCE_S)
        self._listener.close()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        """The address for `base_url`."""
        return f"http{'' if self._tls is None else 's'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return len(self._sockets)

    @property
    def exports(self) -> list[Received]:
        """The exports that arrived whole: what could be charged."""
        return [request for request in self.received if request.path.endswith("/export")]

    def pending_bytes(self) -> bytes:
        """What lies unread on any connection. Meant for while `may_read` is not set."""
        readable, _, _ = select.select(self._sockets, [], [], 0)
        return b"".join(connection.recv(65536, socket.MSG_PEEK) for connection in readable)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            self._start(self._serve, connection, len(self._sockets))
            self.accepted.set()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.settimeout(PATIENCE_S)
        # The client may go away at any moment; what it made of that is what the test looks at.
        with suppress(OSError), ExitStack() as stack:
            stack.enter_context(connection)
            if self._tls is not None:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            is_kept = self._exchange(connection, number)
            # A kept connection's next exchange begins when the client begins it; TLS lets nobody peek.
            while is_kept and self._tls is None and connection.recv(1, socket.MSG_PEEK):
                is_kept = self._exchange(connection, number)
        self.ended.set()
        self.endings.release()

    def _next_fault(self) -> Fault:
        with self._lock:
            fault = self._faults[min(self._exchanges, len(self._faults) - 1)]
            self._exchanges += 1
        return fault

    def _exchange(self, connection: socket.socket, number: int) -> bool:
        """Play one fault; whether the connection is kept."""
        self.may_read.wait(PATIENCE_S)
        fault = self._next_fault()
        if fault in PREMATURE:
            self._end_early(connection, fault)
            return False
        request = self._read(connection, number)
        if request is None:
            return False
        self._count(1)
        self.received.append(request)
        self.arrived.set()
        self.may_answer.wait(PATIENCE_S)
        self._count(-1)
        if fault is Fault.DRIP_FEED:
            self._drip(connection)
            return False
        answer, end = self._answer(fault)
        connection.sendall(answer)
        return self._finish(connection, end)

    def _count(self, more: int) -> None:
        with self._lock:
            self._under_way += more
            self.busiest = max(self.busiest, self._under_way)

    def _answer(self, fault: Fault) -> tuple[bytes, End]:
        if fault is Fault.REDIRECT:
            return whole("307 Temporary Redirect", b"", f"Location: {self._redirect_to}"), End.KEEP
        if fault is Fault.RATE_LIMIT:
            line = f"Retry-After: {self._retry_after}"
            return vendor("429 Too Many Requests", 429, "Slow down", line), End.KEEP
        if fault is Fault.SCRIPTED:
            return self._reply, End.KEEP
        return ANSWERS[fault]

    def _end_early(self, connection: socket.socket, fault: Fault) -> None:
        if fault is Fault.GARBAGE_ON_ACCEPT:
            connection.sendall(b"this speaks neither TLS nor HTTP\r\n\r\n")
        elif fault is Fault.HANG_WITHOUT_READING:
            self._released.wait(PATIENCE_S)
        elif fault is Fault.RESET_AFTER_HEADERS:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(1) or b"\r\n\r\n"
        if fault in (Fault.RESET_ON_ACCEPT, Fault.RESET_AFTER_HEADERS):
            reset(connection)

    def _finish(self, connection: socket.socket, end: End) -> bool:
        if end is End.RESET:
            reset(connection)
        elif end is End.HANG:
            self._released.wait(PATIENCE_S)
        return end is End.KEEP

    def _drip(self, connection: socket.socket) -> None:
        """A byte each 20 ms: every single read is quick, the whole takes seconds."""
        for byte in whole("200 OK", SUCCESS):
            connection.sendall(bytes([byte]))
            if self._released.wait(0.02):
                return

    def _read(self, connection: socket.socket, number: int) -> Received | None:
        """One request, or None where the client went away before its end."""
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                return None
            received += more
        top, body = received.split(b"\r\n\r\n", 1)
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            more = connection.recv(65536)
            if not more:
                return None
            body += more
        return Received(first.split(" ")[1], headers, body, number)


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def deadline_s(fault: Fault) -> float:
    """What to give a call: little where it certainly has to wait for it, else enough for a machine under load."""
    hanging = (Fault.HANG, Fault.HEADERS_THEN_HANG, Fault.HANG_WITHOUT_READING, Fault.DRIP_FEED)
    return 0.2 if fault in hanging else 5.0


def by_name(faults: Iterable[Fault]) -> pytest.MarkDecorator:
    """A test's argument `fault`, in the order of the stages."""
    ordered = [fault for fault in Fault if fault in set(faults)]
    return pytest.mark.parametrize("fault", ordered, ids=[fault.name for fault in ordered])


def unused_port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
