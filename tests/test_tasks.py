"""Work in children and threads: results and errors come out unwrapped, and cancellation leaves nothing at work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from hitpaw_async._tasks import Guard, in_breakable_thread, in_cancellable_thread, in_thread, to_its_end, within
from tests.client.callers import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

ENOUGH_S = 10.0


class OddError(Exception):
    pass


def fail() -> int:
    raise OddError


async def fail_soon() -> int:
    await anyio.lowlevel.checkpoint()
    raise OddError


async def breakable(work: Callable[[], int]) -> int:
    return await in_breakable_thread(work, lambda: None, anyio.CapacityLimiter(1))


THREADS: list[Callable[[Callable[[], int]], Awaitable[int]]] = [
    in_thread,
    to_its_end,
    breakable,
    in_cancellable_thread,
]
each_way = pytest.mark.parametrize("run", THREADS, ids=["plain", "to its end", "breakable", "cancellable"])


@each_way
async def test_a_threads_result_is_handed_over(run: Callable[[Callable[[], int]], Awaitable[int]]) -> None:
    assert await run(lambda: 7) == 7


@each_way
async def test_a_threads_error_comes_out_of_no_group(run: Callable[[Callable[[], int]], Awaitable[int]]) -> None:
    with pytest.raises(OddError):
        await run(fail)


async def test_an_error_under_a_guard_comes_out_of_no_group() -> None:
    with pytest.raises(OddError):
        await Guard(1).run(fail_soon)


async def test_an_error_before_a_deadline_comes_out_of_no_group() -> None:
    with pytest.raises(OddError):
        await within(ENOUGH_S, fail_soon)


async def test_a_cancelled_caller_breaks_the_thread_off_and_waits_for_its_end() -> None:
    began, broken_off, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert broken_off.wait(ENOUGH_S)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_breakable_thread, work, broken_off.set, anyio.CapacityLimiter(1))
        await eventually(began.is_set)
        tasks.cancel_scope.cancel()
    assert ended.is_set()


async def test_work_that_runs_to_its_end_is_waited_for_by_a_cancelled_caller() -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert may_end.wait(ENOUGH_S)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(to_its_end, work)
        await eventually(began.is_set)
        tasks.cancel_scope.cancel()
        may_end.set()
    assert ended.is_set()


async def test_cancellation_reaches_what_a_thread_waits_for_in_the_event_loop() -> None:
    waiting, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        waiting.set()
        await anyio.sleep_forever()

    def work() -> None:
        try:
            anyio.from_thread.run(wait)
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_cancellable_thread, work)
        await eventually(waiting.is_set)
        tasks.cancel_scope.cancel()
    assert ended.is_set()


async def test_a_shut_guard_lets_its_work_end_within_the_grace() -> None:
    guard = Guard(ENOUGH_S)
    shut, may_end = anyio.Event(), anyio.Event()
    ended: list[bool] = []

    async def work() -> None:
        await guard.shut()
        shut.set()
        await may_end.wait()
        ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guard.run, work)
        await shut.wait()
        tasks.cancel_scope.cancel()
        may_end.set()
    assert ended == [True]


async def test_a_shut_guard_gives_up_after_the_grace() -> None:
    guard = Guard(0.05)
    shut = anyio.Event()

    async def work() -> None:
        await guard.shut()
        shut.set()
        await anyio.sleep_forever()

    with anyio.fail_after(ENOUGH_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guard.run, work)
            await shut.wait()
            tasks.cancel_scope.cancel()


async def test_an_open_guard_holds_no_cancellation_up() -> None:
    guard = Guard(ENOUGH_S)
    began = anyio.Event()

    async def work() -> None:
        await guard.shut()
        guard.open()
        began.set()
        await anyio.sleep_forever()

    with anyio.fail_after(ENOUGH_S / 2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guard.run, work)
            await began.wait()
            tasks.cancel_scope.cancel()
