"""Everything that the command line loads, loaded: programs that tests start are forked from an interpreter with it."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from contextlib import suppress
from typing import Final

import hitpaw_async.cli.commands

OWN: Final = (
    "hitpaw_async.cli.app",
    *(found.name for found in pkgutil.iter_modules(hitpaw_async.cli.commands.__path__, "hitpaw_async.cli.commands.")),
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

gc.collect()
gc.freeze()  # A look through what is loaded would copy it in each fork.
