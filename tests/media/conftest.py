from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.media.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clips of this session are kept."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running
