"""What becomes of a call at every stage at which it can fail. The server counts the exports that it could charge."""

from __future__ import annotations

import gc
import itertools
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._vendor.calls import VendorCalls
from hitpaw_async._vendor.credentials import ApiKey
from hitpaw_async.models import Job, JobStatus
from hitpaw_async.policies import RetryPolicy
from tests.client.callers import API_KEY, ONE_ATTEMPT, QUICK_RETRY, REQUEST, Notebook, calls_to
from tests.client.fault_server import (
    ACCEPTING,
    JOB_ID,
    PREMATURE,
    RESULT_URL,
    Fault,
    FaultServer,
    by_name,
    deadline_s,
    unused_port,
)
from tests.client.flaky_network import Break, FlakyNetwork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

ENOUGH_S = 8.0
COMPLETED = Job(job_id=JOB_ID, status=JobStatus.COMPLETED, status_text="COMPLETED", res_url=RESULT_URL)
SOUND = [Fault.NONE, Fault.NONE_CHUNKED, Fault.NONE_GZIPPED, Fault.NONE_AFTER_EARLY_HINTS, Fault.NONE_THEN_FIN]


async def export_to(
    server: FaultServer, notebook: Notebook, *, timeout_s: float = 5.0, **settings: Any
) -> Job | errors.HitPawError:
    """One export's answer or the exception that escapes, in bounded time."""
    async with calls_to(server.url, timeout_s=timeout_s, **settings) as calls:
        with anyio.fail_after(ENOUGH_S):
            try:
                return await calls.export(REQUEST, observer=notebook)
            except errors.HitPawError as error:
                return error


def stands_alone(error: BaseException) -> bool:
    """Nothing foreign hangs on it: that could hold the request, and the request holds the key."""
    return error.__cause__ is None and error.__context__ is None


@by_name(SOUND)
async def test_an_export_is_sent_once_and_accepted(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault) as server:
        assert await export_to(server, notebook) == Job(job_id=JOB_ID)
    assert notebook.entries == ["sending", "accepted"]
    assert notebook.job == Job(job_id=JOB_ID)
    [export] = server.exports
    assert export.path == "/api/v3/video-enhancer/export"
    assert export.body == V3.encode_export(REQUEST).body
    assert export.headers["apikey"] == API_KEY
    assert export.headers["content-type"] == "application/json"


@by_name(ACCEPTING)
async def test_an_export_that_may_have_been_accepted_is_never_sent_again(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault, Fault.NONE) as server:
        error = await export_to(server, notebook, timeout_s=deadline_s(fault))
    assert isinstance(error, errors.SubmissionUnknownError)
    assert error.request is REQUEST
    assert stands_alone(error)
    assert (len(server.exports), server.connections) == (1, 1)
    assert notebook.entries == ["sending"]


@by_name(PREMATURE)
async def test_an_export_that_was_not_read_is_sent_again_only_if_its_body_never_left(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault, Fault.NONE) as server:
        answer = await export_to(server, notebook, timeout_s=deadline_s(fault))
    if isinstance(answer, errors.SubmissionUnknownError):
        assert (len(server.exports), server.connections) == (0, 1)
        assert notebook.entries == ["sending"]
    else:
        assert answer == Job(job_id=JOB_ID)
        assert len(server.exports) == 1
        assert notebook.entries in (["sending", "accepted"], ["sending", "not accepted", "sending", "accepted"])


@pytest.mark.parametrize(
    ("breaks", "entries"),
    [
        ([Break.CONNECT], ["sending", "accepted"]),
        ([Break.CONNECT_TIMEOUT, Break.CONNECT], ["sending", "accepted"]),
        ([Break.WRITE_HEADERS], ["sending", "not accepted", "sending", "accepted"]),
        ([Break.WRITE_HEADERS_TIMEOUT], ["sending", "not accepted", "sending", "accepted"]),
        ([Break.CONNECT, Break.WRITE_HEADERS], ["sending", "not accepted", "sending", "accepted"]),
        ([Break.WRITE_HEADERS, Break.CONNECT], ["sending", "not accepted", "sending", "accepted"]),
    ],
)
async def test_an_export_whose_body_never_left_is_sent_again_on_a_fresh_connection(
    breaks: list[Break], entries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    FlakyNetwork(breaks, monkeypatch)
    notebook = Notebook()
    with FaultServer() as server:
        assert await export_to(server, notebook) == Job(job_id=JOB_ID)
    assert len(server.exports) == 1
    assert notebook.entries == entries


@pytest.mark.parametrize("breaks", [Break.WRITE_BODY, Break.READ], ids=lambda breaks: breaks.name)
async def test_an_export_whose_body_began_to_leave_is_never_sent_again(
    breaks: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = FlakyNetwork([breaks], monkeypatch)
    notebook = Notebook()
    with FaultServer() as server:
        assert isinstance(await export_to(server, notebook), errors.SubmissionUnknownError)
    assert network.connects == 1
    assert notebook.entries == ["sending"]


@pytest.mark.parametrize("breaks", [Break.CONNECT, Break.WRITE_HEADERS], ids=lambda breaks: breaks.name)
async def test_an_export_that_cannot_be_sent_ends_as_certainly_not_accepted(
    breaks: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    FlakyNetwork(itertools.repeat(breaks), monkeypatch)
    notebook = Notebook()
    with FaultServer() as server:
        error = await export_to(server, notebook)
    assert isinstance(error, errors.TransportError)
    assert stands_alone(error)
    assert server.exports == []
    attempts = 0 if breaks is Break.CONNECT else QUICK_RETRY.attempts_max
    assert notebook.entries == ["sending", "not accepted"] * attempts


async def test_a_refused_connection_is_certainly_not_accepted() -> None:
    notebook = Notebook()
    async with calls_to(f"http://127.0.0.1:{unused_port()}") as calls:
        with pytest.raises(errors.TransportError, match="No connection") as caught:
            await calls.export(REQUEST, observer=notebook)
    assert stands_alone(caught.value)
    assert notebook.entries == []


@by_name([Fault.GARBAGE_ON_ACCEPT, Fault.FIN_ON_ACCEPT, Fault.RESET_ON_ACCEPT, Fault.HANG_WITHOUT_READING])
async def test_a_tls_handshake_that_fails_is_certainly_not_accepted(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault) as server:
        async with calls_to(server.url.replace("http:", "https:"), timeout_s=deadline_s(fault)) as calls:
            with pytest.raises(errors.TransportError) as caught:
                await calls.export(REQUEST, observer=notebook)
    assert stands_alone(caught.value)
    assert server.connections <= QUICK_RETRY.attempts_max
    assert notebook.entries == []
    gc.collect()


REFUSALS = {
    Fault.BAD_KEY: errors.AuthenticationError,
    Fault.NO_CREDITS: errors.InsufficientCreditsError,
    Fault.BAD_URL: errors.InvalidVideoURLError,
}


@by_name(REFUSALS)
async def test_a_refused_export_is_not_sent_again(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault, Fault.NONE) as server:
        error = await export_to(server, notebook)
    assert isinstance(error, errors.APIError)
    assert type(error) is REFUSALS[fault]
    assert stands_alone(error)
    assert len(server.exports) == 1
    assert notebook.entries == ["sending", "not accepted"]


@by_name(REFUSALS)
async def test_a_refused_question_is_not_asked_again(fault: Fault) -> None:
    with FaultServer(fault, Fault.NONE) as server:
        async with calls_to(server.url) as calls:
            with pytest.raises(REFUSALS[fault]) as caught:
                await calls.task(JOB_ID)
    assert stands_alone(caught.value)
    assert len(server.received) == 1


@by_name([Fault.RATE_LIMIT, Fault.GATEWAY_429])
async def test_an_export_that_met_a_rate_limit_is_sent_again(fault: Fault) -> None:
    notebook = Notebook()
    with FaultServer(fault, fault, Fault.NONE) as server:
        assert await export_to(server, notebook) == Job(job_id=JOB_ID)
    assert len(server.exports) == 3
    assert notebook.entries == [*["sending", "not accepted"] * 2, "sending", "accepted"]


@by_name([*ACCEPTING, *PREMATURE, Fault.RATE_LIMIT, Fault.GATEWAY_429])
async def test_a_question_is_asked_again_whatever_went_wrong(fault: Fault) -> None:
    with FaultServer(fault, Fault.NONE) as server:
        async with calls_to(server.url, timeout_s=deadline_s(fault)) as calls:
            with anyio.fail_after(ENOUGH_S):
                assert await calls.task(JOB_ID) == COMPLETED
    assert server.connections <= 2
    assert server.received[-1].path == "/api/v3/video-enhancer-api/task"
    assert server.received[-1].body == b'{"job_id":"%s"}' % JOB_ID.encode()


@by_name([Fault.FIN, Fault.HANG, Fault.HTML, Fault.GATEWAY_502, Fault.RATE_LIMIT])
async def test_a_question_is_not_asked_for_ever(fault: Fault) -> None:
    with FaultServer(fault) as server:
        async with calls_to(server.url, timeout_s=0.05 if fault is Fault.HANG else 5) as calls:
            with pytest.raises(errors.HitPawError) as caught:
                await calls.task(JOB_ID)
    assert stands_alone(caught.value)
    assert len(server.received) == QUICK_RETRY.attempts_max


async def test_a_redirect_is_not_followed_and_the_key_stays_at_home() -> None:
    notebook = Notebook()
    with FaultServer() as elsewhere:
        there = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/api/v3/video-enhancer/export"
        with FaultServer(Fault.REDIRECT, redirect_to=there) as server:
            error = await export_to(server, notebook)
            async with calls_to(server.url) as calls:
                with pytest.raises(errors.ConfigurationError):
                    await calls.task(JOB_ID)
    assert isinstance(error, errors.ConfigurationError)
    assert stands_alone(error)
    assert elsewhere.connections == 0
    assert len(server.received) == 2
    assert notebook.entries == ["sending", "not accepted"]


async def test_the_intent_is_written_when_the_connection_stands_and_before_the_first_byte() -> None:
    seen: list[bytes] = []
    with FaultServer() as server:
        server.may_read.clear()

        async def look() -> None:
            assert await anyio.to_thread.run_sync(server.accepted.wait, ENOUGH_S)
            seen.append(await anyio.to_thread.run_sync(server.pending_bytes))
            server.may_read.set()

        notebook = Notebook(on_sending=look)
        assert await export_to(server, notebook) == Job(job_id=JOB_ID)
    assert seen == [b""]


async def test_nothing_is_sent_when_the_intent_cannot_be_written() -> None:
    async def fail() -> None:
        raise errors.JournalError("The disk is full. Make room.")

    notebook = Notebook(on_sending=fail)
    with FaultServer() as server:
        error = await export_to(server, notebook)
    assert isinstance(error, errors.JournalError)
    assert stands_alone(error)
    assert server.received == []
    assert notebook.entries == ["sending"]


async def test_an_intent_that_takes_longer_than_the_call_may_is_written_whole() -> None:
    written: list[bool] = []

    async def write_slowly() -> None:
        await anyio.sleep(0.2)
        written.append(True)

    notebook = Notebook(on_sending=write_slowly)
    with FaultServer() as server:
        error = await export_to(server, notebook, retry=ONE_ATTEMPT, timeout_s=0.1)
    assert isinstance(error, errors.TransportError)
    assert server.received == []
    assert written == [True]
    assert notebook.entries == ["sending", "not accepted"]


async def test_a_job_that_cannot_be_written_down_raises_what_the_journal_says() -> None:
    async def fail() -> None:
        raise errors.JournalError("The disk is full. Make room.")

    with FaultServer() as server:
        assert isinstance(await export_to(server, Notebook(on_accepted=fail)), errors.JournalError)
    assert len(server.exports) == 1


async def test_exports_use_a_fresh_connection_and_questions_a_used_one() -> None:
    with FaultServer() as server:
        async with calls_to(server.url) as calls:
            for _ in range(3):
                await calls.task(JOB_ID)
            assert server.connections == 1
            for _ in range(3):
                await calls.export(REQUEST, observer=Notebook())
            assert server.connections == 4


async def test_a_connection_that_the_server_closed_meanwhile_harms_nobody() -> None:
    with FaultServer(Fault.NONE_THEN_FIN) as server:
        async with calls_to(server.url, retry=ONE_ATTEMPT) as calls:
            for _ in range(3):
                assert await calls.task(JOB_ID) == COMPLETED
                assert await anyio.to_thread.run_sync(partial(server.endings.acquire, timeout=ENOUGH_S))
                await calls.export(REQUEST, observer=Notebook())
                assert await anyio.to_thread.run_sync(partial(server.endings.acquire, timeout=ENOUGH_S))


async def test_a_question_that_met_a_stale_connection_is_asked_again_on_a_fresh_one() -> None:
    with FaultServer(Fault.NONE, Fault.NONE, Fault.RESET, Fault.NONE) as server:
        async with calls_to(server.url, retry=QUICK_RETRY) as calls:
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(calls.task, JOB_ID)
            assert server.connections == 2
            assert await calls.task(JOB_ID) == COMPLETED
    assert server.connections == 3


async def test_questions_are_counted_without_their_retries() -> None:
    with FaultServer(Fault.GATEWAY_502, Fault.NONE) as server:
        async with calls_to(server.url) as calls:
            await calls.task(JOB_ID)
            await calls.task(JOB_ID)
            assert calls.task_calls == 2


async def test_a_batchs_webhook_goes_with_the_export() -> None:
    hook = "https://your-server.com/hook"
    with FaultServer() as server:
        async with calls_to(server.url) as calls:
            await calls.export(REQUEST, observer=Notebook(), web_hook_url=hook)
    assert hook.encode() in server.exports[0].body


@attrs.define
class ScriptedPool:
    """A pool that answers from a list, and notes when it was asked."""

    replies: list[Reply]
    asked_at: list[float] = attrs.field(factory=list)
    busy_s: list[float] = attrs.field(factory=list)
    """How long others use all of its connections, attempt by attempt."""
    answers_after_s: float = 0.0

    async def post(self, url: str, *, admission: Callable[[], Awaitable[None]] | None = None, **_: object) -> Reply:
        await anyio.sleep(self.busy_s.pop(0) if self.busy_s else 0)
        await (anyio.lowlevel.checkpoint() if admission is None else admission())
        self.asked_at.append(anyio.current_time())
        await anyio.sleep(self.answers_after_s)
        return self.replies.pop(0)


def scripted(*replies: Reply, retry: RetryPolicy = QUICK_RETRY) -> tuple[VendorCalls, ScriptedPool]:
    pool = ScriptedPool(list(replies))
    calls = VendorCalls(
        pool,  # type: ignore[arg-type]
        base_url="http://vendor.example.com",
        api_key=ApiKey(API_KEY),
        dialect=V3,
        timeout_s=1,
        retry=retry,
    )
    return calls, pool


def limited(retry_after_s: float | None) -> Reply:
    return Reply(status_code=429, body=b'{"code":429,"message":"slow down"}', retry_after_s=retry_after_s)


WAITING = Reply(status_code=200, body=b'{"status":"WAITING"}')
BUSY = Reply(status_code=503, body=b"busy")


async def test_a_rate_limit_makes_the_whole_client_wait() -> None:
    calls, pool = scripted(limited(0.2), *[WAITING] * 4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(calls.task, JOB_ID)
        while not pool.asked_at:
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.02)
        for _ in range(3):
            tasks.start_soon(calls.task, JOB_ID)
    first, *others = pool.asked_at
    assert len(others) == 4
    assert min(others) - first >= 0.2


async def test_callers_that_wait_for_a_connection_see_a_pause_that_begins_meanwhile() -> None:
    with FaultServer(Fault.RATE_LIMIT, Fault.NONE, retry_after="1") as server:
        server.may_answer.clear()
        async with calls_to(server.url, max_connections=1) as calls, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(calls.task, JOB_ID)
            assert await anyio.to_thread.run_sync(server.arrived.wait, ENOUGH_S)
            server.may_answer.set()
            await anyio.sleep(0.5)
            assert len(server.received) == 1
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("retry_after_s", [None, 301.0])
async def test_a_rate_limit_that_asks_too_much_ends_the_call(retry_after_s: float | None) -> None:
    calls, pool = scripted(limited(retry_after_s), WAITING, retry=RetryPolicy(time_max_s=0, backoff_first_s=1))
    with pytest.raises(errors.RateLimitError) as caught:
        await calls.task(JOB_ID)
    assert caught.value.retry_after_s == retry_after_s
    assert len(pool.asked_at) == 1


@pytest.mark.parametrize(("time_max_s", "is_enough"), [(0.05, False), (60.0, True)])
async def test_retries_end_when_their_time_is_up_however_many_are_left(*, time_max_s: float, is_enough: bool) -> None:
    retry = RetryPolicy(attempts_max=4, time_max_s=time_max_s, backoff_first_s=0)
    calls, pool = scripted(*[BUSY] * 9, retry=retry)
    pool.answers_after_s = 0.04
    with pytest.raises(errors.ServerError):
        await calls.task(JOB_ID)
    assert (len(pool.asked_at) == 4) is is_enough


async def test_neither_a_pause_nor_a_wait_for_a_connection_uses_up_the_time_for_retries() -> None:
    retry = RetryPolicy(time_max_s=0.2, backoff_first_s=0)
    calls, pool = scripted(limited(0.3), BUSY, BUSY, WAITING, retry=retry)
    pool.busy_s = [0.3, 0, 0.3]
    job = await calls.task(JOB_ID)
    assert job.status is JobStatus.WAITING
    assert len(pool.asked_at) == 4


async def test_a_pause_that_others_wait_through_with_all_connections_uses_up_no_time_for_retries() -> None:
    limits, failures = [Fault.RATE_LIMIT] * 2, [Fault.GATEWAY_502] * 2
    retry = RetryPolicy(time_max_s=0.5, backoff_first_s=0)
    jobs: list[Job] = []
    with FaultServer(*limits, *failures, Fault.NONE, retry_after="1") as server:
        async with calls_to(server.url, max_connections=1, retry=retry) as calls:

            async def ask() -> None:
                jobs.append(await calls.task(JOB_ID))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                tasks.start_soon(ask)
    assert jobs == [COMPLETED, COMPLETED]
    assert len(server.received) == 6


async def test_all_calls_of_a_client_share_one_retry_budget() -> None:
    retry = RetryPolicy(attempts_max=100, backoff_first_s=0, budget_tokens=5, budget_refill=0)
    calls, pool = scripted(*[BUSY] * 100, retry=retry)
    for _ in range(3):
        with pytest.raises(errors.ServerError):
            await calls.task(JOB_ID)
    assert len(pool.asked_at) == 5 + 3


async def test_successes_refill_the_retry_budget() -> None:
    retry = RetryPolicy(backoff_first_s=0, budget_tokens=1, budget_refill=0.5)
    calls, pool = scripted(BUSY, WAITING, BUSY, WAITING, WAITING, BUSY, WAITING, retry=retry)
    await calls.task(JOB_ID)
    with pytest.raises(errors.ServerError):
        await calls.task(JOB_ID)
    await calls.task(JOB_ID)
    await calls.task(JOB_ID)
    await calls.task(JOB_ID)
    assert len(pool.asked_at) == 7


async def test_retries_are_told_to_the_librarys_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    calls, _ = scripted(BUSY, WAITING)
    with caplog.at_level(logging.INFO, "hitpaw_async"):
        await calls.task(JOB_ID)
    [record] = caplog.records
    assert record.name == "hitpaw_async"
    assert "attempt 1" in record.message
    assert API_KEY not in record.message


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel", "tab\tbed", "nul\x00", "\ud800"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="HITPAW_API_KEY") as caught:
        ApiKey(key)
    assert key not in str(caught.value) or not key.strip()


def test_a_key_is_stripped_and_hides_itself() -> None:
    key = ApiKey(f" {API_KEY}\n")
    assert key.reveal() == API_KEY
    assert API_KEY not in f"{key!r} {key} {[key]}"
