"""Rows of a list of videos, one at a time: text, CSV or JSON Lines, each with its line and what is wrong with it."""

from __future__ import annotations

import csv
import difflib
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async._format import ROW_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

__all__ = ["COLUMNS", "ROW_NAME", "InputFormat", "Order", "Row", "read_rows", "sniffed_format"]

COLUMNS: Final = (
    "video_url",
    "model",
    "resolution",
    "extension",
    "key",
    "priority",
    "duration_s",
    "frame_rate",
    "width",
    "height",
    "size_bytes",
)
"""What a row may say of a video; only the first is needed. Other columns are a person's own, and come back."""

_WORD_CHARS_MIN: Final = 3
"""So long is a name that is taken for a part of a column's name, as `url` is of `video_url`."""

LINE_BYTES_MAX: Final = 1 << 16
SNIFFED_BYTES: Final = 1 << 12
_DELIMITERS: Final = ",;\t"
_BOM: Final = b"\xef\xbb\xbf"


class InputFormat(StrEnum):
    """How a list of videos is written."""

    TXT = "txt"
    """A URL a line; blank lines and lines that begin with # don't count."""
    CSV = "csv"
    """A header with the columns' names, then a row a video."""
    JSONL = "jsonl"
    """A JSON object a line."""


class Order(StrEnum):
    """Which of the videos that are new to a journal go first."""

    PRIORITY = "priority"
    """By the list's column `priority`, the highest first, and as given among equals."""
    GIVEN = "given"
    CHEAPEST = "cheapest"
    """By the most that they can cost: as many videos as the budget can take."""


@attrs.frozen
class Row:
    """One row: its fields, or why it has none."""

    line: int
    fields: dict[str, Any] = attrs.field(factory=dict)
    """What is given, by column."""
    problems: tuple[str, ...] = ()
    own: dict[str, str] = attrs.field(factory=dict, kw_only=True)
    """A person's own columns."""


def sniffed_format(beginning: bytes) -> InputFormat:
    """The format of a list whose name doesn't tell it."""
    text = beginning[:SNIFFED_BYTES].removeprefix(_BOM).decode("utf-8", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first.startswith("{"):
        return InputFormat.JSONL
    return InputFormat.CSV if "video_url" in _header_of(first, _delimiter_of(first)) else InputFormat.TXT


def read_rows(file: BinaryIO, input_format: InputFormat) -> Iterator[Row]:
    """The rows of an open file, from its beginning. Blocks while it reads."""
    file.seek(0)
    lines = _lines(file)
    match input_format:
        case InputFormat.TXT:
            return _text_rows(lines)
        case InputFormat.CSV:
            return _csv_rows(lines)
        case InputFormat.JSONL:
            return _json_rows(lines)


@attrs.frozen
class _Line:
    number: int
    text: str
    problem: str | None = None


def _lines(file: BinaryIO) -> Iterator[_Line]:
    number = 0
    while raw := file.readline(LINE_BYTES_MAX):
        number += 1
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LINE_BYTES_MAX)
            yield _Line(number, "", f"The line is longer than {LINE_BYTES_MAX >> 10} KiB.")
            continue
        try:
            yield _Line(number, raw.decode("utf-8"))
        except UnicodeDecodeError:
            yield _Line(number, "", "The line is not UTF-8. Save the file as UTF-8.")


def _text_rows(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        url = line.text.strip()
        if line.problem is not None:
            yield Row(line.number, problems=(line.problem,))
        elif url and not url.startswith("#"):
            yield Row(line.number, {"video_url": url})


def _json_rows(lines: Iterator[_Line]) -> Iterator[Row]:
    for line in lines:
        if line.problem is not None:
            yield Row(line.number, problems=(line.problem,))
        elif line.text.strip():
            yield _json_row(line)


def _json_row(line: _Line) -> Row:
    try:
        fields = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply, or a number too large"
        return Row(line.number, problems=(f"The line is not JSON: {reason}.",))
    if not isinstance(fields, dict):
        return Row(line.number, problems=('The line must be a JSON object such as {"video_url": "https://…"}.',))
    given = {name: value for name, value in fields.items() if name in COLUMNS and value is not None}
    own = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
        if name not in COLUMNS and value is not None
    }
    return Row(line.number, given, _slips([*fields]), own=own)


def _csv_rows(lines: Iterator[_Line]) -> Iterator[Row]:
    broken: list[_Line] = []
    first = next((line for line in lines if line.text.strip() or line.problem), None)
    if first is None:
        return
    header = _header_of(first.text, _delimiter_of(first.text))
    problems = _header_problems(header) if first.problem is None else (first.problem,)
    if problems:
        yield Row(first.number, problems=problems)
        return
    reader = csv.reader(_good_texts(lines, broken), delimiter=_delimiter_of(first.text), strict=True)
    try:
        for cells in reader:
            yield from _broken_rows(broken)
            if any(cell.strip() for cell in cells):
                yield _csv_row(first.number + reader.line_num, header, cells)
    except csv.Error as error:
        yield Row(first.number + reader.line_num, problems=(f"The line is not CSV: {error}.",))
    yield from _broken_rows(broken)


def _good_texts(lines: Iterator[_Line], broken: list[_Line]) -> Iterator[str]:
    """The lines' texts; a line that can't be read goes to `broken`, and is blank for the reader's count."""
    for line in lines:
        if line.problem is not None:
            broken.append(line)
        yield line.text or "\n"


def _broken_rows(broken: list[_Line]) -> Iterator[Row]:
    for line in broken:
        yield Row(line.number, problems=(line.problem or "",))
    broken.clear()


def _csv_row(number: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) > len(header):
        return Row(number, problems=(f"The row has {len(cells)} cells and the header {len(header)}.",))
    pairs = [(name, cell.strip()) for name, cell in zip(header, cells, strict=False) if cell.strip()]
    own = {name: cell for name, cell in pairs if name not in COLUMNS}
    return Row(number, {name: cell for name, cell in pairs if name in COLUMNS}, own=own)


def _delimiter_of(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _header_of(line: str, delimiter: str) -> list[str]:
    names = [name.strip().strip('"').strip() for name in line.strip().split(delimiter)]
    return [name.lower() if name.lower() in COLUMNS else name for name in names]


def _header_problems(header: Sequence[str]) -> tuple[str, ...]:
    problems = [*_slips(header)]
    problems += [
        f"The column {ascii(name)[1:-1][:60]} stands there twice."
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
    ]
    if "video_url" not in header:
        problems.append("The header has no column video_url.")
    return tuple(problems)


def _slips(names: Sequence[str]) -> tuple[str, ...]:
    """What is said of names that are probably slips. Any other name is a person's own column."""
    absent = [column for column in COLUMNS if column not in names]
    return tuple(
        f"There is no column {ascii(name)[:60]}. Did you mean {near}?"
        for name in names
        if name not in COLUMNS and (near := _nearest(name.lower(), absent)) is not None
    )


def _nearest(name: str, columns: Sequence[str]) -> str | None:
    """The column that a name is probably meant to be."""
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.75)
    near = near or [column for column in columns if len(name) >= _WORD_CHARS_MIN and name in column]
    return near[0] if near else None
