"""What a person decides: UNCERTAIN settled (bind a job id, give up, pay again), and what has ended looked at again."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.itemstate import Bound, GaveUp, Problem, Resubmitted
from hitpaw_async._core.renewal import look_again
from hitpaw_async._core.retry import PASSING
from hitpaw_async._tasks import in_thread
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor, JobIdTakenError
from hitpaw_async.errors import (
    AuthenticationError,
    ConfigurationError,
    HitPawError,
    InvalidRequestError,
    JournalError,
)
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hitpaw_async._core.itemstate import Event, Item
    from hitpaw_async._vendor.calls import VendorCalls
    from hitpaw_async.batch.books import Bookkeeper

__all__ = ["again", "bind", "bind_named", "give_up", "resubmit", "uncertain_items"]

_LOG = logging.getLogger("hitpaw_async")


async def uncertain_items(bookkeeper: Bookkeeper) -> AsyncIterator[Item]:
    """All items whose export's answer was lost, the oldest first within a priority."""
    cursor = Cursor()
    while rows := await bookkeeper.journal.do(
        lambda store, after=cursor: store.page((ItemState.UNCERTAIN,), after, PAGE_ITEMS)  # type: ignore[misc]
    ):
        for _, item in rows:
            yield item
        cursor = rows[-1][0]


async def bind(bookkeeper: Bookkeeper, calls: VendorCalls, key: str, job_id: str) -> Item:
    """Give an UNCERTAIN item the job id that was found for it; the next run goes on with it.

    The task call is asked first: a job id that the vendor doesn't know is never bound.

    Raises:
        InvalidRequestError: The key is not UNCERTAIN, or the job id can't be one.
        JobIdTakenError: The job id stands at another item.
        JobNotFoundError: The vendor doesn't know the job id.
        APIError: The vendor refused the question.
        TransportError: The vendor can't be reached.
    """
    await _require_uncertain(bookkeeper, key)
    owner = await bookkeeper.journal.do(lambda store: store.find_job(job_id))
    if owner is not None:
        raise JobIdTakenError(f"The job id {job_id} stands at the item {owner.key!r} already. Look up the right one.")
    await calls.task(job_id)
    return await _settle(bookkeeper, key, Bound(job_id, bookkeeper.clock()))


async def bind_named(bookkeeper: Bookkeeper, calls: VendorCalls, key: str, job_id: str) -> Item | None:
    """Bind the job id that a webhook named, or find that it is none of this item's: then None.

    Raises:
        HitPawError: One of `PASSING`: it may be otherwise when asked again. Or nobody can be asked any more:
            `AuthenticationError`, `ConfigurationError`, `JournalError`.
    """
    try:
        return await bind(bookkeeper, calls, key, job_id)
    except JobIdTakenError:
        _LOG.warning("A webhook named a job for %s that stands at another item.", key)
    except (*PASSING, AuthenticationError, ConfigurationError, JournalError):
        raise
    except HitPawError as error:
        _LOG.warning("A webhook named a job for %s that cannot be bound: %s", key, error)
    return None


async def give_up(bookkeeper: Bookkeeper, key: str) -> Item:
    """Give an UNCERTAIN item up: it is FAILED, and what it may have cost counts as spent.

    Raises:
        InvalidRequestError: The key is not UNCERTAIN.
    """
    problem = Problem("SubmissionUnknownError", "Given up: nobody found out whether the export was accepted.")
    return await _settle(bookkeeper, key, GaveUp(problem, bookkeeper.clock()))


async def resubmit(bookkeeper: Bookkeeper, key: str) -> Item:
    """Queue an UNCERTAIN item anew, for a person who accepts to perhaps pay twice; the journal keeps that choice.

    What the lost attempt may have cost counts as spent.

    Raises:
        InvalidRequestError: The key is not UNCERTAIN.
    """
    return await _settle(bookkeeper, key, Resubmitted())


async def again(bookkeeper: Bookkeeper, key: str, *, pay_again: bool, video_url: str | None) -> Item:
    """Look again at an item that has ended. It costs nothing, unless a person accepts to pay again.

    A FAILED item's job is asked for again, and so is a DONE item's whose file is gone; a REJECTED one is queued again.

    Args:
        bookkeeper: The journal and the ledger.
        key: The item's key.
        pay_again: Whether an item that failed or is uncertain is submitted anew; what it cost is written off.
        video_url: The source's URL anew, where the journal has forgotten a part of it.

    Raises:
        InvalidRequestError: There is no such key, or nothing to look at again.
    """
    known = await bookkeeper.journal.do(lambda store: store.get(key))
    if known is None:
        raise _no_such_key(key)
    path = known.path
    has_file = path is not None and await in_thread(lambda: os.path.lexists(path))

    def choose(item: Item) -> tuple[Item, Event] | str:
        if video_url is not None:
            request = attrs.evolve(item.request, video_url=video_url, _identity=None)
            if request.fingerprint != item.request.fingerprint:
                return "The URL names another video."
            item = attrs.evolve(item, request=request)
        event = look_again(item, pays=pay_again, has_file=has_file and item.path == path)
        return event if isinstance(event, str) else (item, event)

    found = await bookkeeper.look_again(key, choose)
    if isinstance(found, str):
        raise InvalidRequestError([f"The item {ascii(key)[:80]} can't be looked at again. {found}"])
    before, after = found
    if before.job_id not in (None, after.job_id):
        _LOG.warning("%s is to be paid again; job %s is written off. Keep this line.", key, before.job_id)
    return after


async def _settle(bookkeeper: Bookkeeper, key: str, event: Bound | GaveUp | Resubmitted) -> Item:
    before, after = await bookkeeper.settle(key, event)
    if after is None:
        raise _nothing_to_settle(key, before)
    return after


async def _require_uncertain(bookkeeper: Bookkeeper, key: str) -> None:
    item = await bookkeeper.journal.do(lambda store: store.get(key))
    if item is None or item.state is not ItemState.UNCERTAIN:
        raise _nothing_to_settle(key, item)


def _nothing_to_settle(key: str, item: Item | None) -> InvalidRequestError:
    if item is None:
        return _no_such_key(key)
    return InvalidRequestError([f"The item {ascii(key)[:80]} is {item.state}, not uncertain: nothing to settle."])


def _no_such_key(key: str) -> InvalidRequestError:
    return InvalidRequestError([f"The journal has no item with the key {ascii(key)[:80]}."])
