"""The same fixture in the strict modes, where each test says who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
import trio
import trio.testing
from studio import enhance_one

from hitpaw_async import AsyncHitPaw, InsufficientCreditsError
from hitpaw_async.testing import HitPawSimulator, virtual_backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async.testing import V3Routes

URL = "https://videos.example/holiday.mp4"


@pytest.mark.asyncio
async def test_pytest_asyncio(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.job_duration_s = 7200
    assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("turn", [1, 2])
async def test_a_loop_that_several_tests_share(hitpaw_simulator: HitPawSimulator, tmp_path: Path, turn: int) -> None:
    hitpaw_simulator.vendor.job_duration_s = 7200
    assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"


@pytest.mark.anyio
async def test_anyio_on_both_backends(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.job_duration_s = 7200
    assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"


class TestWithAnAsyncFixture:
    """It starts the event loop before the test does: trio has to be told of the clock by `anyio_backend`."""

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
        return virtual_backend(request.param)

    @pytest.fixture
    async def hitpaw(self, hitpaw_simulator: HitPawSimulator) -> AsyncIterator[AsyncHitPaw]:
        async with AsyncHitPaw() as hitpaw:
            yield hitpaw

    @pytest.mark.anyio
    async def test_anyio(self, hitpaw: AsyncHitPaw, hitpaw_simulator: HitPawSimulator) -> None:
        hitpaw_simulator.vendor.job_duration_s = 7200
        began_s = anyio.current_time()
        await hitpaw.enhance(URL, model=17, resolution="1280x720")
        assert anyio.current_time() - began_s > 7200


def test_trio_itself(hitpaw_simulator: HitPawSimulator, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.job_duration_s = 7200
    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(enhance_one, URL, tmp_path, clock=clock) == "Here it is: enhanced.mp4"


@pytest.mark.anyio
async def test_respx_routes(hitpaw_routes: V3Routes, tmp_path: Path) -> None:
    assert await enhance_one(URL, tmp_path) == "Here it is: enhanced.mp4"
    assert hitpaw_routes.export.call_count == hitpaw_routes.result.call_count == 1
    hitpaw_routes.export.respond(402, json={"code": 501002, "message": "The coins for this APIKEY is not enough"})
    with pytest.raises(InsufficientCreditsError):
        await enhance_one(URL, tmp_path)
