"""The same fixture with pytest-trio, whose clock has to be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from studio import enhance_one

from hitpaw_async import AsyncHitPaw, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.testing import HitPawSimulator

pytest.importorskip("pytest_trio")


@pytest.mark.trio
async def test_a_job_of_two_hours(hitpaw_simulator: HitPawSimulator, autojump_clock: object, tmp_path: Path) -> None:
    hitpaw_simulator.vendor.job_duration_s = 7200
    assert await enhance_one("https://videos.example/a.mp4", tmp_path) == "Here it is: enhanced.mp4"


@pytest.mark.trio
async def test_without_that_clock_it_says_so(hitpaw_simulator: HitPawSimulator) -> None:
    with pytest.raises(ConfigurationError, match="autojump_clock"):
        AsyncHitPaw()
