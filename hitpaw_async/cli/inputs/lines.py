"""Lines of a list, from whatever bytes a tool has written: UTF-8 or UTF-16, with any line ends."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

__all__ = ["LINE_BYTES_MAX", "Line", "beginning_text", "foreign_kind", "lines_of"]

LINE_BYTES_MAX: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 16
_BOM: Final = codecs.BOM_UTF8
_FOREIGN: Final = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook (.xlsx, .ods) or a zip",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "packed with gzip",
    b"SQLite format 3": "a database, as a journal is (`hitpaw resume` takes one)",
}
"""How files begin that are no text."""


@attrs.frozen
class Line:
    """A line with its end, or why it can't be read."""

    number: int
    text: str
    problem: str | None = None


def foreign_kind(beginning: bytes) -> str | None:
    """What a file is that is no text; None if it may be one."""
    return next((kind for magic, kind in _FOREIGN.items() if beginning.startswith(magic)), None)


def _wide_encoding(beginning: bytes) -> str | None:
    """UTF-16 by its mark, or by the zero bytes that ASCII has in it; None for UTF-8."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = beginning[:64:2], beginning[1:64:2]
    if odd and not any(odd) and all(even):
        return "utf-16-le"
    return "utf-16-be" if odd and not any(even) and all(odd) else None


def beginning_text(beginning: bytes) -> str:
    """The first characters of a file, as far as they can be read."""
    wide = _wide_encoding(beginning)
    return beginning.removeprefix(_BOM).decode(wide or "utf-8", "replace").removeprefix("\ufeff")


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """The lines of an open file, from its beginning. Blocks while it reads."""
    file.seek(0)
    wide = _wide_encoding(file.read(64))
    file.seek(0)
    for number, raw in enumerate(_pieces(file.read if wide is None else _as_utf8(file, wide)), 1):
        yield _line(number, raw.removeprefix(_BOM) if number == 1 else raw)


def _line(number: int, raw: bytes) -> Line:
    if len(raw) > LINE_BYTES_MAX:
        return Line(number, "", f"The line is longer than {LINE_BYTES_MAX >> 10} KiB.")
    if not raw.strip(b"\0\r\n \t"):
        return Line(number, "")  # blank, or the zero bytes that a crash leaves at a file's end
    if b"\0" in raw:
        return Line(number, "", "The line has zero bytes: the file is damaged, or no text. Save it anew as UTF-8.")
    try:
        return Line(number, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Line(number, "", "The line is not UTF-8. Save the file as UTF-8.")


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Lines with their ends, be they LF, CR LF or CR alone; of one that is too long, only the beginning."""
    kept = b""
    while chunk := read(_CHUNK_BYTES):
        lines = (kept + chunk).splitlines(keepends=True)
        # The last may go on, and a CR may have its LF in the next chunk.
        kept = b"" if lines[-1].endswith(b"\n") else lines.pop()
        if len(kept) > LINE_BYTES_MAX and not kept.endswith(b"\r"):
            kept = kept[: LINE_BYTES_MAX + 1]
        yield from lines
    if kept:
        yield kept


def _as_utf8(file: BinaryIO, encoding: str) -> Callable[[int], bytes]:
    """A `read` that gives another encoding's text as UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")

    def read(size: int) -> bytes:
        raw = file.read(size)
        text = decoder.decode(raw, final=not raw)
        # Half a character at the end of a chunk gives no text yet, which would look like the end of the file.
        while raw and not text:
            raw = file.read(size)
            text = decoder.decode(raw, final=not raw)
        return text.encode("utf-8", "replace")

    return read
