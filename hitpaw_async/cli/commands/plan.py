"""`hitpaw plan`: each video's fate and price, without spending."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import attrs
from cyclopts import Parameter
from rich.text import Text

from hitpaw_async._format import counted
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.batch.events.statistics import BatchStatistics
from hitpaw_async.batch.plan import BatchPlan, PlanAction, PlannedItem
from hitpaw_async.batch.run.requests import Requests
from hitpaw_async.cli.commands._arguments import inputs_of, journal_of, require_some, settings_of, with_kept_budget
from hitpaw_async.cli.commands.standing import waiting_keys
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import BatchFlags, NetworkFlags
from hitpaw_async.cli.inputs.order import Fit, TierTotal, arranged, fits_by_order, tier_totals
from hitpaw_async.cli.inputs.rows import Order
from hitpaw_async.cli.output.json_lines import summary_event, write_line
from hitpaw_async.cli.output.tables import decimal, print_prose, print_table, quote_text, shortened
from hitpaw_async.cli.settings.batch import BatchSettings, scratch_copy
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import CreditQuote

__all__ = ["Planned", "fits_text", "make_plan", "plan", "plan_text"]

PLAN_ROWS_MAX: Final = 200

_ACTIONS: Final = {
    PlanAction.SUBMIT: ("submit", "green"),
    PlanAction.SKIP: ("skip", "yellow"),
    PlanAction.REJECT: ("reject", "red"),
    PlanAction.KNOWN: ("known", "dim"),
}


def plan(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL, which the vendor can reach.")],
    flags: BatchFlags | None = None,
) -> int:
    """Show what a batch would submit, skip and reject, and what it would cost.

    It spends nothing, changes nothing and needs no key. It exits 0 whatever the plan says.

    Examples:
        hitpaw plan -i list.csv --budget 500
    """
    given = flags or BatchFlags()
    with inputs_of(sources, given) as inputs:
        require_some(inputs.check(), given)
        settings = settings_of(given, has_unknown_facts=inputs.has_unknown_facts)
        inputs.reads_files = settings.is_probing
        journal = journal_of(given)
        settings = with_kept_budget(journal, settings)
        make = partial(make_plan, settings, journal, inputs.stream(), order=given.order, network=given)
        planned = anyio.run(make)
    if given.is_json:
        write_plan(planned)
    else:
        print_plan(planned)
    return ExitCode.DONE


@attrs.frozen
class Planned:
    """A plan, and where the journal stands without it."""

    plan: BatchPlan
    """In the order of the run."""
    before: BatchStatistics
    fits: dict[Order, Fit]
    """What the budget reaches in each order."""


async def make_plan(
    settings: BatchSettings, journal: Path, requests: Requests, *, order: Order, network: NetworkFlags
) -> Planned:
    """Plan on a copy of the journal: nothing is made or changed, not even a folder. Needs no key.

    Raises:
        HitPawError: The journal can't be read, or the input not be used.
    """
    with ExitStack() as stack:
        copy = await anyio.to_thread.run_sync(stack.enter_context, scratch_copy(journal))
        waiting = await anyio.to_thread.run_sync(waiting_keys, copy)
        async with AsyncHitPaw(api_key="unused", base_url=settings.base_url, **network.client_arguments) as hitpaw:
            batch = hitpaw.batch(
                journal=copy, budget=settings.credit_budget, limits=settings.limits, probe=settings.is_probing
            )
            async with batch:
                plan = await batch.plan(requests)
                fits = fits_by_order(plan, waiting=waiting)
                return Planned(arranged(plan, order, waiting=waiting), batch.statistics(), fits)


def write_plan(planned: Planned) -> None:
    """Write a plan as JSON Lines: a line an item, and last what the summary of a run has, as it would be."""
    plan, before = planned.plan, planned.before
    for item in plan.items:
        write_line(_plan_event(item))
    counts = {f"{action}": plan.count(action) for action in PlanAction}
    write_line(
        {
            **summary_event(before),
            "rejected": before.rejected + counts[PlanAction.REJECT],
            "skipped": counts[PlanAction.SKIP],
            **counts,
            "repeated": plan.repeated,
            "credits_upper": plan.credits_upper,
            "credits_exact": None if plan.credits_exact is None else float(plan.credits_exact),
            "credits_skipped": plan.credits_skipped,
            "credits_left": plan.credits_left,
            "tiers": [_tier_event(total) for total in tier_totals(plan)],
            "fits": {str(order): attrs.asdict(fit) for order, fit in planned.fits.items()},
        }
    )


def _tier_event(total: TierTotal) -> dict[str, Any]:
    exact = total.credits_exact
    return {
        **attrs.asdict(total),
        "action": str(total.action),
        "credits_exact": None if exact is None else float(exact),
    }


def _plan_event(item: PlannedItem) -> dict[str, Any]:
    quote = item.quote or CreditQuote(None, 0)
    return {
        "event": "plan",
        "key": item.key,
        "video_url": redact_url(item.request.video_url),
        "action": str(item.action),
        "state": None if item.state is None else str(item.state),
        "credits_upper": None if item.quote is None else quote.upper,
        "credits_exact": None if quote.exact is None else float(quote.exact),
        "reasons": [*item.reasons],
    }


def plan_text(plan: BatchPlan) -> str:
    """A plan's totals in two lines."""
    submitted, skipped = plan.count(PlanAction.SUBMIT), plan.count(PlanAction.SKIP)
    exact = "" if plan.credits_exact is None else f" ({decimal(plan.credits_exact)} by the second)"
    others = [
        f"{count} {what}"
        for count, what in (
            (skipped, f"not within the budget (up to {counted(plan.credits_skipped, 'credit')})"),
            (plan.count(PlanAction.REJECT), "rejected"),
            (plan.count(PlanAction.KNOWN), "known already"),
            (plan.repeated, "named once more, and paid once"),
        )
        if count
    ]
    first = f"{counted(submitted, 'video')} to submit for up to {counted(plan.credits_upper, 'credit')}{exact}"
    left = plan.credits_left
    second = "There is no budget." if left is None else f"{counted(left, 'credit')} of the budget would be left."
    if left is not None and skipped:
        second += f" With {plan.credits_skipped - left} more it would be enough for all."
    return f"{'; '.join([first, *others])}.\n{second}"


def fits_text(fits: Mapping[Order, Fit]) -> str:
    """What the budget reaches in each order, in a line; empty where the order makes no difference."""
    if len({fit.videos for fit in fits.values()}) == 1:
        return ""
    parts = [f"{counted(fit.videos, 'video')} ({order})" for order, fit in fits.items()]
    return f"By --order, the budget is enough for: {', '.join(parts)}."


def _print_totals(plan: BatchPlan) -> None:
    """Print how many videos of which tier cost how much."""
    rows: list[tuple[str | Text, ...]] = []
    for total in tier_totals(plan):
        word, style = _ACTIONS[total.action]
        exact = "" if total.credits_exact is None else decimal(total.credits_exact)
        rows.append((Text(word, style=style), total.tier, str(total.videos), str(total.credits_upper), exact))
    for action in (PlanAction.REJECT, PlanAction.KNOWN):
        if count := plan.count(action):
            word, style = _ACTIONS[action]
            rows.append((Text(word, style=style), "", str(count), "", ""))
    headings = ["plan", "target", "videos", "credits up to", "by the second"]
    print_table(headings, rows, right=headings[2:])
    print()


def print_plan(planned: Planned) -> None:
    """Print what would become of each video in the order of the run, then the totals."""
    plan = planned.plan
    shown = plan.items
    if len(shown) > PLAN_ROWS_MAX:
        shown = tuple(item for item in plan.items if item.action in (PlanAction.REJECT, PlanAction.SKIP))
    shown = shown[:PLAN_ROWS_MAX]
    if shown:
        print_table(
            ["video", "plan", "credits", "why"], map(_plan_row, shown), right=["credits"], folded=["video", "why"]
        )
    if len(plan.items) > len(shown):
        print(f"… and {counted(len(plan.items) - len(shown), 'more video')}; --json lists them all.")
    if plan.items:
        print()
        _print_totals(plan)
    print_prose("\n".join(filter(None, (plan_text(plan), fits_text(planned.fits)))))


def _plan_row(item: PlannedItem) -> tuple[str | Text, ...]:
    word, style = _ACTIONS[item.action]
    why = " ".join(item.reasons) if item.state is None else f"It is {item.state} in the journal."
    return shortened(item.request.video_url), Text(word, style=style), quote_text(item.quote), excerpt(why)
