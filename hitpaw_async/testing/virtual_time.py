"""Virtual time: while nothing else is left to do, the clock jumps to the next timer.

On asyncio the running loop's own clock is moved, from the first use of the simulator in a test to the test's end: its
`time()` gets an offset that grows where its selector would have slept. It flows on between the jumps, never goes back,
and needs no loop of a certain plugin; but it needs asyncio's own (uvloop can't be moved). On trio it is trio's
`MockClock`, which a program has to be started with: `hitpaw_simulator` sees to it in tests of anyio's plugin; in those
of pytest-trio, ask for its `autojump_clock` as well; where async fixtures start trio first, say so to anyio:

```python
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return virtual_backend(request.param)
```

While a worker thread is busy (anyio's, `run_in_executor`, `asyncio.to_thread`, trio's), time waits for it, up to
`THREAD_PATIENCE_S`: a journal on disk and downloads keep their order. Real sockets are not waited for: what goes over a
network has no place in virtual time.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Self
from unittest import mock

import anyio.to_thread
import attrs

from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

__all__ = ["THREAD_PATIENCE_S", "VirtualTime", "virtual_backend"]

THREAD_PATIENCE_S: Final = 2.0
"""Real seconds for which time waits for a busy thread: one that never ends must not stop it for good."""


def virtual_backend(backend: str | tuple[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A backend as anyio's plugin takes it (the value of `anyio_backend`), started so that its time can jump.

    Args:
        backend: "asyncio" or "trio", with the options to keep, if any. A clock that is given is kept.
    """
    name, options = (backend, {}) if isinstance(backend, str) else (backend[0], dict(backend[1]))
    if name == "trio" and "clock" not in options:
        from trio.testing import MockClock  # noqa: PLC0415 (only where trio runs)

        options["clock"] = MockClock(autojump_threshold=0)
    return name, options


@attrs.define(eq=False)
class _Threads:
    """How many worker threads are busy. Trio's clock is told; asyncio's asks."""

    busy: int = 0
    _trio_threshold_s: float = 0.0

    def begin(self) -> None:
        self.busy += 1
        clock = _trio_clock()
        if clock is not None and self.busy == 1:
            self._trio_threshold_s = clock.autojump_threshold
            clock.autojump_threshold = max(THREAD_PATIENCE_S, self._trio_threshold_s)

    def end(self) -> None:
        self.busy -= 1
        clock = _trio_clock()
        if clock is not None and self.busy == 0:
            clock.autojump_threshold = self._trio_threshold_s

    def watched(self, run_sync: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """`run_sync` of anyio or trio, counted."""

        @wraps(run_sync)
        async def run(*arguments: Any, **options: Any) -> Any:
            self.begin()
            try:
                return await run_sync(*arguments, **options)
            finally:
                self.end()

        return run


class VirtualTime:
    """Lets time jump, from each loop's `start` to the end of the `with` block.

    ```python
    with VirtualTime() as time:
        ...  # in a coroutine: time.start()
    ```
    """

    def __init__(self) -> None:
        self._threads = _Threads()
        self._loops: list[_MovableClock] = []
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        modules = [anyio.to_thread]
        if "trio" in sys.modules:
            modules.append(sys.modules["trio"].to_thread)
        for module in modules:
            watched = self._threads.watched(module.run_sync)
            self._patches.enter_context(mock.patch.object(module, "run_sync", watched))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._patches.close()
        for clock in self._loops:
            clock.stop()
        self._loops.clear()

    def start(self) -> None:
        """Let the running event loop's time jump from here on. Does nothing where none runs, or it does already.

        Raises:
            ConfigurationError: The loop's clock can't be moved.
        """
        loop = _running_loop()
        if loop is not None:
            clock = _MovableClock.of(loop)
            if clock not in self._loops:
                clock.start(self._threads)
                self._loops.append(clock)
        elif _is_trio() and _trio_clock() is None:
            raise ConfigurationError(
                "Trio was started with a clock that can't jump. Ask for pytest-trio's fixture autojump_clock too; with "
                "anyio's plugin, let the fixture anyio_backend return hitpaw_async.testing.virtual_backend('trio')."
            )


@attrs.define(eq=False)
class _MovableClock:
    """The clock of one of asyncio's loops. Its offset stays for as long as the loop: time never goes back."""

    _loop: asyncio.AbstractEventLoop
    _selector: Any
    _real_now: Callable[[], float]
    _offset_s: float = 0.0
    _threads: _Threads = attrs.field(factory=_Threads)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _MovableClock:
        """The clock of `loop`, which may have been moved before.

        Raises:
            ConfigurationError: It can't be moved.
        """
        known = getattr(loop.time, "__self__", None)
        if isinstance(known, _MovableClock):
            return known
        selector = getattr(loop, "_selector", None)
        if selector is None:
            kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
            raise ConfigurationError(
                f"The clock of {kind} can't be moved. Test on asyncio's own event loop, or in real time with "
                "HitPawSimulator(virtual_time=False)."
            )
        clock = cls(loop, selector, loop.time)
        loop.time = clock.now  # type: ignore[method-assign]
        return clock

    def now(self) -> float:
        """The loop's time in seconds."""
        return self._real_now() + self._offset_s

    def start(self, threads: _Threads) -> None:
        """Jump from here on."""
        self._threads = threads
        self._selector.select = self._select
        self._loop.run_in_executor = self._run_in_executor  # type: ignore[method-assign,assignment]

    def stop(self) -> None:
        """Jump no more."""
        del self._selector.select
        del self._loop.run_in_executor

    def _select(self, timeout_s: float | None = None) -> Any:
        """What the loop sleeps in: it jumps in place of sleeping, unless something has come or will come by itself."""
        select = type(self._selector).select
        if timeout_s is None or timeout_s <= 0:
            return select(self._selector, timeout_s)
        wait_s = min(timeout_s, THREAD_PATIENCE_S) if self._threads.busy else 0.0
        events = select(self._selector, wait_s)
        if not events:
            self._offset_s += timeout_s - wait_s
        return events

    def _run_in_executor(self, *arguments: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = type(self._loop).run_in_executor(self._loop, *arguments)
        self._threads.begin()
        future.add_done_callback(lambda _: self._threads.end())
        return future


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _is_trio() -> bool:
    return "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run()


def _trio_clock() -> Any:
    """The clock of the trio that runs, where it can jump."""
    if not _is_trio():
        return None
    from trio.lowlevel import current_clock  # noqa: PLC0415 (only where trio runs)
    from trio.testing import MockClock  # noqa: PLC0415 (the same)

    clock = current_clock()
    return clock if isinstance(clock, MockClock) and clock.autojump_threshold < math.inf else None
