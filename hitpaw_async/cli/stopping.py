"""Signals: the first asks for a clean stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import anyio
import attrs

from hitpaw_async.cli.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskStatus

__all__ = ["Stop", "stop_on_signals"]

_SHOW_CURSOR = b"\x1b[?25h"


@attrs.define(eq=False)
class Stop:
    """Whether and why a stop was asked for, and what it cancels."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    is_asked_for: bool = False

    def ask(self) -> None:
        """Ask for a clean stop."""
        self.is_asked_for = True
        self.scope.cancel()


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[Stop]:
    """Within the block, Ctrl-C and SIGTERM cancel the block. The yielded value says afterwards whether that happened.

    An exception of the block comes out as it is, not in a group.
    """
    stop = Stop()
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        await tasks.start(_listen, stop)
        with stop.scope:
            try:
                yield stop
            except Exception as error:  # noqa: BLE001 (raised below: out of a task group it would come in a group)
                failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _listen(stop: Stop, *, task_status: TaskStatus[None]) -> None:
    if sys.platform == "win32":
        # There Ctrl-C comes as a KeyboardInterrupt.
        task_status.started()
        return
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_asked_for:
                _end_at_once()
            stop.ask()


def _end_at_once() -> NoReturn:
    """Leave without another step: the journal is made for that."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)
    os._exit(ExitCode.INTERRUPTED)
