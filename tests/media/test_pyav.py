"""PyAV in the versions that people have: what is refused, and what differs between those that are not."""

from __future__ import annotations

import sys
import tomllib
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Final

import attrs
import av
import pytest
from packaging.requirements import Requirement

from hitpaw_async.errors import ConfigurationError, MissingExtraError
from hitpaw_async.media import probe_file
from hitpaw_async.media._pyav import AV_MAJORS, fraction, load_av
from hitpaw_async.simulator.clips import SAMPLE

PROJECT_FILE: Final = Path(__file__).parents[2] / "pyproject.toml"


@attrs.frozen
class Rational:
    """A rate as PyAV 19 has them: no Fraction, and false where it is none."""

    numerator: int
    denominator: int

    def __bool__(self) -> bool:
        return self.numerator != 0 and self.denominator != 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Rational(30000, 1001), Fraction(30000, 1001)),
        (Rational(0, 1), None),
        (Rational(1, 0), None),
        (Rational(0, 0), None),
        (None, None),
        (Fraction(0), None),
    ],
)
def test_a_rate_is_a_fraction_or_none(value: object, expected: Fraction | None) -> None:
    assert fraction(value) == expected
    assert isinstance(fraction(value), Fraction | None)


@pytest.mark.parametrize("version", ["14.4.0", "20.0.0", "20.0.0rc1", "100", "unknown"])
def test_a_version_that_nobody_has_tried_is_refused_and_the_file_is_not(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "__version__", version)

    with pytest.raises(ConfigurationError, match=rf"PyAV {version} is installed.* 15 to 19.*pip install"):
        probe_file(SAMPLE)


@pytest.mark.parametrize("version", ["15.0.0", "17.1.0", "19.0.2", "19.9.9"])
def test_versions_that_were_tried_are_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "__version__", version)

    assert load_av() is av


def test_what_is_installed_is_what_is_taken() -> None:
    project = tomllib.loads(PROJECT_FILE.read_text())["project"]
    [pinned] = [*map(Requirement, project["optional-dependencies"]["media"])]

    assert [major for major in range(1, 100) if f"{major}.5" in pinned.specifier] == [*AV_MAJORS]


def test_one_that_cannot_be_loaded_is_not_called_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ImportError("libavcodec.so.61: cannot open shared object file")

    monkeypatch.setitem(sys.modules, "av", Broken("av"))
    monkeypatch.delitem(sys.modules, "av.filter")

    with pytest.raises(ConfigurationError, match=r"libavcodec.so.61.*--force-reinstall") as caught:
        load_av()
    assert not isinstance(caught.value, MissingExtraError)
