"""The command line `hitpaw`. Needs the extra `cli`; without it, `main` says how to install it."""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

__all__ = ["main"]

_EXTRA = ("cyclopts", "platformdirs", "rich")
_FOR_HELP: tuple[list[str], ...] = ([], ["--help"], ["-h"])
_INTERRUPTED = 130
"""`ExitCode.INTERRUPTED`, without loading what stands beside it."""
_OUTPUT_FAILURES = (errno.EPIPE, errno.ENOSPC, errno.EIO)
"""What a reader that has left, a full disk and a terminal that is gone look like."""
_PATH_FAILURES = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
"""What a path that leads nowhere for this user looks like, even when it is only looked at."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What was typed after `hitpaw`; by default the process's own arguments.

    Returns:
        The exit code.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A file name of another encoding must not end the program.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_FAILURES:
            raise
        _forget(sys.stdout)
        try:
            if error.errno != errno.EPIPE:
                sys.stderr.write(f"hitpaw: the output can't be written: {error.strerror}\n")
                sys.stderr.flush()
        except OSError:
            _forget(sys.stderr)
        return _INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("hitpaw: interrupted\n")
        sys.stderr.flush()
        # Not by way of the interpreter's end: it would wait for a thread that waits for a terminal or a reader.
        os._exit(_INTERRUPTED)
    return code


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    if [*arguments] in _FOR_HELP:
        from hitpaw_async.cli.overview import overview  # noqa: PLC0415 (nothing heavier is loaded for it)

        print(overview())
        return 0
    from hitpaw_async import errors  # noqa: PLC0415 (start-up stays light)
    from hitpaw_async._errors import internal_error  # noqa: PLC0415
    from hitpaw_async.cli.exit_codes import ExitCode, exit_code_of  # noqa: PLC0415
    from hitpaw_async.cli.output.messages import complain  # noqa: PLC0415

    try:
        return _app()(arguments)
    except errors.JournalError as error:
        # Named on the command line, and it could not be opened: nothing was spent.
        complain(str(error))
        return ExitCode.JOURNAL_BUSY if isinstance(error, errors.JournalBusyError) else ExitCode.USAGE
    except errors.HitPawError as error:
        complain(str(error))
        return exit_code_of(error)
    except OSError as error:
        problem = _path_problem(error)
        if problem is None:
            raise
        complain(problem)
        return ExitCode.USAGE
    except Exception as error:  # noqa: BLE001 (a bug of ours, in words)
        complain(str(internal_error(error)))
        return ExitCode.INCOMPLETE


def _open_closed_streams() -> None:
    """Open what daemons, cron and `>&-` leave closed, to nowhere.

    Their numbers must be taken: else the journal gets one of them, and what FFmpeg or an interpreter writes to standard
    error lands in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given: those below are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 (it takes no keyword)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (till the end)


def _path_problem(error: OSError) -> str | None:
    """What is wrong with a path, for a person; None where it is something else."""
    if error.errno == errno.ENOENT and not _has_folder():
        return "The folder that this was started in is gone. Change into one that is there (cd) and start again."
    if error.filename is None or error.errno not in _PATH_FAILURES:
        return None
    return f"{error.filename} can't be used: {error.strerror}. Correct the path or its rights, or name another."


def _has_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd loads nothing less)
    except OSError:
        return False
    return True


def _app() -> Callable[[Sequence[str]], int]:
    from importlib.util import find_spec  # noqa: PLC0415

    from hitpaw_async.errors import MissingExtraError  # noqa: PLC0415

    if not all(map(find_spec, _EXTRA)):
        raise MissingExtraError("The command line", "cli")
    from hitpaw_async.cli.app import run_command_line  # noqa: PLC0415

    return run_command_line


def _forget(stream: TextIO) -> None:
    """Nobody reads a stream any more: what is still in its buffer must not fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
