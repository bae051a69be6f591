"""The pytest plugin. pytest loads it in every project, so it imports nothing until a fixture is used."""

from __future__ import annotations

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

__all__ = ["hitpaw_routes", "hitpaw_simulator", "pytest_configure"]

STATE_FOLDER_NAME: Final = "HITPAW_STATE_DIR"


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
