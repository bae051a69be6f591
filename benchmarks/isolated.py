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
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["answer", "isolated", "peak_bytes", "resident_bytes"]


def isolated(function: Callable[..., Coroutine[Any, Any, Any]], **arguments: Any) -> Any:
    """What the coroutine function returns in a fresh interpreter. Arguments and result are JSON.

    Raises:
        RuntimeError: It failed; its standard error has been shown.
    """
    command = [sys.executable, "-m", "benchmarks.isolated", function.__module__, function.__qualname__]
    done = subprocess.run(
        [*command, json.dumps(arguments)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], check=False
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


async def _run(function: Callable[..., Coroutine[Any, Any, Any]], arguments: dict[str, Any]) -> None:
    answer(await function(**arguments))


def main() -> None:
    """Run the function that the command line names."""
    module, name, arguments = sys.argv[1:]
    function = getattr(importlib.import_module(module), name)
    asyncio.run(_run(function, json.loads(arguments)))


if __name__ == "__main__":
    main()
