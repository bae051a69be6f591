"""Ctrl-C, once and twice, on a real process: a job id that had arrived is in the journal afterwards."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
import pytest

from tests.cli.program import wait_until
from tests.cli.tiny_vendor import TinyVendor
from tests.support.interpreters import start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from types import TracebackType

    from tests.support.interpreters import Forked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C is no signal that a test could send")

ROOT = Path(__file__).parents[2]
HANGS_AFTER_S = 30.0


@pytest.fixture
def vendor() -> Iterator[TinyVendor]:
    with TinyVendor() as vendor:
        vendor.may_answer.clear()
        yield vendor


@attrs.define(eq=False)
class Interrupted:
    """The program under way. It is killed where it hangs."""

    backend: str
    base_url: str
    journal: Path
    waits_for: str
    _process: subprocess.Popen[str] | Forked = attrs.field(init=False)
    _watchdog: threading.Timer = attrs.field(init=False)

    def __enter__(self) -> Self:
        given = (self.backend, self.base_url, str(self.journal), self.waits_for)
        self._process = start("tests.batch.interrupted", given, folder=ROOT)
        self._watchdog = threading.Timer(HANGS_AFTER_S, self._process.kill)
        self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()

    def hears(self, word: str) -> None:
        """Wait until the program says this."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"it never said {word!r}: {self._errors()}")

    def interrupt(self, times: int) -> None:
        for _ in range(times):
            self._process.send_signal(signal.SIGINT)
            self.hears("struck")

    def go_on(self) -> None:
        """Let what waits for a line go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> str:
        """Wait until it has ended by the signal, and not by itself. Returns what it said on standard error."""
        said = self._errors()
        assert self._process.wait() != -signal.SIGKILL, f"it hung: {said}"
        assert "KeyboardInterrupt" in said
        return said

    def _errors(self) -> str:
        """All that is written on standard error until the end."""
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def row(self) -> tuple[str, str | None]:
        """The state and the job id of the one item in the journal."""
        with closing(sqlite3.connect(self.journal)) as connection:
            state, job_id = connection.execute("SELECT state, job_id FROM items").fetchone()
        return state, job_id


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_while_the_answer_is_written_it_is_kept(
    backend: str, vendor: TinyVendor, tmp_path: Path, times: int
) -> None:
    with Interrupted(backend, vendor.base_url, tmp_path / "journal.db", "the answer") as program:
        vendor.may_answer.set()
        program.hears("writing")
        program.interrupt(times)
        program.go_on()
        program.end()
        assert program.row() == ("submitted", "job-one.mp4-1")
    assert vendor.charges.total() == 1


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_while_the_answer_waits_for_the_disk_it_is_kept(
    backend: str, vendor: TinyVendor, tmp_path: Path, times: int
) -> None:
    with Interrupted(backend, vendor.base_url, tmp_path / "journal.db", "something else") as program:
        wait_until(lambda: vendor.charges.total() == 1)
        program.go_on()
        program.hears("writing")
        vendor.may_answer.set()
        program.hears("queued")
        program.interrupt(times)
        program.go_on()
        program.end()
        assert program.row() == ("submitted", "job-one.mp4-1")
    assert vendor.charges.total() == 1


@pytest.mark.parametrize(("backend", "times"), [("asyncio", 1), ("trio", 1), ("trio", 2)])
def test_interrupted_before_the_answer_comes_it_is_waited_for(
    backend: str, vendor: TinyVendor, tmp_path: Path, times: int
) -> None:
    """A second Ctrl-C on asyncio cancels every task there is: then the item is UNCERTAIN at the next opening."""
    with Interrupted(backend, vendor.base_url, tmp_path / "journal.db", "nothing") as program:
        wait_until(lambda: vendor.charges.total() == 1)
        program.interrupt(times)
        vendor.may_answer.set()
        program.end()
        assert program.row() == ("submitted", "job-one.mp4-1")


@pytest.mark.parametrize(("backend", "times"), [("asyncio", 1), ("trio", 1), ("trio", 2)])
def test_interrupted_without_a_journal_the_job_is_told(
    backend: str, vendor: TinyVendor, tmp_path: Path, times: int
) -> None:
    with Interrupted(backend, vendor.base_url, tmp_path / "journal.db", "no journal") as program:
        wait_until(lambda: vendor.charges.total() == 1)
        program.interrupt(times)
        vendor.may_answer.set()
        said = program.end()
    assert "The export was accepted as job job-one.mp4-1 while its caller was cancelled." in said
    assert "Group" not in said
