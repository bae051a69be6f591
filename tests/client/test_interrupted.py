"""An export or a wait that is broken off: whoever did it is told what was paid for, and no secret with it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import AsyncHitPaw, BatchLimits, ConfigurationError, ExportRequest, Job, errors
from tests.client.callers import ONE_ATTEMPT, a_client
from tests.client.fault_server import JOB_ID, Fault, FaultServer
from tests.hostile.canary import API_KEY, SOURCE_URL, chain, hits, said_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

REQUEST = ExportRequest(SOURCE_URL, model=17, resolution="1280x720")
WAIT_FOR_IT = f"The video was accepted as job {JOB_ID}: wait for that job, do not submit it again."


def notes_on(error: BaseException) -> list[str]:
    return [note for each in chain(error) for note in getattr(each, "__notes__", ())]


def said_in(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


async def arrived(server: FaultServer) -> None:
    assert await anyio.to_thread.run_sync(server.arrived.wait, 5.0)


@pytest.mark.parametrize("call", ["export", "enhance"])
def test_a_timeout_around_an_export_says_the_job_that_was_paid_for(call: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> TimeoutError:
        with FaultServer() as server:
            server.may_answer.clear()
            async with a_client(server.url) as hitpaw:
                asyncio.get_running_loop().call_later(0.3, server.may_answer.set)
                with pytest.raises(TimeoutError) as caught:
                    await asyncio.wait_for(getattr(hitpaw, call)(REQUEST), 0.1)
            assert len(server.exports) == 1
            return caught.value

    assert notes_on(asyncio.run(main())) == [WAIT_FOR_IT]
    assert JOB_ID in said_in(caplog)


@pytest.mark.anyio
async def test_without_an_answer_in_the_grace_it_says_that_it_may_be_charged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FaultServer(Fault.HANG) as server:
        async with a_client(server.url, export_grace_s=0.1) as hitpaw:
            notes: list[str] = []
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def cancel() -> None:
                        await arrived(server)
                        scope.cancel()

                    tasks.start_soon(cancel)
                    try:
                        await hitpaw.enhance(REQUEST)
                    except BaseException as interruption:
                        notes = notes_on(interruption)
                        raise
    (note,) = notes
    assert "may have been accepted and charged" in note
    assert "before you submit the video again" in note
    assert note in said_in(caplog)


@pytest.mark.anyio
async def test_what_certainly_was_not_sent_is_no_payment(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer(Fault.RATE_LIMIT, retry_after="60") as server:
        async with a_client(server.url) as hitpaw:
            with anyio.move_on_after(0.5) as scope:
                await hitpaw.export(REQUEST)
    assert scope.cancelled_caught
    assert server.exports
    assert "charged" not in said_in(caplog)
    assert "accepted" not in said_in(caplog)


@pytest.mark.anyio
async def test_a_wait_that_is_broken_off_says_which_job_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer(Fault.NONE, Fault.HANG) as server:
        async with a_client(server.url) as hitpaw:
            with anyio.move_on_after(0.5) as scope:
                await hitpaw.enhance(REQUEST)
    assert scope.cancelled_caught
    assert said_in(caplog).count(WAIT_FOR_IT) == 1


@pytest.mark.parametrize("grace_s", [-1, float("nan"), float("inf"), "9", None, True])
def test_a_grace_that_cannot_be_waited_for_is_refused(grace_s: Any) -> None:
    with pytest.raises(ConfigurationError, match="export_grace_s"):
        AsyncHitPaw(api_key="k", export_grace_s=grace_s)


async def _watch(hitpaw: AsyncHitPaw, _: Path) -> None:
    async for _job in hitpaw.watch(JOB_ID):
        pass


async def _batch(hitpaw: AsyncHitPaw, folder: Path) -> None:
    limits = BatchLimits(stop_grace_s=0.05)
    async with hitpaw.batch(journal=folder / "journal.db", limits=limits) as batch:
        async for _outcome in batch.run([REQUEST]):
            pass


CALLS: dict[str, Callable[[AsyncHitPaw, Path], Awaitable[object]]] = {
    "export": lambda hitpaw, _: hitpaw.export(REQUEST),
    "enhance": lambda hitpaw, _: hitpaw.enhance(REQUEST),
    "task": lambda hitpaw, _: hitpaw.task(JOB_ID),
    "wait": lambda hitpaw, _: hitpaw.wait(JOB_ID),
    "watch": _watch,
    "result_url": lambda hitpaw, _: hitpaw._session.result_url(JOB_ID),
    "download": lambda hitpaw, folder: hitpaw.download(
        Job(job_id=JOB_ID, res_url=SOURCE_URL.replace("https://videos.example.com", hitpaw.base_url)), folder / "x.mp4"
    ),
    "probe": lambda hitpaw, _: hitpaw.probe(SOURCE_URL.replace("https://videos.example.com", hitpaw.base_url)),
    "batch": _batch,
}


def a_canary_client(server: FaultServer) -> AsyncHitPaw:
    return a_client(server.url, api_key=API_KEY, retry=ONE_ATTEMPT, export_grace_s=0.05)


async def _by_wait_for(work: Awaitable[object]) -> None:
    await asyncio.wait_for(work, 0.3)


async def _by_timeout(work: Awaitable[object]) -> None:
    async with asyncio.timeout(0.3):
        await work


async def _by_task_group(work: Awaitable[object]) -> None:
    async def late() -> None:
        await asyncio.sleep(0.3)
        raise TimeoutError

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(late())
        await work


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("way", [_by_wait_for, _by_timeout, _by_task_group])
def test_no_timeout_has_a_secret_among_the_variables_of_its_frames(
    name: str, way: Callable[[Awaitable[object]], Awaitable[None]], tmp_path: Path
) -> None:
    async def main() -> BaseException:
        with FaultServer(Fault.HANG) as server:
            async with a_canary_client(server) as hitpaw:
                with pytest.raises((TimeoutError, BaseExceptionGroup)) as caught:
                    await way(CALLS[name](hitpaw, tmp_path))
                return caught.value

    assert hits(said_by(asyncio.run(main()))) == []


@pytest.mark.anyio
@pytest.mark.parametrize("name", CALLS)
async def test_no_cancellation_has_a_secret_among_the_variables_of_its_frames(name: str, tmp_path: Path) -> None:
    said = ""
    with FaultServer(Fault.HANG) as server:
        async with a_canary_client(server) as hitpaw:
            with anyio.move_on_after(0.3) as scope:
                try:
                    await CALLS[name](hitpaw, tmp_path)
                except BaseException as cancellation:
                    said = said_by(cancellation)
                    raise
    assert scope.cancelled_caught
    assert said
    assert hits(said) == []


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["export", "task", "wait", "watch"])
async def test_not_even_a_bug_of_ours_has_a_secret_among_its_variables(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as server:
        async with a_canary_client(server) as hitpaw:

            def broken(*_: object) -> None:
                raise AssertionError("a bug")

            monkeypatch.setattr("hitpaw_async._transport.senders._httpcore_request", broken)
            with pytest.raises(errors.InternalError, match=r"_transport\.senders") as caught:
                await CALLS[name](hitpaw, tmp_path)
    assert hits(said_by(caught.value)) == []


def test_errors_of_the_vendor_keep_their_words() -> None:
    async def main() -> None:
        with FaultServer(Fault.BAD_KEY) as server:
            async with a_canary_client(server) as hitpaw:
                await hitpaw.export(REQUEST)

    with pytest.raises(errors.AuthenticationError, match="ApiKey"):
        asyncio.run(main())


@pytest.mark.anyio
@pytest.mark.parametrize("is_proxied", [False, True])
async def test_an_answer_that_came_while_the_loop_stood_still_past_the_deadline_is_taken(*, is_proxied: bool) -> None:
    with FaultServer() as server:
        server.may_answer.clear()
        settings = {"proxy": server.url} if is_proxied else {}
        async with a_client(server.url, timeout=0.5, retry=ONE_ATTEMPT, **settings) as hitpaw:
            async with anyio.create_task_group() as tasks:

                async def stand_still() -> None:
                    await arrived(server)
                    threading.Timer(0.3, server.may_answer.set).start()
                    time.sleep(1.0)  # noqa: ASYNC251 (that is the point)

                tasks.start_soon(stand_still)
                assert (await hitpaw.export(REQUEST)).job_id == JOB_ID
    assert len(server.exports) == 1
