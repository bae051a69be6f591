from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import Program, write_list
from tests.cli.test_enhance import QUICK
from tests.support.patience import soon

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Simulated


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_it_says_where_it_is_and_what_to_export_and_ctrl_c_ends_it_with_0(simulated: Simulated) -> None:
    assert simulated.announced[1] == (f"  export HITPAW_API_KEY=anything HITPAW_API_BASE_URL={simulated.base_url}\n")
    assert simulated.ledger["credits_left"] == 50

    simulated.running.signal_group(signal.SIGINT)
    said = simulated.running.end()

    assert (said.code, said.err) == (0, "")
    assert said.took_s < soon(2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--port", "0", "--faults", "absent.json"), "The fault script absent.json can't be read"),
        (("--port", "0", "--files", "absent"), "absent"),
        (("--files", "absent", "--port", "99999"), "absent"),
        (("--port", "0", "--speed", "0"), "a positive number is needed"),
        (("--port", "99999"), "can't listen on 127.0.0.1, port 99999"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_sentence(
    program: Program, arguments: tuple[str, ...], problem: str
) -> None:
    said = program.run("simulate", *arguments)

    assert (said.code, said.out) == (2, "")
    assert problem in said.err


def test_a_fault_script_breaks_what_it_says(program: Program, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text('{"rules": [{"call": "export", "nth": 1, "do": "drop", "when": "after"}]}')
    running = program.start("simulate", "--port", 0, "--faults", "faults.json", "--files", clips, "--speed", 50)
    assert running.process.stdout is not None
    base_url = running.process.stdout.readline().split()[4]
    program.environment = {"HITPAW_API_KEY": "any", "HITPAW_API_BASE_URL": base_url}
    rows: list[dict[str, object]] = [
        {"video_url": f"{base_url}/files/film.mov", "resolution": "256x144", "key": "film"}
    ]

    said = program.run("enhance", "-i", write_list(tmp_path, rows), "-o", "out", *QUICK)
    running.signal_group(signal.SIGINT)
    running.end()

    assert said.code == 1
    assert said.outcomes["film"]["state"] == "uncertain"
