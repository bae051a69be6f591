"""Tables and blocks for people, on standard output."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from hitpaw_async._core import limits, pricing
from hitpaw_async._format import counted, span
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.batch.plan import PlanAction
from hitpaw_async.cli.inputs.order import tier_totals
from hitpaw_async.cli.output.live import new_console
from hitpaw_async.cli.output.messages import command_on
from hitpaw_async.models import VideoModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from hitpaw_async.batch.plan import BatchPlan, PlannedItem
    from hitpaw_async.cli.commands.doctor import Finding
    from hitpaw_async.cli.commands.plan import Planned, Probed
    from hitpaw_async.cli.inputs.order import Fit
    from hitpaw_async.cli.inputs.rows import Order
    from hitpaw_async.models import CreditQuote, Outcome, Resolution, VideoFacts

__all__ = [
    "fits_text",
    "model_events",
    "plan_text",
    "print_facts",
    "print_findings",
    "print_models",
    "print_plan",
    "print_prose",
    "print_table",
    "print_uncertain",
    "quote_text",
    "shortened",
]

PIPE_COLUMNS: Final = 220
"""How wide a table may be where no terminal sets a width."""
PLAN_ROWS_MAX: Final = 200
SOURCE_CHARS_MAX: Final = 36

_ACTIONS: Final = {
    PlanAction.SUBMIT: ("submit", "green"),
    PlanAction.SKIP: ("skip", "yellow"),
    PlanAction.REJECT: ("reject", "red"),
    PlanAction.KNOWN: ("known", "dim"),
}


_SETTLEMENTS: Final = (
    ("--key KEY --job-id ID", "the job is there: take it over, and fetch its result"),
    ("--key KEY --lost", "give the video up; what it may have cost counts as spent"),
    ("--key KEY --resubmit", "submit the video again and pay again"),
)


def print_prose(text: str) -> None:
    """Print sentences, broken between words where a terminal would break them anywhere."""
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(
            textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False) for line in text.splitlines()
        )
    print(text)


def shortened(source: str) -> str:
    """A URL or path as a cell: its end, which tells it from others, and no signature."""
    shown = excerpt(redact_url(source) if "://" in source else source)
    if len(shown) <= SOURCE_CHARS_MAX:
        return shown
    name = f"…/{shown.rpartition('/')[2]}"
    return name if len(name) <= SOURCE_CHARS_MAX else f"…{shown[1 - SOURCE_CHARS_MAX :]}"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
    folded: Sequence[str] = (),
) -> None:
    """Print a table that fits the terminal.

    Args:
        columns: The headings.
        rows: The cells, a text each.
        right: Headings of columns of figures.
        folded: Headings of columns whose cells go on in further lines where there is no room.
    """
    console = new_console(sys.stdout)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name not in folded)
    for cells in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    console.print(table)


def quote_text(quote: CreditQuote | None) -> str:
    """A quote in a cell: the most it can cost, and by the second where that is known."""
    if quote is None:
        return ""
    return f"{quote.upper}" if quote.exact is None else f"{quote.upper} ({_decimal(quote.exact)})"


def _decimal(value: Fraction) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


def plan_text(plan: BatchPlan) -> str:
    """A plan's totals in two lines."""
    submitted, skipped = plan.count(PlanAction.SUBMIT), plan.count(PlanAction.SKIP)
    exact = "" if plan.credits_exact is None else f" ({_decimal(plan.credits_exact)} by the second)"
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
        exact = "" if total.credits_exact is None else _decimal(total.credits_exact)
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


def _facts_cells(facts: VideoFacts) -> tuple[str, str, str, str]:
    """What is known of a source: kind, size, length, rate."""
    kind = " ".join(part for part in (facts.container, facts.codec) if part)
    size = "" if facts.resolution is None else str(facts.resolution)
    length = "" if facts.duration_s is None else _length(facts.duration_s)
    rate = "" if facts.frame_rate is None else f"{_decimal(facts.frame_rate)} fps"
    if facts.peak_frame_rate is not None:
        rate += f", peak {_decimal(facts.peak_frame_rate)}"
    return kind, size, length, rate


def print_facts(found: Sequence[Probed], target: Resolution) -> None:
    """Print what sources are and cost, then what is wrong with them."""
    rows = [(shortened(each.source), *_facts_cells(each.facts), quote_text(each.quote)) for each in found if each.facts]
    if rows:
        headings = ["video", "kind", "size", "length", "rate", "credits"]
        print_table(headings, rows, right=["credits"], folded=["video", "rate"])
        print(f"\nCredits for {target}: the most it can cost, and by the second.")
    for each in found:
        for problem in each.problems:
            print_prose(problem if each.facts is None else f"{each.shown}: {problem}")


def _length(duration_s: float) -> str:
    return f"{duration_s:.1f} s" if duration_s < 100 else span(duration_s)


def print_models() -> None:
    """Print the models, the limits and the prices, from the tables that the library decides by."""
    print_table(
        ["id", "name", "model"], [(str(int(model)), model.slug, model.title) for model in VideoModel], right=["id"]
    )
    tariff = pricing.V3_TARIFF
    rows = []
    floor = 0
    for band in tariff.bands:
        name = f"over {floor} fps" if band.rate_max is None else f"up to {band.rate_max} fps"
        rows.append((name, *map(str, band.credits_per_minute)))
        floor = band.rate_max or floor
    sizes = [f"{tier.name} {tier.long_side}x{tier.short_side}" for tier in tariff.tiers]
    print(f"\nCredits per minute, begun minutes counted whole (tariff {tariff.name}, read on {tariff.read_on})\n")
    print_table(["frame rate", *sizes], rows, right=sizes)
    print(f"\n{_limits_text()}")


def model_events() -> Iterator[dict[str, Any]]:
    """The same as JSON Lines: a line a model, a line a price, and the limits."""
    for model in VideoModel:
        yield {"event": "model", "id": int(model), "name": model.slug, "title": model.title}
    tariff = pricing.V3_TARIFF
    for band in tariff.bands:
        for tier, credits_per_minute in zip(tariff.tiers, band.credits_per_minute, strict=True):
            yield {
                "event": "price",
                "tier": tier.name,
                "resolution_max": [tier.long_side, tier.short_side],
                "frame_rate_max": band.rate_max,
                "credits_per_minute": credits_per_minute,
            }
    yield {
        "event": "limits",
        "side_min": limits.SIDE_MIN_PX,
        "resolution_max": [*limits.RESOLUTION_MAX],
        "duration_max_s": limits.DURATION_MAX_S,
        "size_max_bytes": limits.SIZE_MAX_BYTES,
        "containers": [*limits.CONTAINERS],
    }


def _limits_text() -> str:
    side = limits.SIDE_MIN_PX
    return (
        f"Limits: {side}x{side} to {limits.RESOLUTION_MAX}, {limits.DURATION_MAX_S // 60} minutes, "
        f"{limits.SIZE_MAX_BYTES // 10**6} MB; {', '.join(limits.CONTAINERS)}."
    )


def print_findings(found: Sequence[Finding]) -> None:
    """Print what was found out about the set-up, and what is wrong with it."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    for before, finding in zip([None, *found], found, strict=False):
        if before is None or before.section != finding.section:
            print(f"{'' if before is None else chr(10)}{finding.section}")
        start = f"  {'!' if finding.is_bad else ' '} {finding.name:<16} "
        source = f" ({finding.source})" if finding.source else ""
        print(
            textwrap.fill(
                f"{finding.value}{source}",
                max(columns, 2 * len(start)),
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )


def print_uncertain(outcomes: Sequence[Outcome], journal: Path) -> None:
    """Print what is known of items of which nobody knows whether they were charged, and what can be done."""
    if not outcomes:
        print("Nothing is uncertain.")
        return
    for outcome in outcomes:
        when = outcome.finished_at
        print(f"key     {outcome.key}")
        print(f"video   {excerpt(redact_url(outcome.request.video_url))}")
        print(f"when    {'unknown' if when is None else when.strftime('%Y-%m-%d %H:%M:%S UTC')}")
        print(f"reason  {excerpt(str(outcome.error))}\n")
    print("Look into your HitPaw account, then settle each of them by one of:")
    for flags, meaning in _SETTLEMENTS:
        print(f"  {command_on('reconcile', journal, flags)}\n      {meaning}")
