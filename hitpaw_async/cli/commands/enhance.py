"""`hitpaw enhance`: a batch, from what was typed to the exit code."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import attrs
from cyclopts import Parameter

from hitpaw_async._format import counted
from hitpaw_async.batch.plan import PlannedItem
from hitpaw_async.cli.commands._arguments import (
    inputs_of,
    journal_of,
    require_some,
    settings_of,
    with_kept_budget,
)
from hitpaw_async.cli.commands._batch import run_batch, warn_of_changes
from hitpaw_async.cli.commands.plan import Planned, fits_text, make_plan, plan, plan_text
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.flags import BatchFlags, switch
from hitpaw_async.cli.inputs.order import priority_in
from hitpaw_async.cli.inputs.rows import Order
from hitpaw_async.cli.inputs.videos import Inputs, Priorities
from hitpaw_async.cli.output.messages import (
    complain,
    confirm,
    is_terminal,
)
from hitpaw_async.cli.paid_index import paid_before
from hitpaw_async.cli.run import BatchRun
from hitpaw_async.cli.settings.batch import (
    BatchSettings,
    api_key,
)
from hitpaw_async.models import ExportRequest

__all__ = ["enhance"]

PLANNED_MAX = 5000
"""More videos than this are not planned one by one before `enhance` asks whether to begin."""
PROBED_FIRST_MAX = 100
"""More videos than this are not read before it asks: each is read once more when it is submitted."""


def enhance(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL, which the vendor can reach.")],
    flags: BatchFlags | None = None,
    is_sure: Annotated[
        bool,
        switch(
            "-y", "--yes", help="Don't ask before spending. Needed if nobody can be asked and there is no --budget."
        ),
    ] = False,
    is_dry: Annotated[bool, switch("-n", "--dry-run", help="The same as `hitpaw plan`.")] = False,
) -> int:
    """Enhance videos and download the results.

    Every video is written into the journal before a credit is spent. Stopped by Ctrl-C, a crash or a power cut, it goes
    on with: hitpaw resume JOURNAL. A video that the journal knows is never paid for again.

    Examples:
        hitpaw enhance https://example.com/clip.mp4 --budget 10
        hitpaw enhance -i list.csv --resolution 3840x2160 --budget 500 --json
        hitpaw enhance -i list.csv --dry-run
    """
    given = flags or BatchFlags()
    if is_dry:
        return plan(*sources, flags=given)
    key = api_key()
    with inputs_of(sources, given) as inputs:
        total = require_some(inputs.check(), given)
        settings = settings_of(given, has_unknown_facts=inputs.has_unknown_facts)
        inputs.reads_files = settings.is_probing
        journal = journal_of(given)
        settings = with_kept_budget(journal, settings)
        warn_of_changes(journal, settings)
        asks = not is_sure and not given.is_json and is_terminal(sys.stdin) and is_terminal(sys.stderr)
        if not asks:
            _require_limit(settings, is_sure=is_sure)
        _tell_of_paid(settings, journal, inputs, must_be_sure=not asks and not is_sure)
        inputs.priorities = _priorities(settings, journal, inputs, given)
        if asks and not _is_agreed(settings, journal, inputs, total, given):
            complain("nothing was submitted")
            return ExitCode.INCOMPLETE
        return run_batch(
            BatchRun(
                settings=settings,
                journal=journal,
                api_key=key,
                requests=inputs.stream,
                given=total,
                is_json=given.is_json,
                is_quiet=given.is_quiet,
                waits_for_journal=given.waits_for_journal,
                network=given,
            )
        )


def _require_limit(settings: BatchSettings, *, is_sure: bool) -> None:
    """Refuse to spend without a limit where nobody is asked: there is no terminal, a list comes in, or it is --json."""
    if settings.budget is None and not is_sure:
        raise UsageError(
            "Nobody is asked here before credits are spent, and there is no budget: nothing was submitted. "
            "Set one with --budget CREDITS, or say --yes to spend without a limit (`hitpaw plan` says how much)."
        )


def _tell_of_paid(settings: BatchSettings, journal: Path, inputs: Inputs, *, must_be_sure: bool) -> None:
    """Say which videos another batch has paid for; refuse to pay for them again where nobody is asked."""
    before = paid_before(settings.base_url, journal, inputs.usable())
    if before is None:
        return
    if must_be_sure:
        raise UsageError(
            f"{before} Nothing was submitted. Go on with the batch that has them (-o, --journal), or say --yes to pay "
            "again."
        )
    complain(f"warning: {before}")


def _priorities(settings: BatchSettings, journal: Path, inputs: Inputs, flags: BatchFlags) -> Priorities | None:
    """What the journal's order is to be where it isn't the list's own; None: it is."""
    match flags.order:
        case Order.PRIORITY:
            return None
        case Order.GIVEN:
            return lambda request: attrs.evolve(request, priority=0)
        case Order.CHEAPEST:
            planned = _plan_of(settings, journal, inputs, flags)
            return partial(_with_plan, {item.key: item for item in reversed(planned.plan.items)})


def _with_plan(items: dict[str, PlannedItem], request: ExportRequest) -> ExportRequest:
    """A request with its turn, and with the facts that were read to find it: they are not read again."""
    item = items.get(request.key)
    if item is None:
        return request
    return attrs.evolve(request, priority=priority_in(Order.CHEAPEST, item), facts=item.facts or request.facts)


def _is_agreed(settings: BatchSettings, journal: Path, inputs: Inputs, total: int, flags: BatchFlags) -> bool:
    """Show what it would cost, in two lines, and ask."""
    is_reading = settings.is_probing and inputs.has_unknown_facts
    if total > (PROBED_FIRST_MAX if is_reading else PLANNED_MAX):
        budget = (
            "There is no budget." if settings.budget is None else f"The budget is {counted(settings.budget, 'credit')}."
        )
        sys.stderr.write(f"{total} videos; each is priced when its turn comes (`hitpaw plan` does it now).\n{budget}\n")
    else:
        planned = _plan_of(settings, journal, inputs, flags)
        texts = (plan_text(planned.plan), fits_text(planned.fits))
        sys.stderr.write("".join(f"{text}\n" for text in texts if text))
    return confirm(f"Submit them to {settings.base_url}?")


def _plan_of(settings: BatchSettings, journal: Path, inputs: Inputs, flags: BatchFlags) -> Planned:
    if settings.is_probing and inputs.has_unknown_facts:
        complain("reading the videos …")
    return anyio.run(partial(make_plan, settings, journal, inputs.stream(), order=flags.order, network=flags))
