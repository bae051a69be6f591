"""What does it cost to begin? `import hitpaw_async` beside `import httpx`, and the first client beside httpx's.

Imports are `benchmarks.imports`. A first client counts once it could send over TLS: httpx reads the authorities when a
client is built, the library before its first connection, in a thread. Each sample is a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from benchmarks import imports
from benchmarks.measures import Goal, Options, Result, Row

__all__ = ["measure"]

_PROGRAM: Final = """
import time
{before}
began_s = time.process_time()
{statement}
print(time.process_time() - began_s)
"""
_OURS: Final = (
    "import anyio, hitpaw_async, hitpaw_async.client\nfrom hitpaw_async._transport.tls import tls_context",
    "client = hitpaw_async.AsyncHitPaw(api_key='key')\nanyio.run(tls_context)",
)
_HTTPX: Final = (
    "import anyio, httpcore, httpx",
    "client = httpx.AsyncClient()\nanyio.run(anyio.sleep, 0)",
)


def measure(options: Options) -> Result:
    """The rows of this question."""
    samples = imports.measure(options.rounds)
    pairs = [(_cpu_s(*_OURS), _cpu_s(*_HTTPX)) for _ in range(options.rounds)]
    return Result(
        rows=[
            Row(
                name="import",
                measure="CPU of `import hitpaw_async`",
                unit="ms",
                ours=[figure * 1e3 for figure in samples["hitpaw_async"]],
                peer_name="`import httpx`",
                peer=[figure * 1e3 for figure in samples["httpx"]],
                goal=Goal.at_most(0.15),
            ),
            Row(
                name="first-client",
                measure="CPU of the first client, ready for TLS",
                unit="ms",
                ours=[mine * 1e3 for mine, _ in pairs],
                peer_name="`httpx.AsyncClient()`",
                peer=[theirs * 1e3 for _, theirs in pairs],
                goal=Goal.at_most(1.1),
            ),
        ]
    )


def _cpu_s(before: str, statement: str) -> float:
    program = _PROGRAM.format(before=before, statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)
