from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from blockbuster import blockbuster_ctx

if TYPE_CHECKING:
    from collections.abc import Iterator


# With bytecode that is kept, what tests start is there in half the time, and so is the next run of pytest.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


_NUMBERS = itertools.count()


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start.

    A shell without job control lets whatever it starts in the background ignore it, and children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the developer's key, host, settings or what earlier runs remember."""
    monkeypatch.setenv("HITPAW_CONFIG", os.devnull)
    state = tmp_path_factory.getbasetemp() / "states" / str(next(_NUMBERS))
    state.mkdir(parents=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.delenv("HITPAW_STATE_DIR", raising=False)
    for name in ("HITPAW_API_KEY", "HITPAW_API_BASE_URL", "NO_COLOR", "COLUMNS", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """A blocking call of the library on asyncio's loop fails the test."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("anyio_backend") == "trio":
        yield  # There is no such loop, and looking costs a sixth of a test's time.
        return
    with blockbuster_ctx("hitpaw_async") as blockbuster:
        # A client is built by plain code, which may run on a loop: its key file, one line, is read there, once.
        blockbuster.functions["io.BufferedReader.read"].can_block_in("hitpaw_async/_vendor/credentials.py", "_read_key")
        # So is a batch: where it is, is found out there, and takes one call of the system.
        blockbuster.functions["os.getcwd"].can_block_in("hitpaw_async/batch/journal/opening.py", "anchored")
        yield
