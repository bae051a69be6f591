"""The package within a zip, as zipapps and other bundles carry it: nothing of it is a file of its own."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hitpaw_async

if TYPE_CHECKING:
    from tests.cli.program import Program


pytestmark = pytest.mark.slow


@pytest.fixture
def bundled(program: Program, tmp_path: Path) -> Program:
    source = Path(hitpaw_async.__path__[0])
    bundle = tmp_path / "app.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for path in source.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, Path(source.name) / path.relative_to(source))
    program.environment = {"PYTHONPATH": str(bundle)}
    return program


def test_the_demo_and_its_report_are_made_from_a_zip(bundled: Program, tmp_path: Path) -> None:
    said = bundled.run("demo", "-o", "out")

    assert said.code == 0
    assert "<html" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    again = bundled.run("report", "out", "-o", "again.html", "--offline")
    assert (again.code, (tmp_path / "again.html").is_file()) == (0, True)


def test_doctor_reads_the_sample_in_a_zip(bundled: Program) -> None:
    said = bundled.run("doctor", "--offline")
    assert "works: the sample is 640x360, 25 fps, 5 s" in said.out


def test_the_program_runs_from_the_zip_and_not_from_the_folder(bundled: Program, tmp_path: Path) -> None:
    bundled.launcher = ("-c", "import hitpaw_async; print(hitpaw_async.__file__)")
    assert bundled.run().out.startswith(str(tmp_path / "app.zip"))


def test_a_probe_in_a_process_of_its_own_finds_the_zip(bundled: Program) -> None:
    program = (
        "import anyio, functools, importlib.resources as r; from hitpaw_async.simulator.clips import SAMPLE;"
        "from hitpaw_async.media import ProcessLimits, probe\n"
        "with r.as_file(SAMPLE) as path: print(anyio.run(functools.partial(probe, path, process=ProcessLimits())))"
    )
    bundled.launcher = ("-c", program)
    said = bundled.run()
    assert "duration_s=5.0" in said.out, said.err
