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
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CLIP = VideoFacts(duration_s=42, frame_rate=Fraction(30), width=1280, height=720, container="mp4")


def test_the_readme_has_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
@pytest.mark.anyio
async def test_an_example_runs_and_leaves_results(number: int, tmp_path: Path) -> None:
    simulator = Simulator(speed=50, sources=lambda _: CLIP)
    async with serve(simulator, host="127.0.0.1", port=0) as url:
        environment = {**os.environ, "HITPAW_API_KEY": "key", "HITPAW_API_BASE_URL": url}
        with anyio.fail_after(60):
            program = [sys.executable, "-W", "error", "-c", EXAMPLES[number]]
            ended = await anyio.run_process(program, cwd=tmp_path, env=environment, stderr=subprocess.STDOUT)
    results = list((tmp_path / "enhanced").iterdir())
    assert len(results) == len(simulator.ledger) > 0
    for result in results:
        assert result.name in ended.stdout.decode()


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
