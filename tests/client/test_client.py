"""`AsyncHitPaw` as users see it: settings, the single calls, waiting, and that the key is nowhere to be seen."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx
import pytest
import respx

from hitpaw_async import (
    AsyncHitPaw,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ExportRequest,
    HitPawError,
    InsufficientCreditsError,
    InvalidRequestError,
    InvalidVideoURLError,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobStatus,
    JobTimeoutError,
    RateLimitError,
    Resolution,
    SubmissionUnknownError,
    TransportError,
    VideoFacts,
    VideoModel,
    estimate,
)
from tests.client.callers import API_KEY, ONE_ATTEMPT, QUICK_POLL, REQUEST, a_client
from tests.client.fault_server import ACCEPTING, JOB_ID, RESULT_URL, Fault, FaultServer, deadline_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

pytestmark = pytest.mark.anyio

VENDOR = "http://vendor.example.com"
VIDEO = "https://example.com/video.mp4"
FIELDS: dict[str, Any] = {"model": 17, "resolution": (1920, 1080)}
ACCEPTED = {"code": 200, "message": "Success", "data": {"job_id": JOB_ID}}
SECRETS = (API_KEY, "s1gn4ture")


def answer(body: object, status_code: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status_code, json=body, headers=headers)


def status(text: str, **fields: str) -> httpx.Response:
    return answer({"code": 200, "data": {"job_id": JOB_ID, "status": text, **fields}})


COMPLETED = status("COMPLETED", res_url=RESULT_URL)


class Vendor:
    """The vendor's two routes, mocked."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.export = router.post(f"{VENDOR}/api/v3/video-enhancer/export", name="export")
        self.task = router.post(f"{VENDOR}/api/v3/video-enhancer-api/task", name="task")
        self.export.respond(json=ACCEPTED)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with respx.mock(assert_all_called=False) as router:
        yield Vendor(router)


@pytest.fixture
async def hitpaw() -> AsyncIterator[AsyncHitPaw]:
    async with a_client(VENDOR) as client:
        yield client


def test_the_signatures_are_those_of_the_contract() -> None:
    def names(function: Callable[..., object]) -> list[str]:
        return [name for name in inspect.signature(function).parameters if name != "self"]

    settings = ["api_key", "base_url", "timeout", "max_connections", "retry", "poll", "http_client"]
    assert names(AsyncHitPaw)[: len(settings)] == settings
    assert names(AsyncHitPaw.export)[:5] == ["video_url", "model", "resolution", "extension", "web_hook_url"]
    assert names(AsyncHitPaw.task) == ["job_id"]
    assert names(AsyncHitPaw.watch) == ["job_id"]
    assert names(AsyncHitPaw.wait) == ["job_id", "timeout_s"]
    assert names(AsyncHitPaw.download) == ["job_or_url", "target", "overwrite"]


def test_the_key_and_the_host_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITPAW_API_KEY", f" {API_KEY}\n")
    assert AsyncHitPaw().base_url == "https://api.hitpaw.com"
    monkeypatch.setenv("HITPAW_API_BASE_URL", "http://127.0.0.1:8787/")
    assert AsyncHitPaw().base_url == "http://127.0.0.1:8787"
    assert AsyncHitPaw(base_url="https://example.com/prefix/").base_url == "https://example.com/prefix"


async def test_a_given_key_wins_over_the_environments(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITPAW_API_KEY", "of-the-environment")
    async with a_client(VENDOR, api_key="given") as hitpaw:
        await hitpaw.export(REQUEST)
    assert vendor.export.calls.last.request.headers["ApiKey"] == "given"


@pytest.mark.parametrize("key", [None, "", "two words"])
def test_without_a_usable_key_it_says_where_to_put_it(key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="HITPAW_API_KEY"):
        AsyncHitPaw(api_key=key)


@pytest.mark.parametrize(
    "url",
    [
        "api.hitpaw.com",
        "ftp://api.hitpaw.com",
        "https://",
        "https://user:s1gn4ture@api.hitpaw.com",
        "https://:s1gn4ture@api.hitpaw.com",
        "https://api.hitpaw.com?key=s1gn4ture",
        "https://api.hitpaw.com?",
        "https://api.hitpaw.com#s1gn4ture",
        "https://api.hitpaw.com:port",
        "https://api.hitpaw.com:0",
        "https://[::1",
        "https://api hitpaw.com",
        "https://api.hitpaw.com/\x00",
    ],
)
def test_an_unusable_host_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="HITPAW_API_BASE_URL") as caught:
        AsyncHitPaw(api_key=API_KEY, base_url=url)
    assert "s1gn4ture" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"timeout": value} for value in (0, -1, float("inf"), float("nan"), True, "30", None)]
    + [{"max_connections": value} for value in (0, -1, 10_001, 1.5, True, "10", None)]
    + [{"api_key": value} for value in (7, b"key", "")]
    + [{"base_url": value} for value in (7, b"https://api.hitpaw.com")]
    + [{name: 7} for name in ("retry", "poll", "download", "proxy", "http_client")],
    ids=repr,
)
def test_a_setting_that_is_not_usable_is_refused(settings: dict[str, Any]) -> None:
    [name] = settings
    with pytest.raises(ConfigurationError, match="API key" if name == "api_key" else name):
        AsyncHitPaw(**{"api_key": API_KEY, **settings})


async def test_an_export_is_one_call(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    hook = "https://your-server.com/webhook"
    job = await hitpaw.export(VIDEO, **FIELDS, extension=".mov", web_hook_url=hook)
    assert job == Job(job_id=JOB_ID)
    [call] = vendor.export.calls
    assert call.request.content == (
        b'{"video_url":"https://example.com/video.mp4","extension":".mov","resolution":[1920,1080],"model_id":17,'
        b'"web_hook_url":"https://your-server.com/webhook"}'
    )
    assert call.request.headers["ApiKey"] == API_KEY
    assert call.request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("model", [VideoModel.GENERAL_DENOISE_BALANCE, 17, "general-denoise-balance"])
@pytest.mark.parametrize("resolution", [Resolution.FULL_HD, (1920, 1080), [1920, 1080], "1920x1080"])
async def test_models_and_resolutions_may_be_spelt_in_many_ways(
    model: Any, resolution: Any, vendor: Vendor, hitpaw: AsyncHitPaw
) -> None:
    await hitpaw.export(VIDEO, model=model, resolution=resolution)
    await hitpaw.export(ExportRequest(VIDEO, model=model, resolution=resolution))
    first, second = (call.request.content for call in vendor.export.calls)
    assert first == second
    assert first.endswith(b'"resolution":[1920,1080],"model_id":17}')


@pytest.mark.parametrize(
    ("video", "fields"),
    [
        (VIDEO, {"model": 17}),
        (VIDEO, {"resolution": (1920, 1080)}),
        (VIDEO, {"model": 99, "resolution": (1920, 1080)}),
        (VIDEO, {"model": True, "resolution": (1920, 1080)}),
        (VIDEO, {"model": 17, "resolution": "huge"}),
        (VIDEO, {"model": 17, "resolution": (100, 100)}),
        (VIDEO, {**FIELDS, "extension": "mp4"}),
        (VIDEO, {**FIELDS, "model_name": "x", "original_resolution": (640, 360)}),
        (VIDEO, {**FIELDS, "web_hook_url": "nowhere"}),
        ("not a URL", FIELDS),
        (17, FIELDS),
        (REQUEST, {"model": 17}),
        (REQUEST, {"extension": ".mov"}),
        (REQUEST, {"resolution": (1920, 1080), "extension": ".mp4"}),
    ],
)
async def test_a_request_that_breaks_a_rule_is_not_sent(
    video: Any, fields: dict[str, Any], vendor: Vendor, hitpaw: AsyncHitPaw
) -> None:
    with pytest.raises(InvalidRequestError):
        await hitpaw.export(video, **fields)
    assert not vendor.export.called


async def test_a_whole_request_may_come_with_nothing_beside_it(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    await hitpaw.export(REQUEST, extension=None)  # type: ignore[arg-type]
    assert vendor.export.call_count == 1


ANSWERS: list[tuple[httpx.Response | Exception, type[HitPawError], int]] = [
    (answer({"code": 501001, "message": "no"}, 401), AuthenticationError, 1),
    (answer({"code": 501002, "message": "no"}, 402), InsufficientCreditsError, 1),
    (answer({"code": 501016, "message": "no"}, 400), InvalidVideoURLError, 1),
    (answer({"code": 501017, "message": "no"}, 400), BadRequestError, 1),
    (answer({"code": 404, "message": "no Route matched"}, 404), SubmissionUnknownError, 1),
    (answer({"code": 403, "message": "no"}, 403), SubmissionUnknownError, 1),
    (answer({"code": 429, "message": "no"}, 429, **{"retry-after": "0"}), RateLimitError, 3),
    (answer({"code": 429, "message": "no"}, 429, **{"retry-after": "3600"}), RateLimitError, 1),
    (answer({"code": 500, "message": "no"}, 500), SubmissionUnknownError, 1),
    (answer({"code": 200, "data": {}}), SubmissionUnknownError, 1),
    (httpx.Response(307, headers={"location": "http://elsewhere.example.com"}), ConfigurationError, 1),
    (httpx.ReadTimeout("no"), SubmissionUnknownError, 1),
    (httpx.RemoteProtocolError("no"), SubmissionUnknownError, 1),
    (httpx.ConnectError("no"), TransportError, 3),
]


@pytest.mark.parametrize(("reply", "kind", "calls"), ANSWERS)
async def test_what_an_export_raises_and_how_often_it_was_sent(
    reply: Any, kind: type[HitPawError], calls: int, vendor: Vendor, hitpaw: AsyncHitPaw
) -> None:
    vendor.export.mock(side_effect=[reply] * calls)
    with pytest.raises(HitPawError) as caught:
        await hitpaw.export(REQUEST)
    assert type(caught.value) is kind
    assert vendor.export.call_count == calls


async def test_an_export_that_found_nobody_home_is_sent_when_somebody_is(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.export.mock(side_effect=[httpx.ConnectError("no"), httpx.ConnectTimeout("no"), answer(ACCEPTED)])
    assert (await hitpaw.export(REQUEST)).job_id == JOB_ID


async def test_an_unknown_submission_has_its_request(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.export.mock(side_effect=httpx.ReadError("no"))
    with pytest.raises(SubmissionUnknownError) as caught:
        await hitpaw.export(REQUEST)
    assert caught.value.request == REQUEST


async def test_a_task_is_one_call(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(return_value=COMPLETED)
    job = await hitpaw.task(JOB_ID)
    assert job == Job(job_id=JOB_ID, status=JobStatus.COMPLETED, status_text="COMPLETED", res_url=RESULT_URL)
    [call] = vendor.task.calls
    assert call.request.content == b'{"job_id":"%s"}' % JOB_ID.encode()


async def test_a_task_of_no_job_id_is_not_sent(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    with pytest.raises(InvalidRequestError):
        await hitpaw.task("")
    assert not vendor.task.called


async def test_watching_tells_each_change_of_status_once(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    texts = ["WAITING", "WAITING", "CONVERTING", "PAUSED", "PAUSED", "THROTTLED", "CONVERTING"]
    vendor.task.mock(side_effect=[*map(status, texts), COMPLETED])
    seen = [job async for job in hitpaw.watch(JOB_ID)]
    assert [job.status_text for job in seen] == [
        "WAITING", "CONVERTING", "PAUSED", "THROTTLED", "CONVERTING", "COMPLETED",
    ]  # fmt: skip
    assert [job.status for job in seen][2:4] == [JobStatus.UNRECOGNIZED] * 2
    assert seen[-1].res_url == RESULT_URL


async def test_watching_ends_with_an_error_as_well(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), status("ERROR"), status("ERROR")])
    assert [job.status.is_final async for job in hitpaw.watch(Job(job_id=JOB_ID))] == [False, True]


async def test_one_error_before_the_result_is_no_failure(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), status("ERROR"), status("CONVERTING"), status("NSFW"), COMPLETED])
    assert [job.status_text async for job in hitpaw.watch(JOB_ID)] == ["WAITING", "CONVERTING", "COMPLETED"]


async def test_watching_may_stop_early(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(return_value=status("WAITING"))
    watching = hitpaw.watch(JOB_ID)
    assert (await anext(watching)).status is JobStatus.WAITING
    await watching.aclose()  # type: ignore[attr-defined]
    assert vendor.task.call_count == 1


TROUBLES: dict[str, httpx.Response | Exception] = {
    "no network": httpx.ConnectError("no"),
    "no answer": httpx.ReadTimeout("no"),
    "bad gateway": httpx.Response(502, html="<h1>no</h1>"),
    "the vendor's error": answer({"code": 500, "message": "no"}, 500),
    "a captive portal": httpx.Response(200, html="<h1>Sign in</h1>"),
    "a gateway's 403": httpx.Response(403, html="<h1>no</h1>"),
    "a gateway's 404": httpx.Response(404, html="<h1>no</h1>"),
    "a gateway's JSON with 404": answer({"code": 404, "message": "no Route matched"}, 404),
    "a gateway's JSON with 403": answer({"code": 403, "message": "no"}, 403),
    "a code nobody knows": answer({"code": 777, "message": "no"}),
    "an empty account": answer({"code": 501002, "message": "no"}, 402),
    "a job that is not known yet": answer({"code": 110400002, "message": "The task does not exist"}, 400),
    "a rate limit for centuries": answer({"code": 429, "message": "no"}, 429, **{"retry-after": "9999999999"}),
    "a rate limit": answer({"code": 429, "message": "no"}, 429, **{"retry-after": "0"}),
    "another job": answer({"job_id": "another", "status": "COMPLETED", "res_url": RESULT_URL}),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_an_outage_longer_than_all_retries_is_waited_out(
    trouble: Any, vendor: Vendor, hitpaw: AsyncHitPaw, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), *[trouble] * 10, COMPLETED])
    with anyio.fail_after(5), caplog.at_level(logging.WARNING, "hitpaw_async"):
        job = await hitpaw.wait(JOB_ID)
    assert job.status is JobStatus.COMPLETED
    assert vendor.task.call_count == 12
    assert {f"job {JOB_ID}:" in record.getMessage() for record in caplog.records} == {True}


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer({"code": 501001, "message": "no"}, 401), AuthenticationError),
        (httpx.Response(401, html="no"), AuthenticationError),
        (answer({"code": 501404, "message": "no"}, 404), JobNotFoundError),
        (answer({"code": 110400002, "message": "no"}, 400), JobNotFoundError),
        (answer({"code": 501099, "message": "no"}, 400), BadRequestError),
        (httpx.Response(301, headers={"location": "/"}), ConfigurationError),
    ],
)
async def test_a_question_that_is_wrong_is_not_asked_for_ever(
    reply: httpx.Response, kind: type[HitPawError], vendor: Vendor, hitpaw: AsyncHitPaw
) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), *[reply] * 9999])
    with anyio.fail_after(5), pytest.raises(kind):
        await hitpaw.wait(JOB_ID)


@pytest.mark.parametrize("job", [JOB_ID, Job(job_id=JOB_ID)])
async def test_waiting_ends_with_the_completed_job(job: str | Job, vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), status("CONVERTING"), COMPLETED])
    assert (await hitpaw.wait(job)).res_url == RESULT_URL


async def test_waiting_for_a_job_that_fails_raises_with_the_job(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), status("ERROR"), status("ERROR")])
    with pytest.raises(JobFailedError) as caught:
        await hitpaw.wait(JOB_ID)
    assert caught.value.job == Job(job_id=JOB_ID, status=JobStatus.ERROR, status_text="ERROR")


async def test_waiting_too_long_raises_with_the_job_as_last_seen(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(return_value=status("CONVERTING"))
    with pytest.raises(TimeoutError) as caught:
        await hitpaw.wait(JOB_ID, timeout_s=0.05)
    assert isinstance(caught.value, JobTimeoutError)
    assert caught.value.job.status is JobStatus.CONVERTING
    assert caught.value.timeout_s == 0.05


@pytest.mark.parametrize("timeout_s", [0, 0.05])
async def test_waiting_in_vain_knows_at_least_the_job_id(timeout_s: float) -> None:
    with FaultServer(Fault.HANG) as server:
        async with a_client(server.url) as hitpaw:
            with pytest.raises(JobTimeoutError, match="last status: none") as caught:
                await hitpaw.wait(JOB_ID, timeout_s=timeout_s)
    assert caught.value.job == Job(job_id=JOB_ID)


@pytest.mark.parametrize("timeout_s", ["60", True, -1, float("nan")])
async def test_a_wait_that_cannot_be_is_refused_before_anything_is_paid(
    vendor: Vendor, hitpaw: AsyncHitPaw, timeout_s: Any
) -> None:
    for call in (hitpaw.enhance(REQUEST, timeout_s=timeout_s), hitpaw.wait(JOB_ID, timeout_s=timeout_s)):
        with pytest.raises(ConfigurationError, match="timeout_s must be a number from 0 to inf"):
            await call
    assert not vendor.export.called


async def test_enhancing_submits_and_waits(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.task.mock(side_effect=[status("WAITING"), COMPLETED])
    assert (await hitpaw.enhance(VIDEO, **FIELDS, timeout_s=5)).res_url == RESULT_URL
    assert (vendor.export.call_count, vendor.task.call_count) == (1, 2)


@pytest.mark.parametrize(
    ("replies", "timeout_s", "kind"),
    [
        ([status("ERROR"), status("ERROR")], None, JobFailedError),
        ([answer({"code": 501001, "message": "no"}, 401)], None, AuthenticationError),
        ([status("WAITING")] * 10_000, 0.05, JobTimeoutError),
    ],
)
async def test_what_fails_after_the_submission_carries_a_note_with_the_job_id(
    replies: list[httpx.Response],
    timeout_s: float | None,
    kind: type[HitPawError],
    vendor: Vendor,
    hitpaw: AsyncHitPaw,
) -> None:
    vendor.task.mock(side_effect=replies)
    with pytest.raises(kind) as caught:
        await hitpaw.enhance(REQUEST, timeout_s=timeout_s)
    assert [note for note in caught.value.__notes__ if JOB_ID in note and "do not submit it again" in note]
    assert vendor.export.call_count == 1


async def test_what_fails_before_the_submission_carries_no_note(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    vendor.export.mock(return_value=answer({"code": 501002, "message": "no"}, 402))
    with pytest.raises(InsufficientCreditsError) as caught:
        await hitpaw.enhance(REQUEST)
    assert not hasattr(caught.value, "__notes__")
    assert not vendor.task.called


async def test_a_quote_costs_no_call(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    known = VideoFacts(duration_s=61, frame_rate=30, width=1280, height=720)
    assert hitpaw.estimate(REQUEST, facts=known) == estimate(REQUEST, facts=known)
    assert hitpaw.estimate(REQUEST, facts=known).upper == 4
    assert not vendor.export.called


async def test_a_callers_client_is_used_and_not_closed() -> None:
    seen: list[tuple[str, str]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["ApiKey"]))
        return answer(ACCEPTED) if request.url.path.endswith("/export") else status("WAITING")

    async with httpx.AsyncClient(transport=httpx.MockTransport(reply)) as mine:
        async with a_client(VENDOR, http_client=mine) as hitpaw:
            await hitpaw.export(REQUEST)
            await hitpaw.task(JOB_ID)
        assert not mine.is_closed
        with pytest.raises(ConfigurationError, match="closed"):
            await hitpaw.task(JOB_ID)
    assert [key for _, key in seen] == [API_KEY, API_KEY]
    assert seen[0][0] == f"{VENDOR}/api/v3/video-enhancer/export"


async def test_a_closed_client_says_so_and_sends_nothing(vendor: Vendor, hitpaw: AsyncHitPaw) -> None:
    await hitpaw.aclose()
    for call in (hitpaw.export(REQUEST), hitpaw.task(JOB_ID), hitpaw.wait(JOB_ID)):
        with pytest.raises(ConfigurationError, match="async with"):
            await call
    assert not vendor.export.called
    assert not vendor.task.called


async def test_closing_a_client_closes_its_connections() -> None:
    with FaultServer() as server:
        async with a_client(server.url) as hitpaw:
            await hitpaw.task(JOB_ID)
            assert not server.ended.is_set()
        assert await anyio.to_thread.run_sync(server.ended.wait, 5)


def everything_shown(error: BaseException) -> str:
    """Every text that a log, a crash report or another process could get of an exception and all that hangs on it."""
    parts: list[str] = []
    left: list[BaseException | None] = [error]
    while left:
        current = left.pop()
        if current is not None:
            left += [current.__cause__, current.__context__]
            parts += [str(current), repr(current), repr(current.args), repr(vars(current))]
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts += report.format()
    parts.append(pickle.dumps(error).decode("latin-1"))
    return "\n".join(parts)


async def raised_by(call: Awaitable[object]) -> HitPawError:
    with pytest.raises(HitPawError) as caught:
        await call
    return caught.value


SHOWN_FAULTS = [*sorted(ACCEPTING, key=lambda fault: fault.value), Fault.RATE_LIMIT, Fault.BAD_KEY, Fault.REDIRECT]


@pytest.mark.parametrize("fault", SHOWN_FAULTS, ids=lambda fault: fault.name)
async def test_the_key_is_nowhere_in_what_an_error_shows(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"timeout": deadline_s(fault), "retry": ONE_ATTEMPT}
    with FaultServer(fault, redirect_to=RESULT_URL) as server, caplog.at_level(logging.DEBUG):
        async with a_client(server.url, **settings) as hitpaw:
            for call in (hitpaw.export(REQUEST), hitpaw.task(JOB_ID)):
                error = await raised_by(call)
                assert API_KEY not in everything_shown(error)
                assert "s1gn4ture" not in str(error)
    own = [record.getMessage() for record in caplog.records if record.name.startswith("hitpaw_async")]
    assert not [text for text in own for secret in SECRETS if secret in text]


async def test_the_key_and_signatures_are_nowhere_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    """The engine's own loggers tell addresses, reply headers and a caller's requests; never the key."""
    with FaultServer(Fault.GATEWAY_502, Fault.NONE) as server, caplog.at_level(logging.DEBUG):
        async with a_client(server.url) as hitpaw:
            await hitpaw.task(JOB_ID)
            await hitpaw.enhance(REQUEST)
        async with httpx.AsyncClient() as mine, a_client(server.url, http_client=mine) as hitpaw:
            await hitpaw.enhance(REQUEST)
    names = {record.name.split(".")[0] for record in caplog.records}
    assert {"hitpaw_async", httpcore.__name__, httpx.__name__} <= names
    for record in caplog.records:
        assert API_KEY not in f"{record.getMessage()} {record.args}"
        assert "s1gn4ture" not in record.getMessage()


async def test_the_clients_own_requests_are_not_logged_by_httpx(caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer() as server, caplog.at_level(logging.DEBUG):
        async with a_client(server.url) as hitpaw:
            await hitpaw.export(REQUEST)
    assert httpx.__name__ not in {record.name for record in caplog.records}


async def test_a_client_shows_its_key_to_nobody(hitpaw: AsyncHitPaw) -> None:
    assert repr(hitpaw) == f"AsyncHitPaw(base_url='{VENDOR}')"
    for part in (hitpaw, hitpaw._session.calls, hitpaw._session.fetch_pool):
        assert API_KEY not in f"{part} {vars(part)}"
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(hitpaw._session.calls._api_key)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="key"):
            copied(hitpaw)


@pytest.mark.slow
async def test_two_thousand_callers_at_once_share_ten_connections() -> None:
    with FaultServer() as server:
        async with a_client(server.url, max_connections=10, timeout=5, retry=ONE_ATTEMPT, poll=QUICK_POLL) as hitpaw:
            done: list[str] = []

            async def ask() -> None:
                done.append((await hitpaw.task(JOB_ID)).job_id)

            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(2000):
                        tasks.start_soon(ask)
    assert len(done) == len(server.received) == 2000
    assert server.busiest <= 10
