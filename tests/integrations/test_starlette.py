"""Starlette and FastAPI, behind uvicorn: videos go in over HTTP, progress and answers come out."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import httpx
import pytest
from fastapi import Body, FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from hitpaw_async import Job, JournalError
from hitpaw_async.integrations import fastapi as for_fastapi
from hitpaw_async.integrations import starlette as for_starlette
from hitpaw_async.integrations._sse import ServerSentEvents
from tests.batch.laboratory import laboratory, outcomes_of, video
from tests.integrations.services import url_of
from tests.integrations.serving import Vendor, events_until, finished, listening, under_uvicorn, until, vendor
from tests.integrations.settings import request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from starlette.requests import Request

pytestmark = pytest.mark.anyio
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


def starlette_app(lab: Vendor) -> Starlette:
    async def add(request: Request) -> JSONResponse:
        jobs = for_starlette.background_batch(request)
        return JSONResponse({"key": await jobs.submit(request_for((await request.json())["url"]))}, 202)

    async def task(request: Request) -> JSONResponse:
        job: Job = await for_starlette.client(request).task(request.path_params["job_id"])
        return JSONResponse({"status": str(job.status)})

    return Starlette(
        lifespan=for_starlette.lifespan(lab.client, batch=lab.batch),
        exception_handlers=for_starlette.exception_handlers,
        routes=[
            Route("/videos", add, methods=["POST"]),
            Route("/jobs/{job_id}", task),
            Route("/events", for_starlette.events),
            Mount("/hitpaw", for_starlette.webhooks),
        ],
    )


def fastapi_app(lab: Vendor) -> FastAPI:
    app = FastAPI(
        lifespan=for_fastapi.lifespan(lab.client, batch=lab.batch),
        exception_handlers=for_fastapi.exception_handlers,
    )
    app.add_route("/events", for_fastapi.events)
    app.mount("/hitpaw", for_fastapi.webhooks)

    # Evaluated here: FastAPI can't see names of a function that postponed annotations stand in.
    async def add(url: str, jobs: Any) -> dict[str, str]:
        return {"key": await jobs.submit(request_for(url))}

    add.__annotations__ = {"url": Annotated[str, Body(embed=True)], "jobs": for_fastapi.Batch}
    app.post("/videos", status_code=202)(add)

    async def task(job_id: str, hitpaw: Any) -> dict[str, str]:
        return {"status": str((await hitpaw.task(job_id)).status)}

    task.__annotations__ = {"job_id": str, "hitpaw": for_fastapi.Client}
    app.get("/jobs/{job_id}")(task)
    return app


@asynccontextmanager
async def served(
    new_app: Callable[[Vendor], Any], folder: Path, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Vendor]]:
    async with vendor(folder, **settings) as lab, listening() as (listener, url):
        lab.service_url = url
        async with httpx.AsyncClient(base_url=url) as client, under_uvicorn(new_app(lab), listener):
            yield client, lab


each_framework = pytest.mark.parametrize("new_app", [starlette_app, fastapi_app])


@on_asyncio
@each_framework
async def test_videos_go_in_and_their_progress_comes_out(new_app: Callable[[Vendor], Any], tmp_path: Path) -> None:
    async with served(new_app, tmp_path) as (client, lab):
        seen: list[Any] = []

        async def read() -> None:
            seen.extend(await events_until(client, lambda events: finished(events) == 6))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for number in (*range(6), 3):
                reply = await client.post("/videos", json={"url": url_of(number)})
                assert reply.status_code == 202
        job_id = lab.simulator.ledger[0].job_id
        assert (await client.get(f"/jobs/{job_id}")).json() == {"status": "COMPLETED"}
    assert seen[0]["event"] == "snapshot"
    assert {event["state"] for event in seen if event["event"] == "finished"} == {"done"}
    assert lab.charges() == [1] * 6


@on_asyncio
@each_framework
async def test_a_webhook_wakes_the_poller_and_forged_ones_do_nothing(
    new_app: Callable[[Vendor], Any], tmp_path: Path
) -> None:
    async with vendor(tmp_path) as lab, listening() as (listener, url):
        lab.service_url, lab.interval_s = url, 3600
        app = new_app(lab)
        async with httpx.AsyncClient(base_url=url) as client, under_uvicorn(app, listener):
            for number in range(5):
                await client.post("/videos", json={"url": url_of(number)})
            await until(lambda: len(lab.simulator.ledger) == 5)
            for charge in lab.simulator.ledger:
                forged = {"job_id": charge.job_id, "status": "COMPLETED", "res_url": "http://evil.test/x.mp4"}
                reply = await client.post(f"/hitpaw/{'x' * 43}", json=forged)
                assert (reply.status_code, reply.json()) == (202, {"ok": True})
            # An hour lies between two polls: only webhooks bring them to their end.
            await events_until(client, lambda events: sum_done(events) == 5)
    assert lab.charges() == [1] * 5
    assert lab.simulator.polls_received == 5


def sum_done(events: list[dict[str, Any]]) -> int:
    """How many are done, by the snapshot and what came after it."""
    return events[0]["statistics"]["done"] + finished(events)


@on_asyncio
@each_framework
async def test_errors_become_problems(new_app: Callable[[Vendor], Any], tmp_path: Path) -> None:
    async with served(new_app, tmp_path) as (client, lab):
        refused = await client.post("/videos", json={"url": "ftp://videos.test/a.mp4?signature=hunter2"})
        unknown = await client.get("/jobs/nobodys")
        lab.simulator.vendor.api_keys = frozenset({"another"})
        operators = await client.get("/jobs/nobodys")
    assert (refused.status_code, unknown.status_code, operators.status_code) == (422, 404, 500)
    for reply in (refused, unknown, operators):
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["status"] == reply.status_code
    assert "hunter2" not in refused.text
    assert "HITPAW_API_KEY" not in operators.text
    assert lab.charges() == []


@on_asyncio
async def test_a_second_worker_on_the_journal_does_not_start(tmp_path: Path) -> None:
    async with served(starlette_app, tmp_path) as (_, lab):
        with pytest.raises(JournalError, match="Another process"):
            async with for_starlette.lifespan(lab.client, batch=lab.batch)(None):
                pytest.fail("it started")


@on_asyncio
async def test_a_reader_that_leaves_is_forgotten(tmp_path: Path) -> None:
    found: list[Any] = []

    def noted_app(lab: Vendor) -> Starlette:
        def batch(hitpaw: Any) -> Any:
            found.append(lab.batch(hitpaw))
            return found[0]

        return Starlette(
            lifespan=for_starlette.lifespan(lab.client, batch=batch), routes=[Route("/events", for_starlette.events)]
        )

    async with served(noted_app, tmp_path) as (client, _):
        await events_until(client, lambda events: len(events) == 1)
        await until(lambda: not found[0].batch._bookkeeper.events._streams)


@on_asyncio
async def test_a_server_that_stops_ends_open_streams_without_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with vendor(tmp_path) as lab, listening() as (listener, url), AsyncExitStack() as readers:
        async with httpx.AsyncClient(base_url=url) as client:
            # The simulator's own server keeps uvicorn quiet.
            with caplog.at_level(logging.ERROR, logger="uvicorn.error"):
                async with under_uvicorn(starlette_app(lab), listener):
                    reply = await readers.enter_async_context(client.stream("GET", "/events"))
                    lines = reply.aiter_lines()
                    await anext(lines)
            assert "Cancel 1 running task(s)" in caplog.text
            assert "Exception in ASGI application" not in caplog.text
            assert "without completing response" not in caplog.text


async def test_an_application_without_the_lifespan_says_what_is_missing() -> None:
    app = Starlette(
        routes=[Route("/events", for_starlette.events)], exception_handlers=for_starlette.exception_handlers
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service.test") as client:
        assert (await client.get("/events")).status_code == 500


async def test_a_silent_stream_is_kept_alive_and_its_end_is_the_batchs() -> None:
    async with laboratory() as lab:
        async with lab.hitpaw.batch() as batch:
            chunks = ServerSentEvents(batch.events(), heartbeat_s=0.01)
            with anyio.fail_after(5):
                first = [await anext(chunks) for _ in range(3)]
                await outcomes_of(batch, video("a"))
        rest = [chunk async for chunk in chunks]
    assert first[0].startswith(b"retry: ")
    assert first[1].startswith(b"id: 0\nevent: snapshot\ndata: {")
    assert first[2].startswith(b": ")
    assert b"event: finished" in b"".join(rest)
    assert all(chunk.endswith(b"\n\n") for chunk in (*first, *rest))


@on_asyncio
@each_framework
async def test_what_the_budget_has_no_room_for_is_answered_402_and_not_taken_in(
    new_app: Callable[[Vendor], Any], tmp_path: Path
) -> None:
    """Each 202 is kept: nothing that was taken in is skipped."""
    async with served(new_app, tmp_path, budget=2) as (client, lab):
        replies = [await client.post("/videos", json={"url": url_of(number)}) for number in range(4)]
        await events_until(client, lambda events: finished(events) == 2)
        assert sum(lab.charges()) == 2
    assert [reply.status_code for reply in replies] == [202, 202, 402, 402]
    assert replies[2].headers["content-type"].startswith("application/problem+json")
    assert replies[2].json()["type"] == "urn:hitpaw-async:budget-exceeded"
