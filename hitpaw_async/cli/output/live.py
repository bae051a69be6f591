"""The live view on a terminal: a bar of videos, a bar of credits, and a window of jobs that are under way."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hitpaw_async._format import pace, span

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import RenderableType

    from hitpaw_async.cli.output.frame import Frame

__all__ = ["CLEAR_SCREEN", "SHOW_CURSOR", "LiveScreen", "new_console"]

SHOW_CURSOR: Final = "\x1b[?25h"
CLEAR_SCREEN: Final = "\x1b[H\x1b[2J"
LINES_REPEATED_MAX: Final = 20
_OTHER_LINES: Final = 6
"""Lines of a terminal that the window of jobs leaves to bars, counts and what stands above them."""
NARROW_COLUMNS: Final = 64
"""Below it, words make room for the bars."""
_OTHER_COLUMNS: Final = 28
"""Columns that the names of the window leave to what is said about them."""
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
        self._live = self._new_live()
        self._size = self._terminal_size()
        self._last_lines: deque[str] = deque(maxlen=LINES_REPEATED_MAX)

    def _new_live(self) -> Live:
        # Never refreshed by itself: only the thread that calls `draw` touches the terminal.
        return Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def draw(self, frame: Frame, lines: list[str]) -> None:
        """Print the lines above, then the frame."""
        size = self._terminal_size()
        if size != self._size:
            self._size = size
            self._begin_anew()
        # Asked for once: between two answers the terminal may have another size.
        self._console.size = size
        if not self._live.is_started:
            self._live.start()
        self._last_lines.extend(lines)
        for line in lines:
            self._print(line)
        self._live.update(_picture(frame, size), refresh=True)

    def _begin_anew(self) -> None:
        """Clear the screen after a resize, which broke the lines of the frame; lines that stay are repeated."""
        if self._live.is_started:
            # Not `stop`: it would take away as many lines as the frame had before.
            self._console.clear_live()
            self._console.pop_render_hook()
        self._live = self._new_live()
        self._console.file.write(CLEAR_SCREEN)
        for line in self._last_lines:
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(Text(line, style=_STYLES.get(line.split(maxsplit=1)[0], "")))

    def _terminal_size(self) -> ConsoleDimensions:
        try:
            columns, rows = os.get_terminal_size(self._console.file.fileno())
        except (OSError, ValueError):
            return self._console.size
        return ConsoleDimensions(columns, rows) if columns and rows else self._console.size

    def close(self) -> None:
        """Take the frame away and give the cursor back."""
        self._live.stop()


def _picture(frame: Frame, size: ConsoleDimensions) -> RenderableType:
    rows_max = max(1, size.height - _OTHER_LINES)
    bars = _bars(frame, is_narrow=size.width < NARROW_COLUMNS)
    label_chars_max = max(8, size.width - _OTHER_COLUMNS)
    return Group(bars, _window(frame, rows_max, label_chars_max), _counts(frame))


def _bars(frame: Frame, *, is_narrow: bool) -> RenderableType:
    statistics = frame.statistics
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(
        "videos",
        ProgressBar(total=max(1, statistics.total), completed=frame.finished),
        _videos_text(frame, is_narrow=is_narrow),
    )
    held = statistics.credits_spent + statistics.credits_reserved
    # The worst case, unless the vendor says what it charged.
    spent = f"{'≤ ' if is_narrow else 'at most '}{statistics.credits_spent}" if statistics.credits_spent else "0"
    word = "" if is_narrow else " reserved"
    reserved = f" + {statistics.credits_reserved}{word}" if statistics.credits_reserved else ""
    if statistics.credits_left is None:
        grid.add_row("credits", "", f"{spent} spent{reserved}, no budget")
    else:
        budget = held + statistics.credits_left
        bar = ProgressBar(total=max(1, budget), completed=held, complete_style="yellow")
        grid.add_row("credits", bar, f"{spent} spent{reserved} of {budget}")
    return grid


def _videos_text(frame: Frame, *, is_narrow: bool) -> str:
    """How many are at an end, how fast that goes, and how long it may go on."""
    parts = [f"{frame.finished} of {frame.statistics.total}"]
    if not is_narrow:
        parts.append(span(frame.elapsed_s))
        if frame.per_second is not None:
            parts.append(pace(frame.per_second))
    if frame.left_s is not None:
        parts.append(f"{'' if is_narrow else 'about '}{span(frame.left_s)} left")
    return ", ".join(parts)


def _window(frame: Frame, rows_max: int, label_chars_max: int) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, min_width=17)
    grid.add_column(no_wrap=True, justify="right", min_width=6)
    hidden = frame.active_total - min(len(frame.active), rows_max)
    shown = frame.active[: rows_max - 1 if hidden else rows_max]
    for job in shown:
        grid.add_row(Text(f"  {_ending(job.label, label_chars_max)}"), job.word, span(frame.now - job.since))
    hidden = frame.active_total - len(shown)
    if hidden:
        grid.add_row(Text(f"  … and {hidden} more", style="dim"), "", "")
    return grid


def _ending(label: str, chars_max: int) -> str:
    """A name's end where there is no room for all of it: that tells it from its neighbours."""
    return label if len(label) <= chars_max else f"…{label[1 - chars_max :]}"


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
