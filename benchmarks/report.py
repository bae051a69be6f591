"""What was found, as a table to read and as JSON to keep."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks.measures import Options, Result, Row, Series, quartiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["as_json", "as_markdown", "machine", "read", "versions"]

_PACKAGES: Final = (
    "hitpaw-async",
    "httpx",
    "httpcore",
    "anyio",
    "attrs",
    "cattrs",
    "aiohttp",
    "httpx-aiohttp",
    "httpx2",
    "aiometer",
    "aiosqlite",
)
_HEAD: Final = "| measure | ours | peer | ratio, median [quartiles] | goal | reached |\n|---|---|---|---|---|---|\n"


def versions() -> dict[str, str]:
    """What was measured with."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What it was measured on, without a name of a host."""
    return {
        "system": platform.system(),
        "kernel": platform.release().split("-")[0],
        "architecture": platform.machine(),
        "implementation": sys.implementation.name,
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def as_json(results: Mapping[str, Result], options: Options) -> dict[str, Any]:
    """Everything, samples included."""
    return {
        "versions": versions(),
        "machine": machine(),
        "options": attrs.asdict(options),
        "benchmarks": {
            name: {
                "rows": [row.as_json() for row in result.rows],
                "series": [attrs.asdict(line) for line in result.series],
            }
            for name, result in results.items()
        },
    }


def read(path: Path) -> dict[str, Result]:
    """The results that an earlier run wrote."""
    said = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Result(
            rows=[Row.from_json(row) for row in found["rows"]], series=[Series(**line) for line in found["series"]]
        )
        for name, found in said["benchmarks"].items()
    }


def as_markdown(rows: list[Row]) -> str:
    """The table."""
    return _HEAD + "".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    ours, peer = _figure(row.ours, row.unit), "-"
    ratio = "-"
    if row.peer:
        peer = f"{_figure(row.peer, row.unit)} ({row.peer_name})"
        low, median, high = quartiles(row.ratios)
        spread = f" [{_short(low)}, {_short(high)}]" if len(row.ratios) > 1 else ""
        ratio = f"{_short(median)}{spread}"
    goal = "" if row.goal is None else str(row.goal)
    reached = {None: "", True: "yes", False: "**no**"}[row.is_reached]
    measure = row.measure + (f" ({row.note})" if row.note else "")
    return f"| {measure} | {ours} | {peer} | {ratio} | {goal} | {reached} |\n"


def _figure(samples: list[float], unit: str) -> str:
    return f"{_short(quartiles(samples)[1])} {unit}".strip()


def _short(figure: float) -> str:
    """Three significant digits, and no exponent."""
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"
