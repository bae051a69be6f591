"""`hitpaw reconcile`: UNCERTAIN items, and settling them by what a person has found out."""

import math
import sys
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Final, assert_never

import anyio
import anyio.to_thread
import attrs
from cyclopts import Parameter

from hitpaw_async import errors
from hitpaw_async._format import counted
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async._vendor.settings import host_from_environment
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.batch.journal.store import Cursor
from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.cli.commands._journal import full_key, opened
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.flags import JOURNAL, JSON, WAIT_FOR_JOURNAL, NetworkFlags, switch
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.output.messages import command_on, complain, confirm, is_terminal
from hitpaw_async.cli.settings.batch import api_key, checked_journal, kept_settings
from hitpaw_async.cli.settings.trust import host_of_journal
from hitpaw_async.models import ItemState, Outcome

__all__ = [
    "Decision",
    "Settlement",
    "apply",
    "print_uncertain",
    "reconcile",
    "uncertain_event",
    "uncertain_keys",
    "uncertain_outcomes",
]

_SETTLEMENTS: Final = (
    ("--key KEY --job-id ID", "the job is there: take it over, and fetch its result"),
    ("--key KEY --lost", "give the video up; what it may have cost counts as spent"),
    ("--key KEY --resubmit", "submit the video again and pay again"),
)

SHOWN_MAX = 10_000
_ASKED_AT_MOST = 1000
"""Items that are asked about one by one."""


class Settlement(Enum):
    """How an UNCERTAIN item is settled."""

    BIND = "bind"
    LOST = "lost"
    RESUBMIT = "resubmit"


@attrs.frozen
class Decision:
    """What a person wants done about an item."""

    key: str
    settlement: Settlement
    job_id: str | None = attrs.field(default=None, kw_only=True)


def reconcile(  # noqa: PLR0913 (the same)
    journal: Annotated[Path, JOURNAL],
    /,
    *,
    key: Annotated[
        tuple[str, ...], Parameter(help="The video to settle, by its key or how that begins. May be repeated.")
    ] = (),
    is_all: Annotated[bool, switch("--all", help="Settle all of them, with --lost or --resubmit.")] = False,
    job_id: Annotated[str | None, Parameter(help="Its job is this one: take it over.")] = None,
    is_lost: Annotated[bool, switch("--lost", help="Give it up; what it may have cost counts as spent.")] = False,
    is_resubmitted: Annotated[bool, switch("--resubmit", help="Submit it again and pay again.")] = False,
    base_url: Annotated[str | None, Parameter(help="The vendor's address; by default the batch's.")] = None,
    is_sure: Annotated[bool, switch("-y", "--yes", help="Don't ask before it is to be paid again.")] = False,
    waits_for_journal: Annotated[bool, WAIT_FOR_JOURNAL] = False,
    is_json: Annotated[bool, JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """List videos that may have been charged without an answer, or settle one.

    Without --key and --all it lists them, and on a terminal asks about each. With one of these, give exactly one of
    --job-id, --lost and --resubmit.

    Examples:
        hitpaw reconcile enhanced/hitpaw-journal.db
        hitpaw reconcile enhanced/hitpaw-journal.db --key clip-7 --job-id tZgnWAwQT80RgLNp4QToNHSW
        hitpaw reconcile enhanced/hitpaw-journal.db --all --lost
    """
    way = network or NetworkFlags()
    if not key and not is_all and job_id is None and not (is_lost or is_resubmitted):
        return _list(journal, base_url=base_url, network=way, is_json=is_json)
    ways = (job_id is not None) + is_lost + is_resubmitted
    if bool(key) == is_all or ways != 1 or (job_id is not None and len(key) != 1):
        complain("Give --key and exactly one of --job-id, --lost and --resubmit. See: hitpaw reconcile --help")
        return ExitCode.USAGE
    wait_s = math.inf if waits_for_journal else 0.0
    return _settle(
        journal,
        key,
        is_all=is_all,
        job_id=job_id,
        is_lost=is_lost,
        base_url=base_url,
        network=way,
        is_sure=is_sure,
        wait_s=wait_s,
    )


def _list(journal: Path, *, base_url: str | None, network: NetworkFlags, is_json: bool) -> int:
    """List UNCERTAIN items; on a terminal, ask what to do about each."""
    journal = checked_journal(journal)
    found = anyio.run(uncertain_outcomes, journal)
    if is_json:
        for outcome in found:
            write_line(uncertain_event(outcome))
        return ExitCode.DONE
    print_uncertain(found, journal)
    if found and is_terminal(sys.stdin) and is_terminal(sys.stdout):
        decisions = _asked(found[:_ASKED_AT_MOST])
        if decisions:
            return _apply(journal, decisions, base_url, network, 0.0)
    return ExitCode.DONE


def _asked(outcomes: Sequence[Outcome]) -> list[Decision]:
    """What the person at the terminal wants done, one by one. Nothing is changed yet."""
    decisions: list[Decision] = []
    for outcome in outcomes:
        sys.stderr.write(
            f"\n{outcome.key}: its job id, or (l)ost, (r)esubmit and pay again, (s)kip, (q)uit without changes? [s] "
        )
        sys.stderr.flush()
        line = sys.stdin.readline()
        answer = line.strip()
        match answer.lower():
            case "q" | "quit":
                complain("nothing was changed")
                return []
            case "l" | "lost":
                decisions.append(Decision(outcome.key, Settlement.LOST))
            case "r" | "resubmit":
                decisions.append(Decision(outcome.key, Settlement.RESUBMIT))
            case "" | "s" | "skip":
                if not line:
                    break
            case _:
                decisions.append(Decision(outcome.key, Settlement.BIND, job_id=answer))
    return decisions


def _settle(
    journal: Path,
    keys: Sequence[str],
    *,
    is_all: bool,
    job_id: str | None,
    is_lost: bool,
    base_url: str | None,
    network: NetworkFlags,
    is_sure: bool,
    wait_s: float,
) -> int:
    """Settle UNCERTAIN items, all in one way: by a job id, as lost, else to be paid again."""
    journal = checked_journal(journal)
    named = anyio.run(partial(uncertain_keys, journal, keys, is_all=is_all, wait_s=wait_s))
    if not named:
        print("Nothing is uncertain.")
        return ExitCode.DONE
    asks = not is_sure and is_terminal(sys.stdin)
    if job_id is not None:
        return _apply(journal, [Decision(named[0], Settlement.BIND, job_id=job_id)], base_url, network, wait_s)
    if is_lost:
        if is_all and asks and not confirm(f"Give up {counted(len(named), 'video')}, counted as spent?"):
            complain("nothing was changed")
            return ExitCode.INCOMPLETE
        return _apply(journal, [Decision(key, Settlement.LOST) for key in named], base_url, network, wait_s)
    if is_all and not is_sure and not asks:
        raise UsageError("--all --resubmit pays for all of them again. Nothing was changed: say --yes as well.")
    what = "The first submission may have been charged. Submit the video again, and pay again?"
    if len(named) > 1:
        what = f"The first submissions may have been charged. Submit {len(named)} videos again, and pay again?"
    if asks and not confirm(what):
        complain("nothing was changed")
        return ExitCode.INCOMPLETE
    return _apply(journal, [Decision(key, Settlement.RESUBMIT) for key in named], base_url, network, wait_s)


def _apply(
    journal: Path, decisions: Sequence[Decision], base_url: str | None, network: NetworkFlags, wait_s: float
) -> int:
    ways = {decision.settlement for decision in decisions}
    kept = kept_settings(journal)
    host, key = base_url or host_from_environment(), "unused"
    if Settlement.BIND in ways:
        key = api_key()
        host = host if kept is None else host_of_journal(kept, key, given=base_url)
    anyio.run(partial(apply, journal, decisions, api_key=key, base_url=host, network=network, wait_s=wait_s))
    several = "" if len(decisions) == 1 else f"{len(decisions)} videos settled. "
    if Settlement.LOST in ways:
        print(f"{several}Given up: the video counts as failed, and what it may have cost as spent.")
    if Settlement.BIND in ways:
        print(f"{several}Bound. Wait for the job and fetch its result: {command_on('resume', journal)}")
    if Settlement.RESUBMIT in ways:
        print(f"{several}Queued again. Submit and pay it: {command_on('resume', journal)}")
    return ExitCode.DONE


async def uncertain_outcomes(journal: Path) -> list[Outcome]:
    """Every UNCERTAIN item, also those that a dead process left in the middle of a send; at most 10,000.

    Raises:
        JournalError: The journal can't be read.
    """
    try:
        async with opened(journal) as batch:
            found = []
            async for outcome in batch.uncertain():
                found.append(outcome)
                if len(found) == SHOWN_MAX:
                    break
            return found
    except errors.JournalError as error:
        # A batch runs on it, or it may not be written. Looking is possible all the same.
        complain(f"{error} What follows is how it stands now.")
    return await anyio.to_thread.run_sync(_read_uncertain, journal)


def _read_uncertain(journal: Path) -> list[Outcome]:
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        return [outcome_of(item) for _, item in store.page((ItemState.UNCERTAIN,), Cursor(), SHOWN_MAX)]


def uncertain_event(outcome: Outcome) -> dict[str, object]:
    """The line that an item makes with --json."""
    return {
        "event": "uncertain",
        "key": outcome.key,
        "video_url": redact_url(outcome.request.video_url),
        "at": None if outcome.finished_at is None else outcome.finished_at.isoformat(),
        "reason": None if outcome.error is None else str(outcome.error),
    }


async def uncertain_keys(journal: Path, named: Sequence[str], *, is_all: bool, wait_s: float) -> list[str]:
    """The keys of the UNCERTAIN items that are named, each by its key or how that begins; or of all there are.

    Raises:
        UsageError: A beginning fits several.
        JournalError: A batch runs on the journal.
    """
    async with opened(journal, wait_s=wait_s) as batch:
        known = [outcome.key async for outcome in batch.uncertain()]
    # What names none is kept as it is: settling says how the item stands, if there is one.
    return known if is_all else list(dict.fromkeys(full_key(each, known) or each for each in named))


async def apply(
    journal: Path,
    decisions: Sequence[Decision],
    *,
    api_key: str,
    base_url: str | None,
    network: NetworkFlags,
    wait_s: float = 0.0,
) -> None:
    """Settle items as was decided, one after the other; a job id only once the vendor has said that the job exists.

    Raises:
        UsageError: The vendor doesn't know a job.
        InvalidRequestError: An item is not UNCERTAIN.
        JournalError: A job is another item's, or a batch runs on the journal.
        HitPawError: The vendor can't be asked.
    """
    async with opened(journal, api_key=api_key, base_url=base_url, network=network, wait_s=wait_s) as batch:
        for settled, decision in enumerate(decisions):
            try:
                match decision.settlement:
                    case Settlement.BIND:
                        await batch.bind(decision.key, decision.job_id or "")
                    case Settlement.LOST:
                        await batch.give_up(decision.key)
                    case Settlement.RESUBMIT:
                        await batch.resubmit(decision.key)
                    case _ as unreachable:
                        assert_never(unreachable)
            except errors.JobNotFoundError as error:
                before = f"{settled} settled before. " if settled else ""
                raise UsageError(f"{before}Nothing was changed. {error}") from None


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
