"""Counts and lengths of time as people read them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROW_NAME", "at_most", "counted", "own_columns", "own_version", "pace", "row_number", "row_text", "span"]

ROW_NAME: Final = "hitpaw:row"
"""Under this name a request's metadata has the row of a list that it is from."""


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it has to be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def at_most(credits_upper: int) -> str:
    """Credits that count as spent: the worst case, unless the vendor says what it charged, which v3 never does."""
    return "0 credits" if not credits_upper else f"at most {counted(credits_upper, 'credit')}"


def row_text(metadata: Mapping[str, str]) -> str:
    """The row of a list that a request is from, e.g. ` (row 7)`; empty where it is from no list."""
    row = metadata.get(ROW_NAME)
    return "" if row is None else f" (row {row[:20]})"


def own_columns(metadata: Mapping[str, str]) -> dict[str, str]:
    """A person's own columns."""
    return {name: text for name, text in metadata.items() if name != ROW_NAME}


def pace(per_second: float) -> str:
    """Format a rate per second, minute or hour: `12/s`, `43/min`, `7.5/h`."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 10:
            return f"{per_second * seconds:.0f}/{unit}"
    per_minute = 60 * per_second
    return f"{per_minute:.1f}/min" if per_minute >= 1 else f"{60 * per_minute:.1f}/h"


def span(seconds: float) -> str:
    """A length of time: `42 s`, `3 min`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def own_version() -> str:
    """This package's version; in a bundle, a zip or a copied folder nobody may have written it down."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 (start-up stays light)

    try:
        return version("hitpaw-async")
    except PackageNotFoundError:
        return "unknown (installed without its metadata)"


def row_number(metadata: Mapping[str, str]) -> int | None:
    """The row of a list that a request is from; None where it is from no list."""
    text = metadata.get(ROW_NAME, "")
    return int(text) if text.isascii() and text.isdecimal() else None
