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
}


@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
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
