"""A pytest plugin. pytest loads it in every project, so it imports nothing until a fixture is used."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitpaw_async.testing.routes import V3Routes
    from hitpaw_async.testing.simulation import HitPawSimulator

__all__ = ["hitpaw_routes", "hitpaw_simulator", "pytest_configure", "pytest_pycollect_makeitem"]

STATE_FOLDER_NAME: Final = "HITPAW_STATE_DIR"

_FIXTURES: Final = frozenset({"hitpaw_routes", "hitpaw_simulator"})
_RUNNERS: Final = ("anyio", "asyncio", "trio")
"""Marks by which tests say who runs them."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the journals of tests out of what this user's own batches remember, in all that tests start, too.

    The folder is made by who needs it, and goes with the test run.
    """
    named = os.environ.get(STATE_FOLDER_NAME)
    folder = Path(tempfile.gettempdir()) / f"hitpaw-state-{os.urandom(16).hex()}"
    os.environ[STATE_FOLDER_NAME] = str(folder)

    def restore() -> None:
        if named is None:
            os.environ.pop(STATE_FOLDER_NAME, None)
        else:
            os.environ[STATE_FOLDER_NAME] = named
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(restore)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Have anyio's plugin run an `async def` test with a fixture of ours, if nobody else is to run it."""
    if not collector.istestfunction(obj, name) or not inspect.iscoroutinefunction(obj):
        return
    if _FIXTURES.isdisjoint(inspect.signature(obj).parameters) or _has_runner(collector, obj):
        return
    pytest.mark.anyio(obj)
    pytest.mark.usefixtures("anyio_backend")(obj)  # as the mark has anyio's plugin do, if it is asked after this one


def _has_runner(collector: pytest.Module | pytest.Class, test: object) -> bool:
    marks = {mark.name for mark in getattr(test, "pytestmark", ())}
    if any(runner in marks or collector.get_closest_marker(runner) is not None for runner in _RUNNERS):
        return True
    config = collector.config
    if not config.pluginmanager.hasplugin("anyio"):
        return True
    return _setting(config, "asyncio_mode") == "auto" or _setting(config, "trio_mode") is True


def _setting(config: pytest.Config, name: str) -> object:
    """An option of another plugin, from the command line or the configuration; None: that plugin is not there."""
    asked = config.getoption(name, None)
    if asked is not None:
        return asked
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None


@pytest.fixture
def hitpaw_simulator(request: pytest.FixtureRequest) -> Iterator[HitPawSimulator]:
    """A client and a vendor that can be told what to do, in this process and in virtual time."""
    from hitpaw_async.testing import HitPawSimulator, virtual_backend  # noqa: PLC0415 (who doesn't use it pays nothing)

    # Trio takes a clock when it starts, and never after. anyio's plugin starts it with what this name says.
    if "anyio_backend" in request.fixturenames:
        backend = request.getfixturevalue("anyio_backend")
        request.node.funcargs["anyio_backend"] = virtual_backend(backend)
    with HitPawSimulator() as simulator:
        yield simulator


@pytest.fixture
def hitpaw_routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[V3Routes]:
    """The vendor's calls as respx routes, for every `AsyncHitPaw()` of the test."""
    from hitpaw_async.testing.routes import mocked_routes  # noqa: PLC0415 (who doesn't use it pays nothing)

    monkeypatch.setenv("HITPAW_API_KEY", "key-of-a-test")
    monkeypatch.delenv("HITPAW_API_BASE_URL", raising=False)
    with mocked_routes() as routes:
        yield routes
