"""TLS over a socket for bulk connections: records are decrypted in a thread, many at a time."""

from __future__ import annotations

import os
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    import socket


__all__ = ["COPYING", "READ_BYTES", "TLSChannel"]

READ_BYTES: Final = 1 << 16

_RAW_BYTES: Final = 1 << 18
"""Read from a TLS connection at a time, then copied under the interpreter's lock: by the MiB, the loop waits longer."""

_GATHER_S: Final = 0.002

_PASS_ON_S: Final = 0.0001
"""Between two such pieces, where several connections are read at once, so that the event loop gets the interpreter's
lock: a thread that lets go of it for a record, and takes it back at once, leaves nothing to who waits. The loop then
comes half as late (99th percentile with eight downloads, `benchmarks.download`), for a tenth more CPU."""

_DECRYPTING: Final = threading.Lock()

COPYING: Final[set[object]] = set()
"""Connections that threads are reading."""


class TLSChannel:
    """TLS over a blocking socket, which is read by large pieces.

    An `ssl.SSLSocket` reads each record by itself, first its head of five bytes, then its 16 KiB: a fifth more CPU. And
    it takes the socket away from whoever would break it off.

    Each record takes a turn of the interpreter's lock. If eight threads ask for it record by record, the event loop
    gets it last, and late: they decrypt one at a time, as much as has come. Nobody waits for the network in his turn.

    Raises:
        OSError: The handshake failed.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._buffer = memoryview(bytearray(_RAW_BYTES))
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._await_some(_RAW_BYTES)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        while data:
            data = data[self._tls.write(data) :]
        self._flush()

    def recv_into(self, view: memoryview) -> int:
        """Fill some of `view`; 0 where the server sends no more."""
        while True:
            with _DECRYPTING:
                count = self._take(view)
            if count is not None:
                return count
            self._await_more(len(view))

    def _take(self, view: memoryview) -> int | None:
        """Fill `view` with what has come; 0 at the end, None where nothing is there yet."""
        filled = 0
        try:
            while filled < len(view):
                try:
                    count = cast("int", self._tls.read(len(view) - filled, view[filled:]))  # type: ignore[arg-type, unused-ignore]
                except ssl.SSLWantReadError:
                    if filled and len(COPYING) > 1:
                        time.sleep(_PASS_ON_S)
                    # It has a timeout, so it is not blocking: with `recv_into`, Python would wait.
                    self._feed(os.readv(self._raw.fileno(), [self._buffer]))
                    continue
                if not count:
                    break
                filled += count
        except BlockingIOError:
            return filled or None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return filled
        except OSError:
            if not filled:
                raise
        return filled

    def _await_more(self, wanted_bytes: int) -> None:
        """Wait for the first byte, and where much is wanted, let more gather behind it: each turn costs.

        The thread that has the turn copies the gathered bytes: so no more threads want to run than needed.
        """
        self._await_some(1)
        if wanted_bytes > READ_BYTES:
            time.sleep(_GATHER_S)

    def _await_some(self, count_max: int) -> None:
        self._flush()
        self._feed(self._raw.recv_into(self._buffer, count_max))

    def _feed(self, count: int) -> None:
        if count:
            self._incoming.write(self._buffer[:count])
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.sendall(self._outgoing.read())
