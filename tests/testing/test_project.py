"""A user's project tests its own code with the plugin: in a folder and a process of its own, and offline.

`.ci/run` does the same with the built wheel. Its jobs take two hours each; its processes are given a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "project"
RUNS = {
    "anyio, asyncio and trio": ("test_studio.py", "--anyio-mode=auto"),
    "pytest-asyncio, automatic mode": ("test_studio.py", "--asyncio-mode=auto"),
    "strict modes": ("test_marked.py",),
    "neither a mode nor a mark": ("test_studio.py",),
}


@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
@pytest.mark.slow
def test_a_users_project_tests_its_own_code(arguments: tuple[str, ...], tmp_path: Path) -> None:
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HITPAW_", "PYTEST_"))}
    done = subprocess.run(
        program, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 6


WITH_A_JOURNAL = """
import os, subprocess, sys
from pathlib import Path

import pytest
from hitpaw_async import AsyncHitPaw, ExportRequest

PROGRAM = "import os; print(os.environ['HITPAW_STATE_DIR'])"


@pytest.mark.anyio
async def test_a_batch_with_a_journal(hitpaw_simulator, tmp_path):
    request = ExportRequest("https://videos.test/a.mp4", model=17, resolution="1280x720")
    async with AsyncHitPaw() as hitpaw, hitpaw.batch(journal=tmp_path / "journal.db") as batch:
        assert [outcome.state.value async for outcome in batch.run([request])] == ["done"]
    folder = Path(os.environ["HITPAW_STATE_DIR"])
    assert [*(folder / "journals").iterdir()], "it remembers its journals, for this run"


def test_programs_that_a_test_starts_keep_out_of_it_as_well():
    named = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    Path(os.environ["TELLS"]).write_text(named)
"""


@pytest.mark.parametrize("named", [None, "mine"])
@pytest.mark.slow
def test_a_users_tests_leave_nothing_among_what_the_users_batches_remember(tmp_path: Path, named: str | None) -> None:
    home, project, tells = (tmp_path / name for name in ("home", "project", "tells"))
    for folder in (home, project):
        folder.mkdir()
    (project / "test_journal.py").write_text(WITH_A_JOURNAL)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HITPAW_", "PYTEST_"))}
    environment |= {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TELLS": str(tells)}
    if named is not None:
        environment["HITPAW_STATE_DIR"] = str(home / named)
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_journal.py"]
    done = subprocess.run(
        program, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [*home.iterdir()] == []
    folder = Path(tells.read_text().strip())
    assert not folder.is_relative_to(home)
    assert not folder.exists(), "it goes with the run"
