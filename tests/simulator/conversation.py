"""What the simulator's tests say to it: short words for its calls, and a clock that is set by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import hitpaw_async.simulator
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.models import VideoFacts
from hitpaw_async.simulator import FaultRule, FaultScript, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ORIGIN = "http://simulator"
URL = "https://videos.example/clip.mp4?signature=secret"
FACTS = VideoFacts(
    duration_s=20.0, frame_rate=Fraction(25), width=640, height=360, size_bytes=1_000_000, container="mp4"
)
SAMPLE = Path(hitpaw_async.simulator.__file__).parent / "samples" / "bbb_360p_5s.mp4"


class ManualClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def virtual(*rules: dict[str, Any], **settings: Any) -> Simulator:
    """A simulator with virtual sources, and faults where rules are given."""
    settings.setdefault("sources", lambda _: FACTS)
    faults = FaultScript([FaultRule(**rule) for rule in rules])
    return Simulator(faults=faults, **settings)


def client_of(simulator: Simulator) -> httpx.AsyncClient:
    """An in-process client with a key."""
    transport = httpx.ASGITransport(simulator.app)
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={"ApiKey": "key"})


def export_fields(**changes: Any) -> dict[str, Any]:
    """A good export's fields, changed; None takes a field out."""
    fields = {"video_url": URL, "model_id": 17, "resolution": [1920, 1080], "extension": ".mp4", **changes}
    return {name: value for name, value in fields.items() if value is not None}


async def export(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post(V3.export_path, json=export_fields(**changes))


async def exported(client: httpx.AsyncClient, **changes: Any) -> str:
    """The job id of an export that must be accepted."""
    response = await export(client, **changes)
    assert response.status_code == 200, response.text
    job_id = response.json()["data"]["job_id"]
    assert isinstance(job_id, str)
    return job_id


async def task(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """A task call's reply, which must be flat."""
    response = await client.post(V3.task_path, json={"job_id": job_id})
    assert response.status_code == 200, response.text
    fields = response.json()
    assert isinstance(fields, dict)
    return fields


async def result_url(simulator: Simulator, client: httpx.AsyncClient, clock: ManualClock, **changes: Any) -> str:
    """The URL of a finished job's result."""
    job_id = await exported(client, **changes)
    clock.now_s += 10_000
    fields = await task(client, job_id)
    assert fields["status"] == "COMPLETED", (fields, simulator)
    return str(fields["res_url"])


def transport_to(app: Callable[..., Awaitable[None]]) -> httpx.AsyncClient:
    """A client by which a simulator reaches another application in-process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app))
