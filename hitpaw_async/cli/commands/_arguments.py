"""Arguments of `enhance` and `plan` as videos, a journal and settings."""

from pathlib import Path

import attrs

from hitpaw_async._format import counted
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, checked_base_url, host_from_environment
from hitpaw_async.batch.file_names import NameTemplate
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.inputs.flags import BatchFlags
from hitpaw_async.cli.inputs.served_folders import ServedFolders
from hitpaw_async.cli.inputs.videos import LIST_FORMATS, Defaults, Inputs
from hitpaw_async.cli.output.messages import (
    complain,
    without_media,
)
from hitpaw_async.cli.settings.batch import (
    JOURNAL_NAME,
    BatchSettings,
    checked_place,
    kept_settings,
    media_problem,
)

__all__ = ["inputs_of", "journal_of", "require_some", "settings_of", "with_kept_budget"]


def inputs_of(sources: tuple[str, ...], flags: BatchFlags) -> Inputs:
    sources, list_name = _with_list(sources, flags.input_name)
    if not sources and list_name is None:
        raise UsageError("There is no video: give URLs, or a list with -i FILE.")
    defaults = Defaults.parse(
        model=flags.model, resolution=flags.resolution, extension=flags.extension, web_hook_url=flags.web_hook_url
    )
    served, vendor = ServedFolders.parse(flags.served), _vendor_of(flags)
    return Inputs(sources, list_name, flags.input_format, defaults, served, vendor)


def _with_list(sources: tuple[str, ...], named: str | None) -> tuple[tuple[str, ...], str | None]:
    """The sources and the list, also where one is named in place of the other: `gut.csv` without -i, -i FOLDER."""
    if named is not None:
        return ((*sources, named), None) if Path(named).is_dir() else (sources, named)
    lists = [name for name in sources if _is_list(name)]
    if len(lists) > 1:
        raise UsageError(f"There are {len(lists)} lists: give one of them at a time, with -i FILE.")
    return (tuple(name for name in sources if name not in lists), lists[0]) if lists else (sources, None)


def _is_list(name: str) -> bool:
    return "://" not in name and Path(name).suffix.lower() in LIST_FORMATS and Path(name).is_file()


def _vendor_of(flags: BatchFlags) -> str:
    return checked_base_url(flags.base_url or host_from_environment() or DEFAULT_BASE_URL)


def require_some(total: int, flags: BatchFlags) -> int:
    """A list without a video is a slip: of a filter, a redirection or a name."""
    if not total:
        name = "standard input" if flags.input_name == "-" else flags.input_name or "what is given"
        raise UsageError(f"There is no video in {name}. Nothing was sent or spent.")
    return total


def journal_of(flags: BatchFlags) -> Path:
    return checked_place(flags.journal or flags.output / JOURNAL_NAME)


def settings_of(flags: BatchFlags, *, has_unknown_facts: bool) -> BatchSettings:
    # Refused here, before a folder is made: later it would be refused as well.
    NameTemplate(flags.name)
    return BatchSettings(
        base_url=_vendor_of(flags),
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


def with_kept_budget(journal: Path, settings: BatchSettings) -> BatchSettings:
    """A batch keeps its budget where no other is given: a limit must not be lost by leaving a flag out."""
    kept = kept_settings(journal)
    if kept is None or kept.budget is None or settings.budget is not None:
        return settings
    complain(f"this batch has a budget of {counted(kept.budget, 'credit')}, which holds (--budget changes it)")
    return attrs.evolve(settings, budget=kept.budget)
