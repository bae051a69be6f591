"""The program that is killed: a batch of virtual videos, in a process that is forked ready to run.

It imports first and forks then, so that a point costs no start of Python, and the system calls are counted from the
batch's first. Orders come in on standard input, one JSON line each; a process id and an ending go out.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import traceback
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio._backends._asyncio
import attrs

import hitpaw_async.batch.scheduler  # noqa: F401 (the same)
from hitpaw_async import (
    AsyncHitPaw,
    BatchLimits,
    CreditBudget,
    ExportRequest,
    HitPawError,
    ItemState,
    PollPolicy,
    RetryPolicy,
    VideoFacts,
    VideoModel,
)
from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.batch.journal import sqlite as _sqlite
from hitpaw_async.batch.journal.sqlite import SqliteStore

if TYPE_CHECKING:
    import sqlite3

    from hitpaw_async import BatchEvent
    from hitpaw_async._core.itemstate import Item

HALF_A_MINUTE = VideoFacts(duration_s=30, frame_rate=Fraction(30), width=640, height=360, container="mp4")
JOURNAL = "journal.db"
RESULTS = "results"
LOG = "worker.log"
HANGING_AFTER_S = 30.0

ENDED = 0
ENDED_BY_AN_ERROR_OF_THE_LIBRARY = 3
ENDED_BY_A_FOREIGN_ERROR = 70


@attrs.frozen(kw_only=True)
class Order:
    """One life of one process."""

    folder: str
    name: str
    """Makes the videos of this folder unlike all others."""
    base_url: str
    videos: int = 6
    budget: int | None = None
    """Credits; None: exactly what the videos cost, so that a leaked reservation shows as SKIPPED."""
    is_wal: bool | None = None
    """Which of SQLite's two ways the journal takes; None: the library decides."""
    bug: str | None = None
    """A name of `BUGS`: broken on purpose, to see that it is found."""
    gate: str | None = None
    """A FIFO that holds the process back until a tracer is attached."""
    kill_after_s: float | None = None


def _plant_no_sync() -> None:
    """The journal leaves it to the system when its bytes reach the disk."""
    prepare = SqliteStore._prepare

    def careless(store: SqliteStore, connection: sqlite3.Connection) -> None:
        prepare(store, connection)
        connection.execute("PRAGMA synchronous = OFF")

    setattr(SqliteStore, "_prepare", careless)  # noqa: B010 (a type checker would not have it)


def _plant_no_intent() -> None:
    """What is about to be sent is not written down."""
    put = SqliteStore.put

    def forgetful(store: SqliteStore, item: Item) -> None:
        if item.state is not ItemState.SUBMITTING:
            put(store, item)

    setattr(SqliteStore, "put", forgetful)  # noqa: B010 (the same)


BUGS = {"no sync": _plant_no_sync, "no intent": _plant_no_intent}


def urls_of(name: str, videos: int) -> list[str]:
    return [f"https://videos.test/{name}-{number}.mp4" for number in range(videos)]


def requests_of(name: str, videos: int) -> list[ExportRequest]:
    """Videos that cost one credit each."""
    return [
        ExportRequest(url, model=VideoModel.GENERAL_DENOISE_BALANCE, resolution="1280x720", facts=HALF_A_MINUTE)
        for url in urls_of(name, videos)
    ]


def _say(text: str) -> None:
    """Write to the log. The disk may be broken on purpose, the log with it."""
    with contextlib.suppress(OSError):
        os.write(1, f"{text}\n".encode())


_DURABLE = (
    EventKind.QUEUED,
    EventKind.SUBMITTING,
    EventKind.SUBMITTED,
    EventKind.UNCERTAIN,
    EventKind.DOWNLOADING,
    EventKind.FINISHED,
)


def _acknowledge(event: BatchEvent) -> None:
    """Say what the library claims is durable. A reservation is in memory alone, and promised to be no more."""
    if event.kind in _DURABLE and event.received_bytes is None:
        _say(f"ACK {event.state} {event.key}")


async def _work(order: Order) -> None:
    folder = Path(order.folder)
    async with (
        AsyncHitPaw(
            api_key="key",
            base_url=order.base_url,
            poll=PollPolicy(interval_min_s=0.01, interval_max_s=0.02),
            retry=RetryPolicy(backoff_first_s=0.001, backoff_max_s=0.002),
        ) as hitpaw,
        hitpaw.batch(
            journal=folder / JOURNAL,
            budget=CreditBudget(order.videos if order.budget is None else order.budget),
            limits=BatchLimits(jobs_in_flight=4, submissions=2, downloads=2, polls=2),
            output=folder / RESULTS,
            on_event=_acknowledge,
        ) as batch,
    ):
        async for outcome in batch.run(requests_of(order.name, order.videos)):
            _say(f"OUTCOME {outcome.state} {outcome.key} {outcome.error or ''}")


def _take_place(order: Order) -> None:
    """Tell the driver of this process, and wait until it may begin.

    From the telling on nothing is called that a tracer counts, so its first count is the batch's first call. The driver
    takes the byte back out of the gate.
    """
    log = os.open(Path(order.folder, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 2)
    gate = None if order.gate is None else os.open(order.gate, os.O_RDWR)
    _answer(os.getpid())
    os.dup2(log, 1)
    if gate is not None:
        waiting = select.poll()
        waiting.register(gate, select.POLLIN)
        waiting.poll()


def _live(order: Order) -> int:
    """A whole life; returns the exit code."""
    if order.is_wal is not None:
        _sqlite.has_wal_reset_bug = lambda version: not order.is_wal
    if order.bug is not None:
        BUGS[order.bug]()
    _take_place(order)
    try:
        anyio.run(_work, order)
    except HitPawError as error:
        _say(f"ENDED {type(error).__name__} {error}")
        return ENDED_BY_AN_ERROR_OF_THE_LIBRARY
    except BaseException:  # noqa: BLE001 (whatever it is, it is what is looked for)
        _say(traceback.format_exc())
        return ENDED_BY_A_FOREIGN_ERROR
    return ENDED


def _await_end(pid: int, kill_after_s: float | None) -> dict[str, Any]:
    """Wait for a child; kill it when its time is up. Unreaped, its process id is nobody else's."""
    until_s = time.monotonic() + (HANGING_AFTER_S if kill_after_s is None else kill_after_s)
    is_due = False
    while True:
        found, status = os.waitpid(pid, 0 if is_due else os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return {"code": code, "hung": is_due and kill_after_s is None}
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            os.kill(pid, signal.SIGKILL)
            is_due = True
        else:
            signal.sigtimedwait({signal.SIGCHLD}, left_s)


def _answer(reply: object) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fork a child for each order, until there are no more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while line := sys.stdin.readline():
        order = Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os._exit(_live(order))
        _answer(_await_end(pid, order.kill_after_s))


if __name__ == "__main__":
    main()
