"""The vendor's conversation as v3 describes it, in-process, with virtual sources."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.models import ExportRequest, JobStatus, VideoFacts
from hitpaw_async.simulator import Simulator, TaskReply
from tests.simulator.conversation import (
    FACTS,
    ORIGIN,
    URL,
    ManualClock,
    client_of,
    export,
    export_fields,
    exported,
    task,
    virtual,
)

pytestmark = pytest.mark.anyio


async def test_a_job_waits_converts_and_completes_as_time_passes() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock)
    async with client_of(simulator) as client:
        response = await export(client)
        assert response.status_code == 200
        envelope = response.json()
        job_id = envelope["data"]["job_id"]
        assert envelope == {"code": 200, "message": "Success", "data": {"job_id": job_id}}
        assert await task(client, job_id) == {"job_id": job_id, "status": "WAITING", "res_url": ""}
        clock.now_s += 3.0
        assert (await task(client, job_id))["status"] == "CONVERTING"
        # About 2 s and half of the 20 s, a fifth more at most.
        clock.now_s += 12 * 1.2
        fields = await task(client, job_id)
        assert fields["status"] == "COMPLETED"
        assert fields["res_url"].startswith(f"{ORIGIN}/results/{job_id}.mp4?sig=")
        assert (await client.get(fields["res_url"])).content == simulator.result_bytes


async def test_the_library_decodes_what_the_simulator_says() -> None:
    clock = ManualClock()
    for shape in TaskReply:
        async with client_of(virtual(clock=clock, task_reply=shape)) as client:
            request = ExportRequest(URL, model=17, resolution=(1920, 1080))
            call = V3.encode_export(request)
            response = await client.post(call.path, content=call.body, headers={"content-type": "application/json"})
            job = V3.decode_export(Reply(status_code=response.status_code, body=response.content))
            clock.now_s += 1000
            call = V3.encode_task(job.job_id)
            response = await client.post(call.path, content=call.body, headers={"content-type": "application/json"})
            job = V3.decode_task(Reply(status_code=response.status_code, body=response.content), job_id=job.job_id)
            assert job.status is JobStatus.COMPLETED
            assert job.res_url is not None


async def test_task_replies_are_flat_or_enveloped_as_set() -> None:
    async with client_of(virtual(task_reply="enveloped")) as client:
        job_id = await exported(client)
        fields = await task(client, job_id)
        assert fields["code"] == 200
        assert fields["data"] == {"job_id": job_id, "status": "WAITING", "res_url": ""}


async def test_speed_scales_time() -> None:
    clock = ManualClock()
    async with client_of(virtual(clock=clock, speed=1000)) as client:
        job_id = await exported(client)
        clock.now_s += 0.02
        assert (await task(client, job_id))["status"] == "COMPLETED"


async def test_the_clock_is_the_event_loops_unless_told_otherwise() -> None:
    async with client_of(virtual(speed=1e6)) as client:
        job_id = await exported(client)
        with anyio.fail_after(5):
            while (await task(client, job_id))["status"] != "COMPLETED":  # noqa: ASYNC110 (that is what polling is)
                await anyio.sleep(0.001)


REFUSALS: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
    ("no key", {}, {"key": ""}, 401, 501001),
    ("a wrong key", {"api_keys": {"right"}}, {"key": "wrong"}, 401, 501001),
    ("too few credits", {"credits": 1}, {}, 402, 501002),
    ("an unknown video", {"sources": {}}, {}, 400, 501016),
    ("no URL", {}, {"video_url": "clip.mp4"}, 400, 501016),
    ("a file URL", {}, {"video_url": "file:///etc/passwd"}, 400, 501016),
    ("half a surrogate in the URL", {}, {"video_url": "https://videos.example/\ud800"}, 400, 501016),
    ("a broken host", {}, {"video_url": "http://[::1"}, 400, 501016),
    ("a source that is too long", {"sources": lambda _: VideoFacts(duration_s=601)}, {}, 400, 501016),
    ("a source that is too large", {"sources": lambda _: VideoFacts(size_bytes=200_000_001)}, {}, 400, 501016),
    ("a source that is too small", {"sources": lambda _: VideoFacts(width=127, height=720)}, {}, 400, 501016),
    ("a source of another kind", {"sources": lambda _: VideoFacts(container="flv")}, {}, 400, 501016),
    ("a URL that is a number", {}, {"video_url": 5}, 400, 501000),
    ("an unknown model", {}, {"model_id": 16}, 400, 501000),
    ("a model that is a text", {}, {"model_id": "17"}, 400, 501000),
    ("a model that is true", {}, {"model_id": True}, 400, 501000),
    ("no model", {}, {"model_id": None}, 400, 501000),
    ("two models", {}, {"model_name": "face-soft", "original_resolution": [640, 360]}, 400, 501000),
    ("a model's name alone", {}, {"model_id": None, "model_name": "face-soft"}, 400, 501000),
    (
        "an unknown name",
        {},
        {"model_id": None, "model_name": "magic", "original_resolution": [640, 360]},
        400,
        501000,
    ),
    ("no resolution", {}, {"resolution": None}, 400, 501000),
    ("a resolution that is a text", {}, {"resolution": "1920x1080"}, 400, 501000),
    ("a resolution of floats", {}, {"resolution": [1920.0, 1080.0]}, 400, 501000),
    ("three sides", {}, {"resolution": [1, 2, 3]}, 400, 501000),
    ("a target that is too small", {}, {"resolution": [127, 1080]}, 400, 501000),
    ("a target that is too large", {}, {"resolution": [7681, 4320]}, 400, 501000),
    ("an unknown extension", {}, {"extension": ".exe"}, 400, 501000),
    ("a webhook that is no URL", {}, {"web_hook_url": "here"}, 400, 501000),
]


@pytest.mark.parametrize(
    ("settings", "changes", "status_code", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
async def test_what_is_refused_costs_nothing(
    settings: dict[str, Any], changes: dict[str, Any], status_code: int, code: int
) -> None:
    simulator = virtual(**settings)
    key = changes.get("key", "right")
    fields = {name: value for name, value in changes.items() if name != "key"}
    async with client_of(simulator) as client:
        # Not httpx's own JSON: it can't write half a surrogate.
        body = json.dumps(export_fields(**fields)).encode()
        response = await client.post(V3.export_path, content=body, headers={"ApiKey": key})
    assert response.status_code == status_code
    assert response.json()["code"] == code
    assert simulator.ledger == ()
    assert simulator.credits_left == simulator.credits


@pytest.mark.parametrize(
    ("settings", "status_code", "code", "message"),
    [
        ({"api_keys": ()}, 401, 501001, "The ApiKey is not valid"),
        ({"credits": 0}, 402, 501002, "The coins for this APIKEY is not enough"),
        ({"sources": {}}, 400, 501016, "The video url is not valid"),
    ],
)
async def test_the_documented_errors_have_the_documented_words(
    settings: dict[str, Any], status_code: int, code: int, message: str
) -> None:
    async with client_of(virtual(**settings)) as client:
        response = await export(client)
    assert response.status_code == status_code
    assert response.json() == {"code": code, "message": message}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"resolution": [NaN, 1]}'])
@pytest.mark.parametrize("path", [V3.export_path, V3.task_path])
async def test_a_body_that_is_not_a_request_is_a_bad_request(path: str, body: bytes) -> None:
    async with client_of(virtual()) as client:
        response = await client.post(path, content=body)
    assert (response.status_code, response.json()["code"]) == (400, 501000)


async def test_a_body_is_read_up_to_a_bound() -> None:
    async with client_of(virtual()) as client:
        response = await export(client, note="x" * 70_000)
    assert "64 KiB" in response.json()["message"]
    assert (response.status_code, response.json()["code"]) == (400, 501000)


async def test_fields_that_are_not_documented_are_ignored() -> None:
    async with client_of(virtual()) as client:
        await exported(client, colour="blue")


async def test_a_model_may_be_given_by_its_name() -> None:
    simulator = virtual()
    async with client_of(simulator) as client:
        await exported(client, model_id=None, model_name="face-soft", original_resolution=[640, 360])
    assert [charge.model_id for charge in simulator.ledger] == [24]


@pytest.mark.parametrize("job_id", ["nobody", "\ud800", "x" * 300])
async def test_an_unknown_job_is_not_found(job_id: str) -> None:
    async with client_of(virtual()) as client:
        response = await client.post(V3.task_path, content=json.dumps({"job_id": job_id}).encode())
    assert (response.status_code, response.json()["code"]) == (404, 501404)
    with pytest.raises(errors.JobNotFoundError):
        V3.decode_task(Reply(status_code=404, body=response.content), job_id="nobody")


async def test_a_task_call_needs_a_key_too() -> None:
    async with client_of(virtual(api_keys={"right"})) as client:
        response = await client.post(V3.task_path, json={"job_id": "any"})
    assert (response.status_code, response.json()["code"]) == (401, 501001)


@pytest.mark.parametrize("name", ["ApiKey", "APIKEY", "apikey"])
async def test_the_key_header_is_known_in_any_case(name: str) -> None:
    async with client_of(virtual(api_keys={"right"})) as client:
        del client.headers["ApiKey"]
        response = await client.post(V3.export_path, json=export_fields(), headers={name: "right"})
    assert response.status_code == 200


async def test_a_source_with_the_mark_ends_in_error_and_stays_charged() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock)
    async with client_of(simulator) as client:
        job_id = await exported(client, video_url="https://videos.example/vendor-error.mp4")
        clock.now_s += 1000
        assert await task(client, job_id) == {"job_id": job_id, "status": "ERROR", "res_url": ""}
        fine = await exported(client, video_url="https://videos.example/a.mp4?why=vendor-error")
        clock.now_s += 1000
        assert (await task(client, fine))["status"] == "COMPLETED"
    assert len(simulator.ledger) == 2


async def test_the_root_says_what_it_is() -> None:
    async with client_of(virtual()) as client:
        response = await client.get("/")
    assert "lanczos, not AI" in response.json()["about"]
    assert response.headers["x-simulator"] == "lanczos, not AI"
    assert {V3.export_path, V3.task_path, "/simulator/ledger"} <= set(response.json()["endpoints"])


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [("GET", V3.export_path, 405), ("POST", "/nowhere", 404), ("GET", "/files/x", 404), ("DELETE", "/", 405)],
)
async def test_what_is_not_there_is_answered_in_the_envelope(method: str, path: str, status_code: int) -> None:
    async with client_of(virtual()) as client:
        response = await client.request(method, path)
    assert response.status_code == status_code
    assert response.json()["code"] == status_code


@pytest.mark.parametrize("host", ["evil\x7f", "[::1", "a b", "x" * 300, ""])
async def test_a_strange_host_header_does_not_get_into_result_urls(host: str) -> None:
    clock = ManualClock()
    async with client_of(virtual(clock=clock)) as client:
        job_id = await exported(client)
        clock.now_s += 1000
        response = await client.post(V3.task_path, json={"job_id": job_id}, headers={"Host": host})
    assert response.json()["res_url"].startswith("http://simulator")


async def test_a_seed_makes_ids_repeatable_and_none_makes_them_secret() -> None:
    async def ids(seed: int | None) -> list[str]:
        async with client_of(virtual(seed=seed)) as client:
            return [await exported(client) for _ in range(3)]

    assert await ids(7) == await ids(7)
    assert set(await ids(None)).isdisjoint(await ids(None))


async def test_background_work_needs_an_open_simulator_and_charges_nothing_without() -> None:
    fetching = Simulator()
    async with client_of(fetching) as client:
        with pytest.raises(errors.ConfigurationError, match="async with simulator"):
            await export(client)
    notifying = virtual()
    async with client_of(notifying) as client:
        with pytest.raises(errors.ConfigurationError, match="async with simulator"):
            await export(client, web_hook_url="https://hooks.example/")
    assert fetching.ledger == notifying.ledger == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"credits": -1},
        {"credits": 1.5},
        {"credits": True},
        {"speed": 0},
        {"speed": float("nan")},
        {"api_keys": "key"},
        {"sources": "nowhere"},
        {"task_reply": "round"},
        {"result_bytes": 1000},
        {"faults": "faults.json"},
        {"seed": "7"},
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError):
        Simulator(**settings)


async def test_sources_may_be_a_mapping() -> None:
    simulator = virtual(sources={URL: FACTS})
    async with client_of(simulator) as client:
        await exported(client)
        response = await export(client, video_url="https://videos.example/other.mp4")
    assert response.json()["code"] == 501016
    assert simulator.charges_by_url() == {URL: 1}
