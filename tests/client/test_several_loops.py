"""One client in one event loop after another, and in several at once."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import BatchLimits, ConfigurationError, ItemState, PollPolicy
from hitpaw_async.batch.events.event import EventKind
from tests.batch.laboratory import laboratory, video
from tests.client.callers import REQUEST, a_client, eventually
from tests.client.fault_server import JOB_ID, Fault, FaultServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitpaw_async import AsyncHitPaw

TOO_LONG_S = 10.0


@pytest.fixture
def _collected() -> Iterator[None]:
    yield
    gc.collect()


def left_open(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test leave connections in loops that are over: what Python says of them is said before the next test."""
    quiet = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    unraised = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    return pytest.mark.usefixtures("_collected")(quiet(unraised(test)))


async def ask(hitpaw: AsyncHitPaw, times: int = 1) -> None:
    with anyio.fail_after(TOO_LONG_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(times):
                tasks.start_soon(hitpaw.task, JOB_ID)


async def export_and_close(hitpaw: AsyncHitPaw) -> None:
    with anyio.fail_after(TOO_LONG_S):
        await hitpaw.export(REQUEST)
        await hitpaw.aclose()


@left_open
@pytest.mark.parametrize("backends", [["asyncio"] * 3, ["trio"] * 3, ["trio", "asyncio", "trio"]])
def test_it_works_in_one_loop_after_another(backends: list[str]) -> None:
    with FaultServer() as server:
        hitpaw = a_client(server.url, max_connections=2, poll=PollPolicy(rate_max_hz=1000))
        for backend in backends:
            anyio.run(ask, hitpaw, 6, backend=backend)
        anyio.run(export_and_close, hitpaw, backend=backends[0])
        assert len(server.exports) == 1


@left_open
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_pause_and_a_pace_belong_to_the_clock_of_their_loop(backend: str) -> None:
    """trio begins each run at another time."""

    async def watch(hitpaw: AsyncHitPaw) -> None:
        with anyio.fail_after(TOO_LONG_S):
            async for _ in hitpaw.watch(JOB_ID):
                pass

    faults = [Fault.RATE_LIMIT, Fault.NONE] * 4
    with FaultServer(*faults) as server:
        hitpaw = a_client(server.url)
        for _ in range(4):
            anyio.run(watch, hitpaw, backend=backend)
        anyio.run(hitpaw.aclose, backend=backend)


@left_open
def test_it_works_in_the_loops_of_several_threads_at_once() -> None:
    failures: list[BaseException] = []

    def run(hitpaw: AsyncHitPaw) -> None:
        try:
            anyio.run(ask, hitpaw, 20)
        except BaseException as error:  # noqa: BLE001 (told by the test)
            failures.append(error)

    with FaultServer() as server:
        hitpaw = a_client(server.url, max_connections=2)
        threads = [threading.Thread(target=run, args=(hitpaw,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_closed_in_one_loop_it_is_closed_in_all() -> None:
    with FaultServer() as server:
        hitpaw = a_client(server.url)
        anyio.run(hitpaw.aclose)
        with pytest.raises(ConfigurationError, match="closed"):
            anyio.run(hitpaw.task, JOB_ID)


@pytest.mark.anyio
async def test_strangers_who_take_all_shared_threads_hold_no_batch_up(tmp_path: Path) -> None:
    may_end = threading.Event()
    shared = anyio.to_thread.current_default_thread_limiter()
    async with anyio.create_task_group() as strangers:
        for _ in range(int(shared.total_tokens)):
            strangers.start_soon(anyio.to_thread.run_sync, may_end.wait)
        await eventually(lambda: not shared.available_tokens)
        try:
            with anyio.fail_after(TOO_LONG_S):
                async with laboratory() as lab:
                    async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                        states = [outcome.state async for outcome in batch.run([video("a")])]
        finally:
            may_end.set()
    assert states == [ItemState.DONE]


@pytest.mark.anyio
@pytest.mark.parametrize("jump_s", [1e6, -1e6])
async def test_a_wall_clock_that_is_set_ends_no_wait_for_a_job(jump_s: float) -> None:
    now = [1.7e9]

    async with laboratory(speed=200.0) as lab:
        batch = lab.hitpaw.batch(limits=BatchLimits(job_timeout_s=5))
        batch._clock = lambda: now[0]
        with anyio.fail_after(TOO_LONG_S):
            async with batch:
                events = batch.events()
                run = batch.run([video("a")])
                async for event in events:
                    if event.kind is EventKind.SUBMITTED:
                        now[0] += jump_s
                        break
                assert [outcome.state async for outcome in run] == [ItemState.DONE]


@pytest.mark.anyio
async def test_a_job_whose_time_is_up_is_left_whatever_the_wall_clock_says() -> None:
    async with laboratory(speed=0.01) as lab:
        batch = lab.hitpaw.batch(limits=BatchLimits(job_timeout_s=0.2))
        batch._clock = lambda: 1.7e9  # it stands still
        with anyio.fail_after(TOO_LONG_S):
            async with batch:
                outcomes = [outcome async for outcome in batch.run([video("a")])]
    assert [outcome.state for outcome in outcomes] == [ItemState.SUBMITTED]
