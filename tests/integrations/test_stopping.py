"""What ends with a service: its streams of events at once; and what stays out of its access logs."""

from __future__ import annotations

import logging
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from hitpaw_async.integrations import starlette as for_starlette
from hitpaw_async.integrations._service import hide_webhook_tokens
from tests.integrations.serving import vendor

if TYPE_CHECKING:
    from pathlib import Path

APP = """
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from hitpaw_async import AsyncHitPaw, BackgroundBatch
from hitpaw_async.integrations.starlette import events, lifespan, webhooks

app = Starlette(
    lifespan=lifespan(lambda: AsyncHitPaw(api_key="k"), batch=lambda hitpaw: BackgroundBatch(hitpaw.batch())),
    routes=[Route("/events", events), Mount("/hitpaw", webhooks)],
)
"""
SERVERS = {
    "uvicorn": ["uvicorn", "service:app", "--port"],
    "granian": ["granian", "service:app", "--interface", "asgi", "--access-log", "--port"],
}
TOKEN = secrets.token_urlsafe(32)


async def _free_port() -> int:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        return int(listener.extra(anyio.abc.SocketAttribute.local_port))


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.anyio
@pytest.mark.slow
async def test_events_end_at_once_and_tokens_stay_out_of_access_logs(server: str, tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "service.py").write_text(APP)
    port = await _free_port()
    program = [sys.executable, "-m", *SERVERS[server], str(port)]
    async with (
        await anyio.open_process(program, cwd=tmp_path, stderr=subprocess.STDOUT) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        with anyio.fail_after(30):
            while not await _answers(client):  # noqa: ASYNC110 (another process has no event for it)
                await anyio.sleep(0.05)
        await client.post(f"/hitpaw/{TOKEN}", json={})
        async with client.stream("GET", "/events") as reply:
            lines = reply.aiter_lines()
            await anext(lines)
            process.send_signal(signal.SIGTERM)
            began_s = time.monotonic()
            with anyio.fail_after(10):
                assert [line async for line in lines]
            assert time.monotonic() - began_s < 5
        assert process.stdout is not None
        with anyio.fail_after(20):
            said = b"".join([chunk async for chunk in process.stdout]).decode()
            await process.wait()
    assert "/hitpaw/***" in said
    assert TOKEN not in said
    assert "Traceback" not in said


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        await client.get("/nothing")
    except httpx.TransportError:
        return False
    return True


@pytest.mark.parametrize("name", ["uvicorn.access", "hypercorn.access", "granian.access", "aiohttp.access"])
def test_a_token_is_hidden_however_a_server_logs_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    hide_webhook_tokens()
    hide_webhook_tokens()
    logger, path = logging.getLogger(name), f"/hitpaw/{TOKEN}?a=1"
    caplog.set_level("INFO", logger=name)
    logger.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1", "POST", path, "1.1", 202)
    logger.info("%(r)s", {"r": f"POST {path} 1.1"})
    logger.info(f"POST {path} 202", extra={"first_request_line": path})  # noqa: G004 (as aiohttp does)
    assert len(caplog.records) == 3
    assert all(TOKEN not in record.getMessage() and TOKEN not in str(vars(record)) for record in caplog.records)
    assert "/hitpaw/***" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.anyio
async def test_users_tests_reach_the_application_through_asgi_transport(tmp_path: Path) -> None:
    """It starts no lifespan, and hands no state on."""
    async with vendor(tmp_path) as lab:
        app = Starlette(
            lifespan=for_starlette.lifespan(lab.client, batch=lab.batch), routes=[Route("/", _where_it_stands)]
        )
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service.test") as client,
        ):
            assert (await client.get("/")).json() == {"total": 0}


async def _where_it_stands(request: for_starlette.Request) -> for_starlette.Response:
    assert for_starlette.client(request) is not None
    return for_starlette.JSONResponse({"total": for_starlette.background_batch(request).statistics().total})
