"""What was learned of durations, kept in the journal: a batch that is resumed knows when to ask."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hitpaw_async._core.poll_plan import PollPlan
from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from hitpaw_async.batch.journal.group_commit import Journal
    from hitpaw_async.policies import PollPolicy

__all__ = ["keep_plan", "keep_plan_now_and_then", "recalled_plan"]

_LOG = logging.getLogger("hitpaw_async")

PLAN_SETTING: Final = "poll_plan"

KEPT_EVERY: Final = 64
"""Finished jobs from one time that the plan is kept to the next."""


async def recalled_plan(journal: Journal, policy: PollPolicy) -> PollPlan:
    """The plan as an earlier run left it, or a new one."""
    return PollPlan.from_text(policy, await journal.do(lambda store: store.setting(PLAN_SETTING)))


async def keep_plan(journal: Journal, plan: PollPlan) -> None:
    """Keep what was learned. A disk that fails is only warned of: to forget this costs polls, not money."""
    if not plan.finished:
        return
    text = plan.to_text()
    try:
        await journal.do(lambda store: store.set_setting(PLAN_SETTING, text))
    except JournalError as error:
        _LOG.warning("What this batch has learned of how long jobs take is not kept. %s", error)


async def keep_plan_now_and_then(journal: Journal, plan: PollPlan) -> None:
    """Keep it where enough is new: a crash forgets the rest, which costs some polls."""
    if plan.finished % KEPT_EVERY == 0:
        await keep_plan(journal, plan)
