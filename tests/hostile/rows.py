"""A row of the table of faults: what goes wrong, how it is brought about, what must come of it, which promise it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

__all__ = ["Area", "Row", "to_markdown"]


class Area(StrEnum):
    """What a fault befalls."""

    TRANSPORT = "transport"
    REPLY = "reply"
    DOWNLOAD = "download"
    SOURCE = "source"
    WEBHOOK = "webhook"
    SECRET = "secret"


@attrs.frozen(kw_only=True)
class Row:
    """A fault, and the code that brings it about and looks at what came of it."""

    area: Area
    fault: str
    injection: str
    expected: str
    invariant: str
    play: Callable[[Path], Awaitable[None]] = attrs.field(repr=False, eq=False)
    """Takes an empty folder. It raises AssertionError where what came of the fault is not what was expected."""

    needs_backend: bool = True
    """Whether it is about this process's event loop; False where it is about processes of their own."""

    @property
    def name(self) -> str:
        """What a test of it is called."""
        return f"{self.area}: {self.fault}"


def to_markdown(rows: Iterable[Row]) -> str:
    """The table, with a count at its end."""
    listed = [*rows]
    lines = ["| # | area | fault | injection | expected | invariant |", "|---|---|---|---|---|---|"]
    for number, row in enumerate(listed, 1):
        cells = (str(number), row.area, row.fault, row.injection, row.expected, row.invariant)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    counts = {area: sum(row.area is area for row in listed) for area in Area}
    told = ", ".join(f"{area} {count}" for area, count in counts.items())
    return "\n".join([*lines, "", f"{len(listed)} rows ({told})."])
