"""The real program in a process of its own, and what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs

from tests.support.interpreters import Forked, can_fork, fork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LAUNCHER = ("-m", "hitpaw_async")
TIMEOUT_S = 30
OUTCOME_KEYS = ["event", "key", "video_url", "state", "job_id", "credits", "path", "error"]
SUMMARY_KEYS = {
    "event",
    "done",
    "failed",
    "rejected",
    "skipped",
    "uncertain",
    "credits_spent",
    "credits_reserved",
    "polls",
    "unfinished",
    "total",
}


@attrs.frozen
class Said:
    """How a process ended and what it wrote."""

    code: int
    out: str
    err: str
    took_s: float = 0.0

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON Lines: anything else in it is an error."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def outcomes(self) -> dict[str, dict[str, Any]]:
        """The outcome lines by key; the summary must be the last line, and the only one."""
        *outcomes, summary = self.events
        assert summary.keys() == SUMMARY_KEYS
        assert summary["event"] == "summary"
        for outcome in outcomes:
            assert list(outcome) == OUTCOME_KEYS
        assert len({outcome["key"] for outcome in outcomes}) == len(outcomes)
        return {outcome["key"]: outcome for outcome in outcomes}

    @property
    def summary(self) -> dict[str, Any]:
        return self.events[-1]


@attrs.define(eq=False)
class Program:
    """`hitpaw` with an environment of its own."""

    folder: Path
    environment: dict[str, str] = attrs.field(factory=dict)
    launcher: tuple[str, ...] = LAUNCHER
    starts_anew: bool = False
    """Never fork it: it inherits what only a new process does, such as a signal that is ignored."""

    def start(
        self,
        *arguments: object,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Running:
        """Start it: forked from an interpreter that has loaded it, if nothing depends on how one starts."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("HITPAW_", "COLUMNS", "CI"))
        }
        inherited.setdefault("XDG_STATE_HOME", str(self.folder.parent / "state"))
        environment = {**inherited, "HITPAW_CONFIG": os.devnull, **self.environment}
        if self.launcher == LAUNCHER and not self.starts_anew and can_fork(self.environment):
            forked = fork(
                LAUNCHER[1],
                [*map(str, arguments)],
                folder=self.folder,
                environment=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            return Running(forked)
        process = subprocess.Popen(
            [sys.executable, *self.launcher, *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        return Running(process)

    def on_terminal(self, typed: str, *arguments: object, stdout: int | None = None) -> tuple[int, str]:
        """Run it on a terminal where this is typed; its exit code, and what the terminal shows, without line breaks."""
        import pty  # noqa: PLC0415 (not everywhere)

        ours, theirs = pty.openpty()
        on_it = attrs.evolve(self, environment={**self.environment, "TERM": "xterm", "CI": ""})
        running = on_it.start(*arguments, stdin=theirs, stdout=theirs if stdout is None else stdout, stderr=theirs)
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = read_all(ours).decode()
        return running.process.wait(TIMEOUT_S), " ".join(shown.split())

    def run(self, *arguments: object, stdin: str | None = None) -> Said:
        running = self.start(*arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        return running.end(stdin)


@attrs.define(eq=False)
class Running:
    """A process under way."""

    process: subprocess.Popen[str] | Forked
    started_at: float = attrs.field(factory=time.monotonic)

    def signal_group(self, number: signal.Signals) -> None:
        """What a terminal does at Ctrl-C: the whole group gets it."""
        self.started_at = time.monotonic()
        os.killpg(self.process.pid, number)

    def end(self, stdin: str | None = None) -> Said:
        """Wait for its end; `took_s` counts from its start or its last signal."""
        try:
            out, err = self.process.communicate(stdin, timeout=TIMEOUT_S)
        except BaseException:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise
        assert self.process.returncode is not None
        said = Said(self.process.returncode, out, err, time.monotonic() - self.started_at)
        assert "Traceback" not in said.err, said.err
        return said


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until something is so, for a bounded time."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def read_all(terminal: int) -> bytes:
    """What programs have written to a terminal, once all have left it."""
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # Linux's way to say that nobody is at the other end.
    os.close(terminal)
    return shown


def write_list(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    """A list of videos as JSON Lines."""
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
