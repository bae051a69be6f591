"""The series as pictures. Each plot answers one question, and its title says which."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.measures import Series

__all__ = ["PLOTS", "draw"]


@attrs.frozen(kw_only=True)
class Plot:
    """How a plot looks."""

    title: str
    x_label: str
    y_label: str
    is_x_log: bool = False
    is_y_log: bool = False
    y_min: float | None = None
    """Where the vertical axis begins; None where the figures say."""
    goal: float | None = None


PLOTS: Final = {
    "cpu-width": Plot(
        title="What a job costs, by how many are in flight",
        x_label="jobs in flight",
        y_label="client CPU per job, ms (1 export, 1 task call)",
        is_x_log=True,
        is_y_log=True,
    ),
    "memory": Plot(
        title="What jobs in flight take",
        x_label="jobs in flight",
        y_label="growth of the resident set, MiB",
        y_min=0.0,
    ),
    "length": Plot(
        title="What a batch takes, by how many items it has brought to their end",
        x_label="items",
        y_label="resident set, MiB",
        y_min=0.0,
    ),
    "polls": Plot(
        title="Questions asked against how late the answer is known",
        x_label="task calls per job",
        y_label="mean delay, % of the mean duration",
        is_x_log=True,
        is_y_log=True,
    ),
    "makespan": Plot(
        title="Makespan over list scheduling's, by how long jobs take",
        x_label="mean duration of a job, s",
        y_label="makespan / lower bound",
        is_x_log=True,
        y_min=1.0,
        goal=1.03,
    ),
}

_COLORS: Final = ("#0b6e99", "#c8553d", "#e0a030", "#6b8f3c", "#7d5ba6", "#777777")
MARKED_MAX: Final = 12
"""Points on a line that each get a mark."""
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_STYLE: Final = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.hashsalt": "hitpaw-async",
}


def draw(series: list[Series], folder: Path) -> list[Path]:
    """Draw each plot that has series, as SVG files of `folder`. Returns the files."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, plot in PLOTS.items():
        lines = [line for line in series if line.plot == name]
        if not lines:
            continue
        with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
            figure, axes = pyplot.subplots(figsize=(9.6, 4.2), layout="constrained")
            _fill(axes, plot, lines)
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            pyplot.close(figure)
            drawn.append(path)
    return drawn


def _fill(axes: Axes, plot: Plot, lines: list[Series]) -> None:
    for number, line in enumerate(lines):
        look: dict[str, Any] = {
            "color": _COLORS[number % len(_COLORS)],
            "marker": _MARKERS[number % len(_MARKERS)] if len(line.x) <= MARKED_MAX else None,
            "linewidth": 2.4 if line.label.startswith("ours") else 1.4,
        }
        axes.plot(line.x, line.y, label=line.label, markersize=5, **look)
    if plot.goal is not None:
        axes.axhline(plot.goal, color="#999999", linestyle="--", linewidth=1, label=f"goal, {plot.goal:g}")
    axes.set_title(plot.title, loc="left", fontsize=12, fontweight="bold", pad=12)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    for axis, is_log in ((axes.xaxis, plot.is_x_log), (axes.yaxis, plot.is_y_log)):
        if is_log:
            _scale_by_log(axes, axis)
    if plot.y_min is not None:
        highest = max(max(line.y) for line in lines)
        axes.set_ylim(plot.y_min, plot.y_min + (highest - plot.y_min) * 1.15)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _scale_by_log(axes: Axes, axis: Any) -> None:
    """A logarithmic axis that reads in plain figures."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    setter = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
    setter("log")
    axis.set_major_locator(LogLocator(subs=(1.0,) if _decades(axes, axis) > 2 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _decades(axes: Axes, axis: Any) -> float:
    """How many powers of ten an axis spans."""
    low, high = axes.get_xlim() if axis is axes.xaxis else axes.get_ylim()
    return math.log10(high / low)
