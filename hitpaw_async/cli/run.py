"""One run of a batch: queue everything, bring it to its end, report each item, and say how it ended."""

from __future__ import annotations

import logging
import math
import signal
import sys
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import attrs

from hitpaw_async import errors
from hitpaw_async._format import counted
from hitpaw_async._vendor.settings import EXPORT_GRACE_S
from hitpaw_async.cli.ending import Ending
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.inputs.flags import NetworkFlags
from hitpaw_async.cli.output.json_lines import JsonLines, outcome_event, summary_event
from hitpaw_async.cli.output.progress import LogLines, PlainScreen, Progress, choose_screen
from hitpaw_async.cli.paid_index import Remembering
from hitpaw_async.cli.settings.batch import NOTE_NAME
from hitpaw_async.cli.settings.trust import sealed_settings
from hitpaw_async.cli.signals import stop_on_signals
from hitpaw_async.client import AsyncHitPaw

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator
    from pathlib import Path

    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.run.admission import Conflict
    from hitpaw_async.batch.run.requests import Requests
    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.cli.settings.batch import BatchSettings
    from hitpaw_async.models import ExportRequest, Outcome

__all__ = ["BatchRun"]

LAST_LINE_S: Final = 0.5
CTRL_C_GRACE_S: Final = 1.2
"""A person is waiting, and may press Ctrl-C again. Whoever sends SIGTERM or SIGHUP gives more time than that."""


@attrs.define(kw_only=True, eq=False)
class BatchRun:
    """A run: what it is run with, and how it is reported."""

    settings: BatchSettings
    journal: Path
    api_key: str
    requests: Callable[[], Requests] = tuple
    """The given videos, from the first, as often as it is called."""
    given: int = 0
    """How many they are."""
    is_json: bool = False
    is_quiet: bool = False
    waits_for_journal: bool = False
    """Whether it waits until another process that works on the journal ends."""
    network: NetworkFlags = attrs.field(factory=NetworkFlags)
    on_outcome: Callable[[Outcome], None] | None = None
    """Told of each outcome as well."""
    is_remembered: bool = True
    """Whether what it pays for is kept where this user's other batches find it."""
    _repeated: int = attrs.field(default=0, init=False)
    _ending: Ending = attrs.field(init=False)
    _progress: Progress = attrs.field(init=False)
    _lines: JsonLines | None = attrs.field(init=False)
    _remembering: Remembering | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Beside JSON on the same terminal, a live view would tear it.
        is_plain = self.is_quiet or (self.is_json and sys.stdout.isatty())
        screen = choose_screen(sys.stderr, is_quiet=is_plain)
        # What is done, bars and JSON show as well.
        shows_all = isinstance(screen, PlainScreen) and not self.is_json and not self.is_quiet
        self._progress = Progress(screen, shows_all=shows_all)
        self._lines = JsonLines() if self.is_json else None
        remembering = Remembering(self.settings.base_url, self.journal)
        self._remembering = remembering if self.is_remembered else None
        self._ending = Ending(journal=self.journal, output=self.settings.output)

    async def run(self) -> Ending:
        """Run the batch and report it.

        Raises:
            HitPawError: It could not begin.
        """
        ending = self._ending
        batch: BatchScheduler | None = None
        await anyio.to_thread.run_sync(_make_folder, self.journal.parent)
        with _shown_log(self._progress, level=logging.CRITICAL if self.is_quiet else logging.WARNING):
            try:
                async with (
                    stop_on_signals(lambda number: self._on_stop(number, batch)) as stop,
                    AsyncExitStack() as stack,
                ):
                    hitpaw = await stack.enter_async_context(self._client())
                    batch = await stack.enter_async_context(self._batch(hitpaw))
                    stop.tasks.start_soon(self._progress.serve, batch.statistics)
                    if self._remembering is not None:
                        stack.push_async_callback(self._remembering.finish, batch)
                        stop.tasks.start_soon(self._remembering.serve, batch)
                    await self._work(batch)
                ending.is_interrupted = stop.is_asked_for
            finally:
                if batch is not None:
                    ending.statistics = batch.statistics()
                await self._progress.finish(ending.statistics)
        await self._write_summary()
        ending.is_stuck = self._progress.is_stuck or (self._lines is not None and self._lines.is_stuck)
        return ending

    def _client(self) -> AsyncHitPaw:
        settings = self.settings
        return AsyncHitPaw(
            api_key=self.api_key,
            base_url=settings.base_url,
            poll=settings.poll,
            export_timeout=settings.export_timeout_s,
            **self.network.client_arguments,
        )

    def _batch(self, hitpaw: AsyncHitPaw) -> BatchScheduler:
        return hitpaw.batch(
            journal=self.journal,
            budget=self.settings.credit_budget,
            limits=self.settings.limits,
            output=self.settings.output,
            probe=self.settings.is_probing,
            name=self.settings.name,
            on_event=self._on_event,
            journal_wait_s=math.inf if self.waits_for_journal else 0.0,
        )

    def _on_event(self, event: BatchEvent) -> None:
        self._progress.on_event(event)
        if self._remembering is not None:
            self._remembering.on_event(event)

    async def _work(self, batch: BatchScheduler) -> None:
        try:
            await batch.set_note(NOTE_NAME, sealed_settings(self.settings, self.api_key).to_json())
            # All of it is in the journal before a credit is spent: whatever happens, `resume` knows of every video.
            added = await batch.enqueue(self.requests(), on_conflict=self._note_conflict, on_repeat=self._note_repeat)
            self._tell_repeats()
            # Those that the journal knew are reported once more; only for them the videos are gone through again.
            await self._report(batch.run(self.requests() if added < self.given else ()))
        except errors.HitPawError as error:
            self._ending.failure = error

    def _note_conflict(self, _: Conflict) -> None:
        """Count what is left out; its outcome is reported by the run."""
        self._ending.conflicts += 1

    def _note_repeat(self, _: ExportRequest) -> None:
        self._repeated += 1

    def _tell_repeats(self) -> None:
        """Say that there are fewer videos than rows: a person may have meant others."""
        if self._repeated and not self.is_quiet:
            videos = counted(self.given - self._repeated - self._ending.conflicts, "video")
            text = f"{self.given} rows, {videos}: {self._repeated} name an earlier one again (each is paid once)"
            self._progress.add_line(text)

    def _on_stop(self, number: signal.Signals, batch: BatchScheduler | None) -> None:
        """Set how long the answers to sent exports are awaited, and say so."""
        if batch is None:
            return
        grace_s = self.settings.stop_grace_s
        if grace_s is None:
            grace_s = CTRL_C_GRACE_S if number is signal.SIGINT else EXPORT_GRACE_S
        batch.stop_grace_s = grace_s
        sent = self._progress.sent
        if sent and not self.is_quiet:
            self._progress.add_line(
                f"stopping: {counted(sent, 'export')} sent, perhaps charged; waiting up to {grace_s:g} s for what the "
                "vendor answers (--stop-grace-s). Ctrl-C now ends it at once."
            )

    async def _report(self, outcomes: AsyncIterable[Outcome]) -> None:
        async for outcome in outcomes:
            self._ending.note(outcome)
            self._progress.add_outcome(outcome)
            if self.on_outcome is not None:
                self.on_outcome(outcome)
            if self._lines is not None:
                try:
                    await self._lines.write(outcome_event(outcome))
                except OSError:
                    self._ending.is_unread = True
                    return

    async def _write_summary(self) -> None:
        if self._lines is None or self._ending.is_unread:
            return
        try:
            timeout_s = LAST_LINE_S if self._ending.is_interrupted else None
            await self._lines.write(summary_event(self._ending.statistics), timeout_s=timeout_s)
        except OSError:
            self._ending.is_unread = True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} can't be made: {error.strerror}. Name another.") from None


@contextmanager
def _shown_log(progress: Progress, *, level: int) -> Iterator[None]:
    """The library's warnings as lines of the progress."""
    logger = logging.getLogger("hitpaw_async")
    handler = LogLines(progress, level=level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
