"""A measurement in a process of its own, where memory counts from the start and nothing is waited for at the end."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["MEMORY_FOLDER", "answer", "isolated", "peak_bytes", "resident_bytes"]

MEMORY_FOLDER: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""For journals that need not outlive power, where it isn't the disk that is measured."""


def isolated(function: Callable[..., Any], *, folder: str | None = None, **arguments: Any) -> Any:
    """What a function, or a coroutine function, returns in a fresh interpreter. Arguments and result are JSON.

    Args:
        function: One that can be imported.
        folder: Where it keeps temporary files.
        arguments: Its keyword arguments.

    Raises:
        RuntimeError: It failed; its standard error has been shown.
    """
    command = [sys.executable, "-m", "benchmarks.isolated", function.__module__, function.__qualname__]
    done = subprocess.run(
        [*command, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ if folder is None else {**os.environ, "TMPDIR": folder},
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{function.__qualname__} failed in its own process.")
    return json.loads(done.stdout.splitlines()[-1])


def answer(result: Any) -> NoReturn:
    """End this process with a result. Thousands of tasks may be under way: to end those in order would take minutes."""
    print(json.dumps(result), flush=True)
    os._exit(0)


def resident_bytes() -> int:
    """The memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory that this process held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Run the function that the command line names."""
    module, name, arguments = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    if not asyncio.iscoroutinefunction(function):
        answer(function(**json.loads(arguments)))
    # It must answer before its loop ends, for that takes long.
    asyncio.run(_answered(function(**json.loads(arguments))))


async def _answered(result: Awaitable[Any]) -> NoReturn:
    answer(await result)


if __name__ == "__main__":
    main()
