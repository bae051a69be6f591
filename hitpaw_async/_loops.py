"""Time, threads and values of one event loop.

Deadlines of money count time in which this process could have read an answer. A process that was stopped (Ctrl-Z, a
debugger, a suspended machine), or whose loop was held up by a blocking call, wakes up past its deadline with the answer
in its socket's buffer. A timer would strike before that is read. So such a deadline sleeps in short pieces: a piece
that was overslept counts no more than its own length, and after one the loop gets another piece in which to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["sleep_awake", "within"]

T = TypeVar("T")

PIECE_MAX_S: Final = 1.0
PIECES_MIN: Final = 4
"""The shortest deadlines are slept in so many pieces."""


async def sleep_awake(seconds: float) -> None:
    """Sleep for `seconds` in which the event loop was running. The last of them is not overslept, unless twice."""
    left_s = seconds
    piece_s = min(PIECE_MAX_S, seconds / PIECES_MIN)
    is_overslept = False
    while left_s > 0:
        slept_s, is_overslept = await _sleep_piece(min(piece_s, left_s))
        left_s -= slept_s
    if is_overslept:
        await _sleep_piece(piece_s)


async def _sleep_piece(piece_s: float) -> tuple[float, bool]:
    """Sleep once. How much of it counts, and whether it took twice as long or more."""
    began_at = anyio.current_time()
    await anyio.sleep(piece_s)
    return piece_s, anyio.current_time() - began_at >= 2 * piece_s


async def within(seconds: float, work: Callable[[], Awaitable[T]]) -> T | None:
    """What `work` returns; None, and `work` cancelled, after `seconds` in which the event loop was running."""
    results: list[T] = []
    failures: list[Exception] = []
    scope = anyio.CancelScope()

    async def expire() -> None:
        await sleep_awake(seconds)
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expire)
        with scope:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001 (raised below, free of the task group's wrapping)
                failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return results[0] if results else None
