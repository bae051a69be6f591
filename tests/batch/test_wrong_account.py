"""An empty account, another account's key, a host that is not the vendor: said at once, and nothing paid is lost."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import httpx
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    BackgroundBatch,
    BatchLimits,
    ConfigurationError,
    ExportRequest,
    InsufficientCreditsError,
    ItemState,
    RetryPolicy,
)
from hitpaw_async._core.itemstate import Accepted, Intended, Item, Reserved, advance
from hitpaw_async._core.protocol.messages import NOBODYS_JOB
from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.run import submission
from hitpaw_async.batch.scheduler import BatchScheduler
from hitpaw_async.simulator import Simulator
from hitpaw_async.testing import HitPawSimulator, virtual_backend
from tests.batch.laboratory import BASE_URL, HALF_A_MINUTE, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async import BatchEvent, Outcome

pytestmark = pytest.mark.anyio

ONE_BY_ONE = BatchLimits(jobs_in_flight=1, submissions=1)
DONE, SKIPPED, SUBMITTED = ItemState.DONE, ItemState.SKIPPED, ItemState.SUBMITTED

in_virtual_time = pytest.mark.parametrize(
    "anyio_backend", [virtual_backend(name) for name in ("asyncio", "trio")], ids=lambda pair: pair[0]
)


async def test_a_video_dearer_than_what_is_left_holds_only_those_back_that_cost_as_much() -> None:
    videos = (video("dear", resolution="7680x4320"), video("a"), video("asdear", resolution="7680x4320"), video("b"))
    async with laboratory(credits=3) as lab, lab.hitpaw.batch(limits=ONE_BY_ONE) as batch:
        outcomes = await outcomes_of(batch, *videos)
    assert [outcomes[name].state for name in ("dear", "a", "asdear", "b")] == [SKIPPED, DONE, SKIPPED, DONE]
    assert isinstance(outcomes["asdear"].error, InsufficientCreditsError)
    assert lab.charged == {"a": 1, "b": 1}
    assert lab.simulator.exports_received == 3


async def test_an_account_that_refuses_cheaper_and_cheaper_videos_is_not_asked_a_fourth_time() -> None:
    videos = [video(size, resolution=size) for size in ("7680x4320", "3840x2160", "1920x1080", "1280x720")]
    async with laboratory(credits=0) as lab, lab.hitpaw.batch(limits=ONE_BY_ONE) as batch:
        outcomes = await outcomes_of(batch, *videos)
    assert {outcome.state for outcome in outcomes.values()} == {SKIPPED}
    assert lab.simulator.exports_received == 3
    assert lab.charged == {}


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (404, "text/html", b"<html><h1>Not Found</h1></html>"),
        (200, "text/html", b"<html>This domain is for sale</html>"),
        (404, "application/json", b'{"error": "no such route"}'),
        (200, "application/json", b"[]"),
    ],
    ids=["404 page", "parked domain", "another API", "another service"],
)
async def test_a_host_that_is_not_the_vendor_gets_no_export(status: int, content_type: str, body: bytes) -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(status, content=body, headers={"content-type": content_type})

    retry = RetryPolicy(backoff_first_s=0.001, backoff_max_s=0.002)
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
        AsyncHitPaw(api_key="key", base_url=BASE_URL, http_client=http_client, retry=retry) as hitpaw,
        hitpaw.batch() as batch,
    ):
        with pytest.raises(ConfigurationError, match="HITPAW_API_BASE_URL"):
            await outcomes_of(batch, *(video(number) for number in range(6)))
        statistics = batch.statistics()
    assert not [path for path in paths if path.endswith("/export")]
    assert (statistics.uncertain, statistics.credits_spent) == (0, 0)


PAGE = (404, "text/html", b"<html><h1>Not Found</h1></html>")


@attrs.define
class Gateway:
    """Answers in the vendor's place while `is_strange`; paid jobs' questions come through, as those of old pods may."""

    simulator: Simulator
    is_strange: bool = True
    first_questions: list[float] = attrs.field(factory=list)
    was_asked_often: anyio.Event = attrs.field(factory=anyio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"] if scope["type"] == "http" else b""
        if NOBODYS_JOB.encode() in body:
            self.first_questions.append(anyio.current_time())
            if len(self.first_questions) == 6:
                self.was_asked_often.set()
            if self.is_strange:
                status, kind, page = PAGE
                headers = [(b"content-type", kind.encode())]
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": page})
                return

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.simulator.app(scope, again, send)


@asynccontextmanager
async def behind_a_gateway() -> AsyncIterator[tuple[Gateway, AsyncHitPaw]]:
    simulator = Simulator(speed=1000.0, sources=lambda _: HALF_A_MINUTE, seed=1)
    gateway = Gateway(simulator)
    retry = RetryPolicy(backoff_first_s=0.001, backoff_max_s=0.002, attempts_max=2)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(gateway)) as http_client,
        AsyncHitPaw(api_key="key", base_url=BASE_URL, http_client=http_client, retry=retry) as hitpaw,
    ):
        yield gateway, hitpaw


async def test_a_service_waits_until_a_gateway_lets_the_vendor_answer(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Outcome] = []
    done, stopped = anyio.Event(), anyio.Event()

    async def take(outcome: Outcome) -> None:
        seen.append(outcome)
        if outcome.state is DONE:
            done.set()

    def look(event: BatchEvent) -> None:
        if event.kind is EventKind.STOPPED and "does not answer as HitPaw" in (event.detail or ""):
            stopped.set()

    async with behind_a_gateway() as (gateway, hitpaw):
        batch = hitpaw.batch(on_event=look)
        async with BackgroundBatch(batch, retry_after_s=0.2, on_outcome=take) as jobs:
            with anyio.fail_after(20):
                key = await jobs.submit(video("a"))
                await stopped.wait()
                await gateway.was_asked_often.wait()
                assert jobs.failure is None, "it goes on"
                assert gateway.simulator.exports_received == 0
                gateway.is_strange = False
                await done.wait()
                outcome = await jobs.status(key)
        assert outcome is not None
        assert outcome.state is DONE
        assert len(gateway.simulator.ledger) == 1
    assert "It is asked again after a pause." in caplog.text
    pauses = [after - before for before, after in pairwise(gateway.first_questions[::2])]
    assert pauses[2] > 1.4 * pauses[0], "pauses grow, but for what is left of the first"
    assert {outcome.state for outcome in seen} == {SKIPPED, DONE}


async def test_what_is_paid_for_goes_on_while_a_gateway_answers_the_first_question(tmp_path: Path) -> None:
    """A journal with a job in flight is opened by a service whose first question meets a gateway's pages."""
    done = anyio.Event()

    async def take(outcome: Outcome) -> None:
        if outcome.key == "paid" and outcome.state is DONE:
            done.set()

    async with behind_a_gateway() as (gateway, hitpaw):
        job = await hitpaw.export(video("paid"))
        store = MemoryStore()
        queued = Item(key="paid", request=video("paid", key="paid"), queued_at=0.0)
        store.add(advance(advance(advance(queued, Reserved(1)), Intended()), Accepted(job.job_id, 0.0)))
        batch = BatchScheduler(hitpaw._session, journal=store, budget=None, limits=BatchLimits(), output=None)
        async with BackgroundBatch(batch, retry_after_s=30, on_outcome=take) as jobs:
            with anyio.fail_after(20):
                await jobs.submit(video("new"))
                await done.wait()
            assert jobs.failure is None
        assert len(gateway.simulator.ledger) == 1


async def test_a_host_that_stays_strange_is_said_to_be_the_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "STRANGE_HOST_MAX_S", 0.2)
    async with behind_a_gateway() as (gateway, hitpaw):
        batch = hitpaw.batch()
        async with BackgroundBatch(batch, retry_after_s=0.05) as jobs:
            with anyio.fail_after(20), batch.events() as events:
                await jobs.submit(video("a"))
                async for event in events:
                    if event.kind is EventKind.ENDED:
                        break
            assert (event.detail or "").startswith("ConfigurationError")
        assert len(gateway.first_questions) > 2
        assert gateway.simulator.exports_received == 0


def paid_elsewhere(name: str) -> Item:
    """An item whose job this vendor's account does not know."""
    request: ExportRequest = video(name, key=name)
    queued = Item(key=name, request=request, queued_at=0)
    return advance(advance(advance(queued, Reserved(1)), Intended()), Accepted(f"job-of-{name}", 0.0))


@in_virtual_time
async def test_a_key_that_knows_none_of_the_paid_jobs_ends_the_run_and_loses_none() -> None:
    store = MemoryStore()
    for name in ("a", "b", "c", "d"):
        store.add(paid_elsewhere(name))
    with HitPawSimulator() as simulated:
        async with AsyncHitPaw() as hitpaw, hitpaw.batch(journal=store) as batch:
            with pytest.raises(ConfigurationError, match="another account"):
                await outcomes_of(batch)
        assert simulated.vendor.exports_received == 0
    assert [store.get(name).state for name in "abcd"] == [SUBMITTED] * 4  # type: ignore[union-attr]
