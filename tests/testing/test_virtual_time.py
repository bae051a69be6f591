"""Virtual time: it jumps where nothing else is to be done, waits for threads, and ends with its block."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing

from hitpaw_async import ConfigurationError
from hitpaw_async.testing import VirtualTime, virtual_backend, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S = 3600.0
SHORT_S = 0.05


def run(backend: str, work: Callable[..., object], *arguments: object) -> object:
    name, options = virtual_backend(backend)
    return anyio.run(work, *arguments, backend=name, backend_options=options)


both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@both_backends
def test_timers_fire_in_their_order_and_at_their_time(backend: str) -> None:
    fired: list[tuple[float, float]] = []

    async def wait(hours: float) -> None:
        began_s = anyio.current_time()
        await anyio.sleep(hours * HOUR_S)
        fired.append((hours, anyio.current_time() - began_s))

    async def work() -> None:
        with VirtualTime() as virtual:
            virtual.start()
            async with anyio.create_task_group() as tasks:
                for hours in (30, 2, 7):
                    tasks.start_soon(wait, hours)
            with pytest.raises(TimeoutError), anyio.fail_after(HOUR_S):
                await anyio.Event().wait()

    run(backend, work)
    assert [hours for hours, _ in fired] == [2, 7, 30]
    assert [waited_s for _, waited_s in fired] == pytest.approx([hours * HOUR_S for hours, _ in fired], abs=5)


@both_backends
def test_time_waits_for_a_busy_thread(backend: str) -> None:
    async def work() -> list[str]:
        heard: list[str] = []

        async def wait() -> None:
            await anyio.sleep(1)
            heard.append("an hour")

        with VirtualTime() as virtual:
            virtual.start()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.to_thread.run_sync(time.sleep, SHORT_S)
                heard.append("the thread")
        return heard

    assert run(backend, work) == ["the thread", "an hour"]


def test_time_waits_for_asyncios_own_threads() -> None:
    async def work() -> float:
        with VirtualTime() as virtual:
            virtual.start()
            async with asyncio.timeout(1):
                await asyncio.to_thread(time.sleep, SHORT_S)
            began_s = asyncio.get_running_loop().time()
            await asyncio.sleep(HOUR_S)
            return asyncio.get_running_loop().time() - began_s

    assert asyncio.run(work()) == pytest.approx(HOUR_S, abs=5)


@both_backends
def test_a_thread_that_never_ends_does_not_stop_time(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "THREAD_PATIENCE_S", SHORT_S)
    release = threading.Event()

    async def work() -> float:
        with VirtualTime() as virtual:
            virtual.start()
            began_s = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, release.wait)
                await anyio.sleep(HOUR_S)
                release.set()
            return anyio.current_time() - began_s

    assert run(backend, work) == pytest.approx(HOUR_S, abs=5)


def test_afterwards_time_is_real_and_has_not_gone_back() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            with VirtualTime() as virtual:
                virtual.start()
                virtual.start()
                await asyncio.sleep(HOUR_S)
            after_s = loop.time()
            began_s = time.monotonic()
            await asyncio.sleep(SHORT_S)
            assert time.monotonic() - began_s >= SHORT_S * 0.9
            assert 0 < loop.time() - after_s < HOUR_S
        assert loop.time() - time.monotonic() > 2 * HOUR_S

    asyncio.run(work())


def test_a_loop_is_not_kept_alive() -> None:
    async def work() -> weakref.ref[asyncio.AbstractEventLoop]:
        with VirtualTime() as virtual:
            virtual.start()
            await asyncio.sleep(HOUR_S)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(work())
    gc.collect()
    assert loop() is None


def test_where_no_loop_runs_there_is_nothing_to_start() -> None:
    with VirtualTime() as virtual:
        virtual.start()


def test_a_loop_that_can_not_be_moved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherLoop:
        time = time.monotonic

    with VirtualTime() as virtual:
        monkeypatch.setattr(asyncio, "get_running_loop", OtherLoop)
        with pytest.raises(ConfigurationError, match=r"OtherLoop can't be moved.*virtual_time=False"):
            virtual.start()


def test_trio_with_a_clock_that_can_not_jump_says_how_to_give_it_one() -> None:
    async def work() -> None:
        with VirtualTime() as virtual, pytest.raises(ConfigurationError, match="virtual_backend"):
            virtual.start()

    trio.run(work)
    trio.run(work, clock=trio.testing.MockClock())


def test_a_backend_keeps_the_options_that_are_given() -> None:
    clock = trio.testing.MockClock(autojump_threshold=0.5)
    assert virtual_backend(("trio", {"clock": clock, "strict_exception_groups": True})) == (
        "trio",
        {"clock": clock, "strict_exception_groups": True},
    )
    assert virtual_backend("asyncio") == ("asyncio", {})
    assert virtual_backend(("asyncio", {"debug": True})) == ("asyncio", {"debug": True})


def test_a_threshold_of_the_users_comes_back_after_a_thread() -> None:
    clock = trio.testing.MockClock(autojump_threshold=0.01)

    async def work() -> None:
        with VirtualTime() as virtual:
            virtual.start()
            await trio.to_thread.run_sync(lambda: None)

    trio.run(work, clock=clock)
    assert clock.autojump_threshold == 0.01
