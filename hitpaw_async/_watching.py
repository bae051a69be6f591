"""Watches one job until it is final. A batch has a poller for all of its jobs instead."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from hitpaw_async import errors
from hitpaw_async._core.pollplan import next_wait_s
from hitpaw_async._core.retry import PASSING
from hitpaw_async._sealing import sealed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hitpaw_async._calls import VendorCalls
    from hitpaw_async._core.pace import Pace
    from hitpaw_async.models import Job
    from hitpaw_async.policies import PollPolicy

__all__ = ["each_change"]

_LOG = logging.getLogger("hitpaw_async")


async def each_change(job_id: str, *, calls: VendorCalls, policy: PollPolicy, pace: Pace) -> AsyncIterator[Job]:
    """The job at each change of its status; the last one is final.

    An outage of the network or the vendor is waited out: the job goes on meanwhile.

    Args:
        job_id: The job.
        calls: Asks the vendor.
        policy: How often.
        pace: How many questions per second may be asked, with all others that share it.

    Raises:
        HitPawError: The question is at fault, not the network or the vendor.
    """
    ask = sealed(calls.task)
    started_at = anyio.current_time()
    last: Job | None = None
    while True:
        try:
            seen = await ask(job_id)
        except errors.HitPawError as error:
            if not _is_outage(error):
                raise
            _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
        else:
            if last is None or seen.status_text != last.status_text:
                yield seen
            if seen.status.is_final:
                return
            last = seen
        now = anyio.current_time()
        wait_s = next_wait_s(policy, age_s=now - started_at, draw=calls.draw())
        await anyio.sleep(wait_s + pace.take(now + wait_s))


def _is_outage(error: errors.HitPawError) -> bool:
    """Whether the network or the vendor is in trouble, not the question. A gateway's page says nothing of the job."""
    if isinstance(error, errors.AuthenticationError):
        return False
    return isinstance(error, PASSING) or (isinstance(error, errors.APIError) and not error.is_from_vendor)
