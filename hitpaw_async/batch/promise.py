"""Whether a service can afford a video, found out before it says that it takes it.

What waits in a service's queue has been promised to somebody. So a video is taken in only where its worst case fits
beside all that is spent, reserved and promised: what was taken in is not left out later for want of budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from hitpaw_async import errors
from hitpaw_async._core.limits import require_valid
from hitpaw_async._core.pricing import estimate
from hitpaw_async._core.renewal import is_waiting
from hitpaw_async.batch.journal.store import PAGE_ITEMS, Cursor
from hitpaw_async.batch.probe import known_facts, needs_probe
from hitpaw_async.batch.run.admission import find_known
from hitpaw_async.models import ItemState, VideoFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.probe import Probe
    from hitpaw_async.models import ExportRequest

__all__ = ["promise_waiting", "take_in"]


async def take_in(
    bookkeeper: Bookkeeper,
    request: ExportRequest,
    *,
    probe: Probe | None,
    enqueue: Callable[[list[ExportRequest]], Awaitable[int]],
) -> None:
    """Take a request into the journal if the budget has room for it beside all that is spent, reserved and promised.

    Args:
        bookkeeper: The journal and the ledger.
        request: What is asked for.
        probe: Reads what is unknown of the source, so that the price is known; None: nothing is read.
        enqueue: Takes requests into the journal.

    Raises:
        InvalidRequestError: It breaks a limit, or its source does, or its key stands for another video.
        BudgetExceededError: The budget has no room for it.
        MediaError: Its source is no video, where somebody asked for it to be read.
    """

    async def is_known() -> bool:
        known = await bookkeeper.journal.do(lambda store: find_known(store, request))
        if known is None:
            return False
        # What was refused for a reason that may have passed is queued again by this, and is to be paid for.
        is_reconsidered = known.state is ItemState.REJECTED and is_waiting(known)
        return not is_reconsidered or known.request.fingerprint != request.fingerprint

    if probe is not None and needs_probe(request.facts or VideoFacts()) and not await is_known():
        facts = await known_facts(request, probe=probe, is_probing=True)
        if facts != VideoFacts():
            request = request.with_facts(facts)
            require_valid(request)
    # A caller that hangs up must not leave open whether it was taken in.
    with anyio.CancelScope(shield=True):
        is_new = (
            bookkeeper.ledger.budget is not None and not await is_known() and not bookkeeper.ledger.has(request.key)
        )
        if is_new:
            needed, ledger = estimate(request).upper, bookkeeper.ledger
            if not ledger.promise(request.key, needed):
                raise errors.BudgetExceededError(needed, ledger.unpromised or 0)
        try:
            await enqueue([request])
        except BaseException:
            if is_new:
                bookkeeper.ledger.forget(request.key)
            raise


async def promise_waiting(bookkeeper: Bookkeeper) -> None:
    """Promise what waits in the journal, as far as the budget goes. What an earlier process took in comes first."""
    if bookkeeper.ledger.budget is None:
        return
    cursor = Cursor()
    while rows := await bookkeeper.journal.do(
        lambda store, after=cursor: store.page((ItemState.QUEUED,), after, PAGE_ITEMS)  # type: ignore[misc]
    ):
        for _, item in rows:
            if not bookkeeper.ledger.has(item.key):
                bookkeeper.ledger.promise(item.key, estimate(item.request).upper)
        cursor = rows[-1][0]
