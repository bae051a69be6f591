"""Python programs in processes of their own, forked from an interpreter that has loaded everything before.

Starting an interpreter and loading the command line takes half a second of a core, forking one some milliseconds.
What is forked has its own process group, environment, folder and streams, takes signals, and ends with an exit code:
it differs from a program that was started only in that its modules are loaded. Where that matters, or a variable that
Python reads as it starts (`PYTHONPATH`, `LC_ALL`), start a real one.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from multiprocessing.reduction import DupFd
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any, Final, TextIO

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

READ_AT_THE_START: Final = ("PYTHON", "LC_", "LANG", "LD_")
"""How variables begin that an interpreter looks at only once."""


def can_fork(changed: Iterable[str] = ()) -> bool:
    """Whether a program can be forked whose environment differs in these variables."""
    return "forkserver" in multiprocessing.get_all_start_methods() and not any(
        name.startswith(READ_AT_THE_START) for name in changed
    )


def start(
    module: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    stdin: int = PIPE,
) -> Forked | subprocess.Popen[str]:
    """Run `python -m MODULE ARGUMENTS` in a session of its own, forked where that is possible."""
    if can_fork():
        return fork(module, arguments, folder=folder, environment=environment or os.environ, stdin=stdin)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        start_new_session=True,
    )


@attrs.define(eq=False)
class Forked:
    """A forked program, with what tests use of `subprocess.Popen`."""

    _process: BaseProcess
    stdin: TextIO | None
    stdout: TextIO | None
    stderr: TextIO | None
    _said: list[str] = attrs.field(factory=lambda: ["", ""])
    _readers: list[threading.Thread] = attrs.field(factory=list)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("hitpaw", timeout)
        return code

    def communicate(self, text: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write to its standard input, close that, and read all it says until it ends."""
        if not self._readers:
            for number, stream in enumerate((self.stdout, self.stderr)):
                if stream is not None:
                    self._readers.append(threading.Thread(target=self._read, args=(number, stream), daemon=True))
            for reader in self._readers:
                reader.start()
            if self.stdin is not None:
                try:
                    self.stdin.write(text or "")
                    self.stdin.close()
                except BrokenPipeError:
                    pass  # It ended before it read all: its exit code says why.
        self.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return self._said[0], self._said[1]

    def _read(self, number: int, stream: TextIO) -> None:
        with stream:
            self._said[number] = stream.read()


def fork(
    module: str,
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: int = DEVNULL,
    stdout: int = PIPE,
    stderr: int = PIPE,
) -> Forked:
    """Run `python -m MODULE ARGUMENTS` as the leader of a new session.

    The streams are file descriptors, PIPE or DEVNULL.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.warm"])
    begun, begins = os.pipe()
    to_close, passed, ours = [begins], [_Descriptor(begins)], []
    for number, stream in enumerate((stdin, stdout, stderr)):
        own = None
        if stream == PIPE:
            reads, writes = os.pipe()
            stream, own = (reads, open(writes, "w")) if number == 0 else (writes, open(reads))  # noqa: PLW2901, PTH123, SIM115
            to_close.append(stream)
        elif stream == DEVNULL:
            stream = os.open(os.devnull, os.O_RDWR)  # noqa: PLW2901
            to_close.append(stream)
        passed.append(_Descriptor(stream))
        ours.append(own)
    process = context.Process(target=_run, args=(module, [*arguments], str(folder), {**environment}, *passed))
    process.start()
    for descriptor in to_close:
        os.close(descriptor)
    with open(begun, "rb") as waiting:  # noqa: PTH123 (a descriptor)
        waiting.read()  # until it leads its session: from then on, it gets the signals of its group
    return Forked(process, ours[0], ours[1], ours[2])


@attrs.frozen
class _Descriptor:
    """A file descriptor that goes to the forked process, where it is a number again."""

    number: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (DupFd(self.number),)


def _arrived(descriptor: Any) -> int:
    number: int = descriptor.detach()
    return number


def _run(
    module: str, arguments: list[str], folder: str, environment: dict[str, str], begins: int, *streams: int
) -> None:
    """Become the program, in the forked process."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", errors="backslashreplace")  # noqa: SIM115
    os.close(begins)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
