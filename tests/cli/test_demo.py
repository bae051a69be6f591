from __future__ import annotations

import re
from typing import TYPE_CHECKING

import av
import pytest

from hitpaw_async.cli import main
from hitpaw_async.cli.commands.demo import _fresh_folder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program

DEMO_S = 60
ATTRIBUTION = '"Big Buck Bunny", (c) copyright 2008, Blender Foundation / www.bigbuckbunny.org, CC BY 3.0'


def size_of(path: Path) -> tuple[int, int]:
    """The size of a picture that was decoded, and of all others in the file."""
    with av.open(str(path)) as video:
        sizes = {(frame.width, frame.height) for frame in video.decode(video=0)}
    (size,) = sizes
    return size


@pytest.mark.slow
def test_the_demo_enhances_real_videos_within_a_budget(program: Program, tmp_path: Path) -> None:
    # Neither is looked at.
    program.environment = {"HITPAW_API_KEY": "bad key", "HITPAW_API_BASE_URL": "http://127.0.0.1:9"}

    first = program.run("demo")

    assert first.code == 0
    assert first.took_s < DEMO_S
    folder = tmp_path / "hitpaw-demo"
    opening = first.out.splitlines()[:2]
    assert re.match(
        r"\d+ real videos went to a simulated vendor with a budget of \d+ credits: \d+ enhanced", opening[0]
    )
    assert re.search(r"\. At most \d+ credits spent, none of them real\.$", opening[0])
    assert opening[1] == f"The results are in {folder}"
    rows = re.findall(r"^(\S+) (\d+x\d+), ([\d.]+) fps +(?:(\S+) (\d+x\d+))? +(\d+)? +(\w+)", first.out, re.MULTILINE)
    assert len(rows) >= 6
    states = [row[-1] for row in rows]
    assert (states.count("rejected"), states.count("failed"), states.count("skipped")) == (1, 1, 1)
    assert states.count("done") == len(rows) - 3
    shown = {row[3]: tuple(map(int, row[4].split("x"))) for row in rows if row[3]}
    assert {path.name for path in folder.glob("*.mp4")} == shown.keys()
    assert {name: size_of(folder / name) for name in shown} == shown
    assert any(width < height for width, height in shown.values())
    assert "lanczos, not AI" in first.out
    assert ATTRIBUTION in first.out


def test_a_folder_in_use_is_left_alone_and_a_fresh_one_made_within(tmp_path: Path) -> None:
    folder = tmp_path / "hitpaw-demo"

    assert _fresh_folder(folder) == folder
    (folder / "film.mp4").write_bytes(b"of the first run")
    assert _fresh_folder(folder) == folder / "run-2"
    assert _fresh_folder(folder) == folder / "run-3"


def test_a_folder_that_cannot_be_used_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("a file")

    assert main(["demo", "-o", str(tmp_path / "taken")]) == 2
    assert "taken can't be used" in capsys.readouterr().err
