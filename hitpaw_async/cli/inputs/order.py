"""Which videos go first, and what of a plan fits the budget in that order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hitpaw_async._core.pricing import V3_TARIFF
from hitpaw_async.batch.plan import BatchPlan, PlanAction, exact_credits, fitted
from hitpaw_async.cli.inputs.rows import Order

if TYPE_CHECKING:
    from collections.abc import Collection
    from fractions import Fraction

    from hitpaw_async.batch.plan import PlannedItem

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
        turned, left = fitted(item, left)
        items.append(turned)
    return attrs.evolve(plan, items=tuple(items), credits_left=left)


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
            credits_exact=exact_credits(item.quote for item in items if item.quote is not None),
        )
        for (action, tier), items in sorted(
            groups.items(), key=lambda group: (_SPENDING.index(group[0][0]), group[0][1])
        )
    ]


def _left_before(plan: BatchPlan) -> int | None:
    """What the budget has before anything of the plan is submitted."""
    return None if plan.credits_left is None else plan.credits_left + plan.credits_upper
