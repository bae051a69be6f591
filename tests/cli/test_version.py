from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from hitpaw_async._format import own_version

if TYPE_CHECKING:
    import pytest


def test_the_version_is_that_of_the_installed_package() -> None:
    assert own_version() == metadata.version("hitpaw-async")


def test_a_copy_without_metadata_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert "without its metadata" in own_version()
