"""Which videos go first, and what of a plan fits the budget in that order. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.pricing import V3_TARIFF
from hitpaw_async._wording import counted
from hitpaw_async.batch.planning import BatchPlan, PlanAction
from hitpaw_async.cli.rows import Order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hitpaw_async.batch.planning import PlannedItem

__all__ = ["Fit", "TierTotal", "arranged", "fits_by_order", "priority_in", "tier_totals"]

_SPENDING = (PlanAction.SUBMIT, PlanAction.SKIP)


@attrs.frozen(kw_only=True)
class Fit:
    """What the budget reaches in an order."""

    videos: int
    credits_upper: int


@attrs.frozen(kw_only=True)
class TierTotal:
    """What would become of the videos of a tier, and what they cost."""

    action: PlanAction
    tier: str
    videos: int
    credits_upper: int
    credits_exact: Fraction | None
    """By the second; None where a fact is unknown."""


def priority_in(order: Order, item: PlannedItem) -> int:
    """The priority that an item has in a journal, for it to come in its turn."""
    match order:
        case Order.PRIORITY:
            return item.request.priority
        case Order.GIVEN:
            return 0
        case Order.CHEAPEST:
            return 0 if item.quote is None else -item.quote.upper


def arranged(plan: BatchPlan, order: Order, *, waiting: Collection[str] = ()) -> BatchPlan:
    """The plan as a run would go that takes everything into the journal first.

    Args:
        plan: Items as they were given, those that wait in the journal first.
        order: How the new ones are ordered.
        waiting: Keys that wait in the journal: their priority is there already.
    """

    def turn(item: PlannedItem) -> int:
        return -(item.request.priority if item.key in waiting else priority_in(order, item))

    left = _left_before(plan)
    items = []
    for item in sorted(plan.items, key=turn):
        fitted, left = _fitted(item, left)
        items.append(fitted)
    return BatchPlan(items=tuple(items), credits_left=left)


def fits_by_order(plan: BatchPlan, *, waiting: Collection[str] = ()) -> dict[Order, Fit]:
    """What the budget reaches in each order."""
    plans = {order: arranged(plan, order, waiting=waiting) for order in Order}
    return {
        order: Fit(videos=made.count(PlanAction.SUBMIT), credits_upper=made.credits_upper)
        for order, made in plans.items()
    }


def tier_totals(plan: BatchPlan) -> list[TierTotal]:
    """The priced items of a plan, by what becomes of them and by the target's tier."""
    groups: dict[tuple[PlanAction, int], list[PlannedItem]] = {}
    for item in plan.items:
        if item.action in _SPENDING:
            groups.setdefault((item.action, V3_TARIFF.tier_index(item.request.resolution)), []).append(item)
    return [
        TierTotal(
            action=action,
            tier=V3_TARIFF.tiers[tier].name,
            videos=len(items),
            credits_upper=sum(item.quote.upper for item in items if item.quote is not None),
            credits_exact=_exact(items),
        )
        for (action, tier), items in sorted(
            groups.items(), key=lambda group: (_SPENDING.index(group[0][0]), group[0][1])
        )
    ]


def _exact(items: Iterable[PlannedItem]) -> Fraction | None:
    parts = [None if item.quote is None else item.quote.exact for item in items]
    known = [part for part in parts if part is not None]
    return sum(known, Fraction(0)) if len(known) == len(parts) else None


def _left_before(plan: BatchPlan) -> int | None:
    """What the budget has before anything of the plan is submitted."""
    return None if plan.credits_left is None else plan.credits_left + plan.credits_upper


def _fitted(item: PlannedItem, left: int | None) -> tuple[PlannedItem, int | None]:
    if item.action not in _SPENDING or item.quote is None or left is None:
        return item, left
    reasons = item.quote.assumptions
    if item.quote.upper <= left:
        return attrs.evolve(item, action=PlanAction.SUBMIT, reasons=reasons), left - item.quote.upper
    reason = f"It may cost up to {counted(item.quote.upper, 'credit')} and {left} of the budget would be left."
    return attrs.evolve(item, action=PlanAction.SKIP, reasons=(*reasons, reason)), left
