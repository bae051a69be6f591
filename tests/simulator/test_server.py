"""The simulator under uvicorn: real connections that really break."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from hitpaw_async import errors
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.retry import SendProgress
from hitpaw_async._transport import HTTPPool, SendWatch
from hitpaw_async.models import ExportRequest, JobStatus
from hitpaw_async.simulator import Simulator, serve
from tests.simulator.conversation import SAMPLE, URL, export, exported, task, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """uvicorn runs on asyncio alone."""
    return "asyncio"


@pytest.fixture
async def pool() -> AsyncIterator[HTTPPool]:
    """The library's own connections."""
    pool = HTTPPool(max_connections=4)
    yield pool
    await pool.aclose()


def reach(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, headers={"ApiKey": "key"}, trust_env=False)


async def post(pool: HTTPPool, base_url: str, path: str, body: bytes, watch: SendWatch | None = None) -> Any:
    return await pool.post(f"{base_url}{path}", body=body, headers={"ApiKey": "key"}, timeout_s=5, watch=watch)


async def test_a_whole_conversation_with_the_librarys_own_wire(tmp_path: Path, pool: HTTPPool) -> None:
    pytest.importorskip("av")
    shutil.copyfile(SAMPLE, tmp_path / "clip.mp4")
    simulator = Simulator(speed=100, files=tmp_path)
    async with serve(simulator) as base_url:
        request = ExportRequest(f"{base_url}/files/clip.mp4", model=17, resolution=(256, 144))
        call = V3.encode_export(request)
        job = V3.decode_export(await post(pool, base_url, call.path, call.body))
        seen = []
        with anyio.fail_after(10):
            while not job.status.is_final:
                call = V3.encode_task(job.job_id)
                job = V3.decode_task(await post(pool, base_url, call.path, call.body), job_id=job.job_id)
                seen.append(job.status)
                await anyio.sleep(0.01)
        assert seen[-1] is JobStatus.COMPLETED
        assert job.res_url is not None
        async with pool.get(job.res_url, headers={"Range": "bytes=4-7"}) as stream:
            assert stream.status_code == 206
            assert b"".join([chunk async for chunk in stream.chunks()]) == b"ftyp"
        async with reach(base_url) as client:
            ledger = (await client.get("/simulator/ledger")).json()
    assert [charge["video_url"] for charge in ledger["charges"]] == [request.video_url]
    assert ledger["polls_received"] == len(seen)


@pytest.mark.parametrize(("when", "charges"), [("before", 0), ("after", 1)])
async def test_a_dropped_export_breaks_the_connection(when: str, charges: int, pool: HTTPPool) -> None:
    simulator = virtual({"call": "export", "do": "drop", "when": when, "nth": 1})
    call = V3.encode_export(ExportRequest(URL, model=17, resolution=(1920, 1080)))
    async with serve(simulator) as base_url:
        watch = SendWatch()
        with pytest.raises(errors.TransportError), anyio.fail_after(2):
            await post(pool, base_url, call.path, call.body, watch)
        assert watch.progress is SendProgress.BODY_BEGUN
        assert len(simulator.ledger) == charges
        V3.decode_export(await post(pool, base_url, call.path, call.body))
    assert len(simulator.ledger) == charges + 1


async def test_a_truncated_result_breaks_off_after_its_bytes(pool: HTTPPool) -> None:
    simulator = virtual(
        {"call": "result", "do": "truncate", "keep_bytes": 70_000, "nth": 1}, speed=1e6, result_bytes=b"x" * 200_000
    )
    async with serve(simulator) as base_url, reach(base_url) as client:
        job_id = await exported(client)
        url = (await task(client, job_id))["res_url"]
        received, is_broken = 0, False
        async with pool.get(url) as stream:
            assert stream.headers["content-length"] == "200000"
            try:
                async for chunk in stream.chunks():
                    received += len(chunk)
            except errors.TransportError:
                is_broken = True
        assert is_broken
        assert received == 70_000
        assert len((await client.get(url, headers={"Range": "bytes=70000-"})).content) == 130_000


async def test_an_oversized_body_is_refused_over_the_wire() -> None:
    async with serve(virtual()) as base_url, reach(base_url) as client:
        assert (await export(client, note="x" * 900_000)).status_code == 400
        assert (await export(client)).status_code == 200


async def test_a_client_that_hangs_up_keeps_its_charge_and_hurts_nobody() -> None:
    simulator = virtual({"call": "export", "do": "delay", "when": "after", "delay_s": 0.2, "nth": 1})
    async with serve(simulator) as base_url, reach(base_url) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(
                V3.export_path,
                json={"video_url": URL, "model_id": 17, "resolution": [1920, 1080]},
                timeout=httpx.Timeout(5, read=0.05),
            )
        await exported(client)
    assert simulator.charges_by_url() == {URL: 2}


async def test_half_a_request_is_no_call() -> None:
    simulator = virtual()
    async with serve(simulator) as base_url:
        host, _, port = base_url.removeprefix("http://").partition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            head = f"POST {V3.export_path} HTTP/1.1\r\nHost: x\r\nApiKey: k\r\nContent-Length: 500\r\n\r\n"
            await stream.send(head.encode() + b'{"video_url": ')
        async with reach(base_url) as client:
            await exported(client)
    assert len(simulator.ledger) == 1


@pytest.mark.parametrize("request_bytes", [b"\x16\x03\x01garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"])
async def test_strange_bytes_do_not_stop_the_server(request_bytes: bytes) -> None:
    async with serve(virtual()) as base_url:
        host, _, port = base_url.removeprefix("http://").partition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(request_bytes)
            with anyio.fail_after(5):
                assert (await stream.receive()).startswith(b"HTTP/1.1 ")
        async with reach(base_url) as client:
            assert (await client.get("/")).status_code == 200


async def test_the_port_can_be_chosen_and_one_in_use_is_named() -> None:
    async with serve(virtual()) as base_url:
        port = int(base_url.rpartition(":")[2])
        with pytest.raises(errors.ConfigurationError, match=str(port)):
            async with serve(virtual(), port=port):
                pass
    async with serve(virtual(), port=port) as again:
        assert again == base_url


async def test_ipv6_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    async with serve(virtual(), host="::1") as base_url, reach(base_url) as client:
        assert base_url.startswith("http://[::1]:")
        job_id = await exported(client)
        assert (await task(client, job_id))["job_id"] == job_id


async def test_stopping_does_not_wait_for_calls_that_hang() -> None:
    simulator = virtual({"call": "export", "do": "delay", "delay_s": 1000})
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, serve(simulator) as base_url, reach(base_url) as client:

            async def hang() -> None:
                with pytest.raises(httpx.HTTPError):
                    await client.post(V3.export_path, json={"video_url": URL}, timeout=None)

            tasks.start_soon(hang)
            while not simulator.exports_received:  # noqa: ASYNC110 (a count has no event)
                await anyio.sleep(0.01)
    assert simulator.ledger == ()


async def test_an_exception_in_the_block_comes_out_as_itself() -> None:
    with pytest.raises(KeyError):
        async with serve(virtual()):
            raise KeyError


async def test_a_cancelled_server_closes_its_socket() -> None:
    async with anyio.create_task_group() as tasks, serve(virtual()) as base_url:
        tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.1", int(base_url.rpartition(":")[2]))
