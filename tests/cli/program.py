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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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
    launcher: tuple[str, ...] = ("-m", "hitpaw_async")

    def start(self, *arguments: object, stdin: int = subprocess.DEVNULL) -> Running:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("HITPAW_", "COLUMNS", "CI"))
        }
        inherited.setdefault("XDG_STATE_HOME", str(self.folder.parent / "state"))
        process = subprocess.Popen(
            [sys.executable, *self.launcher, *map(str, arguments)],
            cwd=self.folder,
            env={
                "XDG_STATE_HOME": str(self.folder.parent / "state"),
                **inherited,
                "HITPAW_CONFIG": os.devnull,
                **self.environment,
            },
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Running(process)

    def run(self, *arguments: object, stdin: str | None = None) -> Said:
        running = self.start(*arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        return running.end(stdin)


@attrs.define(eq=False)
class Running:
    """A process under way."""

    process: subprocess.Popen[str]
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
        said = Said(self.process.returncode, out, err, time.monotonic() - self.started_at)
        assert "Traceback" not in said.err, said.err
        return said


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again until something is so, for a bounded time."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def write_list(folder: Path, rows: Sequence[dict[str, object]]) -> Path:
    """A list of videos as JSON Lines."""
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
