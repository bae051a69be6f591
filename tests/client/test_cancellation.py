"""An export that is cancelled: at once where nothing was sent, and else not before its answer is kept."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs
import pytest
import trio
import trio.testing

from hitpaw_async import errors
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._tasks import Guard
from tests.client.callers import REQUEST, Notebook, a_client, calls_to, eventually, lanes_of
from tests.client.fault_server import JOB_ID, Fault, FaultServer
from tests.support.patience import soon

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator

    from hitpaw_async._vendor.calls import VendorCalls

pytestmark = pytest.mark.anyio

AT_ONCE_S = 0.25
ENOUGH_S = 5.0
LONG_GRACE_S = 4.0


async def until(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, ENOUGH_S)


@attrs.define
class Attempt:
    """An export under way in a task of its own, and what became of it."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    took_s: float = 0.0
    error: BaseException | None = None
    is_cancelled: bool = False

    async def run(self, calls: VendorCalls, notebook: Notebook, grace_s: float) -> None:
        with self.scope:
            try:
                await calls.export(REQUEST, observer=notebook, grace_s=grace_s)
            except errors.HitPawError as error:
                self.error = error
        self.is_cancelled = self.scope.cancelled_caught
        self.ended.set()

    async def cancel(self) -> None:
        """Cancel it, and take the time until it has ended."""
        started_at = anyio.current_time()
        self.scope.cancel()
        with anyio.fail_after(ENOUGH_S):
            await self.ended.wait()
        self.took_s = anyio.current_time() - started_at


@asynccontextmanager
async def exporting(
    base_url: str, notebook: Notebook, *, grace_s: float = LONG_GRACE_S, max_connections: int = 4
) -> AsyncIterator[Attempt]:
    attempt = Attempt()
    async with calls_to(base_url, max_connections=max_connections) as calls, anyio.create_task_group() as tasks:
        tasks.start_soon(attempt.run, calls, notebook, grace_s)
        yield attempt


async def test_cancelled_while_connecting_nothing_is_sent_and_nobody_waits() -> None:
    notebook = Notebook()
    with FaultServer(Fault.HANG_WITHOUT_READING) as server:
        async with exporting(server.url.replace("http:", "https:"), notebook) as attempt:
            await until(server.accepted)
            await attempt.cancel()
    assert attempt.is_cancelled
    assert attempt.took_s < soon(AT_ONCE_S)
    assert notebook.entries == []


async def test_cancelled_while_it_waits_for_its_turn_nothing_is_sent() -> None:
    notebook, first = Notebook(), Notebook()
    with FaultServer() as server:
        server.may_answer.clear()
        attempt = Attempt()
        async with calls_to(server.url, max_connections=1) as calls, anyio.create_task_group() as tasks:
            tasks.start_soon(Attempt().run, calls, first, LONG_GRACE_S)
            await until(server.arrived)
            tasks.start_soon(attempt.run, calls, notebook, LONG_GRACE_S)
            await eventually(lambda: calls._pool._gate.statistics().tasks_waiting)
            await attempt.cancel()
            server.may_answer.set()
        assert len(server.exports) == 1
    assert attempt.took_s < soon(AT_ONCE_S)
    assert notebook.entries == []
    assert first.entries == ["sending", "accepted"]


async def test_cancelled_before_it_began_nothing_is_sent() -> None:
    notebook = Notebook()
    with FaultServer() as server:
        async with calls_to(server.url) as calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await calls.export(REQUEST, observer=notebook)
    assert server.received == []
    assert notebook.entries == []


async def test_cancelled_just_before_the_first_byte_nothing_is_sent() -> None:
    guard = Guard(grace_s=LONG_GRACE_S)
    reached: list[str] = []

    async def send() -> None:
        scope.cancel()
        await guard.shut()
        reached.append("the first byte")

    with anyio.CancelScope() as scope:
        await guard.run(send)
    assert scope.cancelled_caught
    assert reached == []


async def test_cancelled_while_a_refusal_is_written_down_it_is_written_to_the_end() -> None:
    begun, written = anyio.Event(), anyio.Event()

    async def write() -> None:
        begun.set()
        await anyio.sleep(0.05)
        written.set()

    notebook = Notebook(on_not_accepted=write)
    with FaultServer(Fault.RATE_LIMIT, retry_after="60") as server:
        async with exporting(server.url, notebook, grace_s=0) as attempt:
            await begun.wait()
            await attempt.cancel()
        assert len(server.exports) == 1
    assert attempt.is_cancelled
    assert written.is_set()


async def test_cancelled_between_attempts_it_ends_at_once() -> None:
    notebook = Notebook()
    with FaultServer(Fault.RATE_LIMIT, retry_after="60") as server:
        async with exporting(server.url, notebook) as attempt:
            await eventually(lambda: "not accepted" in notebook.entries)
            await attempt.cancel()
        assert len(server.exports) == 1
    assert attempt.is_cancelled
    assert attempt.took_s < soon(AT_ONCE_S)
    assert notebook.entries == ["sending", "not accepted"]


async def test_cancelled_after_the_body_left_the_answer_is_still_kept() -> None:
    notebook = Notebook()
    with FaultServer() as server:
        server.may_answer.clear()
        async with exporting(server.url, notebook) as attempt, anyio.create_task_group() as tasks:
            await until(server.arrived)
            tasks.start_soon(attempt.cancel)
            await anyio.wait_all_tasks_blocked()
            assert not attempt.ended.is_set()
            server.may_answer.set()
        assert len(server.exports) == 1
    assert attempt.is_cancelled
    assert notebook.entries == ["sending", "accepted"]
    assert notebook.job is not None
    assert notebook.job.job_id == JOB_ID


async def test_cancelled_while_the_answer_is_written_down_it_is_written_whole() -> None:
    async def write_slowly() -> None:
        attempt.scope.cancel()
        await anyio.sleep(0.1)

    notebook = Notebook(on_accepted=write_slowly)
    with FaultServer() as server:
        async with exporting(server.url, notebook, grace_s=0.02) as attempt:
            await attempt.ended.wait()
    assert attempt.is_cancelled
    assert notebook.entries == ["sending", "accepted"]


async def test_cancelled_while_the_intent_is_written_it_is_written_whole() -> None:
    written: list[bool] = []

    async def write_slowly() -> None:
        attempt.scope.cancel()
        await anyio.sleep(0.1)
        written.append(True)

    notebook = Notebook(on_sending=write_slowly)
    with FaultServer(Fault.HANG) as server:
        async with exporting(server.url, notebook, grace_s=0.02) as attempt:
            await attempt.ended.wait()
    assert attempt.is_cancelled
    assert written == [True]


async def test_cancelled_and_no_answer_within_the_grace_it_ends_and_nobody_is_told() -> None:
    notebook = Notebook()
    with FaultServer(Fault.HANG) as server:
        async with exporting(server.url, notebook, grace_s=0.2) as attempt:
            await until(server.arrived)
            await attempt.cancel()
        assert len(server.exports) == 1
    assert attempt.is_cancelled
    assert 0.2 <= attempt.took_s < 0.2 + soon(AT_ONCE_S)
    assert notebook.entries == ["sending"]


async def test_without_a_grace_it_ends_at_once() -> None:
    notebook = Notebook()
    with FaultServer(Fault.HANG) as server:
        async with exporting(server.url, notebook, grace_s=0) as attempt:
            await until(server.arrived)
            await attempt.cancel()
    assert attempt.took_s < soon(AT_ONCE_S)
    assert notebook.entries == ["sending"]


@pytest.mark.parametrize("fault", [Fault.FIN, Fault.HTML, Fault.BAD_KEY], ids=lambda fault: fault.name)
async def test_cancelled_and_the_answer_is_no_job_it_is_cancelled_all_the_same(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault) as server:
        server.may_answer.clear()
        async with exporting(server.url, notebook) as attempt, anyio.create_task_group() as tasks:
            await until(server.arrived)
            tasks.start_soon(attempt.cancel)
            await anyio.wait_all_tasks_blocked()
            server.may_answer.set()
        assert len(server.exports) == 1
    assert attempt.is_cancelled
    assert attempt.error is None
    assert notebook.entries == ["sending", "not accepted"][: 2 if fault is Fault.BAD_KEY else 1]


async def test_cancelled_while_shut_a_rate_limit_is_not_waited_for() -> None:
    notebook = Notebook()
    with FaultServer(Fault.RATE_LIMIT, Fault.NONE, retry_after="3") as server:
        server.may_answer.clear()
        async with exporting(server.url, notebook) as attempt, anyio.create_task_group() as tasks:
            await until(server.arrived)
            tasks.start_soon(attempt.cancel)
            await anyio.wait_all_tasks_blocked()
            server.may_answer.set()
        assert len(server.exports) == 1
    assert attempt.took_s < soon(1)
    assert notebook.entries == ["sending", "not accepted"]


async def test_a_deadline_of_the_callers_is_a_cancellation_like_any_other() -> None:
    notebook = Notebook()
    with FaultServer() as server:
        server.may_answer.clear()
        async with calls_to(server.url) as calls, anyio.create_task_group() as tasks:

            async def answer_late() -> None:
                await until(server.arrived)
                await anyio.sleep(0.2)
                server.may_answer.set()

            tasks.start_soon(answer_late)
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.1):
                    await calls.export(REQUEST, observer=notebook)
    assert notebook.entries == ["sending", "accepted"]


async def test_a_question_is_cancelled_at_once() -> None:
    with FaultServer(Fault.HANG) as server:
        async with calls_to(server.url) as calls:
            started_at = anyio.current_time()
            with anyio.move_on_after(0.1) as scope:
                await calls.task(JOB_ID)
            assert scope.cancelled_caught
            assert anyio.current_time() - started_at < 0.1 + soon(AT_ONCE_S)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_task_of_asyncio_that_is_cancelled_keeps_the_answer(times: int) -> None:
    notebook = Notebook()
    with FaultServer() as server:
        server.may_answer.clear()
        async with calls_to(server.url) as calls:
            task = asyncio.create_task(calls.export(REQUEST, observer=notebook, grace_s=LONG_GRACE_S))
            await until(server.arrived)
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0.01)
            assert not task.done()
            server.may_answer.set()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert len(server.exports) == 1
    assert notebook.entries == ["sending", "accepted"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_of_asyncio_that_is_cancelled_ends_after_the_grace() -> None:
    notebook = Notebook()
    with FaultServer(Fault.HANG) as server:
        async with calls_to(server.url) as calls:
            task = asyncio.create_task(calls.export(REQUEST, observer=notebook, grace_s=0.1))
            await until(server.arrived)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, ENOUGH_S)
    assert notebook.entries == ["sending"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_timeout_leaves_the_task_usable() -> None:
    with FaultServer(Fault.HANG, Fault.NONE) as server:
        async with calls_to(server.url) as calls:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await calls.export(REQUEST, observer=Notebook(), grace_s=0.05)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert (await calls.task(JOB_ID)).job_id == JOB_ID


def press_ctrl_c() -> None:
    """What trio does once a signal has come in: it interrupts the main task, past all shields."""
    runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner
    runner.ki_pending = True
    runner._deliver_ki_cb()


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("is_quick", [False, True])
def test_ctrl_c_on_trio_keeps_the_answer_and_comes_out_as_itself(
    times: int, is_cancelled: bool, is_quick: bool
) -> None:
    kept: list[str] = []
    scope = trio.CancelScope()

    async def work(guard: Guard) -> None:
        await guard.shut()
        if is_cancelled:
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(times):
            press_ctrl_c()
            if not is_quick:
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        kept.append("the answer")

    async def main() -> None:
        guard = Guard(LONG_GRACE_S)
        with scope:
            await guard.run(lambda: work(guard))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert kept == ["the answer"]


async def test_two_hundred_cancelled_calls_leak_no_slot() -> None:
    with FaultServer() as server:
        server.may_answer.clear()
        async with calls_to(server.url, max_connections=4) as calls:
            for number in range(200):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        if number % 2:
                            tasks.start_soon(Attempt().run, calls, Notebook(), 0.0)
                        else:
                            tasks.start_soon(calls.task, JOB_ID)
                        for _ in range(number % 40):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()
            pool = calls._pool
            # The server reads in a thread of its own, a little later.
            got_far = await anyio.to_thread.run_sync(server.arrived.wait, ENOUGH_S)
            assert got_far, "no call got as far as its body: the test would prove little"
            assert pool._gate.value == 4
            assert pool._gate.statistics().tasks_waiting == 0
            server.may_answer.set()
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(calls.task, JOB_ID)
            lanes = lanes_of(pool)
            assert lanes.in_use == 0
            assert 0 < lanes.idle <= 4


async def test_a_crowd_of_waiting_callers_that_is_cancelled_leaks_no_slot() -> None:
    with FaultServer() as server:
        server.may_answer.clear()
        async with calls_to(server.url, max_connections=2) as calls:
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(calls.task, JOB_ID)
                await until(server.arrived)
                tasks.cancel_scope.cancel()
            assert calls._pool._gate.value == 2
            server.may_answer.set()
            assert (await calls.task(JOB_ID)).job_id == JOB_ID


async def test_the_client_tells_the_job_of_an_export_whose_caller_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer() as server, caplog.at_level(logging.WARNING, "hitpaw_async"):
        server.may_answer.clear()
        async with a_client(server.url) as hitpaw, anyio.create_task_group() as tasks:

            async def export() -> None:
                await hitpaw.export(REQUEST)

            tasks.start_soon(export)
            await until(server.arrived)
            tasks.cancel_scope.cancel()
            server.may_answer.set()
    assert len(server.exports) == 1
    assert server.exports[0].body == V3.encode_export(REQUEST).body
    assert [record.getMessage() for record in caplog.records] == [
        f"The export was accepted as job {JOB_ID} while its caller was cancelled."
    ]
