"""`hitpaw resume`: go on with a batch, and look again at items that have ended."""

import math
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import attrs
from cyclopts import Parameter

from hitpaw_async import errors
from hitpaw_async._format import counted
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, checked_base_url, host_from_environment
from hitpaw_async.cli.commands._batch import is_same_host, run_batch, warn_of_changes
from hitpaw_async.cli.commands._journal import full_key, keys_in, opened, shown_key
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.flags import (
    JOBS_IN_FLIGHT,
    JOURNAL,
    JSON,
    STOP_GRACE,
    WAIT_FOR_JOURNAL,
    NetworkFlags,
    switch,
    whole_number,
)
from hitpaw_async.cli.output.messages import (
    complain,
    confirm,
    is_terminal,
    without_media,
)
from hitpaw_async.cli.run import BatchRun
from hitpaw_async.cli.settings.batch import (
    BatchSettings,
    api_key,
    checked_journal,
    checked_place,
    kept_settings,
    media_problem,
)
from hitpaw_async.cli.settings.trust import host_of_journal, require_own_output
from hitpaw_async.models import ItemState

__all__ = ["resume"]


def resume(  # noqa: PLR0913 (flags, each with a meaning of its own)
    journal: Annotated[Path, JOURNAL],
    /,
    *,
    budget: Annotated[
        int | None, Parameter(help="CREDITS: another budget, over all runs.", converter=whole_number)
    ] = None,
    output: Annotated[Path | None, Parameter(name=("-o", "--output"), help="Another folder for results.")] = None,
    base_url: Annotated[str | None, Parameter(help="Another address of the vendor.")] = None,
    jobs_in_flight: Annotated[int | str | None, JOBS_IN_FLIGHT] = None,
    again: Annotated[
        tuple[str, ...],
        Parameter(help="KEY: look again at a video that has ended, by its key or how that begins. May be repeated."),
    ] = (),
    is_failed: Annotated[bool, switch("--failed", help="Look again at all that failed: ask for their jobs.")] = False,
    pays_again: Annotated[
        bool, switch("--pay-again", help="Submit what failed anew, and pay anew, in place of asking for its job.")
    ] = False,
    video_url: Annotated[
        str | None, Parameter(help="The URL of --again's video, where it was signed: the journal forgets that.")
    ] = None,
    is_sure: Annotated[bool, switch("-y", "--yes", help="Don't ask before it is paid again.")] = False,
    stop_grace_s: Annotated[float | None, STOP_GRACE] = None,
    is_json: Annotated[bool, JSON] = False,
    is_quiet: Annotated[bool, switch("-q", "--quiet", help="Say only what went wrong.")] = False,
    waits_for_journal: Annotated[bool, WAIT_FOR_JOURNAL] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Go on with a batch that was stopped, as it was started.

    Looking again costs nothing: the job of a video that failed, or whose file was deleted, is asked for again, and what
    was rejected is checked anew.

    Examples:
        hitpaw resume enhanced/hitpaw-journal.db
        hitpaw resume enhanced/hitpaw-journal.db --budget 800
        hitpaw resume enhanced/hitpaw-journal.db --failed
    """
    if again or is_failed:
        given = Again(keys=again, is_failed=is_failed, pays=pays_again, video_url=video_url)
        if not look_again(journal, given, is_sure=is_sure, wait_s=math.inf if waits_for_journal else 0.0):
            return ExitCode.INCOMPLETE
    elif pays_again or video_url is not None:
        complain("--pay-again and --video-url need --again KEY or --failed. See: hitpaw resume --help")
        return ExitCode.USAGE
    journal, key = checked_journal(journal), api_key()
    changes: dict[str, Any] = {"budget": budget, "stop_grace_s": stop_grace_s}
    if output is not None:
        changes["output"] = str(checked_place(output).absolute())
    if jobs_in_flight is not None:
        changes |= BatchSettings.of_places(jobs_in_flight)
    kept = _kept(journal, key, base_url, has_output=output is not None)
    settings = attrs.evolve(kept, **{name: value for name, value in changes.items() if value is not None})
    warn_of_changes(journal, settings)
    return run_batch(
        BatchRun(
            settings=settings,
            journal=journal,
            api_key=key,
            is_json=is_json,
            is_quiet=is_quiet,
            waits_for_journal=waits_for_journal,
            network=network or NetworkFlags(),
        )
    )


def _kept(journal: Path, key: str, named: str | None, *, has_output: bool) -> BatchSettings:
    """The batch's settings as its journal keeps them, for a host and a folder that the key's owner has named."""
    kept, host = kept_settings(journal), host_from_environment()
    if kept is None:
        if not has_output:
            raise UsageError(f"{journal} was not made by `hitpaw enhance`. Say where the results go: -o DIR")
        kept = BatchSettings(base_url=checked_base_url(named or host or DEFAULT_BASE_URL), output="")
    else:
        if not has_output:
            require_own_output(kept, key, journal)
        kept = attrs.evolve(kept, base_url=host_of_journal(kept, key, given=named))
        if named is None and host is not None and not is_same_host(host, kept.base_url):
            complain(
                f"warning: HITPAW_API_BASE_URL is not used: the batch is at {kept.base_url} (--base-url changes that)"
            )
    problem = media_problem() if kept.is_probing else None
    if problem is not None:
        complain(without_media(problem))
        kept = attrs.evolve(kept, is_probing=False)
    return kept


@attrs.frozen(kw_only=True)
class Again:
    """Items that have ended and are to be looked at again."""

    keys: tuple[str, ...]
    """By their keys, or how those begin."""
    is_failed: bool
    """Whether all that failed are meant as well."""
    pays: bool
    """Whether they are submitted anew, in place of asking for their jobs."""
    video_url: str | None
    """The URL of the one item that is named, if the journal has forgotten it."""


def look_again(journal: Path, given: Again, *, is_sure: bool, wait_s: float) -> bool:
    """Look again at items that have ended, before the batch goes on. Returns whether it shall go on.

    Raises:
        UsageError: A key names no item or several, an item can't be looked at again, or nobody has said that it may
            cost.
    """
    journal = checked_journal(journal)
    if given.video_url is not None and (given.is_failed or len(given.keys) != 1):
        raise UsageError("--video-url is the URL of one video: name that with --again KEY.")
    if given.pays and not is_sure:
        if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            raise UsageError("--pay-again pays for videos that were paid for before. Nothing was changed: say --yes.")
        if not confirm("What was paid before counts as spent. Submit what failed again, and pay again?"):
            complain("nothing was changed")
            return False
    done, refused = anyio.run(partial(_look_again, journal, given, wait_s=wait_s))
    for text in refused:
        complain(text)
    complain(f"{counted(done, 'video')} to be looked at again{'' if given.pays else ', at no cost'}")
    return True


async def _look_again(journal: Path, given: Again, *, wait_s: float) -> tuple[int, list[str]]:
    """Look again at the items that are named, or at all that failed.

    Returns:
        How many are looked at again, and of those that failed why others are not.

    Raises:
        UsageError: A key names none or several, or one that is named can't be looked at again.
        JournalError: A batch runs on the journal.
    """
    async with opened(journal, wait_s=wait_s) as batch:
        keys: list[str] = []
        for each in given.keys:
            found = full_key(each, await batch.keys(each, limit=4))
            if found is None:
                raise UsageError(f"Nothing was changed: the journal has no item with the key {shown_key(each)}.")
            keys.append(found)
        named = list(dict.fromkeys(keys))
        for key in named:
            try:
                await batch.again(key, pay_again=given.pays, video_url=given.video_url)
            except errors.InvalidRequestError as error:
                raise UsageError(" ".join(error.problems)) from None
        done, refused = len(named), []
        failed = await anyio.to_thread.run_sync(keys_in, journal, ItemState.FAILED) if given.is_failed else []
        for key in failed:
            try:
                await batch.again(key, pay_again=given.pays)
                done += 1
            except errors.InvalidRequestError as error:
                refused.append(" ".join(error.problems))
        return done, refused
