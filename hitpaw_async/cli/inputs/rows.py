"""Rows of a list of videos, one at a time: text, CSV or JSON, each with its line and what is wrong with it."""

from __future__ import annotations

import csv
import difflib
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async._format import ROW_NAME
from hitpaw_async.cli.inputs.lines import Line, beginning_text, foreign_kind, lines_of

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

SNIFFED_BYTES: Final = 1 << 12
ARRAY_BYTES_MAX: Final = 1 << 26
"""A JSON array is read whole."""
_DELIMITERS: Final = ",;\t"
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
"""Excel's own first line, which names the delimiter."""
_JSON_ADVICE: Final = "Write an object a line, or an array of objects."
_BLANKS: Final = frozenset(" \t\r\n")


class InputFormat(StrEnum):
    """How a list of videos is written."""

    TXT = "txt"
    """A URL a line; blank lines and lines that begin with # don't count."""
    CSV = "csv"
    """A header with the columns' names, then a row a video."""
    JSONL = "jsonl"
    """A JSON object a line, or an array of them."""


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
    lines = beginning_text(beginning[:SNIFFED_BYTES]).splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith(("{", "[")):
        return InputFormat.JSONL
    if _SEPARATOR_LINE.fullmatch(first):
        return InputFormat.CSV
    return InputFormat.CSV if "video_url" in _header_of(first, _delimiter_of(first)) else InputFormat.TXT


def read_rows(file: BinaryIO, input_format: InputFormat) -> Iterator[Row]:
    """The rows of an open file, from its beginning. Blocks while it reads."""
    file.seek(0)
    beginning = file.read(SNIFFED_BYTES)
    kind = foreign_kind(beginning)
    if kind is not None:
        problem = f"The list is {kind}, not a text. Save or unpack it as CSV (UTF-8), and give that file."
        return iter((Row(1, problems=(problem,)),))
    if input_format is InputFormat.TXT and sniffed_format(beginning) is InputFormat.CSV:
        input_format = InputFormat.CSV  # a table that was saved as "Unicode text"
    match input_format:
        case InputFormat.TXT:
            return _text_rows(lines_of(file))
        case InputFormat.CSV:
            return _csv_rows(lines_of(file))
        case InputFormat.JSONL:
            is_array = beginning_text(beginning).lstrip().startswith("[")
            return _array_rows(lines_of(file)) if is_array else _json_rows(lines_of(file))


def _text_rows(lines: Iterator[Line]) -> Iterator[Row]:
    for line in lines:
        url = line.text.strip()
        if line.problem is not None:
            yield Row(line.number, problems=(line.problem,))
        elif url and not url.startswith("#"):
            yield Row(line.number, {"video_url": url})


def _json_rows(lines: Iterator[Line]) -> Iterator[Row]:
    for line in lines:
        if line.problem is not None:
            yield Row(line.number, problems=(line.problem,))
        elif line.text.strip():
            yield _json_row(line)


def _json_row(line: Line) -> Row:
    try:
        return _object_row(line.number, json.loads(line.text))
    except (ValueError, RecursionError) as error:
        return _no_json(line.number, error)


def _no_json(number: int, error: Exception) -> Row:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply, or a number too large"
    return Row(number, problems=(f"The line is not JSON: {reason}. {_JSON_ADVICE}",))


def _array_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """The objects of a JSON array, each with the line that it begins in."""
    texts, size = [], 0
    for line in lines:
        size += len(line.text)
        if line.problem is not None or size > ARRAY_BYTES_MAX:
            long = f"An array is read whole, and this one is longer than {ARRAY_BYTES_MAX >> 20} MiB: use JSON Lines."
            yield Row(line.number, problems=(line.problem or long,))
            return
        texts.append(line.text or "\n")
    # Ends of lines are counted, whichever they are.
    yield from _array_objects("".join(texts).replace("\r\n", "\n").replace("\r", "\n"))


def _array_objects(text: str) -> Iterator[Row]:
    decoder, counted = json.JSONDecoder(), 0
    number, at = 1, text.index("[") + 1
    while True:
        at = _blanks_end(text, at)
        number, counted = number + text.count("\n", counted, at), at
        if text.startswith("]", at):
            return
        try:
            fields, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield _no_json(number, error)
            return
        yield _object_row(number, fields)
        at = _blanks_end(text, at)
        if text.startswith("]", at):
            return
        if not text.startswith(",", at):
            yield Row(number, problems=(f"The line is not JSON: a comma or ] is missing. {_JSON_ADVICE}",))
            return
        at += 1


def _blanks_end(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _object_row(number: int, fields: object) -> Row:
    if not isinstance(fields, dict):
        return Row(number, problems=('The line must be a JSON object such as {"video_url": "https://…"}.',))
    given = {name: value for name, value in fields.items() if name in COLUMNS and value is not None}
    own = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
        if name not in COLUMNS and value is not None
    }
    return Row(number, given, _slips([*fields]), own=own)


def _csv_rows(lines: Iterator[Line]) -> Iterator[Row]:
    broken: list[Line] = []
    first = next((line for line in lines if line.text.strip() or line.problem), None)
    if first is None:
        return
    delimiter = _delimiter_of(first.text)
    if named := _SEPARATOR_LINE.fullmatch(first.text.strip()):
        delimiter = named[1]
        first = next((line for line in lines if line.text.strip() or line.problem), first)
    header = _header_of(first.text, delimiter)
    problems = _header_problems(header) if first.problem is None else (first.problem,)
    if problems:
        yield Row(first.number, problems=problems)
        return
    reader = csv.reader(_good_texts(lines, broken), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield from _broken_rows(broken)
            if any(cell.strip() for cell in cells):
                yield _csv_row(first.number + reader.line_num, header, cells)
    except csv.Error as error:
        yield Row(first.number + reader.line_num, problems=(f"The line is not CSV: {error}.",))
    yield from _broken_rows(broken)


def _good_texts(lines: Iterator[Line], broken: list[Line]) -> Iterator[str]:
    """The lines' texts; a line that can't be read goes to `broken`, and is blank for the reader's count."""
    for line in lines:
        if line.problem is not None:
            broken.append(line)
        yield line.text or "\n"


def _broken_rows(broken: list[Line]) -> Iterator[Row]:
    for line in broken:
        yield Row(line.number, problems=(line.problem or "",))
    broken.clear()


def _csv_row(number: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    while len(cells) > len(header) and not cells[-1].strip():
        cells = cells[:-1]  # a spreadsheet writes its empty columns as well
    if len(cells) > len(header):
        return Row(number, problems=(f"The row has {len(cells)} cells and the header {len(header)}.",))
    pairs = [(name, cell.strip()) for name, cell in zip(header, cells, strict=False) if cell.strip()]
    own = {name: cell for name, cell in pairs if name not in COLUMNS}
    return Row(number, {name: cell for name, cell in pairs if name in COLUMNS}, own=own)


def _delimiter_of(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _header_of(line: str, delimiter: str) -> list[str]:
    names = [name.strip().strip('"').strip() for name in line.strip("\r\n").split(delimiter)]
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
