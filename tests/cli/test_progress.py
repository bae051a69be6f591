from __future__ import annotations

import io
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs
import pytest
from rich.console import Console, ConsoleDimensions

from hitpaw_async import (
    AuthenticationError,
    BatchEvent,
    BatchStatistics,
    BudgetExceededError,
    EventKind,
    ExportRequest,
    InsufficientCreditsError,
    ItemState,
    JobStatus,
    JournalError,
    Outcome,
    TransportError,
    VideoModel,
)
from hitpaw_async._format import pace, span
from hitpaw_async.cli.ending import Ending
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.output.frame import ActiveJob, Frame
from hitpaw_async.cli.output.live import CLEAR_SCREEN, LiveScreen
from hitpaw_async.cli.output.messages import hints
from hitpaw_async.cli.output.progress import PlainScreen, Progress
from tests.support.patience import soon

if TYPE_CHECKING:
    from hitpaw_async import HitPawError

REQUEST = ExportRequest("https://a.example/it's.mp4?sig=1", model=VideoModel.ANIMATION, resolution="1280x720", key="a")


def frame(*jobs: str, statistics: BatchStatistics | None = None, **changes: float) -> Frame:
    now = changes.get("now", 1012.0)
    return Frame(
        statistics=statistics or BatchStatistics(done=10, failed=1, unfinished=29, credits_spent=24),
        active=tuple(ActiveJob(job, "converting", now - 5) for job in jobs),
        active_total=len(jobs),
        now=now,
        started_at=1000.0,
        ended=11,
    )


def test_without_a_terminal_a_heartbeat_comes_only_after_a_silence() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)
    began = time.monotonic()

    screen.draw(frame(now=began), ["done  a.mp4"])
    screen.draw(frame(now=began + 14), [])
    assert stream.getvalue() == "done  a.mp4\n"

    screen.draw(attrs.evolve(frame("b"), now=began + 16, started_at=began), [])
    screen.draw(frame(now=began + 30), [])
    assert stream.getvalue().splitlines()[1:] == [
        "[16 s] 11 of 40 finished: 10 done, 1 failed, 1 under way, at most 24 credits spent, 41/min, about 42 s left"
    ]


@pytest.mark.parametrize("columns", [60, 100])
def test_the_live_view_fits_the_terminal_and_shows_a_window_of_the_jobs(columns: int) -> None:
    stream = io.StringIO()
    screen = LiveScreen(Console(file=stream, force_terminal=True, width=columns, height=16, color_system=None))
    jobs = [f"a-rather-long-name-of-a-clip-that-fits-nowhere-{number}.mp4" for number in range(30)]
    statistics = BatchStatistics(done=10, unfinished=30, credits_spent=24, credits_reserved=8, credits_left=68)

    screen.draw(frame(*jobs, statistics=statistics), ["failed    [red]b.mp4  no"])
    shown = stream.getvalue()
    screen.close()

    assert max(map(len, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", shown).split("\n"))) <= columns
    assert "failed    [red]b.mp4  no" in shown
    assert ("10 of 40, 33 s left" if columns == 60 else "10 of 40, 12 s, 55/min, about 33 s left") in shown
    assert ("≤ 24 spent + 8 of 100" if columns == 60 else "at most 24 spent + 8 reserved of 100") in shown
    assert shown.count("converting") == 9
    assert "… and 21 more" in shown
    assert "\x1b[?25h" in stream.getvalue()  # The cursor is back.


def test_after_a_resize_there_is_one_frame_and_what_stays_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    screen = LiveScreen(Console(file=stream, force_terminal=True, width=90, height=24, color_system=None))
    screen.draw(frame("a.mp4"), ["failed    b.mp4  no"])
    before = len(stream.getvalue())

    monkeypatch.setattr(screen, "_terminal_size", lambda: ConsoleDimensions(44, 12))
    screen.draw(frame("the-name-of-a-clip-0017.mp4"), [])
    screen.draw(frame("the-name-of-a-clip-0017.mp4"), [])
    screen.close()

    cleared, _, drawn = stream.getvalue()[before:].partition(CLEAR_SCREEN)
    assert cleared == ""
    assert drawn.count("failed    b.mp4  no") == 1
    assert drawn.count("videos") == 3, "two, and the last one as it closes"
    assert "a.mp4  " not in drawn.replace("0017.mp4", "")
    assert "…a-clip-0017.mp4" in drawn
    assert "11 of 40, 32 s left" in drawn
    assert drawn.count("\x1b[?25h") == 1, "the cursor is back"


def test_the_rate_is_shown_as_soon_as_it_is_known() -> None:
    stream = io.StringIO()
    screen = LiveScreen(Console(file=stream, force_terminal=True, width=100, height=20, color_system=None))
    screen.draw(attrs.evolve(frame(), ended=2), [])
    assert "11 of 40, 12 s " in stream.getvalue()
    screen.draw(frame(), [])
    screen.close()
    assert "11 of 40, 12 s, 55/min, about 32 s left" in stream.getvalue()


@pytest.mark.parametrize(
    ("per_second", "text"), [(44.4, "44/s"), (1.5, "90/min"), (0.05, "3.0/min"), (0.01, "36.0/h"), (0.001, "3.6/h")]
)
def test_a_rate_is_told_in_the_unit_that_suits_it(per_second: float, text: str) -> None:
    assert pace(per_second) == text


def test_without_a_budget_the_live_view_says_so() -> None:
    stream = io.StringIO()
    screen = LiveScreen(Console(file=stream, force_terminal=True, width=80, height=20, color_system=None))

    screen.draw(frame(), [])
    screen.close()

    assert "at most 24 spent, no budget" in stream.getvalue()


@attrs.define(eq=False)
class Recorder:
    """A screen that keeps what it is given; it can be made to block or to fail."""

    frames: list[Frame] = attrs.field(factory=list)
    lines: list[str] = attrs.field(factory=list)
    gate: threading.Event = attrs.field(factory=threading.Event)
    is_entered: threading.Event = attrs.field(factory=threading.Event)
    failure: OSError | None = None
    draws: int = 0
    is_closed: bool = False

    def draw(self, frame: Frame, lines: list[str]) -> None:
        self.draws += 1
        self.is_entered.set()
        self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        self.frames.append(frame)
        self.lines += lines

    def close(self) -> None:
        self.is_closed = True


def event(key: str, state: ItemState | None = None, **fields: object) -> BatchEvent:
    kind = EventKind.STATUS if state is None else EventKind.FINISHED if state.is_terminal else EventKind(state)
    return BatchEvent(kind=kind, at=0.0, key=key, state=state, **fields)  # type: ignore[arg-type]


async def drawn(progress: Progress, screen: Recorder) -> Frame:
    screen.gate.set()
    await progress.finish(BatchStatistics())
    return screen.frames[-1]


@pytest.mark.anyio
async def test_jobs_come_into_the_window_change_their_word_and_leave() -> None:
    screen = Recorder()
    progress = Progress(screen, shows_all=True)

    progress.on_event(event("a", ItemState.QUEUED))
    for key in ("a", "b", "c"):
        progress.on_event(event(key, ItemState.SUBMITTED, label=f"{key}.mp4"))
    progress.on_event(event("b", status=JobStatus.CONVERTING))
    progress.on_event(
        BatchEvent(kind=EventKind.DOWNLOADING, at=0.0, key="c", received_bytes=1_000_000, total_bytes=4_000_000)
    )
    progress.on_event(event("a", ItemState.DONE))

    shown = await drawn(progress, screen)
    assert [(job.label, job.word) for job in shown.active] == [("b.mp4", "converting"), ("c.mp4", "downloading 25 %")]
    assert screen.is_closed


@pytest.mark.anyio
async def test_an_outcome_is_a_line_without_what_is_secret() -> None:
    screen = Recorder()
    progress = Progress(screen, shows_all=False)

    progress.add_outcome(Outcome(key="a", request=REQUEST, state=ItemState.DONE, credits=1, path=Path("a.mp4")))
    error = BudgetExceededError(8, 3)
    progress.add_outcome(Outcome(key="b", request=REQUEST, state=ItemState.SKIPPED, error=error))

    shown = await drawn(progress, screen)
    assert screen.lines == [f"skipped   https://a.example/it's.mp4?***  {error}"]
    assert shown.ended == 0, "neither was at the vendor in this run"


@pytest.mark.anyio
async def test_the_time_left_is_told_from_what_was_worked_on_and_not_from_what_was_passed_over() -> None:
    """Eight jobs run, and a thousand videos were skipped, refused or done before: nobody knows how long it takes."""
    screen = Recorder()
    progress = Progress(screen, shows_all=False)
    for number in range(11):
        event = BatchEvent(kind=EventKind.SUBMITTED, at=0.0, key=f"{number}", state=ItemState.SUBMITTED)
        progress.on_event(event)
    for number in range(1000):
        state = (ItemState.SKIPPED, ItemState.REJECTED, ItemState.DONE)[number % 3]
        progress.add_outcome(Outcome(key=f"known-{number}", request=REQUEST, state=state))
    statistics = BatchStatistics(done=1000, unfinished=8)

    first = attrs.evolve(await drawn(progress, screen), statistics=statistics)
    assert (first.per_second, first.left_s) == (None, None)

    for number in range(3):
        finished = BatchEvent(kind=EventKind.FINISHED, at=0.0, key=f"{number}", state=ItemState.DONE)
        progress.on_event(finished)
        progress.add_outcome(Outcome(key=f"{number}", request=REQUEST, state=ItemState.DONE))
    shown = await drawn(progress, screen)
    later = attrs.evolve(shown, statistics=statistics, now=shown.started_at + 30)
    assert later.ended == 3
    assert later.left_s == 80


@pytest.mark.anyio
async def test_a_budget_that_leaves_a_library_out_does_not_fill_the_screen() -> None:
    screen = Recorder()
    progress = Progress(screen, shows_all=True)
    for number in range(5000):
        outcome = Outcome(key=f"{number}", request=REQUEST, state=ItemState.SKIPPED, error=BudgetExceededError(8, 3))
        progress.add_outcome(outcome)

    shown = await drawn(progress, screen)

    assert (len(screen.lines), shown.ended) == (101, 0)
    assert screen.lines[-1] == "skipped   further videos; the summary counts them"


@pytest.mark.anyio
async def test_a_slow_terminal_holds_up_nothing_but_itself() -> None:
    screen = Recorder()
    progress = Progress(screen, shows_all=True)
    began = time.monotonic()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.serve, BatchStatistics)
        await anyio.to_thread.run_sync(screen.is_entered.wait)
        for number in range(20_000):
            progress.add_line(f"line {number}")
        tasks.cancel_scope.cancel()
    await progress.finish(BatchStatistics())

    assert time.monotonic() - began < soon(2)
    assert progress.is_stuck
    screen.gate.set()


@pytest.mark.anyio
async def test_lines_that_a_slow_terminal_could_not_take_are_counted() -> None:
    screen = Recorder()
    progress = Progress(screen, shows_all=True)
    for number in range(10_500):
        progress.add_line(f"line {number}")

    await drawn(progress, screen)

    assert screen.lines[:2] == ["(500 lines are left out: the terminal was too slow)", "line 500"]
    assert len(screen.lines) == 10_001


@pytest.mark.anyio
async def test_a_terminal_that_is_gone_does_not_end_the_batch() -> None:
    screen = Recorder(failure=OSError("gone"))
    screen.gate.set()
    progress = Progress(screen, shows_all=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(progress.serve, BatchStatistics)
        await anyio.to_thread.run_sync(screen.is_entered.wait)
        tasks.cancel_scope.cancel()
    await progress.finish(BatchStatistics())

    assert (screen.draws, screen.is_closed, progress.is_stuck) == (1, False, False)


def skipped(error: HitPawError) -> Outcome:
    return Outcome(key="a", request=REQUEST, state=ItemState.SKIPPED, error=error)


@pytest.mark.parametrize(
    ("statistics", "outcomes", "changes", "code", "hint"),
    [
        ({"done": 3}, [], {}, ExitCode.DONE, None),
        ({}, [], {}, ExitCode.DONE, None),
        ({"done": 1, "failed": 1}, [], {}, ExitCode.INCOMPLETE, None),
        ({"done": 1, "rejected": 1}, [], {}, ExitCode.INCOMPLETE, None),
        ({"done": 1, "uncertain": 1}, [], {}, ExitCode.INCOMPLETE, "hitpaw reconcile 'my j.db'"),
        ({"done": 1, "unfinished": 2}, [], {}, ExitCode.INCOMPLETE, "2 videos unfinished. Go on with: hitpaw resume"),
        ({"failed": 1, "skipped": 1}, [BudgetExceededError(2, 1)], {}, ExitCode.NO_CREDITS, "1 credit of the budget"),
        ({"skipped": 1}, [InsufficientCreditsError(402, 501002, "no")], {}, ExitCode.NO_CREDITS, "too few credits"),
        ({"skipped": 1}, [TransportError("No way.")], {}, ExitCode.INCOMPLETE, "1 video not submitted: No way. Then:"),
        ({"unfinished": 1}, [], {"failure": AuthenticationError(401, 1, "no")}, ExitCode.KEY_REFUSED, "Then: hitpaw"),
        ({"unfinished": 1}, [], {"failure": JournalError("Full.")}, ExitCode.INCOMPLETE, "Full. Then: hitpaw resume"),
        ({"done": 1}, [], {"is_interrupted": True}, ExitCode.INTERRUPTED, "interrupted; 1 of 1 video done"),
        ({"done": 1}, [], {"is_unread": True}, ExitCode.INTERRUPTED, "standard output can't be written to"),
    ],
)
def test_the_exit_code_and_the_hint_follow_from_how_it_ended(
    statistics: dict[str, int],
    outcomes: list[HitPawError],
    changes: dict[str, object],
    code: ExitCode,
    hint: str | None,
) -> None:
    ending = Ending(
        journal=Path("my j.db"),
        output="out",
        statistics=BatchStatistics(**statistics, credits_left=1),
        **changes,  # type: ignore[arg-type]
    )
    for error in outcomes:
        ending.note(skipped(error))

    said = [*hints(ending)]

    assert ending.exit_code is code
    assert len(said) == (0 if hint is None else 1)
    assert hint is None or hint in said[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5939, "99 min"), (7500, "2 h 05 min")]
)
def test_lengths_of_time_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text
