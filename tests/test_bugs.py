"""A bug says that it is one, wherever it is planted: nothing is decided by it, and nothing is paid or lost for it."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    BatchLimits,
    InternalError,
    ItemState,
    JobFailedError,
    MediaError,
    PlanAction,
    RetryPolicy,
    SubmissionUnknownError,
    TransportError,
    VideoFacts,
)
from hitpaw_async._core.protocol.dialect import Dialect
from hitpaw_async._errors import internal_error, is_bug
from hitpaw_async._session import Session
from hitpaw_async._transport import connections as lanes
from hitpaw_async.batch.run import run
from hitpaw_async.media import _pictures, _reading, probe, probe_file, take_picture
from hitpaw_async.simulator import Simulator, serve
from hitpaw_async.simulator.clips import SAMPLE
from hitpaw_async.simulator.upscale import upscale
from tests.batch.laboratory import HALF_A_MINUTE, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

BUGS = [
    TypeError("open() got an unexpected keyword argument"),
    AttributeError("'NoneType' object has no attribute 'width'"),
    NameError("name 'tick' is not defined"),
    UnboundLocalError("cannot access local variable"),
    AssertionError("cannot be"),
    KeyError("origin"),
    IndexError("list index out of range"),
]
SAYS = r"This is a bug in hitpaw-async .*nothing was decided by it.*[Rr]eport it"
each_bug = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)


def raising(error: Exception) -> Callable[..., Any]:
    def planted(*_: object, **__: object) -> Any:
        raise copy.copy(error)  # Each time a traceback of its own.

    return planted


@pytest.fixture
async def _time_limit() -> AsyncIterator[None]:
    with anyio.fail_after(30):
        yield


@each_bug
def test_a_bug_is_told_from_what_the_world_does(bug: Exception) -> None:
    assert is_bug(bug)
    for other in (
        OSError(),
        ValueError(),
        UnicodeDecodeError("utf-8", b"", 0, 1, "no"),
        RuntimeError(),
        MediaError(""),
    ):
        assert not is_bug(other)


def test_what_another_library_derives_from_such_a_class_is_its_own_affair() -> None:
    class NoSuchDecoderError(KeyError):
        pass

    assert not is_bug(NoSuchDecoderError())


def test_it_says_where_and_shows_no_value() -> None:
    try:
        probe_file(object())  # type: ignore[arg-type]
    except TypeError as error:
        made = internal_error(ExceptionGroup("", [error]))

    assert isinstance(made, InternalError)
    assert (made.kind, made.__context__, made.__cause__) == ("TypeError", None, None)
    assert made.place.startswith("hitpaw_async.media._probe, line ")
    assert "object at" not in str(made)


@each_bug
@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_no_file_is_called_damaged_for_it(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "video_stream", raising(bug))
    monkeypatch.setattr(_pictures, "video_stream", raising(bug))

    for read in (lambda: probe(SAMPLE), lambda: take_picture(SAMPLE, at_s=1)):
        with pytest.raises(InternalError, match=SAYS) as caught:
            await read()
        assert caught.value.kind == type(bug).__name__
        assert "damaged" not in str(caught.value)


@each_bug
def test_no_path_is_called_damaged_for_it(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "video_stream", raising(bug))

    with pytest.raises(InternalError, match=SAYS):
        probe_file(SAMPLE)


def test_a_damaged_file_is_still_called_so(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(SAMPLE.read_bytes()[:20_000])

    with pytest.raises(MediaError, match="truncated"):
        probe_file(damaged)


def test_no_source_is_called_unplayable_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitpaw_async.simulator.upscale._encodable", raising(BUGS[0]))

    with pytest.raises(InternalError, match=SAYS):
        upscale(SAMPLE, tmp_path / "out.mp4", ".mp4", video(1).resolution, should_stop=lambda: False)


@each_bug
@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_a_batch_skips_what_it_could_not_probe_and_takes_it_up_again(
    bug: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "library.db"
    request = video("a", facts=None)
    async with laboratory() as lab:
        monkeypatch.setattr(Session, "probe", raising(internal_error(bug)))
        async with lab.hitpaw.batch(journal=journal, probe=True) as batch:
            plan = await batch.plan([request])
            outcome = (await outcomes_of(batch, request))["a"]
        assert [item.action for item in plan.items] == [PlanAction.SKIP]
        assert (outcome.state, type(outcome.error)) == (ItemState.SKIPPED, InternalError)
        assert lab.charged == {}

        async def read(*_: object) -> VideoFacts:
            return HALF_A_MINUTE

        monkeypatch.setattr(Session, "probe", read)
        async with lab.hitpaw.batch(journal=journal, probe=True) as batch:
            assert (await outcomes_of(batch, request))["a"].state is ItemState.DONE
        assert lab.charged == {"a": 1}


@each_bug
@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_no_network_is_blamed_for_it_and_nothing_is_sent_for_it_twice(
    bug: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("uvicorn runs on asyncio")
    caplog.set_level(logging.INFO, "hitpaw_async")
    simulator = Simulator(credits=1000, sources=lambda url: HALF_A_MINUTE)
    async with serve(simulator, port=0) as base_url, AsyncHitPaw(base_url=base_url, api_key="key") as hitpaw:
        job = await hitpaw.export(video("a"))
        monkeypatch.setattr(lanes, "_open", raising(bug))
        monkeypatch.setattr(lanes.ConnectionStack, "_last_used", raising(bug))
        for call in (lambda: hitpaw.task(job.job_id), lambda: hitpaw.export(video("b"))):
            with pytest.raises(InternalError, match=SAYS) as caught:
                await call()
            assert "network and" not in str(caught.value)
            assert caught.value.__context__ is None
    assert "Trying again" not in caplog.text
    assert simulator.charges_by_url() == {video("a").video_url: 1}


@each_bug
@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_an_export_that_left_stays_uncertain(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dialect, "decode_export", raising(bug))
    async with laboratory() as lab:
        with pytest.raises(SubmissionUnknownError, match="bug in hitpaw-async"):
            await lab.hitpaw.export(video("a"))
        async with lab.hitpaw.batch() as batch:
            assert (await outcomes_of(batch, video("b")))["b"].state is ItemState.UNCERTAIN
    assert lab.charged == {"a": 1, "b": 1}


@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
@pytest.mark.parametrize("place", ["task", "download"])
async def test_no_job_that_was_paid_for_is_given_up_for_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, output = tmp_path / "library.db", tmp_path / "out"
    output.mkdir()
    states = {"task": ItemState.SUBMITTED, "download": ItemState.FETCHING}
    async with laboratory() as lab:
        with monkeypatch.context() as planted:
            if place == "task":
                planted.setattr(Dialect, "decode_task", raising(BUGS[0]))
            else:
                planted.setattr("hitpaw_async.download.transfer._each_chunk", raising(BUGS[0]))
            async with lab.hitpaw.batch(journal=journal, output=output, limits=BatchLimits()) as batch:
                outcome = (await outcomes_of(batch, video("a")))["a"]
        assert (outcome.state, type(outcome.error)) == (states[place], InternalError)
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            assert (await outcomes_of(batch, video("a")))["a"].state is ItemState.DONE
    assert lab.charged == {"a": 1}


@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_a_bug_in_a_batch_reaches_the_reader_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.Run, "_handle", raising(BUGS[5]))
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        with pytest.raises(InternalError, match=SAYS):
            await outcomes_of(batch, video("a"))
    assert lab.charged == {}


@pytest.mark.anyio
@pytest.mark.usefixtures("_time_limit")
async def test_a_callers_own_client_is_named_as_such() -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(raising(KeyError("mine"))))
    once = RetryPolicy(attempts_max=1)
    async with (
        client,
        AsyncHitPaw(api_key="key", base_url="http://vendor.test", http_client=client, retry=once) as mine,
    ):
        with pytest.raises(TransportError, match="http_client that was given failed with KeyError"):
            await mine.task("job")


@pytest.mark.anyio
async def test_a_bug_of_the_simulated_vendors_is_told_by_its_log_and_at_its_end(
    anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("uvicorn runs on asyncio")
    monkeypatch.setattr("hitpaw_async.simulator.upscale._encodable", raising(BUGS[0]))
    simulator = Simulator(speed=1000.0, files=SAMPLE.parent)

    async def enhance() -> None:
        async with serve(simulator, port=0) as base_url, AsyncHitPaw(base_url=base_url, api_key="key") as hitpaw:
            with pytest.raises(JobFailedError):
                await hitpaw.enhance(f"{base_url}/files/{SAMPLE.name}", model=17, resolution="1280x720")

    with pytest.raises(InternalError, match=SAYS):
        await enhance()
    assert "meets a bug, and ends in ERROR. It says nothing of the video." in caplog.text


@pytest.mark.anyio
async def test_a_bug_while_a_simulated_source_is_read_is_no_refusal(
    anyio_backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("uvicorn runs on asyncio")
    monkeypatch.setattr("hitpaw_async.media._reading.recognize", raising(BUGS[0]))
    simulator = Simulator(speed=1000.0, files=SAMPLE.parent)
    async with serve(simulator, port=0) as base_url, AsyncHitPaw(base_url=base_url, api_key="key") as hitpaw:
        with pytest.raises(SubmissionUnknownError):
            await hitpaw.export(f"{base_url}/files/{SAMPLE.name}", model=17, resolution="1280x720")
    assert not simulator.ledger
