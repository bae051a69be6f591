"""The live view on a terminal: a bar of videos, a bar of credits, and a window of jobs that are under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hitpaw_async._wording import span

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import RenderableType

    from hitpaw_async.cli.progress import Frame

__all__ = ["SHOW_CURSOR", "LiveScreen", "new_console"]

SHOW_CURSOR: Final = "\x1b[?25h"
_OTHER_LINES: Final = 6
"""Lines of a terminal that the window of jobs leaves to bars, counts and what stands above them."""
_STYLES: Final = {
    "failed": "red",
    "rejected": "yellow",
    "uncertain": "magenta",
    "skipped": "yellow",
    "warning:": "yellow",
}


def new_console(stream: TextIO) -> Console:
    """A console that never interprets what it is given to print."""
    return Console(file=stream, markup=False, highlight=False, emoji=False)


class LiveScreen:
    """Draws frames in place on a terminal; lines go above them and stay."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Never refreshed by itself: only the thread that calls `draw` touches the terminal.
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def draw(self, frame: Frame, lines: list[str]) -> None:
        """Print the lines above, then the frame."""
        if not self._live.is_started:
            self._live.start()
        for line in lines:
            self._console.print(Text(line, style=_STYLES.get(line.split(maxsplit=1)[0], "")))
        self._live.update(_picture(frame, rows_max=max(1, self._console.size.height - _OTHER_LINES)), refresh=True)

    def close(self) -> None:
        """Take the frame away and give the cursor back."""
        self._live.stop()


def _picture(frame: Frame, *, rows_max: int) -> RenderableType:
    return Group(_bars(frame), _window(frame, rows_max), _counts(frame))


def _bars(frame: Frame) -> RenderableType:
    statistics = frame.statistics
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    left = "" if frame.left_s is None else f", about {span(frame.left_s)} left"
    grid.add_row(
        "videos",
        ProgressBar(total=max(1, statistics.total), completed=frame.finished),
        f"{frame.finished} of {statistics.total}, {span(frame.elapsed_s)}{left}",
    )
    held = statistics.credits_spent + statistics.credits_reserved
    reserved = f" + {statistics.credits_reserved} reserved" if statistics.credits_reserved else ""
    if statistics.credits_left is None:
        grid.add_row("credits", "", f"{statistics.credits_spent} spent{reserved}, no budget")
    else:
        budget = held + statistics.credits_left
        bar = ProgressBar(total=max(1, budget), completed=held, complete_style="yellow")
        grid.add_row("credits", bar, f"{statistics.credits_spent} spent{reserved} of {budget}")
    return grid


def _window(frame: Frame, rows_max: int) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, min_width=17)
    grid.add_column(no_wrap=True, justify="right", min_width=6)
    hidden = frame.active_total - min(len(frame.active), rows_max)
    shown = frame.active[: rows_max - 1 if hidden else rows_max]
    for job in shown:
        grid.add_row(Text(f"  {job.label}"), job.word, span(frame.now - job.since))
    hidden = frame.active_total - len(shown)
    if hidden:
        grid.add_row(Text(f"  … and {hidden} more", style="dim"), "", "")
    return grid


def _counts(frame: Frame) -> RenderableType:
    statistics = frame.statistics
    named = {
        "done": statistics.done,
        "failed": statistics.failed,
        "rejected": statistics.rejected,
        "skipped": statistics.skipped,
        "uncertain": statistics.uncertain,
    }
    parts = [
        (f"{count} {name}", _STYLES.get(name, "green")) for name, count in named.items() if count or name == "done"
    ]
    return Text(" · ", style="dim").join(Text(text, style=style) for text, style in parts)
