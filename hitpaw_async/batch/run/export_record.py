"""The journal's record of one export, written attempt by attempt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.itemstate import (
    Accepted,
    Intended,
    Item,
    NotAccepted,
    ReplyLost,
)
from hitpaw_async.batch.journal.store import JobIdTakenError
from hitpaw_async.batch.outcomes import problem_of

if TYPE_CHECKING:
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.models import Job

__all__ = ["ExportRecord", "Submitted"]

_LOG = logging.getLogger("hitpaw_async")


@attrs.frozen
class Submitted:
    """The state that an item reached, and the reason if it got no further."""

    item: Item
    error: errors.HitPawError | None = None
    source_s: float | None = None
    """Length of the source in seconds, where it is known."""
    latency_s: float | None = None
    """From the export's first byte to its answer, where it was accepted."""


@attrs.define(eq=False)
class ExportRecord:
    """Records, attempt by attempt, the fate of one export: an `ExportObserver` on the journal."""

    bookkeeper: Bookkeeper
    item: Item
    hook_digest: str | None = None
    error: errors.HitPawError | None = None
    sent_at: float = 0.0
    latency_s: float | None = None

    async def sending(self) -> None:
        """Commit the intent."""
        self.item = await self.bookkeeper.record(self.item, Intended(self.hook_digest))
        self.sent_at = anyio.current_time()

    async def not_accepted(self) -> None:
        """Record that the attempt certainly was not accepted."""
        self.item = await self.bookkeeper.record(self.item, NotAccepted())

    async def accepted(self, job: Job) -> None:
        """Commit the job id; if another item has it, the answer counts as lost."""
        bookkeeper = self.bookkeeper
        self.latency_s = anyio.current_time() - self.sent_at
        try:
            self.item = await bookkeeper.record(self.item, Accepted(job.job_id, bookkeeper.clock(), job.credits))
        except JobIdTakenError as error:
            self.item = await bookkeeper.record(self.item, ReplyLost(problem_of(error), bookkeeper.clock()))
            self.error = error
        except errors.JournalError:
            _LOG.critical(
                "The export of %s was accepted as job %s, and the journal could not keep it. Keep this line. Later: "
                "hitpaw reconcile JOURNAL --key %s --job-id %s",
                self.item.key,
                job.job_id,
                self.item.key,
                job.job_id,
            )
            raise
