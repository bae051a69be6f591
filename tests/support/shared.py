"""Files that take long to make, made once for all processes of pytest-xdist."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder of this run of pytest, the same for all its processes."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process to ask for it makes; the others wait. Nobody may change it."""
    folder = shared_folder(factory) / name
    done, lock = folder.with_suffix(".done"), folder.with_suffix(".lock")
    while not done.exists():
        try:
            lock.mkdir()
        except FileExistsError:
            time.sleep(0.05)
            continue
        try:
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
        finally:
            lock.rmdir()
    return folder
