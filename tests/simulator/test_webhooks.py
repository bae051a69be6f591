"""Webhooks: sent when a job is final, tried again, given up, and never a reason to fail."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.simulator.conversation import client_of, exported, task, transport_to, virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

HOOK = "http://hooks.example/finished?token=secret"


class Receiver:
    """An application that takes webhooks, and answers with the statuses it was given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.arrived = anyio.Event()

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        body, has_more = b"", True
        while has_more:
            message = await receive()
            body += message["body"]
            has_more = message["more_body"]
        self.received.append(json.loads(body))
        self.paths.append(scope["path"])
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            raise ConnectionResetError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        if status == 200:
            self.arrived.set()


async def test_a_completed_job_is_told_with_what_the_task_call_says() -> None:
    receiver = Receiver()
    async with transport_to(receiver) as outward:
        simulator = virtual(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            job_id = await exported(client, web_hook_url=HOOK)
            with anyio.fail_after(5):
                await receiver.arrived.wait()
            assert receiver.received == [await task(client, job_id)]
    assert receiver.received[0]["status"] == "COMPLETED"
    assert receiver.received[0]["res_url"].startswith("http://simulator/results/")
    assert receiver.paths == ["/finished"]


async def test_a_failed_job_is_told_without_a_result() -> None:
    receiver = Receiver()
    async with transport_to(receiver) as outward:
        simulator = virtual(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            job_id = await exported(client, web_hook_url=HOOK, video_url="https://videos.example/vendor-error.mp4")
            with anyio.fail_after(5):
                await receiver.arrived.wait()
    assert receiver.received == [{"job_id": job_id, "status": "ERROR", "res_url": ""}]


@pytest.mark.parametrize("statuses", [(500,), (302, 404), (0, 503)])
async def test_a_webhook_that_is_not_taken_is_sent_again(statuses: tuple[int, ...]) -> None:
    receiver = Receiver(*statuses)
    async with transport_to(receiver) as outward:
        simulator = virtual(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            await exported(client, web_hook_url=HOOK)
            with anyio.fail_after(5):
                await receiver.arrived.wait()
    assert len(receiver.received) == len(statuses) + 1


async def test_a_webhook_is_given_up_after_three_attempts_and_the_log_keeps_its_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "hitpaw_async")
    receiver = Receiver(*[500] * 10)
    async with transport_to(receiver) as outward:
        simulator = virtual(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            job_id = await exported(client, web_hook_url=HOOK)
            with anyio.fail_after(5):
                while "given up" not in caplog.text:  # noqa: ASYNC110 (a log has no event)
                    await anyio.sleep(0.001)
            assert (await task(client, job_id))["status"] == "COMPLETED"
    assert len(receiver.received) == 3
    own = [record.getMessage() for record in caplog.records if record.name.startswith("hitpaw_async")]
    assert any("hooks.example/finished" in line for line in own)
    assert not any("secret" in line for line in own)


async def test_closing_the_simulator_does_not_wait_for_webhooks() -> None:
    receiver = Receiver()
    async with transport_to(receiver) as outward:
        simulator = virtual(http_client=outward)
        with anyio.fail_after(5):
            async with simulator, client_of(simulator) as client:
                await exported(client, web_hook_url=HOOK)
    assert receiver.received == []
    assert len(simulator.ledger) == 1
