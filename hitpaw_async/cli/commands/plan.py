"""Commands that ask without spending: plan, probe and task."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from hitpaw_async import errors, media
from hitpaw_async._core.limits import broken_limits
from hitpaw_async._core.pricing import estimate
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async.batch.plan import PlanAction
from hitpaw_async.cli.commands.standing import waiting_keys
from hitpaw_async.cli.inputs.order import arranged, fits_by_order, tier_totals
from hitpaw_async.cli.output.json_lines import summary_event, write_line
from hitpaw_async.cli.settings.batch import scratch_copy
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import CreditQuote, ExportRequest, VideoFacts, VideoModel

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.batch.events.statistics import BatchStatistics
    from hitpaw_async.batch.plan import BatchPlan, PlannedItem
    from hitpaw_async.batch.run.intake import Requests
    from hitpaw_async.cli.inputs.flags import NetworkFlags
    from hitpaw_async.cli.inputs.order import Fit, TierTotal
    from hitpaw_async.cli.inputs.rows import Order
    from hitpaw_async.cli.settings.batch import BatchSettings
    from hitpaw_async.models import Job, Resolution

__all__ = ["Planned", "Probed", "ask_task", "make_plan", "probe_all", "write_plan"]

PROBES_AT_ONCE = 4


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


@attrs.frozen(kw_only=True)
class Probed:
    """What a probe found out about a source."""

    source: str
    facts: VideoFacts | None = None
    quote: CreditQuote | None = None
    problems: tuple[str, ...] = ()
    """Why it can't be read, or the limits that it breaks."""

    @property
    def shown(self) -> str:
        """The source as it may be shown."""
        return excerpt(redact_url(self.source) if "://" in self.source else self.source)

    def to_event(self) -> dict[str, Any]:
        """The line that it makes with --json."""
        known = {} if self.facts is None else attrs.asdict(self.facts)
        rates = ("frame_rate", "peak_frame_rate", "frame_rate_max")
        exact = None if self.quote is None or self.quote.exact is None else float(self.quote.exact)
        return {
            "event": "facts",
            "source": self.shown,
            **{name: str(value) if name in rates and value is not None else value for name, value in known.items()},
            "credits_upper": None if self.quote is None else self.quote.upper,
            "credits_exact": exact,
            "assumptions": [] if self.quote is None else [*self.quote.assumptions],
            "problems": [*self.problems],
        }


async def probe_all(
    sources: tuple[str, ...],
    resolution: Resolution,
    trusted_hosts: tuple[str, ...] = (),
    trusted_origins: tuple[str, ...] = (),
) -> list[Probed]:
    """Read the facts of sources, a few at once, and price each for a target size.

    Sources lead to public addresses only, unless their host or their origin is a trusted one.

    Raises:
        ConfigurationError: PyAV is not installed, or not in a version that is known.
    """
    found: dict[int, Probed] = {}
    failures: list[errors.ConfigurationError] = []
    gate = anyio.Semaphore(PROBES_AT_ONCE)

    async def probe(index: int, source: str) -> None:
        async with gate:
            try:
                found[index] = await _probe(source, resolution, trusted_hosts, trusted_origins)
            except errors.ConfigurationError as error:
                failures.append(error)

    async with anyio.create_task_group() as tasks:
        for index, source in enumerate(sources):
            tasks.start_soon(probe, index, source)
    if failures:
        raise failures[0]
    return [found[index] for index in range(len(sources))]


async def _probe(
    source: str, resolution: Resolution, trusted_hosts: tuple[str, ...], trusted_origins: tuple[str, ...]
) -> Probed:
    try:
        facts = await media.probe(source, trusted_hosts=trusted_hosts, trusted_origins=trusted_origins)
    except (errors.MediaError, errors.TransportError, errors.InternalError) as error:
        return Probed(source=source, problems=(str(error),))
    # Any URL will do: the limits of the file are looked at, not its address.
    request = ExportRequest("https://example.com/any", model=VideoModel.GENERAL_DENOISE_BALANCE, resolution=resolution)
    problems = broken_limits(request, facts)
    quote = None if problems else estimate(request, facts=facts)
    return Probed(source=source, facts=facts, quote=quote, problems=problems)


async def ask_task(job_id: str, *, api_key: str, base_url: str | None, network: NetworkFlags) -> Job:
    """Ask once how a job stands.

    Raises:
        HitPawError: The vendor refused, or can't be reached.
    """
    async with AsyncHitPaw(api_key=api_key, base_url=base_url, **network.client_arguments) as hitpaw:
        return await hitpaw.task(job_id)
