"""Prints the table of faults as Markdown, with its count: `python -m tests.hostile`."""

from __future__ import annotations

from tests.hostile.rows import to_markdown
from tests.hostile.table import ROWS

if __name__ == "__main__":
    print(to_markdown(ROWS))  # noqa: T201 (what it is for)
