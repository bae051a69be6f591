"""aiohttp's server: a cleanup context, application keys, errors as HTTP answers, webhooks and server-sent events.

```python
app = web.Application(middlewares=[problem_middleware])
setup(app, batch=lambda hitpaw: BackgroundBatch(hitpaw.batch(journal="library.db", output="enhanced")))
app.router.add_get("/events", events)
app.router.add_post("/hitpaw/{token}", webhooks)
```

The client has connections of its own; your `ClientSession` stays yours. One process works on a journal: a second one
fails at its start with `JournalError`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from hitpaw_async.batch.background import BackgroundBatch
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.errors import HitPawError, MissingExtraError
from hitpaw_async.integrations._problems import PROBLEM_TYPE, outcome_fields, problem_details_of
from hitpaw_async.integrations._service import log_for_operator, opened
from hitpaw_async.integrations._sse import HEARTBEAT_S, SSE_HEADERS, ServerSentEvents
from hitpaw_async.webhooks import WebhookReceiver

try:
    from aiohttp import web
except ModuleNotFoundError:
    raise MissingExtraError("hitpaw_async.integrations.aiohttp", "aiohttp") from None

from collections.abc import AsyncIterator, Awaitable, Callable

if TYPE_CHECKING:
    from hitpaw_async.batch.events.hub import EventStream

__all__ = [
    "BATCH",
    "CLIENT",
    "cleanup_context",
    "events",
    "outcome_fields",
    "problem_middleware",
    "setup",
    "stream_events",
    "webhooks",
]

CLIENT: Final = web.AppKey("hitpaw", AsyncHitPaw)
"""`request.app[CLIENT]`: the application's client."""

BATCH: Final = web.AppKey("hitpaw_batch", BackgroundBatch)
"""`request.app[BATCH]`: the batch in the application's background."""

_STREAMS: Final[web.AppKey[set[EventStream]]] = web.AppKey("hitpaw_streams", set)


def setup(
    app: web.Application,
    client: Callable[[], AsyncHitPaw] = AsyncHitPaw,
    *,
    batch: Callable[[AsyncHitPaw], BackgroundBatch] | None = None,
) -> None:
    """Open a client, and a batch where it is asked for, when the application starts; end event streams when it stops.

    Args:
        app: The application, before it runs.
        client: Makes the client; by default with the key from the environment.
        batch: Makes the batch, which resumes at the start. None: no batch.
    """
    app[_STREAMS] = set()
    app.cleanup_ctx.append(cleanup_context(client, batch=batch))
    app.on_shutdown.append(_end_streams)


def cleanup_context(
    client: Callable[[], AsyncHitPaw] = AsyncHitPaw,
    *,
    batch: Callable[[AsyncHitPaw], BackgroundBatch] | None = None,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """The cleanup context alone, for `app.cleanup_ctx`. Takes what `setup` takes."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        keeper = _Keeper(app, client, batch)
        await keeper.start()
        yield
        await keeper.stop()

    return context


class _Keeper:
    """Opens and closes in one task of its own: aiohttp may start and stop an application in different ones."""

    def __init__(
        self,
        app: web.Application,
        client: Callable[[], AsyncHitPaw],
        batch: Callable[[AsyncHitPaw], BackgroundBatch] | None,
    ) -> None:
        self._app = app
        self._client = client
        self._batch = batch
        self._is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep())
        await asyncio.wait({self._task, self._is_open}, return_when=asyncio.FIRST_COMPLETED)
        if not self._is_open.done():
            self._task.result()

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def _keep(self) -> None:
        async with opened(self._client, self._batch) as (hitpaw, jobs):
            self._app[CLIENT] = hitpaw
            if jobs is not None:
                self._app[BATCH] = jobs
            self._is_open.set_result(None)
            await self._stop.wait()


@web.middleware
async def problem_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers the library's errors. `hitpaw_async.integrations` has the table of statuses."""
    try:
        return await handler(request)
    except HitPawError as error:
        problem = problem_details_of(error)
        if problem.is_operators:
            log_for_operator(error)
        return web.json_response(
            problem.fields, status=problem.status_code, headers=problem.headers, content_type=PROBLEM_TYPE
        )


async def stream_events(
    request: web.Request, batch: BackgroundBatch, *, heartbeat_s: float = HEARTBEAT_S
) -> web.StreamResponse:
    """Answer with a batch's events as server-sent events, until the reader leaves or the service stops."""
    response = web.StreamResponse(headers={**SSE_HEADERS, "content-type": "text/event-stream"})
    streams = request.app.get(_STREAMS, set())
    with batch.events() as stream:
        streams.add(stream)
        try:
            await response.prepare(request)
            async for chunk in ServerSentEvents(stream, heartbeat_s=heartbeat_s):
                await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader has gone
        finally:
            streams.discard(stream)
    return response


async def events(request: web.Request) -> web.StreamResponse:
    """A handler: the events of the batch in the background, behind your own access rules."""
    return await stream_events(request, request.app[BATCH])


async def webhooks(request: web.Request) -> web.Response:
    """A handler: takes the vendor's webhooks for the batch in the background, e.g. on `/hitpaw/{token}`."""
    receiver = WebhookReceiver(request.app[BATCH])
    body = await _read(request, receiver.body_bytes_max)
    headers = {name.lower(): value for name, value in request.headers.items()}
    reply = receiver.handle(request.method, request.path, headers, body)
    return web.Response(body=reply.body, status=reply.status_code, headers=dict(reply.headers))


async def _read(request: web.Request, bytes_max: int) -> bytes:
    """The body, up to one byte more than is allowed."""
    body = bytearray()
    while len(body) <= bytes_max:
        chunk = await request.content.read(bytes_max + 1 - len(body))
        if not chunk:
            break
        body += chunk
    return bytes(body)


async def _end_streams(app: web.Application) -> None:
    for stream in [*app[_STREAMS]]:
        stream.close()
