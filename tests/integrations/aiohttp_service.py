"""An aiohttp service, as a user writes it: it takes URLs, tells how they stand, streams progress, takes webhooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web

from hitpaw_async.integrations.aiohttp import (
    BATCH,
    CLIENT,
    events,
    outcome_fields,
    problem_middleware,
    setup,
    webhooks,
)
from tests.integrations.lag import LagMeter
from tests.integrations.settings import PORT, new_batch, new_client, request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSION = web.AppKey("session", ClientSession)
routes = web.RouteTableDef()
lag = LagMeter()


@routes.post("/videos")
async def add(request: web.Request) -> web.Response:
    url = (await request.json())["url"]
    return web.json_response({"key": await request.app[BATCH].submit(request_for(url))}, status=202)


@routes.get("/videos/{key}")
async def show(request: web.Request) -> web.Response:
    outcome = await request.app[BATCH].status(request.match_info["key"])
    if outcome is None:
        raise web.HTTPNotFound
    return web.json_response(outcome_fields(outcome))


@routes.post("/videos/{key}/bind")
async def bind(request: web.Request) -> web.Response:
    job_id = (await request.json())["job_id"]
    return web.json_response(outcome_fields(await request.app[BATCH].batch.bind(request.match_info["key"], job_id)))


@routes.post("/videos/{key}/resubmit")
async def resubmit(request: web.Request) -> web.Response:
    return web.json_response(outcome_fields(await request.app[BATCH].batch.resubmit(request.match_info["key"])))


@routes.get("/jobs/{job_id}")
async def task(request: web.Request) -> web.Response:
    job = await request.app[CLIENT].task(request.match_info["job_id"])
    return web.json_response({"status": str(job.status)})


@routes.get("/statistics")
async def statistics(request: web.Request) -> web.Response:
    now = request.app[BATCH].statistics()
    fields = {"total": now.total, "done": now.done, "unfinished": now.unfinished, "uncertain": now.uncertain}
    return web.json_response(fields)


@routes.get("/lag")
async def lag_figures(_: web.Request) -> web.Response:
    return web.json_response(lag.figures())


async def measured(_: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(lag.run())
    yield
    task.cancel()


async def with_session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession() as session:
        app[SESSION] = session
        yield


def new_app() -> web.Application:
    app = web.Application(middlewares=[problem_middleware])
    app.cleanup_ctx.extend([measured, with_session])
    setup(app, new_client, batch=new_batch)
    app.add_routes([*routes, web.get("/events", events), web.post("/hitpaw/{token}", webhooks)])
    return app


if __name__ == "__main__":
    web.run_app(new_app(), host="127.0.0.1", port=PORT, print=None)
