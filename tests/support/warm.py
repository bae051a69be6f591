"""Everything that the command line loads, loaded: programs that tests start are forked from an interpreter with it."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Final

OWN: Final = (
    "hitpaw_async.cli.app",
    "hitpaw_async.cli.commands.enhance",
    "hitpaw_async.client",
    "hitpaw_async.batch.scheduler",
    "hitpaw_async.media",
)
OTHERS: Final = ("anyio._backends._asyncio", "av", "httpx", "rich.console", "rich.table", "sqlite3", "pytest")
"""pytest as well: multiprocessing loads the main program of the process that asks, in each child."""

for _name in OWN:
    importlib.import_module(_name)
for _name in OTHERS:
    with suppress(ImportError):
        importlib.import_module(_name)
