"""Tables and blocks for people, on standard output."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Final, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.cli.output.live import new_console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from hitpaw_async.models import CreditQuote

__all__ = ["PIPE_COLUMNS", "decimal", "print_prose", "print_table", "quote_text", "shortened"]

PIPE_COLUMNS: Final = 220
"""How wide a table may be where no terminal sets a width."""
SOURCE_CHARS_MAX: Final = 36


def print_prose(text: str) -> None:
    """Print sentences, broken between words where a terminal would break them anywhere."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(
            textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
        )
    print(text)


def shortened(source: str) -> str:
    """A URL or path as a cell: its end, which tells it from others, and no signature."""
    shown = excerpt(redact_url(source) if "://" in source else source)
    if len(shown) <= SOURCE_CHARS_MAX:
        return shown
    name = f"…/{shown.rpartition('/')[2]}"
    return name if len(name) <= SOURCE_CHARS_MAX else f"…{shown[1 - SOURCE_CHARS_MAX :]}"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
    folded: Sequence[str] = (),
) -> None:
    """Print a table that fits the terminal.

    Args:
        columns: The headings.
        rows: The cells, a text each.
        right: Headings of columns of figures.
        folded: Headings of columns whose cells go on in further lines where there is no room.
    """
    console = new_console(sys.stdout)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name not in folded)
    for cells in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    console.print(table)


def quote_text(quote: CreditQuote | None) -> str:
    """A quote in a cell: the most it can cost, and by the second where that is known."""
    if quote is None:
        return ""
    return f"{quote.upper}" if quote.exact is None else f"{quote.upper} ({decimal(quote.exact)})"


def decimal(value: Fraction) -> str:
    """A figure with two decimals at most."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
