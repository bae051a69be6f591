"""When to ask for a job again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitpaw_async.policies import PollPolicy

__all__ = ["next_wait_s"]

AGE_SHARE = 0.1
"""The interval is this share of the job's age: the answer is late by at most a tenth of the job's duration."""


def next_wait_s(policy: PollPolicy, *, age_s: float, draw: float) -> float:
    """Seconds until a job is asked for again.

    Args:
        policy: The floor, the ceiling and the jitter.
        age_s: Seconds since the job was accepted.
        draw: A random number from [0, 1).

    Returns:
        A tenth of the job's age, within the policy's bounds, varied by its jitter (downwards, never under the floor).
    """
    interval_s = min(max(age_s * AGE_SHARE, policy.interval_min_s), policy.interval_max_s)
    return max(policy.interval_min_s, interval_s * (1 - policy.jitter * draw))
