"""UNCERTAIN items: who they are, and settling one by what a person has found out."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import anyio.to_thread

from hitpaw_async import errors
from hitpaw_async._redact import redact_url
from hitpaw_async.batch._sqlite import SqliteStore
from hitpaw_async.batch.journal import Cursor
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.cli.exits import UsageError
from hitpaw_async.cli.wording import complain
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.models import Outcome

__all__ = ["bind", "give_up", "resubmit", "uncertain_event", "uncertain_outcomes"]

SHOWN_MAX = 10_000


async def uncertain_outcomes(journal: Path) -> list[Outcome]:
    """Every UNCERTAIN item, also those that a dead process left in the middle of a send; at most 10,000.

    Raises:
        JournalError: The journal can't be read.
    """
    try:
        async with _opened(journal) as batch:
            found = []
            async for outcome in batch.uncertain():
                found.append(outcome)
                if len(found) == SHOWN_MAX:
                    break
            return found
    except errors.JournalError as error:
        # A batch runs on it, or it may not be written. Looking is possible all the same.
        complain(f"{error} What follows is how it stands now.")
    return await anyio.to_thread.run_sync(_read_uncertain, journal)


def _read_uncertain(journal: Path) -> list[Outcome]:
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        return [outcome_of(item) for _, item in store.page((ItemState.UNCERTAIN,), Cursor(), SHOWN_MAX)]


def uncertain_event(outcome: Outcome) -> dict[str, object]:
    """The line that an item makes with --json."""
    return {
        "event": "uncertain",
        "key": outcome.key,
        "video_url": redact_url(outcome.request.video_url),
        "at": None if outcome.finished_at is None else outcome.finished_at.isoformat(),
        "reason": None if outcome.error is None else str(outcome.error),
    }


async def bind(
    journal: Path, key: str, job_id: str, *, api_key: str, base_url: str | None, wait_s: float = 0.0
) -> Outcome:
    """Bind a job to an item, once the vendor has said that the job exists.

    Raises:
        UsageError: The item is not UNCERTAIN, or the vendor doesn't know the job.
        JournalError: The job is another item's, or a batch runs on the journal.
        HitPawError: The vendor can't be asked.
    """
    async with _opened(journal, api_key=api_key, base_url=base_url, wait_s=wait_s) as batch:
        try:
            return await batch.bind(key, job_id)
        except errors.JobNotFoundError as error:
            raise UsageError(f"Nothing was changed. {error}") from None


async def give_up(journal: Path, key: str, *, wait_s: float = 0.0) -> None:
    """Give an item up: FAILED, and what it may have cost counts as spent."""
    async with _opened(journal, wait_s=wait_s) as batch:
        await batch.give_up(key)


async def resubmit(journal: Path, key: str, *, wait_s: float = 0.0) -> None:
    """Queue an item again, to be paid again."""
    async with _opened(journal, wait_s=wait_s) as batch:
        await batch.resubmit(key)


@asynccontextmanager
async def _opened(
    journal: Path, *, api_key: str = "unused", base_url: str | None = None, wait_s: float = 0.0
) -> AsyncIterator[BatchScheduler]:
    """The journal, open for work. Nobody is asked anything without a key."""
    async with (
        AsyncHitPaw(api_key=api_key, base_url=base_url) as hitpaw,
        hitpaw.batch(journal=journal, journal_wait_s=wait_s) as batch,
    ):
        yield batch
