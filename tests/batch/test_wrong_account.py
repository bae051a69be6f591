"""An empty account, another account's key, a host that is not the vendor: said at once, and nothing paid is lost."""

from __future__ import annotations

import httpx
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    BatchLimits,
    ConfigurationError,
    ExportRequest,
    InsufficientCreditsError,
    ItemState,
    RetryPolicy,
)
from hitpaw_async._core.itemstate import Accepted, Intended, Item, Reserved, advance
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.testing import HitPawSimulator, virtual_backend
from tests.batch.laboratory import BASE_URL, laboratory, outcomes_of, video

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
