"""FastAPI's description of a service: its routes, an outcome's schema, and problems; and the routes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from hitpaw_async.integrations.fastapi import batch_router, exception_handlers, lifespan
from tests.integrations.serving import vendor
from tests.integrations.settings import request_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.anyio
async def test_the_routes_work_and_are_described(tmp_path: Path) -> None:
    async with vendor(tmp_path) as lab:
        jobs_of = []
        app = FastAPI(
            lifespan=lifespan(lab.client, batch=lambda hitpaw: jobs_of.append(lab.batch(hitpaw)) or jobs_of[0]),
            exception_handlers=exception_handlers,
        )
        app.include_router(batch_router(prefix="/batch"))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service.test") as client,
        ):
            key = await jobs_of[0].submit(request_for("https://example.com/0.mp4"))
            shown = (await client.get(f"/batch/videos/{key}", params={"wait_s": 30})).json()
            assert (shown["state"], shown["error"]) == ("done", None)
            listed = (await client.get("/batch/videos", params={"state": "done"})).json()
            assert [item["key"] for item in listed["items"]] == [key]
            assert (await client.get("/batch/videos/nobodys")).status_code == 404
            refused = await client.post(f"/batch/videos/{key}/cancel")
            assert refused.status_code == 422
            assert refused.headers["content-type"] == "application/problem+json"
            described = (await client.get("/openapi.json")).json()
    assert {"/batch/videos", "/batch/videos/{key}", "/batch/videos/{key}/cancel", "/batch/events"} <= {
        *described["paths"]
    }
    assert {"OutcomeModel", "ItemsModel"} <= {*described["components"]["schemas"]}
    answers = described["paths"]["/batch/videos/{key}"]["get"]["responses"]
    assert "application/problem+json" in answers["422"]["content"]
    assert "text/event-stream" in described["paths"]["/batch/events"]["get"]["responses"]["200"]["content"]
