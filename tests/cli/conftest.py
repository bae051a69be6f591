from __future__ import annotations

import json
import re
import signal
import urllib.request
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hitpaw_async.simulator.clips import make_clips
from tests.cli.program import Program, Running
from tests.cli.tiny_vendor import KEY, TinyVendor
from tests.support.shared import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program, without a key."""
    return Program(tmp_path)


@pytest.fixture
def vendor() -> Iterator[TinyVendor]:
    with TinyVendor() as vendor:
        yield vendor


@pytest.fixture
def hitpaw(program: Program, vendor: TinyVendor) -> Program:
    """The program, set up for the tiny vendor."""
    program.environment = {"HITPAW_API_KEY": KEY, "HITPAW_API_BASE_URL": vendor.base_url}
    return program


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        make_clips(folder)
        (folder / "empty.mp4").write_bytes(b"")
        (folder / "truncated.mp4").write_bytes((folder / "landscape.mp4").read_bytes()[:3000])
        (folder / "text.mp4").write_text("This is not a video. " * 100)

    return made_once(tmp_path_factory, "clips-of-the-command-line", make)


@attrs.frozen
class Simulated:
    """`hitpaw simulate`, running."""

    running: Running
    base_url: str
    announced: list[str]

    @property
    def ledger(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base_url}/simulator/ledger", timeout=10) as reply:
            return dict(json.load(reply))

    @property
    def charges(self) -> list[str]:
        """The sources' file names, as often as they were charged."""
        return sorted(charge["video_url"].rpartition("/")[2] for charge in self.ledger["charges"])


@pytest.fixture
def simulated(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    program = Program(tmp_path_factory.mktemp("simulator"))
    running = program.start("simulate", "--port", 0, "--speed", 30, "--credits", 50, "--files", clips)
    assert running.process.stdout is not None
    announced = [running.process.stdout.readline() for _ in range(3)]
    found = re.search(r"http://127\.0\.0\.1:\d+", announced[0])
    assert found is not None, announced
    try:
        yield Simulated(running, found[0], announced)
    finally:
        if running.process.poll() is None:
            running.signal_group(signal.SIGINT)
        running.end()
