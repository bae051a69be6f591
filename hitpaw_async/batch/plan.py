"""What a batch would do and cost, without doing it."""

from __future__ import annotations

from contextlib import aclosing
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.limits import broken_limits
from hitpaw_async._core.pricing import estimate
from hitpaw_async._core.renewal import has_whole_url, is_waiting
from hitpaw_async._format import counted
from hitpaw_async.batch.journal.store import PAGE_ITEMS, WAITING, Cursor
from hitpaw_async.batch.probe import known_facts
from hitpaw_async.batch.run.admission import find_known, key_conflict
from hitpaw_async.batch.run.requests import pulled
from hitpaw_async.models import CreditQuote, ExportRequest, ItemState, VideoFacts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.probe import Probe
    from hitpaw_async.batch.run.requests import Requests

__all__ = ["BatchPlan", "PlanAction", "PlannedItem", "exact_credits", "fitted", "plan"]


class PlanAction(StrEnum):
    """What a run would do with an item."""

    SUBMIT = "submit"
    SKIP = "skip"
    """It doesn't fit the budget."""
    REJECT = "reject"
    """It breaks a limit, or its source can't be read."""
    KNOWN = "known"
    """The journal has it; it is not submitted again."""


@attrs.frozen(kw_only=True)
class PlannedItem:
    """What a run would do with one item, and why."""

    key: str
    request: ExportRequest
    action: PlanAction
    facts: VideoFacts | None = None
    quote: CreditQuote | None = None
    reasons: tuple[str, ...] = ()
    """Why it is rejected or skipped, and what the quote assumes."""
    state: ItemState | None = None
    """Where a known item stands."""


@attrs.frozen(kw_only=True)
class BatchPlan:
    """What a run would do. It changes nothing and costs nothing."""

    items: tuple[PlannedItem, ...]
    credits_left: int | None
    """What the budget would still have afterwards; None without a budget."""
    repeated: int = 0
    """How many requests were left out of `items` because an earlier one is the same video."""

    def count(self, action: PlanAction) -> int:
        """How many items this would happen to."""
        return sum(item.action is action for item in self.items)

    @property
    def credits_upper(self) -> int:
        """The most that the submitted items can cost."""
        return sum(quote.upper for quote in self._quotes(PlanAction.SUBMIT))

    @property
    def credits_exact(self) -> Fraction | None:
        """What they cost by the second; None where a fact is unknown."""
        return exact_credits(self._quotes(PlanAction.SUBMIT))

    @property
    def credits_skipped(self) -> int:
        """The most that the skipped items would cost."""
        return sum(quote.upper for quote in self._quotes(PlanAction.SKIP))

    def _quotes(self, action: PlanAction) -> list[CreditQuote]:
        return [item.quote for item in self.items if item.action is action and item.quote is not None]


async def plan(bookkeeper: Bookkeeper, requests: Requests, *, probe: Probe, is_probing: bool, probes: int) -> BatchPlan:
    """Plan what a run would do with the journal's waiting items and with `requests`, in their order.

    Args:
        bookkeeper: The journal and the ledger; neither is changed.
        requests: The caller's input.
        probe: Reads the facts of a source.
        is_probing: Whether unknown facts are read from the sources.
        probes: How many sources are read at once.
    """
    rows: list[PlannedItem] = []
    left = bookkeeper.ledger.left
    waiting: list[tuple[ExportRequest, Item | None]] = []
    seen: dict[str, ExportRequest] = {}
    given: set[str] = set()
    repeated = 0

    async def flush() -> None:
        nonlocal left
        for examined in await _examined(waiting, probe=probe, is_probing=is_probing):
            row, left = fitted(examined, left)
            rows.append(row)
        waiting.clear()

    async with aclosing(_candidates(bookkeeper, requests)) as candidates:
        async for request, known, is_of_journal in candidates:
            key = request.key if known is None else known.key
            first = known.request if known is not None else seen.get(key)
            if first is not None and first.fingerprint != request.fingerprint:
                await flush()
                reasons = tuple(key_conflict(first, request).problems)
                rows.append(PlannedItem(key=key, request=request, action=PlanAction.REJECT, reasons=reasons))
                continue
            if not is_of_journal:
                repeated += key in given
                given.add(key)
            if key in seen:
                continue
            seen[key] = request
            waiting.append((request, known))
            if len(waiting) == probes:
                await flush()
    await flush()
    return BatchPlan(items=tuple(rows), credits_left=left, repeated=repeated)


async def _candidates(
    bookkeeper: Bookkeeper, requests: Requests
) -> AsyncGenerator[tuple[ExportRequest, Item | None, bool]]:
    """Each request with what the journal knows of it, and whether it is the journal's own."""
    journal = bookkeeper.journal
    cursor = Cursor()
    states = (*WAITING, ItemState.REJECTED)
    while rows := await journal.do(lambda store, after=cursor: store.page(states, after, PAGE_ITEMS)):  # type: ignore[misc]
        for _, item in rows:
            if is_waiting(item) and has_whole_url(item):
                yield item.request, item, True
        cursor = rows[-1][0]
    async for request in pulled(requests):
        yield request, await journal.do(lambda store, given=request: find_known(store, given)), False  # type: ignore[misc]


async def _examined(
    waiting: list[tuple[ExportRequest, Item | None]], *, probe: Probe, is_probing: bool
) -> list[PlannedItem]:
    rows: dict[int, PlannedItem] = {}

    async def examine(index: int, request: ExportRequest, known: Item | None) -> None:
        rows[index] = await _examine(request, known, probe=probe, is_probing=is_probing)

    async with anyio.create_task_group() as tasks:
        for index, (request, known) in enumerate(waiting):
            tasks.start_soon(examine, index, request, known)
    return [rows[index] for index in range(len(waiting))]


async def _examine(request: ExportRequest, known: Item | None, *, probe: Probe, is_probing: bool) -> PlannedItem:
    if known is not None and not is_waiting(known):
        return PlannedItem(key=known.key, request=request, action=PlanAction.KNOWN, state=known.state)
    key = request.key if known is None else known.key
    try:
        facts = await known_facts(request, probe=probe, is_probing=is_probing)
    except errors.MediaError as error:
        return PlannedItem(key=key, request=request, action=PlanAction.REJECT, reasons=(str(error),))
    except errors.InternalError as error:
        return PlannedItem(key=key, request=request, action=PlanAction.SKIP, reasons=(str(error),))
    problems = broken_limits(request, facts)
    if problems:
        return PlannedItem(key=key, request=request, action=PlanAction.REJECT, facts=facts, reasons=tuple(problems))
    quote = estimate(request, facts=facts)
    return PlannedItem(
        key=key, request=request, action=PlanAction.SUBMIT, facts=facts, quote=quote, reasons=quote.assumptions
    )


def fitted(item: PlannedItem, left: int | None) -> tuple[PlannedItem, int | None]:
    """A priced item as it is submitted or skipped with `left` credits of the budget, and what is left after it.

    Args:
        item: Any item of a plan; one that would be neither submitted nor skipped stays as it is.
        left: What the budget has; None without a budget.
    """
    if item.action not in (PlanAction.SUBMIT, PlanAction.SKIP) or item.quote is None or left is None:
        return item, left
    reasons = item.quote.assumptions
    if item.quote.upper <= left:
        return attrs.evolve(item, action=PlanAction.SUBMIT, reasons=reasons), left - item.quote.upper
    reason = f"It may cost up to {counted(item.quote.upper, 'credit')} and {left} of the budget would be left."
    return attrs.evolve(item, action=PlanAction.SKIP, reasons=(*reasons, reason)), left


def exact_credits(quotes: Iterable[CreditQuote]) -> Fraction | None:
    """What videos cost together by the second; None where a fact is unknown."""
    parts = [quote.exact for quote in quotes]
    known = [part for part in parts if part is not None]
    return sum(known, Fraction(0)) if len(known) == len(parts) else None
