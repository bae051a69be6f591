from __future__ import annotations

import socket
import time

import anyio
import anyio.lowlevel
import pytest

from hitpaw_async._tasks import sleep_awake, within
from tests.support.patience import soon

pytestmark = pytest.mark.anyio


def stand_still(seconds: float) -> None:
    """Hold the event loop up, as a blocking call or a stopped process does."""
    time.sleep(seconds)


async def test_what_came_while_the_loop_stood_still_past_the_deadline_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        async def read() -> bytes:
            await anyio.wait_readable(ours)
            return ours.recv(10)

        async def answer_late() -> None:
            await anyio.sleep(0.02)
            stand_still(0.5)
            theirs.send(b"job")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_late)
            assert await within(0.2, read) == b"job"


async def test_what_comes_in_the_last_piece_of_a_deadline_that_is_overslept_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        async def read() -> bytes:
            await anyio.wait_readable(ours)
            return ours.recv(10)

        async def answer_late() -> None:
            await anyio.sleep(0.35)  # of 0.4 s, in pieces of 0.1 s
            stand_still(0.6)
            theirs.send(b"job")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_late)
            assert await within(0.4, read) == b"job"


async def test_without_an_answer_the_deadline_is_kept() -> None:
    began_at = anyio.current_time()
    assert await within(0.2, anyio.sleep_forever) is None
    assert 0.2 <= anyio.current_time() - began_at < soon(2)


async def test_a_loop_that_lags_all_the_time_does_not_put_a_deadline_off_for_ever() -> None:
    async def lag() -> None:
        while True:
            stand_still(0.06)  # longer than two pieces
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lag)
            await sleep_awake(0.1)
            tasks.cancel_scope.cancel()


async def test_its_failure_comes_out_as_it_is() -> None:
    async def fail() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await within(5, fail)


async def test_cancelled_from_outside_it_is_cancelled() -> None:
    with anyio.move_on_after(0.05) as scope:
        await within(5, anyio.sleep_forever)
    assert scope.cancelled_caught
