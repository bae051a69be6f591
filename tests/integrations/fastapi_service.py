"""A FastAPI service, as a user writes it: it takes URLs, tells how they stand, streams progress, takes webhooks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import uvicorn
from fastapi import Body, FastAPI, HTTPException

from hitpaw_async.integrations.fastapi import (
    Batch,
    Client,
    events,
    exception_handlers,
    lifespan,
    outcome_fields,
    webhooks,
)
from tests.integrations.lag import LagMeter
from tests.integrations.settings import PORT, new_batch, new_client, request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

lag = LagMeter()


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with lifespan(new_client, batch=new_batch)(app) as state, anyio.create_task_group() as tasks:
        tasks.start_soon(lag.run)
        yield state
        tasks.cancel_scope.cancel()


app = FastAPI(lifespan=life, exception_handlers=exception_handlers)
app.add_route("/events", events)
app.mount("/hitpaw", webhooks)


@app.post("/videos", status_code=202)
async def add(url: Annotated[str, Body(embed=True)], jobs: Batch) -> dict[str, str]:
    return {"key": await jobs.submit(request_for(url))}


@app.get("/videos/{key}")
async def show(key: str, jobs: Batch) -> dict[str, Any]:
    outcome = await jobs.status(key)
    if outcome is None:
        raise HTTPException(404)
    return outcome_fields(outcome)


@app.post("/videos/{key}/bind")
async def bind(key: str, job_id: Annotated[str, Body(embed=True)], jobs: Batch) -> dict[str, Any]:
    return outcome_fields(await jobs.batch.bind(key, job_id))


@app.post("/videos/{key}/resubmit")
async def resubmit(key: str, jobs: Batch) -> dict[str, Any]:
    return outcome_fields(await jobs.batch.resubmit(key))


@app.get("/jobs/{job_id}")
async def task(job_id: str, hitpaw: Client) -> dict[str, str]:
    return {"status": str((await hitpaw.task(job_id)).status)}


@app.get("/statistics")
async def statistics(jobs: Batch) -> dict[str, Any]:
    now = jobs.statistics()
    return {"total": now.total, "done": now.done, "unfinished": now.unfinished, "uncertain": now.uncertain}


@app.get("/lag")
async def lag_figures() -> dict[str, float]:
    return lag.figures()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", timeout_graceful_shutdown=1)
