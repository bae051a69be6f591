"""Worker threads for obstore's blocking calls, which work on asyncio and on trio alike, as its others don't."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from hitpaw_async._tasks import LoopLocal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StoppedError", "in_stoppable_thread", "in_thread"]

T = TypeVar("T")

_THREADS_MAX: Final = 32
STOP_MAX_S: Final = 10.0
"""How long a cancelled transfer is waited for. Its thread aborts it in any case; a dead network may hold it up."""

_LIMITERS: Final = LoopLocal(lambda: anyio.CapacityLimiter(_THREADS_MAX))


class StoppedError(Exception):
    """Raised in a thread whose caller was cancelled. Never leaves the library."""


async def in_thread(work: Callable[[], T]) -> T:
    """Do something short that may be left to itself: a question, or a call that does no harm when it ends late."""
    return await anyio.to_thread.run_sync(work, limiter=_LIMITERS.get(), abandon_on_cancel=True)


async def in_stoppable_thread(work: Callable[[Callable[[], None]], T]) -> T:
    """Do something long. It calls what it is given now and then, which raises `StoppedError` after a cancellation.

    Its end is awaited, for `STOP_MAX_S` at most.
    """
    is_stopped = threading.Event()
    results: list[T] = []
    failures: list[Exception] = []
    finished = anyio.Event()
    scope = anyio.CancelScope(shield=True)

    def check() -> None:
        if is_stopped.is_set():
            raise StoppedError

    async def child() -> None:
        try:
            with scope:
                results.append(
                    await anyio.to_thread.run_sync(lambda: work(check), limiter=_LIMITERS.get(), abandon_on_cancel=True)
                )
        except Exception as error:  # noqa: BLE001 (raised in the parent, free of the task group's wrapping)
            failures.append(error)
        finished.set()

    # A shield alone does not survive asyncio's own cancellation; a child task with a shield does.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
        try:
            await finished.wait()
        except BaseException:
            is_stopped.set()
            scope.deadline = anyio.current_time() + STOP_MAX_S
            raise
    if failures:
        raise failures[0]
    return results[0]
