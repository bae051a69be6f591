"""The scripted vendor: what a test tells it, and what it tells the test."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async import (
    APIError,
    AsyncHitPaw,
    ConfigurationError,
    DownloadError,
    ExportRequest,
    InsufficientCreditsError,
    InvalidVideoURLError,
    ItemState,
    JobFailedError,
    JobStatus,
    RetryPolicy,
    SubmissionUnknownError,
    TransportError,
    VideoFacts,
)
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.simulator import FaultAction, FaultCall, FaultRule
from hitpaw_async.testing import HitPawSimulator
from hitpaw_async.webhooks import WebhookReceiver
from tests.batch.laboratory import names_in

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

URL = "https://videos.example/a.mp4"
ASKED: dict[str, Any] = {"model": 17, "resolution": "1280x720"}


async def test_it_tells_charges_and_jobs(hitpaw_simulator: HitPawSimulator) -> None:
    vendor = hitpaw_simulator.vendor
    vendor.job_duration_s = lambda request: 100.0 if request.video_url == URL else 5.0
    job = await hitpaw_simulator.client.enhance(URL, **ASKED)
    other = await hitpaw_simulator.client.export("https://videos.example/b.mp4", **ASKED)
    assert [seen.job_id for seen in vendor.jobs] == [job.job_id, other.job_id]
    assert [seen.duration_s for seen in vendor.jobs] == [100.0, 5.0]
    assert vendor.jobs[0].request.video_url == URL
    assert vendor.charges_by_url()[URL] == 1
    assert vendor.credits_left == 10_000 - 2
    assert vendor.exports_received == 2
    assert vendor.polls_received > 0
    assert repr(vendor) == "ScriptedVendor(2 charges, 9998 credits left)"


async def test_the_next_calls_fail_in_the_order_that_was_asked_for(hitpaw_simulator: HitPawSimulator) -> None:
    vendor, hitpaw = hitpaw_simulator.vendor, hitpaw_simulator.client
    vendor.fail_next("export", "job-error")
    vendor.fail_next(FaultCall.EXPORT, FaultAction.DROP, when="after", times=2)
    with pytest.raises(JobFailedError):
        await hitpaw.enhance(URL, **ASKED)
    for _ in range(2):
        with pytest.raises(SubmissionUnknownError):
            await hitpaw.export(URL, **ASKED)
    assert (await hitpaw.enhance(URL, **ASKED)).status is JobStatus.COMPLETED
    assert len(vendor.charges) == 4
    assert [job.final_status for job in vendor.jobs] == [JobStatus.ERROR, *[JobStatus.COMPLETED] * 3]


async def test_a_fault_may_be_for_one_video(hitpaw_simulator: HitPawSimulator) -> None:
    hitpaw_simulator.vendor.fail_next("export", "reply", url="b.mp4", status=502)
    await hitpaw_simulator.client.export(URL, **ASKED)
    with pytest.raises(SubmissionUnknownError):
        await hitpaw_simulator.client.export("https://videos.example/b.mp4", **ASKED)
    assert hitpaw_simulator.vendor.charges_by_url() == {URL: 1}


async def test_a_pause_that_the_vendor_asks_for_passes_at_once(hitpaw_simulator: HitPawSimulator) -> None:
    hitpaw_simulator.vendor.fail_next("export", "rate-limit", retry_after_s=120)
    await hitpaw_simulator.client.export(URL, **ASKED)
    hitpaw_simulator.vendor.fail_next("task", "delay", delay_s=3600)
    began_s = anyio.current_time()
    await hitpaw_simulator.client.task(hitpaw_simulator.vendor.jobs[0].job_id)
    assert 30 <= anyio.current_time() - began_s < 60
    assert len(hitpaw_simulator.vendor.charges) == 1


async def test_a_result_may_break_off_or_be_gone(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    vendor, hitpaw = hitpaw_simulator.vendor, hitpaw_simulator.client
    job = await hitpaw.enhance(URL, **ASKED)
    vendor.fail_next("result", "truncate")
    assert (await hitpaw.download(job, tmp_path / "a.mp4")).stat().st_size > 0
    vendor.script(FaultRule(call="result", do="reply", status=404))
    with pytest.raises(DownloadError):
        await hitpaw.download(job, tmp_path / "b.mp4")
    assert names_in(tmp_path) == {"a.mp4"}


async def test_videos_and_the_balance_are_the_tests(hitpaw_simulator: HitPawSimulator) -> None:
    vendor, hitpaw = hitpaw_simulator.vendor, hitpaw_simulator.client
    vendor.videos[URL] = None
    with pytest.raises(InvalidVideoURLError):
        await hitpaw.export(URL, **ASKED)
    vendor.videos[URL] = VideoFacts(duration_s=300, frame_rate=60, width=640, height=360)
    vendor.credits_left = 9
    with pytest.raises(InsufficientCreditsError):
        await hitpaw.export(URL, **ASKED)
    vendor.credits_left = 10
    await hitpaw.export(URL, **ASKED)
    assert vendor.credits_left == 0


async def test_a_vendor_out_of_reach_is_charged_nothing(hitpaw_simulator: HitPawSimulator) -> None:
    hitpaw_simulator.vendor.is_reachable = False
    with pytest.raises(TransportError):
        await hitpaw_simulator.client.export(URL, **ASKED)
    assert hitpaw_simulator.vendor.exports_received == 0


async def test_a_fault_that_makes_no_sense_is_refused(hitpaw_simulator: HitPawSimulator) -> None:
    for call, do, settings in (("export", "truncate", {}), ("task", "nonsense", {}), ("task", "drop", {"times": 0})):
        with pytest.raises(ConfigurationError):
            hitpaw_simulator.vendor.fail_next(call, do, **settings)


async def test_a_client_of_ones_own_making_reaches_it_too(hitpaw_simulator: HitPawSimulator) -> None:
    async with AsyncHitPaw(retry=RetryPolicy(attempts_max=1), timeout=3) as mine:
        await mine.export(URL, **ASKED)
    async with AsyncHitPaw(api_key="mine", http_client=hitpaw_simulator.http_client) as mine:
        await mine.export(URL, **ASKED)
    assert hitpaw_simulator.vendor.charges_by_url() == {URL: 2}
    assert not hitpaw_simulator.http_client.is_closed


async def test_webhooks_reach_the_users_service(hitpaw_simulator: HitPawSimulator) -> None:
    vendor = hitpaw_simulator.vendor
    vendor.fail_next("export", "drop", when="after")
    webhooks = WebhookPolicy(base_url="https://service.example/hooks", wait_s=600)
    async with hitpaw_simulator.client.batch(webhooks=webhooks) as batch:
        async with hitpaw_simulator.webhooks_to(WebhookReceiver(batch)):
            [outcome] = [outcome async for outcome in batch.run([ExportRequest(URL, **ASKED)])]
    assert outcome.state is ItemState.DONE
    assert vendor.charges_by_url() == {URL: 1}


async def test_nobody_listening_to_webhooks_is_no_failure(hitpaw_simulator: HitPawSimulator) -> None:
    job = await hitpaw_simulator.client.enhance(URL, web_hook_url="https://service.example/hook", **ASKED)
    assert job.status is JobStatus.COMPLETED


async def test_no_network_is_left_to_the_code_under_test(
    hitpaw_simulator: HitPawSimulator, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    job = await hitpaw_simulator.client.enhance(URL, **ASKED)
    await hitpaw_simulator.client.download(job, tmp_path / "a.mp4")
    assert os.environ["HITPAW_API_BASE_URL"].endswith(".test")
    assert "connect_tcp" not in caplog.text


def test_afterwards_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITPAW_API_KEY", "mine")
    before = AsyncHitPaw.__init__, anyio.to_thread.run_sync
    with HitPawSimulator():
        assert os.environ["HITPAW_API_KEY"] != "mine"
        assert AsyncHitPaw.__init__ is not before[0]
    assert (AsyncHitPaw.__init__, anyio.to_thread.run_sync) == before
    assert os.environ["HITPAW_API_KEY"] == "mine"
    assert "HITPAW_API_BASE_URL" not in os.environ


async def test_time_may_be_real() -> None:
    with HitPawSimulator(virtual_time=False) as simulator:
        simulator.vendor.job_duration_s = 0
        assert (await simulator.client.enhance(URL, **ASKED)).status is JobStatus.COMPLETED


async def test_a_refusal_is_the_vendors_own(hitpaw_simulator: HitPawSimulator) -> None:
    with pytest.raises(APIError) as caught:
        await hitpaw_simulator.client.task("nobody-knows-it")
    assert caught.value.is_from_vendor


async def test_a_batch_learns_from_the_vendor_what_a_source_is_and_reserves_no_more(
    hitpaw_simulator: HitPawSimulator,
) -> None:
    """As it would from the source itself; and no thread reads, so that time stays virtual."""
    hitpaw_simulator.vendor.videos = {URL: VideoFacts(duration_s=61, frame_rate=30, width=640, height=360)}
    async with AsyncHitPaw() as hitpaw, hitpaw.batch(budget=2) as batch:
        [outcome] = [o async for o in batch.run([ExportRequest(URL, model=17, resolution="1280x720")])]
    assert (outcome.state, outcome.credits) == (ItemState.DONE, 2)
    assert [charge.credits for charge in hitpaw_simulator.vendor.charges] == [2]


async def test_twenty_jobs_of_an_hour_take_under_two_seconds(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    """Of this process's own time: others may hold the machine up."""
    hitpaw_simulator.vendor.job_duration_s = 3600
    requests = [ExportRequest(f"https://videos.example/{number}.mp4", **ASKED) for number in range(20)]
    began_s = time.process_time()
    async with AsyncHitPaw() as hitpaw, hitpaw.batch(journal=tmp_path / "a.db", output=tmp_path / "out") as batch:
        states = {outcome.state async for outcome in batch.run(requests)}
        polls = batch.statistics().polls
    assert time.process_time() - began_s < 2
    assert states == {ItemState.DONE}
    assert hitpaw_simulator.vendor.polls_received == polls
    assert polls > 20 * 3600 / 15, "time passes as it would outside of a test"


async def test_a_poll_that_a_script_is_about_is_sent(hitpaw_simulator: HitPawSimulator) -> None:
    hitpaw_simulator.vendor.job_duration_s = 100
    hitpaw_simulator.vendor.fail_next("task", "reply", status=502, times=2)
    began_s = anyio.current_time()
    job = await hitpaw_simulator.client.enhance(URL, **ASKED)
    assert job.status is JobStatus.COMPLETED
    assert 100 <= anyio.current_time() - began_s < 130
    assert hitpaw_simulator.vendor.polls_received > 10
