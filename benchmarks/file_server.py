"""A server of results, in a process of its own: one large body over TLS, to whoever asks, as fast as it is taken."""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CERTIFICATE", "file_server"]

CERTIFICATE: Final = Path(__file__).parents[1] / "tests" / "tls" / "loopback.pem"
"""Of `localhost`: its own authority, with its key."""

_BLOCK: Final = os.urandom(1 << 20)
_HEAD: Final = (
    b'HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\netag: "1"\r\ncontent-length: %d\r\nconnection: close\r\n\r\n'
)


def _answer(connection: socket.socket, tls: ssl.SSLContext) -> None:
    """One request; its path is the size of the body. OpenSSL encrypts each block without a turn of the interpreter."""
    try:
        with tls.wrap_socket(connection, server_side=True) as secure:
            asked = b""
            while b"\r\n\r\n" not in asked:
                received = secure.recv(1 << 16)
                if not received:
                    return
                asked += received
            left = int(asked.split(b" ", 2)[1].strip(b"/"))
            secure.sendall(_HEAD % left)
            while left:
                left -= secure.send(_BLOCK[:left] if left < len(_BLOCK) else _BLOCK)
    except OSError:
        return  # The client went away.


def _serve() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, tls), daemon=True).start()


@contextmanager
def file_server() -> Iterator[str]:
    """A running server's address, e.g. `https://localhost:40123`; the bytes wanted are to be appended as its path."""
    command = [sys.executable, "-m", "benchmarks.file_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"https://localhost:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    _serve()
