"""The README's examples, run as they stand against the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import anyio
import pytest

from hitpaw_async import VideoFacts
from hitpaw_async._core.pricing import V3_TARIFF
from hitpaw_async.simulator import Simulator, serve

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(
    r"(?:<!-- example: (\w+) -->\n)?```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
)
"""What each example is (a script, where it isn't said) and its text."""

CLIP = VideoFacts(duration_s=42, frame_rate=Fraction(30), width=1280, height=720, container="mp4")
CELL = """
import ast, asyncio, pathlib, types
text = pathlib.Path("example.py").read_text(encoding="utf-8")
code = compile(text, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(types.FunctionType(code, {"__name__": "__main__"})())
"""
"""Runs what awaits at the top level as IPython does."""


def texts_of(kind: str) -> list[str]:
    return [text for marked, text in EXAMPLES if (marked or "script") == kind]


def test_the_readme_has_examples_of_each_kind() -> None:
    assert {kind or "script" for kind, _ in EXAMPLES} == {"script", "cell", "test"}
    assert len(texts_of("script")) >= 2


RUNNABLE = [*(("script", text) for text in texts_of("script")), *(("cell", text) for text in texts_of("cell"))]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(("kind", "text"), RUNNABLE, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(RUNNABLE)])
@pytest.mark.anyio
async def test_an_example_runs_and_leaves_results(kind: str, text: str, tmp_path: Path) -> None:
    simulator = Simulator(speed=50, sources=lambda _: CLIP)
    await anyio.Path(tmp_path / "example.py").write_text(text, encoding="utf-8")
    async with serve(simulator, host="127.0.0.1", port=0) as url:
        environment = {**os.environ, "HITPAW_API_KEY": "key", "HITPAW_API_BASE_URL": url}
        with anyio.fail_after(60):
            program = [sys.executable, "-W", "error", *(["-c", CELL] if kind == "cell" else ["example.py"])]
            ended = await anyio.run_process(program, cwd=tmp_path, env=environment, stderr=subprocess.STDOUT)
    results = list((tmp_path / "enhanced").iterdir())
    assert len(results) == len(simulator.ledger) > 0
    for result in results:
        assert result.name in ended.stdout.decode()


def test_the_examples_that_are_tests_pass_where_they_are_put(tmp_path: Path) -> None:
    texts = texts_of("test")
    for number, text in enumerate(texts):
        (tmp_path / f"test_example_{number}.py").write_text(text, encoding="utf-8")
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "--anyio-mode=auto"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert texts


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
