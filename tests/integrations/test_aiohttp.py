"""aiohttp, behind its own runner: videos go in over HTTP, progress and answers come out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from aiohttp import ClientSession, web

from hitpaw_async import JournalError
from hitpaw_async.integrations.aiohttp import BATCH, CLIENT, events, problem_middleware, setup, webhooks
from tests.integrations.services import url_of
from tests.integrations.serving import Vendor, events_until, finished, listening, until, vendor
from tests.integrations.settings import request_for

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]

SESSION = web.AppKey("session", ClientSession)


async def add(request: web.Request) -> web.Response:
    url = (await request.json())["url"]
    return web.json_response({"key": await request.app[BATCH].submit(request_for(url))}, status=202)


async def task(request: web.Request) -> web.Response:
    job = await request.app[CLIENT].task(request.match_info["job_id"])
    return web.json_response({"status": str(job.status)})


async def own_session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession() as session:
        app[SESSION] = session
        yield
        assert not session.closed


def new_app(lab: Vendor) -> web.Application:
    app = web.Application(middlewares=[problem_middleware])
    app.cleanup_ctx.append(own_session)
    setup(app, lab.client, batch=lab.batch)
    app.router.add_post("/videos", add)
    app.router.add_get("/jobs/{job_id}", task)
    app.router.add_get("/events", events)
    app.router.add_post("/hitpaw/{token}", webhooks)
    return app


@asynccontextmanager
async def running(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(app, shutdown_timeout=5)
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Vendor, web.Application]]:
    interval_s = settings.pop("interval_s", 0.02)
    async with vendor(folder, **settings) as lab, listening() as (listener, url):
        lab.service_url, lab.interval_s = url, interval_s
        app = new_app(lab)
        async with httpx.AsyncClient(base_url=url) as client, running(app, listener):
            yield client, lab, app


async def test_videos_go_in_and_their_progress_comes_out(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, lab, _):
        seen: list[Any] = []

        async def read() -> None:
            seen.extend(await events_until(client, lambda events: finished(events) == 6))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for number in (*range(6), 3):
                assert (await client.post("/videos", json={"url": url_of(number)})).status_code == 202
        job_id = lab.simulator.ledger[0].job_id
        assert (await client.get(f"/jobs/{job_id}")).json() == {"status": "COMPLETED"}
    assert seen[0]["event"] == "snapshot"
    assert lab.charges() == [1] * 6


async def test_a_webhook_wakes_the_poller_and_forged_ones_do_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, interval_s=3600) as (client, lab, app):
        for number in range(5):
            await client.post("/videos", json={"url": url_of(number)})
        await until(lambda: len(lab.simulator.ledger) == 5)
        for charge in lab.simulator.ledger:
            forged = {"job_id": charge.job_id, "status": "COMPLETED", "res_url": "http://evil.test/x.mp4"}
            reply = await client.post(f"/hitpaw/{'x' * 43}", json=forged)
            assert (reply.status_code, reply.json()) == (202, {"ok": True})
        # An hour lies between two polls: only webhooks bring them to their end.
        await until(lambda: app[BATCH].statistics().done == 5)
    assert lab.charges() == [1] * 5
    assert lab.simulator.polls_received == 5


async def test_a_webhook_that_is_too_long_is_not_read_and_gets_the_same_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _, _app):
        headers = {"content-type": "application/json"}
        reply = await client.post("/hitpaw/token", content=b" " * 200_000, headers=headers)
    assert (reply.status_code, reply.json()) == (202, {"ok": True})


async def test_errors_become_problems(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, lab, _):
        refused = await client.post("/videos", json={"url": "ftp://videos.test/a.mp4?signature=hunter2"})
        lab.simulator.vendor.api_keys = frozenset({"another"})
        operators = await client.get("/jobs/nobodys")
    assert (refused.status_code, operators.status_code) == (422, 500)
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert "hunter2" not in refused.text
    assert "HITPAW_API_KEY" not in operators.text


async def test_a_reader_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    endings: list[str] = []

    async def read(client: httpx.AsyncClient, begun: anyio.Event) -> None:
        async with client.stream("GET", "/events") as reply:
            async for _ in reply.aiter_lines():
                begun.set()
            endings.append("whole")

    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:
            async with served(tmp_path) as (client, _, _app):
                begun = anyio.Event()
                reader = httpx.AsyncClient(base_url=client.base_url)
                tasks.start_soon(read, reader, begun)
                await begun.wait()
    await reader.aclose()
    assert endings == ["whole"]


async def test_a_reader_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _, app):
        await events_until(client, lambda events: len(events) == 1)
        await client.post("/videos", json={"url": url_of(1)})
        await until(lambda: not app[BATCH].batch._bookkeeper.events._streams)


async def test_a_second_worker_on_the_journal_does_not_start(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, lab, _app), listening() as (listener, _url):
        with pytest.raises(JournalError, match="Another process"):
            async with running(new_app(lab), listener):
                pytest.fail("it started")


async def test_it_may_be_stopped_from_another_task_than_it_was_started_in(tmp_path: Path) -> None:
    async with vendor(tmp_path) as lab:
        runner = web.AppRunner(new_app(lab))
        for step in (runner.setup, runner.cleanup):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(step)


async def test_what_the_budget_has_no_room_for_is_answered_402(tmp_path: Path) -> None:
    async with served(tmp_path, budget=1) as (client, _, _app):
        replies = [await client.post("/videos", json={"url": url_of(number)}) for number in range(2)]
    assert [reply.status_code for reply in replies] == [202, 402]
    assert replies[1].headers["content-type"].startswith("application/problem+json")
