"""Watches one job until it is final. A batch has a poller for all of its jobs instead."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from hitpaw_async import errors
from hitpaw_async._core.patience import UNKNOWN_STATUS_MAX_S, Doubt, Patience, Ruling, word_of_error, word_of_job
from hitpaw_async._core.poll_plan import next_wait_s
from hitpaw_async._redact import sealed
from hitpaw_async.models import Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from hitpaw_async._core.rate_limit import Pace
    from hitpaw_async._vendor.calls import VendorCalls
    from hitpaw_async.policies import PollPolicy

__all__ = ["each_change"]

_LOG = logging.getLogger("hitpaw_async")


async def each_change(job_id: str, *, calls: VendorCalls, policy: PollPolicy, pace: Pace) -> AsyncIterator[Job]:
    """Yield the job at each change of its status; the last one is final.

    An outage of the network or the vendor is waited out: the job goes on meanwhile. That it failed, or is not known, is
    believed when it was said several times (`PollPolicy.patience_s`).

    Args:
        job_id: The job.
        calls: Asks the vendor.
        policy: How often.
        pace: How many questions per second may be asked, with all others that share it.

    Raises:
        HitPawError: The question is at fault, not the network or the vendor.
        JobTimeoutError: For an hour the vendor said nothing that can be understood.
    """
    ask = sealed(calls.task)
    started_at = anyio.current_time()
    last: Job | None = None
    doubt: Doubt | None = None
    patience = Patience(patience_s=policy.patience_s, strange_max_s=UNKNOWN_STATUS_MAX_S)
    while True:
        answer = await _answer(ask, job_id)
        word = word_of_job(answer) if isinstance(answer, Job) else word_of_error(answer)
        ruling = Ruling.ASK_AGAIN
        if word is not None:
            doubt = Doubt.heard(doubt, word, now=anyio.current_time())
            ruling = patience.ruling(doubt, now=anyio.current_time())
        elif isinstance(answer, Job):
            doubt = None
        if isinstance(answer, Job) and ruling is not Ruling.ASK_SOON:
            if last is None or answer.status_text != last.status_text:
                yield answer
            if answer.status.is_final:
                return
            last = answer
        if ruling in (Ruling.BELIEVE, Ruling.LEAVE):
            raise answer if not isinstance(answer, Job) else errors.JobTimeoutError(answer, UNKNOWN_STATUS_MAX_S)
        now = anyio.current_time()
        wait_s = next_wait_s(policy, age_s=now - started_at, draw=calls.draw())
        wait_s = policy.interval_min_s if ruling is Ruling.ASK_SOON else wait_s
        await anyio.sleep(wait_s + pace.take(now + wait_s))


async def _answer(ask: Callable[[str], Awaitable[Job]], job_id: str) -> Job | errors.HitPawError:
    """Poll a job: its state, or the failure that hides it now."""
    try:
        return await ask(job_id)
    except (errors.AuthenticationError, errors.ConfigurationError, errors.InvalidRequestError, errors.InternalError):
        raise
    except errors.HitPawError as error:
        _LOG.warning("job %s: %s It will be asked for again.", job_id, error)
        return error
