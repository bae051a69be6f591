"""What `hitpaw_async.simulator` offers, and what it says where an extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hitpaw_async import simulator


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)


def test_every_public_name_is_there() -> None:
    for name in simulator.__all__:
        assert getattr(simulator, name).__name__ == name
        assert name in dir(simulator)
    with pytest.raises(AttributeError, match="nothing"):
        _ = simulator.nothing


def test_importing_it_loads_no_framework() -> None:
    seen = run(
        "import sys, hitpaw_async.simulator; "
        "print([name for name in ('starlette', 'uvicorn', 'av', 'httpx') if name in sys.modules])"
    )
    assert seen.stdout.strip() == "[]", seen.stderr


@pytest.mark.parametrize(("missing", "name"), [("starlette", "Simulator"), ("uvicorn", "serve")])
def test_a_missing_extra_is_named_with_its_command(missing: str, name: str) -> None:
    seen = run(f"import sys; sys.modules[{missing!r}] = None; from hitpaw_async.simulator import {name}")
    assert "MissingExtraError" in seen.stderr
    assert "pip install 'hitpaw-async[simulator]'" in seen.stderr


def test_the_documentation_says_what_is_assumed() -> None:
    assert simulator.__doc__ is not None
    assert "lanczos, not AI" in simulator.__doc__
    assert "What is assumed" in simulator.__doc__
