"""Networks that fail in the middle: what was begun is completed or leaves nothing, and is over within a bound."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
import attrs
import pytest

from hitpaw_async.errors import StorageError
from hitpaw_async.storage import Bucket, local_video
from hitpaw_async.storage import _threads as threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.storage.servers import ObjectServer

pytestmark = pytest.mark.anyio

CONTENT = random.Random(6).randbytes(30_000_000)


class Relay:
    """Passes bytes on to a store; cuts, refuses or holds what goes there once told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_after_bytes: list[int] = []
        """Of the next connections that send so much: they are cut there."""
        self.refuses: Callable[[bytes], bool] = lambda head: False
        """Whether a request is cut as it comes, by its first bytes."""
        self.holds = threading.Event()
        """Nothing is passed on any more, while connections stay open."""
        self._ends = threading.Event()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open += [near, far]
                threading.Thread(target=self._forward, args=(near, far), daemon=True).start()
                threading.Thread(target=self._back, args=(far, near), daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 16):
                while self.holds.is_set() and not self._ends.wait(0.01):
                    pass
                sent += len(data)
                if self.refuses(data[:2000]) or (self.cut_after_bytes and sent > self.cut_after_bytes[0]):
                    if self.cut_after_bytes and sent > self.cut_after_bytes[0]:
                        self.cut_after_bytes.pop(0)
                    break
                far.sendall(data)
        for each in (near, far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 16):
                near.sendall(data)


@pytest.fixture
def relay(s3: ObjectServer) -> Iterator[Relay]:
    with Relay(int(s3.endpoint.rpartition(":")[2])) as made:
        yield made


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def cut_bucket(s3_bucket: Callable[..., Bucket], relay: Relay) -> Bucket:
    return s3_bucket(endpoint=f"http://127.0.0.1:{relay.port}", retry_config={"max_retries": 3})


async def test_an_upload_whose_connections_are_cut_is_completed(
    s3: ObjectServer, cut_bucket: Bucket, relay: Relay, clip: Path, prefix: str
) -> None:
    relay.cut_after_bytes = [1_000_000, 5_000_000, 2_000_000]
    staged = await cut_bucket.link(await local_video(clip))
    assert relay.cut_after_bytes == []
    assert staged.size_bytes == len(CONTENT)
    assert s3.read(s3.names(prefix)[0]) == CONTENT
    assert s3.multiparts() == []


async def test_an_upload_that_can_not_be_completed_leaves_nothing(
    s3: ObjectServer, cut_bucket: Bucket, relay: Relay, clip: Path, prefix: str
) -> None:
    relay.refuses = lambda head: head.startswith(b"POST ") and b"uploadId=" in head
    with pytest.raises(StorageError, match="could not be reached"):
        await cut_bucket.link(await local_video(clip))
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


async def test_a_result_that_can_not_be_completed_leaves_nothing(
    s3: ObjectServer, cut_bucket: Bucket, relay: Relay, prefix: str
) -> None:
    relay.refuses = lambda head: head.startswith(b"POST ") and b"uploadId=" in head

    def work() -> None:
        part = cut_bucket.open("a.mp4")
        part.open()
        part.write(CONTENT)
        with pytest.raises(StorageError):
            part.publish(overwrite=False)
        part.discard()

    await anyio.to_thread.run_sync(work)
    assert s3.names(prefix) == []
    assert s3.multiparts() == []


async def test_a_cancelled_upload_over_a_dead_line_is_over_within_the_bound(
    cut_bucket: Bucket, relay: Relay, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "STOP_MAX_S", 0.3)
    with anyio.fail_after(10), anyio.CancelScope() as scope:

        def cancel(sent: int, total: int) -> None:
            relay.holds.set()
            scope.cancel()

        await cut_bucket.link(attrs.evolve(await local_video(clip), on_progress=cancel))
    assert scope.cancelled_caught
    relay.holds.clear()
