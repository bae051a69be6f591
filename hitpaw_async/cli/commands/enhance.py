"""What each command does, from what was typed to the exit code."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from hitpaw_async._format import counted
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, checked_base_url, host_from_environment
from hitpaw_async.batch.file_names import NameTemplate
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.order import priority_in
from hitpaw_async.cli.inputs.rows import Order
from hitpaw_async.cli.inputs.served_folders import ServedFolders
from hitpaw_async.cli.inputs.trust import host_of_journal, require_own_output
from hitpaw_async.cli.inputs.videos import Defaults, Inputs
from hitpaw_async.cli.output import tables
from hitpaw_async.cli.output.json_lines import summary_event, write_line
from hitpaw_async.cli.output.messages import (
    command_on,
    complain,
    confirm,
    hints,
    is_terminal,
    statistics_text,
    summary_text,
    without_media,
)
from hitpaw_async.cli.settings.batch import (
    JOURNAL_NAME,
    BatchSettings,
    api_key,
    checked_journal,
    checked_place,
    has_media,
    kept_settings,
    media_problem,
)
from hitpaw_async.models import Resolution

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.batch.plan import PlannedItem
    from hitpaw_async.cli.commands.plan import Planned
    from hitpaw_async.cli.inputs.flags import BatchFlags, NetworkFlags
    from hitpaw_async.cli.inputs.videos import Priorities
    from hitpaw_async.cli.run import BatchRun
    from hitpaw_async.models import ExportRequest

PLANNED_MAX = 5000
"""More videos than this are not planned one by one before `enhance` asks whether to begin."""
PROBED_FIRST_MAX = 100
"""More videos than this are not read before it asks: each is read once more when it is submitted."""


def enhance(sources: tuple[str, ...], flags: BatchFlags, *, is_sure: bool) -> int:
    """Run a batch."""
    from hitpaw_async.cli.run import BatchRun  # noqa: PLC0415 (start-up stays light)

    key = api_key()
    with _inputs_of(sources, flags) as inputs:
        total = _require_some(inputs.check(), flags)
        settings = _settings_of(flags, has_unknown_facts=inputs.has_unknown_facts)
        inputs.reads_files = settings.is_probing
        journal = _journal_of(flags)
        settings = _with_kept_budget(journal, settings)
        _warn_of_changes(journal, settings)
        asks = not is_sure and not flags.is_json and is_terminal(sys.stdin) and is_terminal(sys.stderr)
        if not asks:
            _require_limit(settings, is_sure=is_sure)
        _tell_of_paid(settings, journal, inputs, must_be_sure=not asks and not is_sure)
        inputs.priorities = _priorities(settings, journal, inputs, flags)
        if asks and not _is_agreed(settings, journal, inputs, total, flags):
            complain("nothing was submitted")
            return ExitCode.INCOMPLETE
        return _run_batch(
            BatchRun(
                settings=settings,
                journal=journal,
                api_key=key,
                requests=inputs.stream,
                given=total,
                is_json=flags.is_json,
                is_quiet=flags.is_quiet,
                waits_for_journal=flags.waits_for_journal,
                network=flags,
            )
        )


def plan(sources: tuple[str, ...], flags: BatchFlags) -> int:
    """Show what a batch would do."""
    from hitpaw_async.cli.commands.plan import make_plan, write_plan  # noqa: PLC0415 (start-up stays light)

    with _inputs_of(sources, flags) as inputs:
        _require_some(inputs.check(), flags)
        settings = _settings_of(flags, has_unknown_facts=inputs.has_unknown_facts)
        inputs.reads_files = settings.is_probing
        journal = _journal_of(flags)
        settings = _with_kept_budget(journal, settings)
        make = partial(make_plan, settings, journal, inputs.stream(), order=flags.order, network=flags)
        planned = anyio.run(make)
    if flags.is_json:
        write_plan(planned)
    else:
        tables.print_plan(planned)
    return ExitCode.DONE


def resume(
    journal: Path,
    changes: dict[str, Any],
    *,
    network: NetworkFlags,
    is_json: bool,
    is_quiet: bool,
    waits_for_journal: bool = False,
) -> int:
    """Go on with a batch."""
    from hitpaw_async.cli.run import BatchRun  # noqa: PLC0415 (start-up stays light)

    journal = checked_journal(journal)
    key = api_key()
    given = {name: value for name, value in changes.items() if value is not None}
    if "output" in given:
        given["output"] = str(checked_place(given["output"]).absolute())
    if "jobs_in_flight" in given:
        given |= BatchSettings.of_places(given.pop("jobs_in_flight"))
    kept = kept_settings(journal)
    if kept is None and "output" not in given:
        raise UsageError(f"{journal} was not made by `hitpaw enhance`. Say where the results go: -o DIR")
    host = host_from_environment()
    named = given.pop("base_url", None)
    if kept is None:
        kept = BatchSettings(base_url=checked_base_url(named or host or DEFAULT_BASE_URL), output="")
    else:
        if "output" not in given:
            require_own_output(kept, key, journal)
        kept = attrs.evolve(kept, base_url=host_of_journal(kept, key, given=named))
        if named is None and host is not None and not _is_same_host(host, kept.base_url):
            complain(
                f"warning: HITPAW_API_BASE_URL is not used: the batch is at {kept.base_url} (--base-url changes that)"
            )
    settings = attrs.evolve(kept, **given)
    problem = media_problem() if settings.is_probing else None
    if problem is not None:
        complain(without_media(problem))
        settings = attrs.evolve(settings, is_probing=False)
    _warn_of_changes(journal, settings)
    return _run_batch(
        BatchRun(
            settings=settings,
            journal=journal,
            api_key=key,
            is_json=is_json,
            is_quiet=is_quiet,
            waits_for_journal=waits_for_journal,
            network=network,
        )
    )


def _run_batch(run: BatchRun) -> int:
    ending = anyio.run(run.run)
    if not run.is_json and not run.is_quiet:
        tables.print_prose(summary_text(ending))
    for hint in hints(ending):
        complain(hint)
    if ending.is_stuck:
        # The interpreter's end would wait for the thread that waits for a terminal or a reader.
        os._exit(ending.exit_code)
    return ending.exit_code


def _inputs_of(sources: tuple[str, ...], flags: BatchFlags) -> Inputs:
    if not sources and flags.input_name is None:
        raise UsageError("There is no video: give URLs, or a list with -i FILE.")
    defaults = Defaults.parse(
        model=flags.model, resolution=flags.resolution, extension=flags.extension, web_hook_url=flags.web_hook_url
    )
    return Inputs(sources, flags.input_name, flags.input_format, defaults, ServedFolders.parse(flags.served))


def _require_some(total: int, flags: BatchFlags) -> int:
    """A list without a video is a slip: of a filter, a redirection or a name."""
    if not total:
        name = "standard input" if flags.input_name == "-" else flags.input_name
        raise UsageError(f"There is no video in {name}. Nothing was sent or spent.")
    return total


def _journal_of(flags: BatchFlags) -> Path:
    return checked_place(flags.journal or flags.output / JOURNAL_NAME)


def _settings_of(flags: BatchFlags, *, has_unknown_facts: bool) -> BatchSettings:
    # Refused here, before a folder is made: later it would be refused as well.
    NameTemplate(flags.name)
    return BatchSettings(
        base_url=checked_base_url(flags.base_url or host_from_environment() or DEFAULT_BASE_URL),
        output=str(checked_place(flags.output).absolute()),
        budget=flags.budget,
        **BatchSettings.of_places(flags.jobs_in_flight),
        is_probing=_is_probing(given=flags.probe, has_unknown_facts=has_unknown_facts),
        name=flags.name,
        timeout_s=flags.timeout_s,
        poll_interval_s=flags.poll_interval_s,
        stop_grace_s=flags.stop_grace_s,
        export_timeout_s=flags.export_timeout_s,
    )


def _is_probing(*, given: bool | None, has_unknown_facts: bool) -> bool:
    if given is False:
        return False
    problem = media_problem()
    if problem is None:
        return True
    if given:
        raise problem
    if has_unknown_facts:
        complain(without_media(problem))
    return False


def _warn_of_changes(journal: Path, settings: BatchSettings) -> None:
    """Say where a batch is about to go on differently from how it was started."""
    kept = kept_settings(journal)
    if kept is None:
        return
    if not _is_same_host(settings.base_url, kept.base_url):
        complain(f"warning: this batch was at {kept.base_url}; its jobs are asked for at {settings.base_url} now")


def _with_kept_budget(journal: Path, settings: BatchSettings) -> BatchSettings:
    """A batch keeps its budget where no other is given: a limit must not be lost by leaving a flag out."""
    kept = kept_settings(journal)
    if kept is None or kept.budget is None or settings.budget is not None:
        return settings
    complain(f"this batch has a budget of {counted(kept.budget, 'credit')}, which holds (--budget changes it)")
    return attrs.evolve(settings, budget=kept.budget)


def _require_limit(settings: BatchSettings, *, is_sure: bool) -> None:
    """Refuse to spend without a limit where nobody is asked: there is no terminal, a list comes in, or it is --json."""
    if settings.budget is None and not is_sure:
        raise UsageError(
            "Nobody is asked here before credits are spent, and there is no budget: nothing was submitted. "
            "Set one with --budget CREDITS, or say --yes to spend without a limit (`hitpaw plan` says how much)."
        )


def _tell_of_paid(settings: BatchSettings, journal: Path, inputs: Inputs, *, must_be_sure: bool) -> None:
    """Say which videos another batch has paid for; refuse to pay for them again where nobody is asked."""
    from hitpaw_async.cli.paid_index import paid_before  # noqa: PLC0415 (start-up stays light)

    before = paid_before(settings.base_url, journal, inputs.usable())
    if before is None:
        return
    if must_be_sure:
        raise UsageError(
            f"{before} Nothing was submitted. Go on with the batch that has them (-o, --journal), or say --yes to pay "
            "again."
        )
    complain(f"warning: {before}")


def _is_same_host(one: str, other: str) -> bool:
    return one.strip().rstrip("/") == other.strip().rstrip("/")


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
        texts = (tables.plan_text(planned.plan), tables.fits_text(planned.fits))
        sys.stderr.write("".join(f"{text}\n" for text in texts if text))
    return confirm(f"Submit them to {settings.base_url}?")


def _plan_of(settings: BatchSettings, journal: Path, inputs: Inputs, flags: BatchFlags) -> Planned:
    from hitpaw_async.cli.commands.plan import make_plan  # noqa: PLC0415 (start-up stays light)

    if settings.is_probing and inputs.has_unknown_facts:
        complain("reading the videos …")
    return anyio.run(partial(make_plan, settings, journal, inputs.stream(), order=flags.order, network=flags))


def status(journal: Path, *, is_json: bool) -> int:
    """Show where a batch stands."""
    from hitpaw_async.cli.commands.standing import read_books, statistics_of  # noqa: PLC0415 (start-up stays light)

    journal = checked_journal(journal)
    books, kept = read_books(journal), kept_settings(journal)
    statistics = statistics_of(books, None if kept is None else kept.budget)
    counts = {str(state): count for state, count in books.counts.items() if count}
    if is_json:
        write_line({**summary_event(statistics), "credits_left": statistics.credits_left, "counts": counts})
        return ExitCode.DONE
    tables.print_prose(statistics_text(statistics))
    if counts:
        print()
        tables.print_table(
            ["state", "videos"], [(state, str(count)) for state, count in counts.items()], right=["videos"]
        )
        print()
    if kept is not None:
        print(f"Results: {kept.output}\nVendor:  {kept.base_url}")
    if statistics.unfinished or statistics.skipped:
        print(f"Go on:   {command_on('resume', journal)}")
    if statistics.uncertain:
        print(f"Settle:  {command_on('reconcile', journal)}")
    return ExitCode.DONE


def report(journal: Path, output: Path, served: tuple[str, ...], *, is_offline: bool) -> int:
    """Write a batch's report."""
    from hitpaw_async.report import write_report  # noqa: PLC0415 (an extra)

    journal, output, folders = checked_journal(journal), checked_place(output), ServedFolders.parse(served)
    kept = kept_settings(journal)
    summary = anyio.run(
        partial(
            write_report,
            journal,
            output,
            budget=None if kept is None else kept.budget,
            local_source=lambda request: folders.path_of(request.video_url),
            is_fetching=not is_offline,
        )
    )
    print(f"{summary.path}: {counted(summary.videos, 'video')}, {summary.page_bytes / 1000:.0f} kB")
    if not has_media():
        complain("There are no pictures in it: that needs PyAV. Install it: pip install 'hitpaw-async[media]'")
    return ExitCode.DONE


def probe(sources: tuple[str, ...], resolution: str, trusted_hosts: tuple[str, ...], *, is_json: bool) -> int:
    """Show facts and quotes."""
    from hitpaw_async.cli.commands.plan import probe_all  # noqa: PLC0415 (start-up stays light)

    if not sources:
        raise UsageError("There is no video: give URLs or files.")
    target = Resolution.parse(resolution)
    vendor = host_from_environment() or DEFAULT_BASE_URL
    found = anyio.run(probe_all, sources, target, trusted_hosts, (vendor,))
    if is_json:
        for each in found:
            write_line(each.to_event())
    else:
        tables.print_facts(found, target)
    return ExitCode.INCOMPLETE if any(each.problems for each in found) else ExitCode.DONE


def task(job_id: str, base_url: str | None, *, shows_url: bool, is_json: bool, network: NetworkFlags) -> int:
    """Ask once for a job."""
    from hitpaw_async._redact import redact_url  # noqa: PLC0415 (start-up stays light)
    from hitpaw_async.cli.commands.plan import ask_task  # noqa: PLC0415

    job = anyio.run(partial(ask_task, job_id, api_key=api_key(), base_url=base_url, network=network))
    url = job.res_url if shows_url or job.res_url is None else redact_url(job.res_url)
    fields = {"job_id": job.job_id, "status": job.status_text, "res_url": url, "credits": job.credits}
    if is_json:
        write_line({"event": "task", **fields})
    else:
        for name, value in fields.items():
            if value is not None:
                print(f"{name:<8} {value}")
    return ExitCode.DONE


def models(*, is_json: bool) -> int:
    """Show models, limits and prices."""
    if not is_json:
        tables.print_models()
        return ExitCode.DONE
    for event in tables.model_events():
        write_line(event)
    return ExitCode.DONE


def doctor(*, is_offline: bool, is_json: bool, network: NetworkFlags) -> int:
    """Show what is in force."""
    from hitpaw_async.cli.commands.doctor import examine  # noqa: PLC0415 (start-up stays light)

    found = []
    for finding in examine(os.environ, is_offline=is_offline, network=network):
        found.append(finding)
        if is_json:
            write_line(finding.to_event())
    if not is_json:
        tables.print_findings(found)
    return ExitCode.INCOMPLETE if any(finding.is_bad for finding in found) else ExitCode.DONE


def simulate(*, host: str, port: int, credits_given: int, speed: float, faults: Path | None, files: Path | None) -> int:
    """Serve the simulator."""
    from hitpaw_async.cli.commands.simulate import run_simulator  # noqa: PLC0415 (an extra)

    run_simulator(host=host, port=port, credits_given=credits_given, speed=speed, faults=faults, files=files)
    return ExitCode.DONE


def demo(output: Path) -> int:
    """Run the demonstration."""
    from hitpaw_async.cli.commands.demo import run_demo  # noqa: PLC0415 (extras)

    return run_demo(checked_place(output))
