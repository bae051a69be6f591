"""What a person sees of a running batch: fed by its events on the event loop, drawn by a thread, never waited for."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import attrs

from hitpaw_async._format import at_most, pace, span
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.cli.output.frame import ActiveJob, Frame, Screen
from hitpaw_async.models import ItemState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.events.statistics import BatchStatistics
    from hitpaw_async.models import Outcome

__all__ = ["LogLines", "PlainScreen", "Progress", "choose_screen", "outcome_line"]

REFRESH_S: Final = 0.25
HEARTBEAT_S: Final = 15.0
LAST_DRAW_S: Final = 0.5
LINES_KEPT_MAX: Final = 10_000
ACTIVE_SHOWN_MAX: Final = 60
SKIPPED_SHOWN_MAX: Final = 100

_WORDS: Final = {
    ItemState.RESERVED: "reserved",
    ItemState.SUBMITTING: "submitting",
    ItemState.SUBMITTED: "submitted",
    ItemState.FETCHING: "downloading",
}


_WORKED: Final = (ItemState.DONE, ItemState.FAILED)
"""How an item ends that the vendor has worked on."""


@attrs.define(eq=False)
class PlainScreen:
    """Lines for logs and pipes: a line for each finished item, and a heartbeat while nothing else is written."""

    _stream: TextIO
    has_heartbeat: bool = True
    _last_at: float = attrs.field(init=False, factory=time.monotonic)

    def draw(self, frame: Frame, lines: list[str]) -> None:
        """Write the lines; the frame only where nothing was written for a while."""
        if self.has_heartbeat and not lines and frame.now - self._last_at >= HEARTBEAT_S:
            lines = [_heartbeat(frame)]
        if lines:
            self._last_at = frame.now
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def close(self) -> None:
        """Nothing to restore."""


def choose_screen(stream: TextIO, *, is_quiet: bool) -> Screen:
    """A live view on a terminal that can show one, plain lines elsewhere."""
    if not is_quiet and stream.isatty() and not os.environ.get("CI"):
        from hitpaw_async.cli.output.live import LiveScreen, new_console  # noqa: PLC0415 (loads rich's live display)

        console = new_console(stream)
        if console.is_terminal and not console.is_dumb_terminal:
            return LiveScreen(console)
    return PlainScreen(stream, has_heartbeat=not is_quiet)


class Progress:
    """Collects what happens and has it drawn, at most four times a second. A slow terminal holds up nothing else.

    Args:
        screen: Where it is drawn.
        shows_all: Whether every finished item gets a line, or only those that are not done.
    """

    def __init__(self, screen: Screen, *, shows_all: bool) -> None:
        self._screen = screen
        self._shows_all = shows_all
        self._lines: deque[str] = deque(maxlen=LINES_KEPT_MAX)
        self._lines_lost = 0
        self._active: dict[str, ActiveJob] = {}
        self._ended = 0
        self._skipped = 0
        self._started_at = time.monotonic()
        self._is_broken = False
        self._turn = threading.Lock()
        self.is_stuck = False
        """Whether a thread still waited for the terminal at the end."""

    def on_event(self, event: BatchEvent) -> None:
        """Take a batch's event in. Returns at once."""
        if event.key is None:
            return
        word = _word_of(event)
        if event.kind is EventKind.FINISHED:
            self._end(event.key, event.state)
        elif word is None and event.kind is not EventKind.WAITING:
            self._note_state(event.key, event)
        elif word is not None and event.key in self._active:
            self._active[event.key].word = word

    def _note_state(self, key: str, event: BatchEvent) -> None:
        word = None if event.state is None else _WORDS.get(event.state)
        if word is None:
            self._active.pop(key, None)
        elif key in self._active:
            self._active[key].word = word
        else:
            self._active[key] = ActiveJob(event.label or key, word, time.monotonic())

    def add_outcome(self, outcome: Outcome) -> None:
        """Note how an item ended."""
        self._end(outcome.key, outcome.state)
        if outcome.state is ItemState.SKIPPED:
            self._add_skipped(outcome)
        elif self._shows_all or outcome.state is not ItemState.DONE:
            self.add_line(outcome_line(outcome))

    def _end(self, key: str, state: ItemState | None) -> None:
        """Count an item that was at the vendor in this run: how long such a one takes tells how long the rest may."""
        if self._active.pop(key, None) is not None and state in _WORKED:
            self._ended += 1

    def _add_skipped(self, outcome: Outcome) -> None:
        """A budget that is used up can leave a whole library out: the first say why, the summary counts them."""
        self._skipped += 1
        if self._skipped <= SKIPPED_SHOWN_MAX:
            self.add_line(outcome_line(outcome))
        elif self._skipped == SKIPPED_SHOWN_MAX + 1:
            self.add_line("skipped   further videos; the summary counts them")

    def add_line(self, line: str) -> None:
        """Have a line shown that stays."""
        self._lines_lost += len(self._lines) == LINES_KEPT_MAX
        self._lines.append(line)

    @property
    def sent(self) -> int:
        """How many exports wait for their answer."""
        return sum(job.word == _WORDS[ItemState.SUBMITTING] for job in self._active.values())

    async def serve(self, statistics: Callable[[], BatchStatistics]) -> None:
        """Draw until cancelled."""
        while True:
            await self._draw(statistics())
            await anyio.sleep(REFRESH_S)

    async def finish(self, statistics: BatchStatistics) -> None:
        """Draw what is left, and leave the terminal as it was: for half a second at most."""
        with anyio.move_on_after(LAST_DRAW_S, shield=True) as scope:
            await self._draw(statistics)
            await anyio.to_thread.run_sync(self._close, abandon_on_cancel=True)
        self.is_stuck = scope.cancelled_caught

    async def _draw(self, statistics: BatchStatistics) -> None:
        lines = [*self._lines]
        self._lines.clear()
        if self._lines_lost:
            lines.insert(0, f"({self._lines_lost} lines are left out: the terminal was too slow)")
            self._lines_lost = 0
        frame = self._frame(statistics)
        await anyio.to_thread.run_sync(self._draw_in_thread, frame, lines, abandon_on_cancel=True)

    def _draw_in_thread(self, frame: Frame, lines: list[str]) -> None:
        # A draw whose caller was cancelled may still be at it.
        with self._turn:
            if not self._is_broken:
                self._try(lambda: self._screen.draw(frame, lines))

    def _close(self) -> None:
        with self._turn:
            if not self._is_broken:
                self._try(self._screen.close)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError:
            # The terminal is gone. The batch goes on.
            self._is_broken = True

    def _frame(self, statistics: BatchStatistics) -> Frame:
        shown = itertools.islice(self._active.values(), ACTIVE_SHOWN_MAX)
        return Frame(
            statistics=statistics,
            active=tuple(attrs.evolve(job) for job in shown),
            active_total=len(self._active),
            now=time.monotonic(),
            started_at=self._started_at,
            ended=self._ended,
        )


class LogLines(logging.Handler):
    """Warnings of the library as lines of the progress: they would tear a live view."""

    def __init__(self, progress: Progress, *, level: int) -> None:
        super().__init__(level)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._progress.add_line(f"{record.levelname.lower()}: {excerpt(record.getMessage(), chars_max=1000)}")


def outcome_line(outcome: Outcome) -> str:
    """How an item ended, in a line."""
    name = outcome.path.name if outcome.path is not None else redact_url(outcome.request.video_url)
    spent = "" if outcome.credits is None else f"  {at_most(outcome.credits)}"
    reason = "" if outcome.error is None else f"  {excerpt(str(outcome.error), chars_max=400)}"
    return f"{outcome.state:<9} {excerpt(name)}{spent}{reason}"


def _word_of(event: BatchEvent) -> str | None:
    if event.kind is EventKind.STATUS and event.status not in (None, JobStatus.UNRECOGNIZED):
        return str(event.status).lower()
    if event.kind is EventKind.DOWNLOADING and event.received_bytes is not None:
        if event.total_bytes:
            return f"downloading {100 * event.received_bytes // event.total_bytes} %"
        return f"downloading {event.received_bytes / 1e6:.1f} MB"
    return None


def _heartbeat(frame: Frame) -> str:
    statistics = frame.statistics
    rate = "" if frame.per_second is None else f", {pace(frame.per_second)}"
    left = "" if frame.left_s is None else f", about {span(frame.left_s)} left"
    return (
        f"[{span(frame.elapsed_s)}] {frame.finished} of {statistics.total} finished: {statistics.done} done, "
        f"{statistics.failed} failed, {frame.active_total} under way, "
        f"{at_most(statistics.credits_spent)} spent{rate}{left}"
    )
