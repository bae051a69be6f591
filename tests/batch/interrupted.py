"""The program that Ctrl-C hits: a batch as anybody would write it, and a disk that waits for a line before it goes on.

It says on standard output what it has come to, so that whoever sends the signals needs no clock:

    writing    a transaction is about to be committed, and waits for a line on standard input
    queued     the answer has come, and is on its way to the disk
    struck     a signal has been taken
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import sniffio

from hitpaw_async import AsyncHitPaw, BatchLimits, ItemState
from hitpaw_async.batch.journal.sqlite import SqliteStore
from tests.batch.laboratory import video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from hitpaw_async import BatchScheduler
    from hitpaw_async._core.itemstate import Item

KEY = "tiny-key-8d1f"
GRACE_S = 20.0
"""Longer than any test: what ends, ends for another reason."""

STACKS_AFTER_S = 25.0
"""A program that still runs then hangs, and shows where before it is killed."""

BESIDE = "beside"


class WaitingStore(SqliteStore):
    """Waits for a line before it commits what the test is about."""

    def __init__(self, path: Path, waits_for: str) -> None:
        super().__init__(path)
        self._waits_for = waits_for
        self._is_waiting = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            yield
            if self._is_waiting:
                self._is_waiting = False
                say("writing")
                sys.stdin.readline()

    def put(self, item: Item) -> None:
        super().put(item)
        self._is_waiting |= self._waits_for == "the answer" and item.state is ItemState.SUBMITTED

    def set_setting(self, name: str, value: str) -> None:
        super().set_setting(name, value)
        self._is_waiting |= self._waits_for == "something else" and name.endswith(BESIDE)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def tell_of_signals() -> None:
    """Say so when a signal has been taken, and leave it to the event loop's own handler."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)

    def tell(number: int, frame: FrameType | None) -> None:
        say("struck")
        handler(number, frame)

    signal.signal(signal.SIGINT, tell)
    if sniffio.current_async_library() == "asyncio":
        # A second Ctrl-C raises wherever asyncio is at work. Where that is between taking a callback from its queue and
        # calling it, the callback is lost, and `asyncio.run` waits for ever. Within a callback of ours nothing is lost.
        loop: Any = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, lambda number, _: loop.call_soon_threadsafe(tell, number, None))
        # A signal that comes just before asyncio waits for events does not wake it otherwise.
        signal.set_wakeup_fd(loop._csock.fileno(), warn_on_full_buffer=False)


async def main(base_url: str, journal: str, waits_for: str) -> None:
    tell_of_signals()
    if waits_for == "no journal":
        async with AsyncHitPaw(api_key=KEY, base_url=base_url) as hitpaw:
            await hitpaw.export(video("one"))
    store = WaitingStore(Path(journal), waits_for)
    async with (
        AsyncHitPaw(api_key=KEY, base_url=base_url) as hitpaw,
        hitpaw.batch(journal=store, limits=BatchLimits(stop_grace_s=GRACE_S)) as batch,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(tell_of_the_queue, batch)
        if waits_for == "something else":
            tasks.start_soon(write_something_else, batch)
        async for _ in batch.run([video("one")]):
            pass


async def tell_of_the_queue(batch: BatchScheduler) -> None:
    """Say so when something waits for the disk."""
    queue = batch._bookkeeper.journal._queue
    told = None
    while True:
        await anyio.sleep(0.02)
        if queue and queue[-1] is not told:
            told = queue[-1]
            say("queued")


async def write_something_else(batch: BatchScheduler) -> None:
    """When told to, so that nothing but the answer comes after it."""
    await anyio.to_thread.run_sync(sys.stdin.readline)
    await batch.set_note(BESIDE, "written")


if __name__ == "__main__":
    faulthandler.dump_traceback_later(STACKS_AFTER_S)
    # Whatever was started in the background of a shell ignores Ctrl-C, and so do its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    anyio.run(main, *sys.argv[2:], backend=sys.argv[1])
