"""What a person decides about videos that have ended: UNCERTAIN settled, and others looked at again."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio

from hitpaw_async._format import counted
from hitpaw_async._vendor.settings import host_from_environment
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.trust import host_of_journal
from hitpaw_async.cli.output import tables
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.output.messages import command_on, complain, confirm, is_terminal
from hitpaw_async.cli.settings.batch import api_key, checked_journal, kept_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hitpaw_async.cli.commands.reconcile import Decision
    from hitpaw_async.cli.inputs.flags import NetworkFlags
    from hitpaw_async.models import Outcome

__all__ = ["list_uncertain", "look_again", "settle"]

_ASKED_AT_MOST = 1000
"""Items that are asked about one by one."""


def list_uncertain(journal: Path, *, base_url: str | None, network: NetworkFlags, is_json: bool) -> int:
    """List UNCERTAIN items; on a terminal, ask what to do about each."""
    from hitpaw_async.cli.commands.reconcile import uncertain_event, uncertain_outcomes  # noqa: PLC0415 (start-up stays light)

    journal = checked_journal(journal)
    found = anyio.run(uncertain_outcomes, journal)
    if is_json:
        for outcome in found:
            write_line(uncertain_event(outcome))
        return ExitCode.DONE
    tables.print_uncertain(found, journal)
    if found and is_terminal(sys.stdin) and is_terminal(sys.stdout):
        decisions = _asked(found[:_ASKED_AT_MOST])
        if decisions:
            return _apply(journal, decisions, base_url, network, 0.0)
    return ExitCode.DONE


def _asked(outcomes: Sequence[Outcome]) -> list[Decision]:
    """What the person at the terminal wants done, one by one. Nothing is changed yet."""
    from hitpaw_async.cli.commands.reconcile import Decision, Settlement  # noqa: PLC0415 (start-up stays light)

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


def settle(
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
    from hitpaw_async.cli.commands.reconcile import Decision, Settlement, uncertain_keys  # noqa: PLC0415 (start-up stays light)

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
    from hitpaw_async.cli.commands.reconcile import Settlement, apply  # noqa: PLC0415 (start-up stays light)

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


def look_again(
    journal: Path,
    keys: Sequence[str],
    *,
    is_failed: bool,
    pays: bool,
    video_url: str | None,
    is_sure: bool,
    wait_s: float,
) -> bool:
    """Look again at items that have ended, before the batch goes on. Returns whether it shall go on.

    Raises:
        UsageError: A key names no item or several, an item can't be looked at again, or nobody has said that it may
            cost.
    """
    from hitpaw_async.cli.commands.reconcile import again  # noqa: PLC0415 (start-up stays light)

    journal = checked_journal(journal)
    if video_url is not None and (is_failed or len(keys) != 1):
        raise UsageError("--video-url is the URL of one video: name that with --again KEY.")
    if pays and not is_sure:
        if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            raise UsageError("--pay-again pays for videos that were paid for before. Nothing was changed: say --yes.")
        if not confirm("What was paid before counts as spent. Submit what failed again, and pay again?"):
            complain("nothing was changed")
            return False
    done, refused = anyio.run(
        partial(again, journal, keys, is_failed=is_failed, pays=pays, video_url=video_url, wait_s=wait_s)
    )
    for text in refused:
        complain(text)
    complain(f"{counted(done, 'video')} to be looked at again{'' if pays else ', at no cost'}")
    return True
