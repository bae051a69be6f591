"""UNCERTAIN items: who they are, and settling one by what a person has found out."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing
from enum import Enum
from typing import TYPE_CHECKING, assert_never

import anyio.to_thread
import attrs

from hitpaw_async import errors
from hitpaw_async._redact import redact_url
from hitpaw_async.batch.journal.group_commit import PAGE_ITEMS, Cursor
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.output.messages import complain
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.cli.inputs.flags import NetworkFlags
    from hitpaw_async.models import Outcome

__all__ = [
    "Decision",
    "Settlement",
    "again",
    "apply",
    "uncertain_event",
    "uncertain_keys",
    "uncertain_outcomes",
]

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


class Settlement(Enum):
    """How an UNCERTAIN item is settled."""

    BIND = "bind"
    LOST = "lost"
    RESUBMIT = "resubmit"


@attrs.frozen
class Decision:
    """What a person wants done about an item."""

    key: str
    settlement: Settlement
    job_id: str | None = attrs.field(default=None, kw_only=True)


async def uncertain_keys(journal: Path, named: Sequence[str], *, is_all: bool, wait_s: float) -> list[str]:
    """The keys of the UNCERTAIN items that are named, each by its key or how that begins; or of all there are.

    Raises:
        UsageError: A beginning fits several.
        JournalError: A batch runs on the journal.
    """
    async with _opened(journal, wait_s=wait_s) as batch:
        known = [outcome.key async for outcome in batch.uncertain()]
    # What names none is kept as it is: settling says how the item stands, if there is one.
    return known if is_all else list(dict.fromkeys(_full_key(each, known) or each for each in named))


def _full_key(named: str, known: Sequence[str]) -> str | None:
    """The one key that is named, or begins so; None where there is none.

    Raises:
        UsageError: There are several.
    """
    if named in known:
        return named
    found = [key for key in known if key.startswith(named)]
    if len(found) > 1:
        shown = ", ".join(map(shown_key, found[:3]))
        raise UsageError(f"Nothing was changed: several keys begin with {shown_key(named)}: {shown}. Say more of it.")
    return found[0] if found else None


def shown_key(key: str) -> str:
    """A key as an error shows it."""
    return ascii(key)[:80]


async def apply(
    journal: Path,
    decisions: Sequence[Decision],
    *,
    api_key: str,
    base_url: str | None,
    network: NetworkFlags,
    wait_s: float = 0.0,
) -> None:
    """Settle items as was decided, one after the other; a job id only once the vendor has said that the job exists.

    Raises:
        UsageError: The vendor doesn't know a job.
        InvalidRequestError: An item is not UNCERTAIN.
        JournalError: A job is another item's, or a batch runs on the journal.
        HitPawError: The vendor can't be asked.
    """
    async with _opened(journal, api_key=api_key, base_url=base_url, network=network, wait_s=wait_s) as batch:
        for settled, decision in enumerate(decisions):
            try:
                match decision.settlement:
                    case Settlement.BIND:
                        await batch.bind(decision.key, decision.job_id or "")
                    case Settlement.LOST:
                        await batch.give_up(decision.key)
                    case Settlement.RESUBMIT:
                        await batch.resubmit(decision.key)
                    case _ as unreachable:
                        assert_never(unreachable)
            except errors.JobNotFoundError as error:
                before = f"{settled} settled before. " if settled else ""
                raise UsageError(f"{before}Nothing was changed. {error}") from None


async def again(
    journal: Path, named: Sequence[str], *, is_failed: bool, pays: bool, video_url: str | None, wait_s: float
) -> tuple[int, list[str]]:
    """Look again at the items that are named, or at all that failed.

    Returns:
        How many are looked at again, and of those that failed why others are not.

    Raises:
        UsageError: A key names none or several, or one that is named can't be looked at again.
        JournalError: A batch runs on the journal.
    """
    async with _opened(journal, wait_s=wait_s) as batch:
        keys = []
        for each in named:
            found = _full_key(each, await batch.keys(each, limit=4))
            if found is None:
                raise UsageError(f"Nothing was changed: the journal has no item with the key {shown_key(each)}.")
            keys.append(found)
        for key in dict.fromkeys(keys):
            try:
                await batch.again(key, pay_again=pays, video_url=video_url)
            except errors.InvalidRequestError as error:
                raise UsageError(" ".join(error.problems)) from None
        done, refused = len(dict.fromkeys(keys)), []
        failed = await anyio.to_thread.run_sync(keys_in, journal, ItemState.FAILED) if is_failed else []
        for key in failed:
            try:
                await batch.again(key, pay_again=pays)
                done += 1
            except errors.InvalidRequestError as error:
                refused.append(" ".join(error.problems))
        return done, refused


def keys_in(journal: Path, state: ItemState) -> list[str]:
    """The keys of all items in a state."""
    keys: list[str] = []
    cursor = Cursor()
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        while rows := store.page((state,), cursor, PAGE_ITEMS):
            keys += [item.key for _, item in rows]
            cursor = rows[-1][0]
    return keys


@asynccontextmanager
async def _opened(
    journal: Path,
    *,
    api_key: str = "unused",
    base_url: str | None = None,
    network: NetworkFlags | None = None,
    wait_s: float = 0.0,
) -> AsyncIterator[BatchScheduler]:
    """The journal, open for work. Nobody is asked anything without a key."""
    way = {} if network is None else network.client_arguments
    async with (
        AsyncHitPaw(api_key=api_key, base_url=base_url, **way) as hitpaw,
        hitpaw.batch(journal=journal, journal_wait_s=wait_s) as batch,
    ):
        yield batch
