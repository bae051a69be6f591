"""Real services in processes of their own, terminated and killed in the middle: `services` has the large edition."""

from __future__ import annotations

import pytest

from tests.integrations.services import SERVICES, exercise

VIDEOS = 12


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.anyio
@pytest.mark.slow
async def test_a_service_that_is_terminated_and_killed_pays_once_for_each_video(name: str) -> None:
    findings = await exercise(name, videos=VIDEOS)
    assert findings.done == findings.results == len(findings.charges) == VIDEOS
    assert set(findings.charges.values()) == {1}
    assert findings.forged > 0
    assert findings.snapshots >= 3, "one for each time that the reader connected"
    assert min(lag["samples"] for lag in findings.lags) > 0
