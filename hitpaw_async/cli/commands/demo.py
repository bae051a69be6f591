"""`hitpaw demo`: a real batch against the simulator, from clips made on the spot. No key, no network, no credits."""

import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote, unquote

import anyio
import attrs
from cyclopts import Parameter
from rich.text import Text

from hitpaw_async import errors
from hitpaw_async._core.limits import broken_limits
from hitpaw_async._core.pricing import estimate
from hitpaw_async._format import at_most, counted
from hitpaw_async.cli.ending import Ending
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.output.messages import command_on, complain
from hitpaw_async.cli.output.tables import print_prose, print_table
from hitpaw_async.cli.run import BatchRun
from hitpaw_async.cli.settings.batch import JOURNAL_NAME, BatchSettings, checked_place
from hitpaw_async.media import probe_file
from hitpaw_async.models import ExportRequest, ItemState, Outcome, Resolution, VideoFacts, VideoModel
from hitpaw_async.simulator.clips import Clip, make_clips

__all__ = ["demo"]

SPEED: Final = 10.0
POLL_INTERVAL_S: Final = 0.25
CREDITS_SPARE: Final = 1
"""What the budget has over the price of everything that fits it: too little for the last video."""
CREDITS_ACCOUNT: Final = 1000
FOLDERS_MAX: Final = 1000
REPORT_NAME: Final = "report.html"

_STYLES: Final = {
    ItemState.DONE: "green",
    ItemState.FAILED: "red",
    ItemState.REJECTED: "yellow",
    ItemState.SKIPPED: "yellow",
}
_CREDITS: Final = (
    'The results were scaled by PyAV: lanczos, not AI. The videos are from "Big Buck Bunny", (c) copyright 2008, '
    "Blender Foundation / www.bigbuckbunny.org, CC BY 3.0, cut and encoded anew."
)
_WHY: Final = {
    ItemState.FAILED: "the vendor gave it up",
    ItemState.REJECTED: "smaller than the vendor accepts",
    ItemState.SKIPPED: "in 4K it costs more than the budget has left",
}


@attrs.frozen
class _Video:
    """A clip with what is asked for it."""

    clip: Clip
    facts: VideoFacts
    resolution: Resolution
    expected: ItemState = ItemState.DONE
    """What the demonstration is meant to show with it."""

    @property
    def credits_upper(self) -> int:
        """The most that it can cost."""
        return estimate(self.facts, resolution=self.resolution).upper

    def request(self, base_url: str) -> ExportRequest:
        """The request for it."""
        return ExportRequest(
            f"{base_url}/files/{quote(self.clip.path.name)}",
            model=VideoModel.GENERAL_DENOISE_BALANCE,
            resolution=self.resolution,
            key=self.clip.path.name,
        )


def demo(
    *,
    output: Annotated[
        Path, Parameter(name=("-o", "--output"), help="Folder for the results; a fresh one within, where it is in use.")
    ] = Path("hitpaw-demo"),
) -> int:
    """Run a real batch without key or network, in under a minute.

    It has a simulator, sample videos, a budget and downloads.

    Examples:
        hitpaw demo
    """
    from hitpaw_async.simulator import serve  # noqa: PLC0415 (an extra, missed before anything is made)

    del serve
    folder = _fresh_folder(checked_place(output))
    has_report = False
    outcomes: dict[str, Outcome] = {}
    complain("making clips from the sample …")
    with tempfile.TemporaryDirectory(prefix="hitpaw-demo-") as clips:
        videos = _make_videos(Path(clips))
        budget = _budget_for(videos)
        ending = anyio.run(partial(_run, videos, Path(clips), folder, budget=budget, outcomes=outcomes))
        if ending.failure is None and not ending.is_interrupted:
            has_report = _write_report(Path(clips), ending, folder, budget)
    if ending.failure is not None:
        raise ending.failure
    if ending.is_interrupted:
        complain("interrupted; the simulator is gone, so start `hitpaw demo` anew.")
        return ExitCode.INTERRUPTED
    is_as_meant = _print_results(videos, outcomes, ending, folder, budget)
    print(f"\nThe journal knows it all: {command_on('status', ending.journal)}")
    if has_report:
        print(f"Before and after, in a browser: {(folder / REPORT_NAME).as_uri()}")
    return ExitCode.DONE if is_as_meant else ExitCode.INCOMPLETE


async def _run(videos: list[_Video], clips: Path, folder: Path, *, budget: int, outcomes: dict[str, Outcome]) -> Ending:
    from hitpaw_async.simulator import Simulator, serve  # noqa: PLC0415 (an extra)

    simulator = Simulator(credits=CREDITS_ACCOUNT, speed=SPEED, files=clips)
    async with serve(simulator) as base_url:
        settings = BatchSettings(
            base_url=base_url, output=str(folder), budget=budget, is_probing=True, poll_interval_s=POLL_INTERVAL_S
        )
        run = BatchRun(
            settings=settings,
            journal=folder / JOURNAL_NAME,
            api_key="demo",
            requests=lambda: [video.request(base_url) for video in videos],
            given=len(videos),
            on_outcome=lambda outcome: outcomes.update({outcome.key: outcome}),
            is_remembered=False,  # it is no money
        )
        return await run.run()


def _write_report(clips: Path, ending: Ending, folder: Path, budget: int) -> bool:
    """Write the report while the clips are there, where its extra is. Returns whether there is one."""
    if find_spec("jinja2") is None:
        return False
    from hitpaw_async.report import write_report  # noqa: PLC0415 (an extra)

    def local_source(request: ExportRequest) -> Path:
        return clips / unquote(request.video_url.rpartition("/")[2])

    anyio.run(
        partial(
            write_report, ending.journal, folder / REPORT_NAME, budget=budget, local_source=local_source, note=_CREDITS
        )
    )
    return True


def _fresh_folder(output: Path) -> Path:
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not any(output.iterdir()):
            return output.absolute()
        for number in range(2, FOLDERS_MAX):
            folder = output / f"run-{number}"
            if not folder.exists():
                folder.mkdir()
                return folder.absolute()
    except OSError as error:
        raise UsageError(f"The folder {output} can't be used: {error.strerror}. Name another with -o.") from None
    raise UsageError(f"The folder {output} has {FOLDERS_MAX} runs in it. Name another with -o.")


def _make_videos(folder: Path) -> list[_Video]:
    """The clips with what becomes of them; the last asks for 4K, for which the budget has no room."""
    videos = []
    for clip in make_clips(folder):
        facts = probe_file(clip.path)
        video = _Video(clip, facts, _at_720_lines(facts.resolution or Resolution.HD))
        if broken_limits(video.request("https://example.com"), facts):
            video = attrs.evolve(video, expected=ItemState.REJECTED)
        elif clip.expected:
            video = attrs.evolve(video, expected=ItemState.FAILED)
        videos.append(video)
    fastest = max((video for video in videos if video.expected is ItemState.DONE), key=_frame_rate)
    videos.remove(fastest)
    return [*videos, attrs.evolve(fastest, resolution=Resolution.UHD_4K, expected=ItemState.SKIPPED)]


def _frame_rate(video: _Video) -> float:
    return float(video.facts.frame_rate or 0)


def _at_720_lines(size: Resolution) -> Resolution:
    """The same shape with 720 pixels on its short side."""
    longer = min(1280, round(size.long_side * 360 / size.short_side) * 2)
    return Resolution(longer, 720) if size.width >= size.height else Resolution(720, longer)


def _budget_for(videos: list[_Video]) -> int:
    within = (ItemState.DONE, ItemState.FAILED)
    return sum(video.credits_upper for video in videos if video.expected in within) + CREDITS_SPARE


def _print_results(
    videos: list[_Video], outcomes: dict[str, Outcome], ending: Ending, folder: Path, budget: int
) -> bool:
    """Print the table. Returns whether everything went as it is meant to."""
    counts = ending.statistics
    print_prose(
        f"{counted(len(videos), 'real video')} went to a simulated vendor with a budget of {budget} credits: "
        f"{counts.done} enhanced, {counts.rejected} rejected before anything was spent, {counts.failed} failed at the "
        f"vendor, {counts.skipped} left out because the budget had no room for it. "
        f"{at_most(counts.credits_spent).capitalize()} spent, none of them real."
    )
    print(f"The results are in {folder}\n")
    rows, is_as_meant = [], True
    for video in videos:
        outcome = outcomes.get(video.clip.path.name)
        result = _result_of(outcome)
        is_as_meant &= outcome is not None and outcome.state is video.expected
        is_as_meant &= video.expected is not ItemState.DONE or result == video.resolution
        rows.append(_row(video, outcome, result))
    headings = ["source", "result", "credits, at most", "state"]
    print_table(headings, rows, right=["credits, at most"], folded=["source", "result", "state"])
    print_prose(f"\n{_CREDITS}")
    return is_as_meant


def _result_of(outcome: Outcome | None) -> Resolution | None:
    """The size of the picture in the result, read from the file."""
    if outcome is None or outcome.path is None:
        return None
    try:
        return probe_file(outcome.path).resolution
    except errors.MediaError:
        return None


def _row(video: _Video, outcome: Outcome | None, result: Resolution | None) -> tuple[str | Text, ...]:
    source = f"{video.clip.path.name} {video.facts.resolution}, {_frame_rate(video):.4g} fps"
    if outcome is None:
        return source, "", "", Text("no outcome", style="red")
    name = "" if outcome.path is None else f"{outcome.path.name} {result or 'unreadable'}"
    state = Text(str(outcome.state), style=_STYLES.get(outcome.state, ""))
    if video.expected is not ItemState.DONE:
        state.append(f": {_WHY.get(outcome.state, '')}", style="default")
    return source, name, "" if outcome.credits is None else str(outcome.credits), state
