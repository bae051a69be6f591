"""A journal that a command works on: opened for changes, and its items by their keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.batch.scheduler import BatchScheduler
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.inputs.flags import NetworkFlags
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import ItemState

__all__ = ["full_key", "keys_in", "opened", "shown_key"]


@asynccontextmanager
async def opened(
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


def full_key(named: str, known: Sequence[str]) -> str | None:
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


def keys_in(journal: Path, state: ItemState) -> list[str]:
    """The keys of all items in a state."""
    keys: list[str] = []
    cursor = Cursor()
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        while rows := store.page((state,), cursor, PAGE_ITEMS):
            keys += [item.key for _, item in rows]
            cursor = rows[-1][0]
    return keys
