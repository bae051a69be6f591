"""Starlette and FastAPI: a lifespan, dependencies, errors as HTTP answers, webhooks and server-sent events.

```python
app = Starlette(
    lifespan=lifespan(batch=lambda hitpaw: BackgroundBatch(hitpaw.batch(journal="library.db", output="enhanced"))),
    exception_handlers=exception_handlers,
    routes=[Route("/events", events), Mount("/hitpaw", webhooks)],
)
```

`FastAPI(...)` takes the same arguments. Works on asyncio and on trio.

One process works on a journal: with `uvicorn --workers 4` three workers fail at their start (`JournalError`). Run one
worker, or give each a journal of its own. Event streams end when the process gets SIGINT or SIGTERM; under hypercorn,
whose workers get none, after its `--graceful-timeout` (3 s).

In tests, httpx's `ASGITransport` starts no lifespan:
`async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), ...) as client:`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from hitpaw_async.batch.background import BackgroundBatch
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.errors import ConfigurationError, HitPawError, MissingExtraError
from hitpaw_async.integrations._problems import PROBLEM_TYPE, outcome_fields, problem_details_of
from hitpaw_async.integrations._service import ended_by_a_stop, log_for_operator, opened
from hitpaw_async.integrations._sse import HEARTBEAT_S, SSE_HEADERS, ServerSentEvents
from hitpaw_async.webhooks import WebhookReceiver

try:
    from starlette.datastructures import State
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import JSONResponse, Response
except ModuleNotFoundError:
    raise MissingExtraError("hitpaw_async.integrations.starlette", "starlette") from None

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "EventsResponse",
    "background_batch",
    "client",
    "events",
    "exception_handlers",
    "lifespan",
    "outcome_fields",
    "webhooks",
]

CLIENT_STATE: Final = "hitpaw"
BATCH_STATE: Final = "hitpaw_batch"

END_MAX_S: Final = 1.0
"""How long a stream's last word may take to a reader that doesn't read."""


def lifespan(
    client: Callable[[], AsyncHitPaw] = AsyncHitPaw,
    *,
    batch: Callable[[AsyncHitPaw], BackgroundBatch] | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """A lifespan that opens one client, and a batch in the background where it is asked for.

    To combine it with your own: `async with lifespan(...)(app) as state:` inside yours, and yield `{**state, ...}`.

    Args:
        client: Makes the client; by default `AsyncHitPaw()`, with the key from the environment.
        batch: Makes the batch, which resumes at the start. None: no batch.
    """

    @asynccontextmanager
    async def open_state(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with opened(client, batch) as (hitpaw, jobs):
            state = {CLIENT_STATE: hitpaw, BATCH_STATE: jobs}
            kept = getattr(app, "state", None)
            if isinstance(kept, State):
                # For callers that hand on no state of the lifespan, as httpx's ASGITransport.
                for name, value in state.items():
                    setattr(kept, name, value)
            yield state

    return open_state


def client(connection: HTTPConnection) -> AsyncHitPaw:
    """The client of the running application. In FastAPI, a dependency.

    Raises:
        ConfigurationError: The application runs without `lifespan`.
    """
    found: AsyncHitPaw = _state(connection.scope, CLIENT_STATE)
    return found


def background_batch(connection: HTTPConnection) -> BackgroundBatch:
    """The batch in the background of the running application. In FastAPI, a dependency.

    Raises:
        ConfigurationError: The application runs without `lifespan(batch=...)`.
    """
    found: BackgroundBatch = _state(connection.scope, BATCH_STATE)
    return found


def _state(scope: Any, name: str) -> Any:
    found = scope.get("state", {}).get(name)
    if found is None:
        found = getattr(getattr(scope.get("app"), "state", None), name, None)
    if found is None:
        asked = "lifespan(batch=...)" if name == BATCH_STATE else "lifespan()"
        raise ConfigurationError(f"Give the application hitpaw_async's lifespan: lifespan={asked}.")
    return found


async def _answer_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HitPawError)
    problem = problem_details_of(error)
    if problem.is_operators:
        log_for_operator(error)
    return JSONResponse(problem.fields, problem.status_code, problem.headers, PROBLEM_TYPE)


exception_handlers: Final[dict[Any, Any]] = {HitPawError: _answer_error}
"""For `Starlette(exception_handlers=...)`. `hitpaw_async.integrations` has the table of statuses."""


class EventsResponse(Response):
    """A batch's events as server-sent events, from a snapshot on, until the reader leaves or the batch closes.

    Args:
        batch: Whose events.
        heartbeat_s: After so many silent seconds a comment is sent.
    """

    media_type = "text/event-stream"

    def __init__(self, batch: BackgroundBatch, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(SSE_HEADERS)
        # Its body has no length.
        self.raw_headers = [header for header in self.raw_headers if header[0] != b"content-length"]
        self._batch = batch
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 (ASGI's shape)
        """Write until somebody ends it."""
        try:
            await self._write_until_left(receive, send)
        except anyio.get_cancelled_exc_class():
            # A server that stops cancels what is still open. For a stream without an end that is one like another, and
            # uvicorn would log a traceback of it.
            return

    async def _write_until_left(self, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                await self._write(send)
                tasks.cancel_scope.cancel()

            tasks.start_soon(write)
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

    async def _write(self, send: Send) -> None:
        with self._batch.events() as stream, ended_by_a_stop(stream):
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                try:
                    async for chunk in ServerSentEvents(stream, heartbeat_s=self._heartbeat_s):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                finally:
                    # Also where the server stops: it is to find the response complete.
                    with anyio.move_on_after(END_MAX_S, shield=True):
                        await send({"type": "http.response.body", "body": b""})
            except OSError:
                return  # the reader has gone; ASGI from 2.4 on says so like this


async def events(request: Request) -> Response:
    """An endpoint, `Route("/events", events)`: the events of the batch in the background, for whom you let in."""
    return EventsResponse(background_batch(request))


async def webhooks(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application to mount: takes the vendor's webhooks for the batch in the background.

    Mount it where `WebhookPolicy.base_url` points. `hitpaw_async.webhooks.WebhookReceiver` is the same for any sink,
    and runs alone as well.
    """
    await WebhookReceiver(_state(scope, BATCH_STATE))(scope, receive, send)
