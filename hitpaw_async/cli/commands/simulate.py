"""`hitpaw simulate`: the simulator as a server, until it is told to stop."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import number, whole_number

if TYPE_CHECKING:
    from hitpaw_async.simulator import Simulator


from pathlib import Path
from urllib.parse import quote

import anyio

from hitpaw_async.cli.signals import stop_on_signals

__all__ = ["simulate"]

FILES_SHOWN_MAX = 10


def simulate(
    *,
    host: Annotated[str, Parameter(help="Address to listen on. Keep it on this machine.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port; 0 is any free one.", converter=whole_number)] = 8787,
    credits_given: Annotated[
        int, Parameter(name="--credits", help="CREDITS in the account.", converter=whole_number)
    ] = 1000,
    speed: Annotated[
        float, Parameter(help="How many times faster jobs go than at the vendor.", converter=number)
    ] = 1.0,
    faults: Annotated[Path | None, Parameter(help="FILE: a JSON script of what goes wrong.")] = None,
    files: Annotated[Path | None, Parameter(help="DIR: a folder of videos to serve under /files/.")] = None,
) -> int:
    """Serve a simulator of the vendor.

    It has the same calls, a ledger of its own, and real results (lanczos, not AI).

    Examples:
        hitpaw simulate --credits 100 --speed 20 --files clips
    """
    from hitpaw_async.simulator import FaultScript, Simulator  # noqa: PLC0415 (an extra)

    script = None if faults is None else FaultScript.load(faults)
    simulator = Simulator(credits=credits_given, speed=speed, faults=script, files=files)
    names = sorted(path.name for path in files.iterdir() if path.is_file()) if files and files.is_dir() else []
    anyio.run(_serve, simulator, host, port, names)
    return ExitCode.DONE


async def _serve(simulator: "Simulator", host: str, port: int, names: list[str]) -> None:
    from hitpaw_async.simulator import serve  # noqa: PLC0415 (an extra)

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
