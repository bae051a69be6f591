from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitpaw_async.simulator.clips import SAMPLE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sample() -> Path:
    """A real video."""
    return SAMPLE
