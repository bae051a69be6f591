"""Time, threads, tasks and values of one event loop.

Deadlines of money count time in which this process could have read an answer. A process that was stopped (Ctrl-Z, a
debugger, a suspended machine), or whose loop was held up by a blocking call, wakes up past its deadline with the answer
in its socket's buffer. A timer would strike before that is read. So such a deadline sleeps in short pieces: a piece
that was overslept counts no more than its own length, and after one the loop gets another piece in which to read.
"""

from __future__ import annotations

import sys
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

from hitpaw_async._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

__all__ = ["Host", "LoopLocal", "in_thread", "running_loop", "sleep_awake", "uninterrupted", "within"]

T = TypeVar("T")

PIECE_MAX_S: Final = 1.0
PIECES_MIN: Final = 4
"""The shortest deadlines are slept in so many pieces."""

THREADS_MAX: Final = 40
"""Threads that the library's files and journals may use at once, as many as anyio gives to all of a program."""


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


class LoopLocal(Generic[T]):
    """A value that each event loop has of its own: connections, locks and limits belong to the loop they were made on.

    Args:
        make: Makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[object, T] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("what belongs to an event loop can't be copied or pickled")

    def get(self) -> T:
        """The running loop's value."""
        loop = running_loop()
        try:
            return self._values[loop]
        except KeyError:
            value = self._make()
        # Loops of several threads may come at once.
        with self._lock:
            # What belongs to a loop that is closed can't be used, or closed, any more.
            self._values = {other: kept for other, kept in self._values.items() if not _is_closed(other)}
            self._values[loop] = value
        return value


def running_loop() -> object:
    """What stands for the event loop that runs: equal in all of its tasks, and in no other's.

    Raises:
        ConfigurationError: None does.
    """
    # Looked up, not imported: where nobody has, nothing runs on it.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_trio_token()
    asyncio = sys.modules.get("asyncio")
    try:
        if asyncio is not None:
            return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise ConfigurationError("No event loop runs here. Call this within one, e.g. `asyncio.run(main())`.")


def _is_closed(loop: object) -> bool:
    is_closed: Callable[[], bool] | None = getattr(loop, "is_closed", None)
    return is_closed is not None and is_closed()


_THREADS: Final = LoopLocal(lambda: anyio.CapacityLimiter(THREADS_MAX))


async def in_thread(work: Callable[[], T]) -> T:
    """Do `work` in a worker thread of the library's own count: strangers who take all of anyio's hold nothing up."""
    return await anyio.to_thread.run_sync(work, limiter=_THREADS.get())


class Host(Generic[T]):
    """Enters a context in a task of its own, and leaves it there, whichever task asks for it.

    A task group must be left in the task that entered it. Programs don't keep to that: fixtures of pytest-asyncio, exit
    stacks that another task closes, and generators that are left early.

    Args:
        context: What is entered. It is left as well where the loop ends before anybody asks.
    """

    def __init__(self, context: AbstractAsyncContextManager[T]) -> None:
        self._context = context
        self._loop = running_loop()
        self._scope = anyio.CancelScope()
        self._is_leaving = anyio.Event()
        self._has_entered = anyio.Event()
        self._has_ended = anyio.Event()
        self._value: list[T] = []
        self._failure: BaseException | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the context has been left."""
        return self._has_ended.is_set()

    @property
    def is_elsewhere(self) -> bool:
        """Whether it lives in another event loop than the one that runs."""
        return running_loop() is not self._loop

    async def enter(self) -> T:
        """Enter the context; where that fails or is cancelled, nothing stays open."""
        self._task = _spawn(self._serve)
        try:
            await self._has_entered.wait()
        except BaseException:
            self._scope.cancel()
            await self._ended()
            raise
        if not self._value:
            await self.leave()
        return self._value[0]

    async def leave(self) -> None:
        """Leave the context, and wait until that is done, whoever cancels. What it raises is raised here."""
        self._is_leaving.set()
        await self._ended()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _serve(self) -> None:
        try:
            with self._scope:
                async with self._context as value:
                    self._value.append(value)
                    self._has_entered.set()
                    await self._is_leaving.wait()
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as failure:  # noqa: BLE001 (raised where it is left)
            self._failure = failure
        finally:
            self._has_ended.set()
            self._has_entered.set()

    async def _ended(self) -> None:
        interruption: BaseException | None = None
        while not self._has_ended.is_set():
            try:
                with anyio.CancelScope(shield=True):
                    await self._has_ended.wait()
            except BaseException as error:  # noqa: BLE001 (Ctrl-C, and asyncio's own cancellation: raised below)
                interruption = interruption or error
        if interruption is not None:
            raise interruption


def _spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that belongs to the loop. Whoever starts it waits for its end."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.spawn_system_task(work, context=copy_context())
    return sys.modules["asyncio"].get_running_loop().create_task(work())


def uninterrupted(work: Callable[[], Awaitable[T]]) -> Callable[[], Coroutine[object, object, T]]:
    """`work` for a task of its own that no Ctrl-C on trio strikes; the main task gets it instead.

    On asyncio a first Ctrl-C never strikes a task at work.
    """

    async def protected() -> T:
        return await work()

    # Looked up, not imported: where nobody has, nothing runs on it.
    trio = sys.modules.get("trio")
    if trio is not None:
        trio.lowlevel.enable_ki_protection(protected)
    return protected
