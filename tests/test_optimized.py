"""`python -O` takes asserts away: nothing may depend on what they call."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import hitpaw_async

PACKAGE: Final = Path(hitpaw_async.__file__).parent
HARMLESS: Final = frozenset({"all", "any", "callable", "getattr", "hasattr", "isinstance", "issubclass", "len", "set"})
"""Functions that change nothing, whatever they are called with."""
EFFECTS: Final = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def asserts_with_effects(source: str) -> list[int]:
    """Lines of the asserts that may do more than look."""
    asserts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    return [node.lineno for node in asserts if any(map(has_effect, ast.walk(node.test)))]


def has_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return not (isinstance(node.func, ast.Name) and node.func.id in HARMLESS)
    return isinstance(node, EFFECTS)


MODULES: Final = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_assert_does_more_than_look(path: Path) -> None:
    assert asserts_with_effects(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "assert lanes.popleft() is lane",
        "assert (found := 1)",
        "assert [x for x in items if x.pop()]",
        "assert next(rows) == 1",
        "async def f():\n    assert await g",
    ],
)
def test_one_that_does_more_is_found(source: str) -> None:
    assert asserts_with_effects(source)


def test_nothing_asks_whether_asserts_run() -> None:
    users = [path.name for path in MODULES if "__debug__" in path.read_text(encoding="utf-8")]

    assert users == []


EXPIRING: Final = """
import anyio
from hitpaw_async import AsyncHitPaw, RetryPolicy, VideoFacts
from hitpaw_async._transport import connections as lanes
from hitpaw_async.simulator import Simulator, serve

async def main():
    lanes.KEEPALIVE_EXPIRY_S = 0.0  # Each connection has expired by the next call.
    facts = VideoFacts(duration_s=5, frame_rate=25, width=640, height=360)
    async with serve(Simulator(credits=1000, sources=lambda url: facts), port=0) as base_url:
        once = RetryPolicy(attempts_max=1)
        async with AsyncHitPaw(base_url=base_url, api_key="key", max_connections=8, retry=once) as hitpaw:
            jobs = [
                await hitpaw.export(f"https://a.example/{number}.mp4", model=17, resolution="1280x720")
                for number in range(8)
            ]
            for _ in range(4):
                async with anyio.create_task_group() as tasks:
                    for job in jobs:
                        tasks.start_soon(hitpaw.task, job.job_id)
    print(__debug__, len(jobs))

anyio.run(main)
"""


@pytest.mark.parametrize("flag", ["-O", "-OO"])
def test_expired_connections_are_replaced_without_asserts(flag: str) -> None:
    done = subprocess.run(
        [sys.executable, flag, "-c", EXPIRING], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout.split()) == (0, ["False", "8"]), done.stderr[-2000:]
