"""Signals: the first asks for a clean stop, a second Ctrl-C or SIGTERM ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import anyio
import attrs

from hitpaw_async.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from anyio.abc import TaskGroup, TaskStatus

__all__ = ["Stop", "stop_on_signals"]

_SHOW_CURSOR = b"\x1b[?25h"


@attrs.define(eq=False)
class Stop:
    """Whether and why a stop was asked for, and what it cancels."""

    tasks: TaskGroup
    """What runs here outlives the stop, and ends with the block."""
    on_stop: Callable[[signal.Signals], None] | None = None
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    is_asked_for: bool = False

    def ask(self, number: signal.Signals) -> None:
        """Ask for a clean stop."""
        self.is_asked_for = True
        if self.on_stop is not None:
            self.on_stop(number)
        self.scope.cancel()


@asynccontextmanager
async def stop_on_signals(on_stop: Callable[[signal.Signals], None] | None = None) -> AsyncIterator[Stop]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP cancel it. The yielded value says afterwards if that happened.

    SIGHUP comes when the terminal is closed, and is left alone where it is ignored, as `nohup` has it. An exception of
    the block comes out as it is, not in a group.

    Args:
        on_stop: Told which signal asked for the stop, before the block is cancelled.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        stop = Stop(tasks, on_stop)
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
    was_told = False
    with anyio.open_signal_receiver(*_signals()) as signals:
        task_status.started()
        async for number in signals:
            # A terminal that is closed sends SIGHUP more than once, and a session that ends SIGTERM beside it.
            if number is not signal.SIGHUP:
                if was_told:
                    _end_at_once()
                was_told = True
            if not stop.is_asked_for:
                stop.ask(number)


def _signals() -> list[signal.Signals]:
    asked = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return asked


def _end_at_once() -> NoReturn:
    """Leave without another step: the journal is made for that."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR)
    os._exit(ExitCode.INTERRUPTED)
