from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.media.manners import FileServer
from tests.support.shared import shared_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the clips of this session are kept."""
    folder = shared_folder(tmp_path_factory) / "videos"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def origin() -> Iterator[FileServer]:
    with FileServer() as running:
        yield running
