"""The README's examples, run as they stand against the simulator."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from hitpaw_async import VideoFacts
from hitpaw_async._core.pricing import V3_TARIFF
from hitpaw_async.simulator import Simulator, serve

README = Path(__file__).parent.parent / "README.md"
SERVICE = re.compile(r"<!-- service: (.*?) -->\n```python\n(.*?)```", re.DOTALL)
SERVICES = SERVICE.findall(README.read_text(encoding="utf-8"))
"""What starts each service, up to its port, and its text."""

EXAMPLES = re.findall(
    r"(?:<!-- example: (\w+) -->\n)?```python\n(.*?)```",
    SERVICE.sub("", README.read_text(encoding="utf-8")),
    re.DOTALL,
)
"""What each other example is (a script, where it isn't said) and its text."""

CLIP = VideoFacts(duration_s=42, frame_rate=Fraction(30), width=1280, height=720, container="mp4")
CELL = """
import ast, asyncio, pathlib, types
text = pathlib.Path("example.py").read_text(encoding="utf-8")
code = compile(text, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(types.FunctionType(code, {"__name__": "__main__"})())
"""
"""Runs what awaits at the top level as IPython does."""

ASK_OFTEN = """
from hitpaw_async import PollPolicy
PollPolicy.__init__.__kwdefaults__.update(interval_min_s=0.1, interval_max_s=0.5)
"""
"""Loaded by Python as it starts: the simulator's jobs take a second, and are asked for every 5 to 10 s by default."""


def texts_of(kind: str) -> list[str]:
    return [text for marked, text in EXAMPLES if (marked or "script") == kind]


def environment_of(vendor_url: str, folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(ASK_OFTEN, encoding="utf-8")
    settings = {"HITPAW_API_KEY": "key", "HITPAW_API_BASE_URL": vendor_url, "PYTHONPATH": str(folder)}
    return {**os.environ, **settings}


def test_the_readme_has_examples_of_each_kind() -> None:
    assert {kind or "script" for kind, _ in EXAMPLES} == {"script", "cell", "test"}
    assert len(texts_of("script")) >= 2


RUNNABLE = [*(("script", text) for text in texts_of("script")), *(("cell", text) for text in texts_of("cell"))]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(("kind", "text"), RUNNABLE, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(RUNNABLE)])
@pytest.mark.anyio
@pytest.mark.slow
async def test_an_example_runs_and_leaves_results(kind: str, text: str, tmp_path: Path) -> None:
    simulator = Simulator(speed=50, sources=lambda _: CLIP)
    await anyio.Path(tmp_path / "example.py").write_text(text, encoding="utf-8")
    async with serve(simulator, host="127.0.0.1", port=0) as url:
        environment = environment_of(url, tmp_path)
        with anyio.fail_after(60):
            program = [sys.executable, "-W", "error", *(["-c", CELL] if kind == "cell" else ["example.py"])]
            ended = await anyio.run_process(program, cwd=tmp_path, env=environment, stderr=subprocess.STDOUT)
    results = list((tmp_path / "enhanced").iterdir())
    assert len(results) == len(simulator.ledger) > 0
    for result in results:
        assert result.name in ended.stdout.decode()


@pytest.mark.slow
def test_the_examples_that_are_tests_pass_where_they_are_put(tmp_path: Path) -> None:
    texts = texts_of("test")
    for number, text in enumerate(texts):
        (tmp_path / f"test_example_{number}.py").write_text(text, encoding="utf-8")
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert texts


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(("command", "text"), SERVICES, ids=["fastapi", "aiohttp"])
@pytest.mark.anyio
@pytest.mark.slow
async def test_a_service_takes_videos_over_http_and_tells_of_their_end(command: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(text, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    simulator = Simulator(speed=50, sources=lambda _: CLIP)
    async with serve(simulator, host="127.0.0.1", port=0) as url:
        environment = environment_of(url, tmp_path)
        program = [sys.executable, "-m", *command.split(), str(port)]
        with anyio.fail_after(60):
            service = await anyio.open_process(program, cwd=tmp_path, env=environment, stdout=None, stderr=None)
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                    reply = await _posted(client, "https://example.com/holiday.mp4")
                    without_url = await client.post("/videos")
                    shown = await _shown_when_finished(client, reply.json()["key"])
            finally:
                service.kill()
                await service.aclose()
    assert (reply.status_code, without_url.status_code) == (202, 422)
    assert (shown["state"], shown["file"]) == ("done", "holiday.mp4")
    assert len(simulator.ledger) == 1
    assert (tmp_path / "enhanced" / "holiday.mp4").exists()


async def _posted(client: httpx.AsyncClient, video_url: str) -> httpx.Response:
    while True:
        try:
            return await client.post("/videos", params={"url": video_url})
        except httpx.ConnectError:
            await anyio.sleep(0.05)


async def _shown_when_finished(client: httpx.AsyncClient, key: str) -> dict[str, Any]:
    async with client.stream("GET", "/events") as events:
        async for line in events.aiter_lines():
            shown: dict[str, Any] = (await client.get(f"/videos/{key}")).json() if line else {}
            if shown.get("state") == "done":
                return shown
    raise AssertionError("the events ended before the video did")


def test_the_price_table_is_the_codes_own() -> None:
    text = README.read_text(encoding="utf-8")
    for index, tier in enumerate(V3_TARIFF.tiers):
        figures = " | ".join(str(band.credits_per_minute[index]) for band in V3_TARIFF.bands)
        assert f"| {tier.name}, {tier.long_side} x {tier.short_side} | {figures} |" in text


def test_the_two_commands_stand_alone() -> None:
    text = README.read_text(encoding="utf-8")
    for name in ("demo", "test"):
        found = re.search(rf"<!-- {name} command -->\n```sh\n(.*)\n```\n", text)
        assert found is not None
        assert found[1].startswith("python3 -m venv")
