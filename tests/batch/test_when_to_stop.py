"""Failures in a row, and the ends of what would otherwise go on for ever: nothing is sent too often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    BackgroundBatch,
    BatchLimits,
    EventKind,
    ItemState,
    JobFailedError,
    JobTimeoutError,
    PollPolicy,
    RetryPolicy,
)
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.testing import HitPawSimulator, virtual_backend
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ONE_BY_ONE = BatchLimits(jobs_in_flight=1, submissions=1)
DONE, FAILED, REJECTED = ItemState.DONE, ItemState.FAILED, ItemState.REJECTED
SKIPPED, SUBMITTED, UNCERTAIN = ItemState.SKIPPED, ItemState.SUBMITTED, ItemState.UNCERTAIN

in_virtual_time = pytest.mark.parametrize(
    "anyio_backend", [virtual_backend(name) for name in ("asyncio", "trio")], ids=lambda pair: pair[0]
)


async def test_five_exports_in_a_row_without_an_answer_are_enough() -> None:
    async with laboratory({"call": "export", "do": "garbage"}) as lab, lab.hitpaw.batch(limits=ONE_BY_ONE) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(9)))
    assert [outcomes[str(number)].state for number in range(9)] == [UNCERTAIN] * 5 + [SKIPPED] * 4
    assert lab.simulator.exports_received == 5


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"do": "delay", "delay_s": 0}, DONE),
        ({"do": "reply", "status": 400, "body": {"code": 501016, "message": "no video"}}, REJECTED),
    ],
    ids=["accepted", "refused"],
)
async def test_failures_on_both_sides_of_an_answer_are_not_in_a_row(answer: dict[str, Any], state: ItemState) -> None:
    lost = {"call": "export", "nth": [1, 2, 3, 4, 6, 7, 8, 9], "do": "garbage"}
    async with laboratory(lost, {"call": "export", "nth": 5, **answer}) as lab:
        async with lab.hitpaw.batch(limits=ONE_BY_ONE) as batch:
            outcomes = await outcomes_of(batch, *(video(number) for number in range(10)))
    states = [outcomes[str(number)].state for number in range(10)]
    assert states == [UNCERTAIN] * 4 + [state] + [UNCERTAIN] * 4 + [DONE]


async def test_after_a_stop_the_first_failure_stops_it_again() -> None:
    """A service tries again by itself; while the vendor is out of reach that costs one export a pause, not five."""
    uncertain_at_stops: list[int] = []
    async with laboratory({"call": "export", "do": "garbage"}) as lab:
        batch = lab.hitpaw.batch(limits=ONE_BY_ONE)
        async with BackgroundBatch(batch, retry_after_s=0.05) as jobs:
            events = batch.events()
            for number in range(9):
                await jobs.submit(video(number))
            with anyio.fail_after(20):
                async for event in events:
                    if event.kind is EventKind.STOPPED:
                        uncertain_at_stops.append(lab.simulator.exports_received)
                    if len(uncertain_at_stops) == 3:
                        break
    assert uncertain_at_stops == [5, 6, 7]


async def test_a_webhook_of_the_callers_own_is_sent_as_it_is() -> None:
    posted: list[str] = []

    def receive(request: httpx.Request) -> httpx.Response:
        posted.append(str(request.url))
        return httpx.Response(204)

    own, policy = "http://hooks.test/mine", WebhookPolicy(base_url="http://hooks.test/batch", wait_s=5)
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(receive)) as http_client,
        laboratory(http_client=http_client) as lab,
        lab.simulator,
        lab.hitpaw.batch(webhooks=policy) as batch,
    ):
        outcomes = await outcomes_of(batch, video("mine", web_hook_url=own), video("batchs"))
        with anyio.fail_after(5):
            while len(posted) < 2:  # noqa: ASYNC110 (what is waited for is the vendor's)
                await anyio.sleep(0.001)
    assert {outcome.state for outcome in outcomes.values()} == {DONE}
    assert own in posted
    assert len({url for url in posted if url.startswith(f"{policy.base_url}/")}) == 1


@in_virtual_time
async def test_a_job_is_left_when_its_time_is_up_and_not_at_the_poll_after_it() -> None:
    with HitPawSimulator() as simulated:
        simulated.vendor.job_duration_s = 7200
        poll = PollPolicy(interval_min_s=1, jitter=0)
        async with AsyncHitPaw(poll=poll) as hitpaw, hitpaw.batch(limits=BatchLimits(job_timeout_s=100)) as batch:
            began_at = anyio.current_time()
            outcomes = await outcomes_of(batch, video("slow"))
            took_s = anyio.current_time() - began_at
    assert outcomes["slow"].state is SUBMITTED
    assert isinstance(outcomes["slow"].error, JobTimeoutError)
    assert 100 <= took_s < 101


@in_virtual_time
async def test_a_job_is_not_asked_for_before_the_vendor_said_so() -> None:
    with HitPawSimulator() as simulated:
        simulated.vendor.job_duration_s = 3
        simulated.vendor.fail_next("task", "rate-limit", retry_after_s=250)
        async with AsyncHitPaw(retry=RetryPolicy(attempts_max=1)) as hitpaw, hitpaw.batch() as batch:
            began_at = anyio.current_time()
            outcomes = await outcomes_of(batch, video("a"))
            took_s = anyio.current_time() - began_at
    assert outcomes["a"].state is DONE
    assert 250 <= took_s < 270


async def test_a_job_that_fails_while_its_result_is_fetched_ends(tmp_path: Path) -> None:
    refused = {"call": "result", "do": "reply", "status": 403}
    failed = {"call": "task", "nth": list(range(2, 99)), "do": "reply", "status": 200, "body": {"status": "ERROR"}}
    async with laboratory(refused, failed) as lab:
        lab.simulator.vendor.job_duration_s = 0
        async with lab.hitpaw.batch(output=tmp_path) as batch:
            with anyio.fail_after(20):
                outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is FAILED
    assert isinstance(outcomes["a"].error, JobFailedError)
    assert lab.charged == {"a": 1}
