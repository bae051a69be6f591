"""A server of raw bytes on the loopback: what it does with each connection is an act."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from types import TracebackType

VIDEO = random.Random(1).randbytes(3_000_001)
CLIP = VIDEO[:50_000]

Act = Callable[[socket.socket, "Seen"], None]


@attrs.frozen
class Seen:
    """A request as it came over the wire."""

    path: str
    headers: dict[str, str]


class Origin:
    """Serves one act a connection, in turn; the last one for ever."""

    def __init__(self, *acts: Act) -> None:
        self.acts = acts
        self.seen: list[Seen] = []
        self.released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_closing = False
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self._is_closing = True
        socket.create_connection(("127.0.0.1", self.port), 5).close()
        self._accepting.join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/results/clip.mp4?signature=s3cret"

    @property
    def ranges(self) -> list[str | None]:
        return [seen.headers.get("range") for seen in self.seen]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._is_closing:
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            received = b""
            while b"\r\n\r\n" not in received:
                more = connection.recv(65536)
                if not more:
                    return
                received += more
            first, *lines = received.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            seen = Seen(first.split(" ")[1], {name.lower(): value for name, value in pairs})
            act = self.acts[min(len(self.seen), len(self.acts) - 1)]
            self.seen.append(seen)
            try:
                act(connection, seen)
            except OSError:
                return  # The client went away; what it made of that is what the test looks at.


def head(status: str, **headers: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def says(status: str, body: bytes = b"", **headers: object) -> Act:
    """A whole reply."""

    def act(connection: socket.socket, _: Seen) -> None:
        connection.sendall(head(status, content_length=len(body), **headers) + body)

    return act


def sends(raw: bytes) -> Act:
    """These very bytes, then the end of the connection."""

    def act(connection: socket.socket, _: Seen) -> None:
        connection.sendall(raw)

    return act


def file(body: bytes, *, etag: str = '"v1"', kind: str = "video/mp4") -> Act:
    """A file server that knows ranges."""

    def act(connection: socket.socket, seen: Seen) -> None:
        wanted = seen.headers.get("range")
        if wanted is None or seen.headers.get("if-range") != etag:
            says("200 OK", body, etag=etag, content_type=kind)(connection, seen)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        named = f"bytes {start}-{len(body) - 1}/{len(body)}"
        says("206 Partial Content", body[start:], etag=etag, content_type=kind, content_range=named)(connection, seen)

    return act


def cut_off(body: bytes, sent: int, *, etag: str | None = '"v1"') -> Act:
    """A whole file is announced, a part of it sent."""
    headers = {} if etag is None else {"etag": etag}
    return sends(head("200 OK", content_length=len(body), **headers) + body[:sent])


def reset_connection(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def redirects(location: str, status: str = "302 Found") -> Act:
    return says(status, location=location)
