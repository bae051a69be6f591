"""Starts the program that is killed, with a tracer on it, and tells how it ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from tests.crashes.worker import ENDED, LOG, Order

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROJECT: Final = Path(__file__).parents[2]

PATH_CALLS: Final = ("openat", "unlink", "link", "mkdir")
FILE_CALLS: Final = (
    "read",
    "pread64",
    "write",
    "pwrite64",
    "fdatasync",
    "fsync",
    "ftruncate",
    "fcntl",
    "flock",
    "close",
)
SOCKET_CALLS: Final = ("socket", "connect", "sendto", "recvfrom", "shutdown")
KILL_CALLS: Final = (*FILE_CALLS, *PATH_CALLS, *SOCKET_CALLS, "close")
"""Everything that changes or asks a file or a connection. What lies between two of them changes nothing outside."""

TRACER_ENDS_WITHIN_S: Final = 20


class TracingError(Exception):
    """strace isn't there, or may not trace."""


@attrs.frozen
class Ending:
    """How one process ended."""

    code: int
    """Negative: the signal that ended it."""
    is_hung: bool
    log: str

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL and not self.is_hung

    @property
    def is_finished(self) -> bool:
        return self.code == ENDED


class Lane:
    """One process after another. Use it as `with Lane(folder) as lane:`; `folder` is for its own files."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"

    def __enter__(self) -> Self:
        os.mkfifo(self._gate)
        self._gate_end = os.open(self._gate, os.O_RDWR)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crashes.worker"],
            cwd=PROJECT,
            env={**os.environ, "HITPAW_STATE_DIR": str(self._gate.with_name("state"))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        os.close(self._gate_end)
        self._gate.unlink()

    def run(self, order: Order, *strace: str) -> Ending:
        """Run a process to its end.

        Args:
            order: What it works on.
            strace: The tracer's options; none: it is not traced.

        Raises:
            TracingError: There is no tracing on this machine.
        """
        begun = self._begin(attrs.evolve(order, gate=str(self._gate) if strace else None))
        if isinstance(begun, Ending):
            return begun
        if not strace:
            return self.join(order)
        try:
            tracer = _attached(begun, strace)
        finally:
            os.write(self._gate_end, b".")  # Traced or not, it must come to its end.
            ending = self.join(order)
            os.read(self._gate_end, 1)
        tracer.communicate(timeout=TRACER_ENDS_WITHIN_S)
        return ending

    def start(self, order: Order) -> None:
        """Begin a process that runs beside others; `join` waits for its end."""
        self._begin(order)

    def join(self, order: Order) -> Ending:
        """Wait for the end of what was begun."""
        return _ending_of(self._answer(), order)

    def _begin(self, order: Order) -> int | Ending:
        """The process id; or the end, of a process that was killed before it said anything."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(attrs.asdict(order)) + "\n")
        self._process.stdin.flush()
        reply = self._answer()
        return reply if isinstance(reply, int) else _ending_of(reply, order)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the program that forks has ended"
        return json.loads(line)


def _ending_of(reply: dict[str, Any], order: Order) -> Ending:
    log = Path(order.folder, LOG)
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return Ending(reply["code"], reply["hung"], said)


def _attached(pid: int, options: Sequence[str]) -> subprocess.Popen[str]:
    """strace on a process that waits; it ends with it."""
    if shutil.which("strace") is None:
        raise TracingError("strace is not installed")
    output = () if "-o" in options else ("-o", os.devnull)
    tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), *output, *options], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if "attached" not in said:
        tracer.kill()
        tracer.communicate()
        raise TracingError(f"strace may not trace here: {said.strip()}")
    return tracer


def kill_at(call: str, number: int) -> tuple[str, ...]:
    """Options that kill a process on entering a thread's `number`-th system call of this kind."""
    return ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
