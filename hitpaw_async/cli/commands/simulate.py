"""`hitpaw simulate`: the simulator as a server, until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio

from hitpaw_async.cli.signals import stop_on_signals
from hitpaw_async.simulator import FaultScript, Simulator, serve

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run_simulator"]

FILES_SHOWN_MAX = 10


def run_simulator(
    *, host: str, port: int, credits_given: int, speed: float, faults: Path | None, files: Path | None
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: The address, the fault script or the folder can't be used.
    """
    script = None if faults is None else FaultScript.load(faults)
    simulator = Simulator(credits=credits_given, speed=speed, faults=script, files=files)
    names = sorted(path.name for path in files.iterdir() if path.is_file()) if files and files.is_dir() else []
    anyio.run(_serve, simulator, host, port, names)


async def _serve(simulator: Simulator, host: str, port: int, names: list[str]) -> None:
    async with stop_on_signals(), serve(simulator, host=host, port=port) as base_url:
        _announce(base_url, names)
        await anyio.sleep_forever()


def _announce(base_url: str, names: list[str]) -> None:
    print(f"The simulator is at {base_url} (lanczos, not AI; it spends nothing). Ctrl-C ends it.")
    print(f"  export HITPAW_API_KEY=anything HITPAW_API_BASE_URL={base_url}")
    print(f"  its ledger: {base_url}/simulator/ledger")
    for name in names[:FILES_SHOWN_MAX]:
        print(f"  {base_url}/files/{quote(name)}")
    if len(names) > FILES_SHOWN_MAX:
        print(f"  … and {len(names) - FILES_SHOWN_MAX} more under {base_url}/files/")
    print(end="", flush=True)
