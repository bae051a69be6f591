"""FastAPI: typed dependencies over what `hitpaw_async.integrations.starlette` has.

```python
@app.post("/videos", status_code=202)
async def add(url: str, jobs: Batch) -> dict[str, str]:
    return {"key": await jobs.submit(ExportRequest(url, model=17, resolution="1920x1080"))}
```
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from hitpaw_async.batch.background import BackgroundBatch
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.errors import MissingExtraError

try:
    from fastapi import Depends
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

__all__ = [
    "Batch",
    "Client",
    "EventsResponse",
    "background_batch",
    "client",
    "events",
    "exception_handlers",
    "lifespan",
    "outcome_fields",
    "webhooks",
]

Client: TypeAlias = Annotated[AsyncHitPaw, Depends(client)]
"""The application's client, as a parameter of a path operation."""

Batch: TypeAlias = Annotated[BackgroundBatch, Depends(background_batch)]
"""The batch in the application's background, as a parameter of a path operation."""
