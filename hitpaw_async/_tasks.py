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
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from hitpaw_async._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

__all__ = ["Guard", "Host", "LoopLocal", "in_breakable_thread", "in_cancellable_thread", "in_thread", "running_loop"]
__all__ += ["sleep_awake", "to_its_end", "uninterrupted", "within"]

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
    """Sleep once. Returns how much of it counts, and whether it took twice as long or more."""
    began_at = anyio.current_time()
    await anyio.sleep(piece_s)
    return piece_s, anyio.current_time() - began_at >= 2 * piece_s


async def within(seconds: float, work: Callable[[], Awaitable[T]]) -> T | None:
    """Return the result of `work`; None, and `work` cancelled, after `seconds` in which the event loop was running."""
    result: _Result[T] = _Result()
    scope = anyio.CancelScope()

    async def expire() -> None:
        await sleep_awake(seconds)
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expire)
        with scope:
            await result.of(work)
        tasks.cancel_scope.cancel()
    return result.take() if result.is_there else None


@attrs.define(eq=False)
class _Result(Generic[T]):
    """Result or exception of work in a child task, to be raised outside the task group, which would wrap it."""

    _values: list[T] = attrs.field(factory=list)
    _failures: list[BaseException] = attrs.field(factory=list)

    @property
    def is_there(self) -> bool:
        """True once the work has ended by itself, well or not."""
        return bool(self._values or self._failures)

    async def of(self, work: Callable[[], Awaitable[T]]) -> None:
        """Do `work` and keep its result. Cancellation goes on."""
        try:
            self._values.append(await work())
        except Exception as error:  # noqa: BLE001 (raised by `take`)
            self._failures.append(error)

    def of_blocking(self, work: Callable[[], T]) -> None:
        """Do blocking `work` and keep its result, the cancellation that it met included."""
        try:
            self._values.append(work())
        except BaseException as error:  # noqa: BLE001 (raised by `take`)
            self._failures.append(error)

    def take(self) -> T:
        """Return the result, or raise the exception."""
        if self._failures:
            raise self._failures.pop()
        return self._values.pop()


@attrs.define(eq=False)
class Guard:
    """A child task that cancellation leaves alone for as long as it is shut.

    A shield alone does not survive Ctrl-C on asyncio, which cancels the main task past all shields. A child task with a
    shield does.
    """

    grace_s: float | Callable[[], float]
    """Seconds, or a function that tells them when the cancellation comes."""
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _grace: anyio.CancelScope = attrs.field(factory=lambda: anyio.CancelScope(shield=True))

    async def shut(self) -> None:
        """From here on cancellation waits, unless it has already come."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        self.scope.shield = True

    def open(self) -> None:
        """From here on cancellation takes effect at once."""
        self.scope.shield = False

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` in the child. Cancelled while shut, it has `grace_s` to end.

        Ctrl-C on trio reaches the parent only while it waits, not on its way there.
        """
        return await uninterrupted(lambda: self._run(work))()

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        result: _Result[T] = _Result()
        interruption: BaseException | None = None
        finished = anyio.Event()

        async def child() -> None:
            try:
                with self.scope:
                    await result.of(work)
                finished.set()
            finally:
                self._grace.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(uninterrupted(child))
                try:
                    await finished.wait()
                except BaseException as error:
                    tasks.start_soon(uninterrupted(self._end_after_grace))
                    if isinstance(error, anyio.get_cancelled_exc_class()):
                        raise
                    # Ctrl-C, where trio raises it in the caller's place: raised below, free of the wrapping.
                    interruption = error
                    tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # Ctrl-C while the child has its grace. The child itself raises nothing.
            interruption = interruption or _interruption_in(group)
            if interruption is None:
                raise
        if interruption is not None:
            raise interruption
        return result.take()

    async def _end_after_grace(self) -> None:
        with self._grace:
            try:
                await sleep_awake(self.grace_s() if callable(self.grace_s) else self.grace_s)
            finally:
                self.scope.cancel()


def _interruption_in(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Find the Ctrl-C that a task group has wrapped, if there is one."""
    for error in group.exceptions:
        found = _interruption_in(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, KeyboardInterrupt):
            return found
    return None


class LoopLocal(Generic[T]):
    """A value per event loop: connections, locks and limits belong to the loop they were made on. `make` makes one."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[object, T] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("what belongs to an event loop can't be copied or pickled")

    def get(self) -> T:
        """Return the running loop's value."""
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
    """Return a value for the running event loop: equal in all of its tasks, and in no other loop's.

    Raises:
        ConfigurationError: None runs.
    """
    # Looked up, not imported: if nobody has imported it, nothing runs on it.
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
    """Do `work` in a worker thread of the library's own limiter: code that takes all of anyio's holds nothing up."""
    return await anyio.to_thread.run_sync(work, limiter=_THREADS.get())


async def to_its_end(work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work in a thread to its end, even if the caller is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await in_thread(lambda: work(*arguments))
    raise AssertionError("a shield cancels nothing")


async def in_breakable_thread(
    work: Callable[[], T], break_off: Callable[[], None], limiter: anyio.CapacityLimiter
) -> T:
    """Do blocking work in a thread. If the caller is cancelled, break it off and wait for its end."""
    result: _Result[T] = _Result()
    finished = anyio.Event()

    async def child() -> None:
        with anyio.CancelScope(shield=True):
            await result.of(lambda: anyio.to_thread.run_sync(work, limiter=limiter))
        finished.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
        try:
            await finished.wait()
        except BaseException:
            break_off()
            raise
    return result.take()


async def in_cancellable_thread(work: Callable[[], T]) -> T:
    """Do blocking work that calls back into the event loop, and never return before it has ended.

    It runs as a child task: asyncio's own cancellation (`asyncio.timeout`, Ctrl-C) breaks off the task that awaits a
    thread; a task group waits, and cancels the callback that the thread is waiting for. It has a limiter of its own:
    threads that wait for the event loop must not keep others, which the loop needs, from starting.
    """
    result: _Result[T] = _Result()
    async with anyio.create_task_group() as tasks:
        run = partial(result.of_blocking, work)
        tasks.start_soon(partial(anyio.to_thread.run_sync, run, limiter=anyio.CapacityLimiter(1)))
    await anyio.lowlevel.checkpoint_if_cancelled()
    return result.take()


class Host(Generic[T]):
    """Enters a context in a task of its own, and leaves it there, whichever task asks for it.

    A task group must be left in the task that entered it. Programs don't keep to that: fixtures of pytest-asyncio, exit
    stacks that another task closes, and generators that are left early.

    Args:
        context: The context. It is left as well if the loop ends before anybody asks.
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
        """True once the context has been left."""
        return self._has_ended.is_set()

    @property
    def is_elsewhere(self) -> bool:
        """True if it lives in another event loop than the running one."""
        return running_loop() is not self._loop

    async def enter(self) -> T:
        """Enter the context; if that fails or is cancelled, nothing stays open."""
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
        """Leave the context, and wait until that is done, whoever cancels. Its exception is raised here."""
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
    """Start a task that belongs to the loop. Its caller waits for its end."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.spawn_system_task(work, context=copy_context())
    return sys.modules["asyncio"].get_running_loop().create_task(work())


def uninterrupted(work: Callable[[], Awaitable[T]]) -> Callable[[], Coroutine[object, object, T]]:
    """Wrap `work` so that trio never raises KeyboardInterrupt in its task; the main task gets it.

    On asyncio a first Ctrl-C never interrupts a task at work.
    """

    async def protected() -> T:
        return await work()

    # Looked up, not imported: where nobody has, nothing runs on it.
    trio = sys.modules.get("trio")
    if trio is not None:
        trio.lowlevel.enable_ki_protection(protected)
    return protected
