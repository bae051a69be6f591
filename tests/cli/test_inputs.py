from __future__ import annotations

import json
import os
import threading
import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING

import anyio
import pytest

from hitpaw_async import ExportRequest, InvalidRequestError, Resolution, VideoModel
from hitpaw_async.cli.exit_codes import InputError, UsageError
from hitpaw_async.cli.inputs.rows import COLUMNS, InputFormat, sniffed_format
from hitpaw_async.cli.inputs.videos import Defaults, Inputs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.program import Program

DEFAULTS = Defaults(model=VideoModel.ANIMATION, resolution=Resolution(1280, 720))
URL = "https://videos.example.com/a.mp4"


def all_of(inputs: Inputs) -> list[ExportRequest]:
    async def collect() -> list[ExportRequest]:
        return [request async for request in inputs.stream()]

    return anyio.run(collect)


def problems_of(path: Path, content: bytes | str, list_format: InputFormat | None = None) -> tuple[str, ...]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with Inputs((), str(path), list_format, DEFAULTS) as inputs, pytest.raises(InputError) as raised:
        inputs.check()
    assert raised.value.total == len(raised.value.problems)
    return tuple(problem.removeprefix(f"{path}:") for problem in raised.value.problems)


CELLS = {
    "video_url": URL,
    "model": "face-soft",
    "resolution": "3840x2160",
    "extension": "mov",
    "key": "k-1",
    "priority": 7,
    "duration_s": 12.5,
    "frame_rate": "30000/1001",
    "width": 640,
    "height": 360,
    "size_bytes": 12345,
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.jsonl", json.dumps(CELLS)),
        ("list.jsonl", json.dumps(CELLS | {"model": 24, "resolution": [3840, 2160], "size_bytes": "12345"})),
        ("list.csv", f"{','.join(CELLS)}\n{','.join(map(str, CELLS.values()))}\n"),
        ("list.csv", f"\ufeff{';'.join(CELLS)}\r\n{';'.join(map(str, CELLS.values()))}\r\n"),
        (
            "list.csv",
            f'{",".join(CELLS)}\n"{chr(34).join(map(str, CELLS.values())).replace(chr(34), chr(34) + "," + chr(34))}"',
        ),
        ("list.data", json.dumps(CELLS)),
        ("list.data", f"{','.join(reversed(CELLS))}\n{','.join(map(str, reversed(CELLS.values())))}\n"),
    ],
)
def test_every_column_arrives(tmp_path: Path, name: str, content: str) -> None:
    assert tuple(CELLS) == COLUMNS
    (tmp_path / name).write_text(content)

    with Inputs((), str(tmp_path / name), None, DEFAULTS) as inputs:
        assert inputs.check() == 1
        assert not inputs.has_unknown_facts
        (request,) = all_of(inputs)

    assert (request.video_url, request.key, request.extension) == (URL, "k-1", ".mov")
    assert (request.model, request.resolution) == (VideoModel.FACE_SOFT, Resolution.UHD_4K)
    facts = request.facts
    assert facts is not None
    assert (facts.duration_s, facts.frame_rate) == (12.5, Fraction(30000, 1001))
    assert (facts.width, facts.height, facts.size_bytes) == (640, 360, 12345)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", f"# holidays\n\n  {URL}  \n"),
        ("list.csv", f"video_url,model,key\n\n{URL},,\n"),
        ("list.jsonl", f'\n{{"video_url": "{URL}", "model": null}}\n'),
    ],
)
def test_what_a_row_does_not_say_is_the_default(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    with Inputs((), str(tmp_path / name), None, DEFAULTS) as inputs:
        assert inputs.check() == 1
        assert inputs.has_unknown_facts
        assert all_of(inputs) == [DEFAULTS.request(URL)]


@pytest.mark.parametrize(
    ("name", "content", "problems"),
    [
        ("a.txt", "clip.mp4\n", ("1: video_url must be an http or https URL",)),
        ("a.txt", b"https://a.example/\xff\n", ("1: The line is not UTF-8",)),
        ("a.txt", f"{URL}\nhttps://a.example/{'x' * 70_000}\n{URL}\nb\n", ("2: The line is longer", "4: video_url")),
        (
            "a.csv",
            "url,model\n",
            ("1: There is no column 'url'. Did you mean video_url?", "1: The header has no column"),
        ),
        ("a.csv", "video_url,resolutoin\n", ("1: There is no column 'resolutoin'. Did you mean resolution?",)),
        ("a.csv", "video_url,colour,colour\n", ("1: The column colour stands there twice",)),
        ("a.csv", f"video_url,key,key\n{URL},1,2\n", ("1: The column key stands there twice",)),
        ("a.csv", f"video_url,key\n{URL},1,2\n", ("2: The row has 3 cells and the header 2",)),
        ("a.csv", "video_url,key\n,k\n", ("2: video_url is missing",)),
        (
            "a.csv",
            f"video_url,width\n{URL},wide\n{URL},0\n",
            ("2: width can't be 'wide'", "3: width must be a positive"),
        ),
        ("a.csv", f"video_url,frame_rate\n{URL},fast\n", ("2: frame_rate must be a positive number",)),
        ("a.csv", f'video_url,key\n"{URL}"x,1\n', ("2: The line is not CSV",)),
        ("a.jsonl", "{", ("1: The line is not JSON",)),
        ("a.jsonl", "[" * 60_000, ("1: The line is not JSON",)),
        ("a.jsonl", '["x"]', ("1: The line must be a JSON object",)),
        ("a.jsonl", '{"video_url": 7}', ("1: video_url can't be 7",)),
        (
            "a.jsonl",
            f'{{"video_url": "{URL}", "modell": 17}}',
            ("1: There is no column 'modell'. Did you mean model?",),
        ),
        ("a.jsonl", f'{{"video_url": "{URL}", "resolution": "big"}}', ("1: A resolution is written",)),
        ("a.jsonl", f'{{"video_url": "{URL}", "duration_s": NaN}}', ("1: duration_s must be a positive number",)),
        ("a.jsonl", f'{{"video_url": "{URL}", "size_bytes": true}}', ("1: size_bytes can't be True",)),
        ("a.jsonl", f'{{"video_url": "{URL}", "key": "a\\u0000"}}', ("1: key must be 1 to 512 printable characters",)),
        (
            "a.jsonl",
            '{"video_url": "https://a.example/\\ud800"}',
            ("1: video_url has a space or an invisible character",),
        ),
        ("a.jsonl", '{"model": 1, "width": -1}', ("1: The model 1", "1: width must be", "1: video_url is missing")),
    ],
)
def test_each_slip_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes | str, problems: tuple[str, ...]
) -> None:
    found = problems_of(tmp_path / name, content)

    assert len(found) == len(problems)
    for text, beginning in zip(found, problems, strict=True):
        assert text.startswith(beginning)


def test_a_quoted_line_break_does_not_shift_the_lines(tmp_path: Path) -> None:
    content = f'key,video_url\n"a","{URL}"\n"b\n",{URL}\nc,nonsense\n'

    assert problems_of(tmp_path / "a.csv", content)[-1].startswith("5: video_url")


def test_a_size_that_the_vendor_refuses_is_an_items_fate_and_no_slip(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"video_url,resolution,duration_s\n{URL},64x64,700\n")

    with Inputs((), str(tmp_path / "a.csv"), None, DEFAULTS) as inputs:
        assert inputs.check() == 1


def test_only_so_many_slips_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nonsense\n" * 1000)

    with Inputs((), str(tmp_path / "a.txt"), None, DEFAULTS) as inputs, pytest.raises(InputError) as raised:
        inputs.check()

    assert (len(raised.value.problems), raised.value.total) == (200, 1000)
    assert "the input has 1000 problems" in str(raised.value)
    assert str(raised.value).endswith("… and 800 more")


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b'\n\xef\xbb\xbf{"video_url"', InputFormat.TXT),
        (b'\xef\xbb\xbf {"video_url"', InputFormat.JSONL),
        (b"key;video_url\n", InputFormat.CSV),
        (b"video_url\n", InputFormat.CSV),
        (b"https://a.example/video_url,1\n", InputFormat.TXT),
        (b"", InputFormat.TXT),
    ],
)
def test_the_format_is_told_by_the_beginning(beginning: bytes, expected: InputFormat) -> None:
    assert sniffed_format(beginning) is expected


def test_a_given_format_counts_more_than_the_name(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(json.dumps(CELLS))

    with Inputs((), str(tmp_path / "list.txt"), InputFormat.JSONL, DEFAULTS) as inputs:
        assert inputs.check() == 1


@pytest.mark.slow
def test_what_is_read_is_not_held(tmp_path: Path) -> None:
    rows = 20_000
    with (tmp_path / "list.jsonl").open("w") as file:
        for number in range(rows):
            file.write(
                json.dumps({"video_url": f"https://videos.example.com/{number}.mp4", "key": f"k{number}"}) + "\n"
            )

    tracemalloc.start()
    with Inputs((), str(tmp_path / "list.jsonl"), None, DEFAULTS) as inputs:
        assert inputs.check() == rows
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 1_000_000  # Held, they are some twenty times as much.


def test_a_list_that_changes_after_the_check_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{URL}\n")
    with Inputs((), str(path), None, DEFAULTS) as inputs:
        inputs.check()
        path.write_text("nonsense\n")
        with pytest.raises(InputError, match=r"list\.txt:1: video_url"):
            all_of(inputs)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_can_be_read_only_once_is_kept(tmp_path: Path) -> None:
    pipe = tmp_path / "list.txt"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"{URL}\n",))
    writer.start()

    with Inputs((), str(pipe), None, DEFAULTS) as inputs:
        writer.join(10)
        assert inputs.check() == 1
        assert all_of(inputs) == all_of(inputs) == [DEFAULTS.request(URL)]


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_a_list_that_cannot_be_read_is_said_so(name: str) -> None:
    with pytest.raises(UsageError, match="can't be read"), Inputs((), name, None, DEFAULTS):
        pass


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "best"}, "The model 'best' is unknown"),
        ({"resolution": "8192x8192"}, "the largest that is accepted"),
        ({"extension": "m p 4"}, "extension must be a dot"),
        ({"web_hook_url": "somewhere"}, "web_hook_url must be"),
    ],
)
def test_defaults_that_fit_no_video_are_refused(changes: dict[str, str], problem: str) -> None:
    typed = {"model": "17", "resolution": "1280x720", "extension": "mp4", "web_hook_url": None, **changes}

    with pytest.raises(InvalidRequestError, match=problem):
        Defaults.parse(**typed)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["enhance", "plan"])
@pytest.mark.parametrize("content", ["", "# nothing yet\n\n"])
def test_a_list_without_a_video_is_a_slip(program: Program, tmp_path: Path, command: str, content: str) -> None:
    program.environment = {"HITPAW_API_KEY": "any"}
    (tmp_path / "list.txt").write_text(content)

    said = program.run(command, "-i", "list.txt")

    assert (said.code, said.out) == (2, "")
    assert "There is no video in list.txt" in said.err
    assert {path.name for path in tmp_path.iterdir()} == {"list.txt"}


@pytest.mark.parametrize(
    "template", ["{nonsense}{ext}", "results/{stem}{ext}", "{stem", "always-the-same.mp4", "{stem!r}"]
)
def test_a_name_that_cannot_be_used_is_refused_before_anything(program: Program, tmp_path: Path, template: str) -> None:
    program.environment = {"HITPAW_API_KEY": "any"}

    said = program.run("enhance", URL, "--no-probe", "--name", template)

    assert said.code == 2
    assert "{stem} {ext} {model} {width} {height} {key}" in said.err
    assert [*tmp_path.iterdir()] == []
