"""FastAPI: typed dependencies over what `hitpaw_async.integrations.starlette` has.

```python
@app.post("/videos", status_code=202)
async def add(url: str, jobs: Batch) -> dict[str, str]:
    return {"key": await jobs.submit(ExportRequest(url, model=17, resolution="1920x1080"))}
```
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

from hitpaw_async.batch.background import BackgroundBatch
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.errors import MissingExtraError

try:
    from fastapi import APIRouter, Depends, HTTPException, Query
    from pydantic import BaseModel
except ModuleNotFoundError:
    raise MissingExtraError("hitpaw_async.integrations.fastapi", "fastapi") from None

from hitpaw_async.integrations.starlette import (
    EventsResponse,
    background_batch,
    client,
    events,
    exception_handlers,
    lifespan,
    outcome_fields,
    webhooks,
)
from hitpaw_async.models import ItemState

__all__ = [
    "Batch",
    "Client",
    "EventsResponse",
    "ItemsModel",
    "OutcomeModel",
    "ProblemModel",
    "background_batch",
    "batch_router",
    "client",
    "events",
    "exception_handlers",
    "lifespan",
    "outcome_fields",
    "problem_responses",
    "webhooks",
]

Client: TypeAlias = Annotated[AsyncHitPaw, Depends(client)]
"""The application's client, as a parameter of a path operation."""

Batch: TypeAlias = Annotated[BackgroundBatch, Depends(background_batch)]
"""The batch in the application's background, as a parameter of a path operation."""


class ErrorModel(BaseModel):
    """Why an item is not DONE."""

    type: str
    message: str
    code: int | None = None


class OutcomeModel(BaseModel):
    """How an item stands: the schema of `outcome_fields`."""

    key: str
    video_url: str
    state: ItemState
    job_id: str | None = None
    credits: int | None = None
    file: str | None = None
    error: ErrorModel | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    metadata: dict[str, str] = {}


class ItemsModel(BaseModel):
    """A page of items."""

    items: list[OutcomeModel]
    after: str | None = None


class ProblemModel(BaseModel):
    """An error as an answer (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    problems: list[str] | None = None
    job_id: str | None = None


problem_responses: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": description,
        "content": {"application/problem+json": {"schema": ProblemModel.model_json_schema()}},
    }
    for status, description in {
        402: "The budget has no room for the video",
        409: "Nobody knows whether the video was accepted",
        422: "The request can't be used",
        503: "Too much is unfinished, or the vendor asks to wait",
    }.items()
}
"""For `FastAPI(responses=problem_responses)`: what `exception_handlers` answer, as OpenAPI shows it."""


def batch_router(**settings: Any) -> APIRouter:
    """Routes over the batch in the background, for `app.include_router`: list, look, wait, look again and cancel.

    They are for whom you let in: `batch_router(prefix="/batch", dependencies=[Depends(require_user)])`.

    Args:
        settings: As `APIRouter` takes them.
    """
    router = APIRouter(**{"responses": problem_responses, **settings})
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such key"}}

    @router.get("/videos")
    async def list_videos(
        jobs: Batch,
        state: Annotated[list[ItemState] | None, Query()] = None,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> ItemsModel:
        page = await jobs.items(*(state or ()), after=after, limit=limit)
        return ItemsModel(items=[OutcomeModel(**outcome_fields(found)) for found in page.outcomes], after=page.after)

    @router.get("/videos/{key}", responses=missing)
    async def show_video(key: str, jobs: Batch, wait_s: Annotated[float, Query(ge=0, le=60)] = 0) -> OutcomeModel:
        outcome = await (jobs.wait(key, timeout_s=wait_s) if wait_s else jobs.status(key))
        if outcome is None:
            raise HTTPException(404)
        return OutcomeModel(**outcome_fields(outcome))

    @router.post("/videos/{key}/again")
    async def look_again(key: str, jobs: Batch) -> OutcomeModel:
        return OutcomeModel(**outcome_fields(await jobs.again(key)))

    @router.post("/videos/{key}/cancel")
    async def cancel_video(key: str, jobs: Batch) -> OutcomeModel:
        return OutcomeModel(**outcome_fields(await jobs.cancel(key)))

    @router.get(
        "/events",
        status_code=200,
        response_class=EventsResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def stream_events(jobs: Batch) -> EventsResponse:
        return EventsResponse(jobs)

    return router
