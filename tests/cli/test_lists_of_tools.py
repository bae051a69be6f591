"""Lists as spreadsheets, editors and scripts write them: read as a person would, or refused with what to do."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from hitpaw_async.cli.exit_codes import InputError
from hitpaw_async.cli.inputs import lines, rows
from hitpaw_async.cli.inputs.cells import decimal_of, rate_text, seconds_of, whole_number_of
from hitpaw_async.cli.inputs.videos import Defaults, Inputs
from hitpaw_async.models import Resolution, VideoModel

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.models import ExportRequest

ONE = "https://films.example.com/one.mp4"
TWO = "https://films.example.com/two.mp4"
DEFAULTS = Defaults(model=VideoModel.ANIMATION, resolution=Resolution.FULL_HD)


def read(path: Path, content: bytes) -> list[ExportRequest]:
    path.write_bytes(content)
    with Inputs((), str(path), None, DEFAULTS) as inputs:
        inputs.check()
        return [*inputs.usable()]


def refused(path: Path, content: bytes) -> tuple[str, ...]:
    with pytest.raises(InputError) as failure:
        read(path, content)
    return failure.value.problems


TABLE = f"video_url,key\r\n{ONE},a\r\n{TWO},b\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "unnamed"])
def test_a_table_is_read_in_any_encoding_with_any_line_ends(tmp_path: Path, encoding: str, end: str, name: str) -> None:
    text = TABLE.replace("\r\n", end).replace(",", "\t" if name.endswith("tsv") else ",")

    found = read(tmp_path / name, text.encode(encoding))

    assert [(request.video_url, request.key) for request in found] == [(ONE, "a"), (TWO, "b")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", f"sep=;\r\nvideo_url;key\r\n{ONE};a\r\n{TWO};b\r\n"),
        ("a.csv", f'"sep=|"\nvideo_url|key\n{ONE}|a\n{TWO}|b\n'),
        ("unnamed", f"SEP=,\nvideo_url,key\n{ONE},a\n{TWO},b\n"),
        ("a.csv", f"video_url,key,,\n{ONE},a,,\n{TWO},b,,\n"),
        ("a.csv", f"video_url,key\n{ONE},a,,,\n{TWO},b, \n"),
        ("a.csv", f"\tkey\tvideo_url\n\ta\t{ONE}\n\tb\t{TWO}\n"),
        ("a.csv", f"{TABLE}\0\0\0\0"),
        ("a.csv", f"{TABLE}\r\n\0\0\r\n\0"),
        ("a.json", json.dumps([{"video_url": ONE, "key": "a"}, {"video_url": TWO, "key": "b"}])),
        ("a.json", json.dumps([{"video_url": ONE, "key": "a"}, {"video_url": TWO, "key": "b"}], indent=2)),
        ("a.jsonl", "\n\n" + json.dumps([{"video_url": ONE, "key": "a"}, {"video_url": TWO, "key": "b"}], indent="\t")),
        ("unnamed", f'{{"video_url": "{ONE}", "key": "a"}}\r{{"video_url": "{TWO}", "key": "b"}}\r'),
    ],
)
def test_what_spreadsheets_and_scripts_add_is_no_obstacle(tmp_path: Path, name: str, text: str) -> None:
    found = read(tmp_path / name, text.encode())

    assert [(request.video_url, request.key) for request in found] == [(ONE, "a"), (TWO, "b")]


def test_rows_of_an_array_know_their_lines(tmp_path: Path) -> None:
    text = f'[\r\n {{"video_url": "{ONE}"}},\r\n\r\n {{"video_url": "{TWO}",\r\n "width": "wide"}}\r\n]'

    assert refused(tmp_path / "a.json", text.encode()) == (f"{tmp_path / 'a.json'}:4: width can't be 'wide'.",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"PK\x03\x04" + b"\0" * 5000, ":1: The list is an Excel or OpenDocument workbook"),
        ("a.xlsx", b"PK\x03\x04\n\n\n", ":1: The list is an Excel or OpenDocument workbook"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", ":1: The list is an old Excel workbook"),
        ("a.txt", b"%PDF-1.7\n\xff", ":1: The list is a PDF"),
        ("a.csv", b"\x1f\x8b\x08", ":1: The list is packed with gzip"),
        ("a.db", b"SQLite format 3\0", ":1: The list is a database, as a journal is"),
        ("a.csv", f"video_url,key\n{ONE},M\0ller\n".encode(), ":2: The line has zero bytes"),
        (
            "a.csv",
            f"video_url,key\n{ONE},Müller\n".encode("cp1252"),
            ":2: The line is not UTF-8. Save the",
        ),
        ("a.json", b"[{]", ":1: The line is not JSON"),
        ("a.json", f'[{{"video_url": "{ONE}"}}'.encode(), ":1: The line is not JSON: a comma or ] is missing."),
        ("a.json", b'{\n "video_url": 1\n}', ":1: The line is not JSON"),
        ("a.csv", f"video_url;duration_s\n{ONE};1,234\n".encode(), ":2: duration_s is '1,234': a comma before three"),
    ],
)
def test_what_is_no_list_is_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    assert said in refused(tmp_path / name, content)[0]


def test_a_workbook_is_named_once(tmp_path: Path) -> None:
    assert len(refused(tmp_path / "films.xlsx", b"PK\x03\x04" + b"\n\xff" * 3000)) == 1


def test_an_array_that_is_too_long_to_read_whole_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ARRAY_BYTES_MAX", 1 << 20)
    text = json.dumps([{"video_url": ONE}] * 50_000, indent=0)

    assert "use JSON Lines" in refused(tmp_path / "a.json", text.encode())[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lines_are_the_same_however_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes, chunk_bytes: int, encoding: str
) -> None:
    monkeypatch.setattr(lines, "_CHUNK_BYTES", chunk_bytes)
    text = "one\n\nzwölf\n😀\nlast".replace("\n", end.decode())
    (tmp_path / "a").write_bytes(text.encode(encoding))

    with (tmp_path / "a").open("rb") as file:
        found = [(line.number, line.text.strip(), line.problem) for line in lines.lines_of(file)]

    assert found == [(1, "one", None), (2, "", None), (3, "zwölf", None), (4, "😀", None), (5, "last", None)]


def test_a_long_line_is_one_problem_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    content = f"{ONE}\r{'x' * 200_000}\r{TWO}\rb\r".encode()

    problems = refused(tmp_path / "a.txt", content)

    assert [problem.partition(": ")[0].rpartition(":")[2] for problem in problems] == ["2", "4"]


def test_figures_are_what_a_person_reads(tmp_path: Path) -> None:
    text = f'video_url;duration_s;frame_rate;width;height;size_bytes\n{ONE};0:42,5;23,976;1280.0;720,0;"12.345.678"\n'

    (request,) = read(tmp_path / "a.csv", text.encode())

    facts = request.facts
    assert facts is not None
    assert (facts.duration_s, facts.frame_rate) == (42.5, Fraction(23_976, 1000))
    assert (facts.width, facts.height, facts.size_bytes) == (1280, 720, 12_345_678)


@pytest.mark.parametrize(
    ("read_as", "text", "value"),
    [
        (whole_number_of, "12,345,678", 12_345_678),
        (whole_number_of, "12.345.678", 12_345_678),
        (whole_number_of, "12'345'678", 12_345_678),
        (whole_number_of, "12\u202f345\u202f678", 12_345_678),
        (whole_number_of, "12,345", 12_345),
        (whole_number_of, " 1280,00 ", 1280),
        (decimal_of, "42,5", 42.5),
        (decimal_of, "1,234.5", 1234.5),
        (decimal_of, "1.234,5", 1234.5),
        (decimal_of, "0,125", 0.125),
        (decimal_of, "1 234,5", 1234.5),
        (rate_text, "29,97 fps", "29.97"),
        (rate_text, "30000/1001", "30000/1001"),
        (seconds_of, "1:02:03", 3723.0),
        (seconds_of, "00:00:42.25", 42.25),
        (seconds_of, "2:05", 125.0),
        (seconds_of, "90:00", 5400.0),
        (seconds_of, "5m", 300.0),
        (seconds_of, "1h 30m", 5400.0),
        (seconds_of, "1h30min5s", 5405.0),
        (seconds_of, "2,5 s", 2.5),
        (seconds_of, "250ms", 0.25),
    ],
)
def test_a_figure_is_read(read_as: Any, text: str, value: object) -> None:
    assert read_as(text) == value


@pytest.mark.parametrize(
    ("read_as", "text"),
    [
        (whole_number_of, "1280.5"),
        (whole_number_of, "1,2"),
        (whole_number_of, "12 MB"),
        (whole_number_of, "05. Jan"),
        (whole_number_of, "1_000"),
        (decimal_of, "1,234"),
        (decimal_of, "12,3,4"),
        (seconds_of, "1:75"),
        (seconds_of, "1:75:00"),
        (seconds_of, "5 m 3"),
        (seconds_of, "5 parsecs"),
        (seconds_of, ""),
    ],
)
def test_what_is_no_figure_or_could_be_two_is_none(read_as: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_as(text)
