"""Entries to be retried after a pause, which grows while they fail for the same reason."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["RetryQueue"]

GROWTH: Final = 2.0


@attrs.frozen
class _Failure:
    reason: Hashable
    pause_s: float


@attrs.define
class RetryQueue:
    """Keys that wait for another try, the one first that is due first. No clock: `now` is the caller's, in seconds.

    Args:
        pause_first_s: The pause after a first failure.
        pause_max_s: The longest pause.
    """

    _pause_first_s: float
    _pause_max_s: float
    _failures: dict[str, _Failure] = attrs.field(factory=dict, init=False)
    """Of keys that wait, and of those that are being tried again."""
    _waiting: list[tuple[float, str]] = attrs.field(factory=list, init=False)

    def put(self, key: str, reason: Hashable, *, now: float) -> bool:
        """Let a key that has failed wait. Returns whether the reason is another than it was before."""
        before = self._failures.get(key)
        is_news = before is None or before.reason != reason
        pause_s = self._pause_first_s
        if before is not None and not is_news:
            pause_s = min(before.pause_s * GROWTH, self._pause_max_s)
        self._failures[key] = _Failure(reason, pause_s)
        heapq.heappush(self._waiting, (now + pause_s, key))
        return is_news

    @property
    def due_at(self) -> float:
        """Time the first of them is due; infinity if none waits."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def take(self, now: float) -> str | None:
        """The key that is due longest, for another try; None where none is due."""
        return heapq.heappop(self._waiting)[1] if self.due_at <= now else None

    def forget(self, key: str) -> None:
        """A key that was taken has come to its end."""
        self._failures.pop(key, None)
