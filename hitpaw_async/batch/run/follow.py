"""Keeps a run open: when the journal is to be looked into again, and when what failed is tried again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from hitpaw_async._core.retry_queue import RetryQueue
from hitpaw_async._validators import checked_number
from hitpaw_async.batch.run.intake import ALL_WAITING, FRESH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.batch.run.submission import Submission
    from hitpaw_async.models import ItemState

__all__ = ["RETRY_AFTER_S", "Following", "checked_pause_s"]

RETRY_AFTER_S: Final = 60.0
RETRY_AFTER_MAX_S: Final = 24 * 3600.0

PAUSE_GROWTH_MAX: Final = 16
"""How many times `retry_after_s` a pause grows to, while all stays as it is: each trial of a vendor may leave an item
UNCERTAIN."""


def checked_pause_s(retry_after_s: float) -> float:
    """The same number.

    Raises:
        ConfigurationError: It is none that can be waited for.
    """
    return float(checked_number(retry_after_s, 0.001, RETRY_AFTER_MAX_S, name="retry_after_s"))


class Following:
    """What a run that follows its journal waits for.

    Args:
        submission: Whose stop (no credits, an outage) is lifted after a pause.
        retry_after_s: The first such pause, and how often what was skipped is tried again, in seconds.
        find: Reads an item from the journal.
    """

    def __init__(
        self, submission: Submission, *, retry_after_s: float, find: Callable[[str], Awaitable[Item | None]]
    ) -> None:
        self._submission = submission
        self._retry_after_s = retry_after_s
        self._pause_s = retry_after_s
        self._retry_at = anyio.current_time() + retry_after_s
        self._woken = anyio.Event()
        self._find = find
        self._adopted: deque[Item] = deque()
        self.retries = RetryQueue(retry_after_s, PAUSE_GROWTH_MAX * retry_after_s)
        """Paid items that the run has left: late at the vendor, or not to be brought to disk."""

    def wake(self) -> None:
        """There is new work in the journal."""
        self._woken.set()

    def adopt(self, item: Item) -> None:
        """Have an item taken up that this run reported as UNCERTAIN and that was settled since."""
        self._adopted.append(item)
        self._woken.set()

    def withdraw(self, key: str) -> Item | None:
        """Take an item back that was adopted and not taken up yet. None if there is none."""
        found = next((item for item in self._adopted if item.key == key), None)
        if found is not None:
            self._adopted.remove(found)
        return found

    async def next_adopted(self) -> Item | None:
        """The next item that was adopted, or was left and is due again, if there is one."""
        if self._adopted:
            return self._adopted.popleft()
        key = self.retries.take(anyio.current_time())
        return None if key is None else await self._find(key)

    async def wait_for_vendor(self) -> None:
        """While nothing is submitted, take nothing up: what waits in the journal goes on waiting there."""
        if self._submission.stopped_by is None or self._submission.is_storage_failing:
            return
        grown_s = min(2 * self._pause_s, PAUSE_GROWTH_MAX * self._retry_after_s)
        self._pause_s = grown_s if self._submission.is_on_trial else self._retry_after_s
        await anyio.sleep(self._pause_s)
        self._submission.resume()

    async def holds_back(self) -> bool:
        """Whether nothing new may be taken up: results can't be stored. It waits until one is to be tried again."""
        if not self._submission.is_storage_failing:
            return False
        pause_until = min(self.retries.due_at, anyio.current_time() + self._retry_after_s)
        with anyio.CancelScope(deadline=pause_until):
            await self._submission.wait_for_storage()
        if self.retries.due_at == float("inf") and self._submission.is_idle:
            await self._submission.try_storing()
        return True

    async def next_stages(self) -> list[Collection[ItemState]]:
        """Wait for work. Returns the states in which the journal has it, in the order in which they are looked for."""
        with anyio.CancelScope(deadline=min(self._retry_at, self.retries.due_at)):
            await self._woken.wait()
        has_news, self._woken = self._woken.is_set(), anyio.Event()
        if anyio.current_time() < self._retry_at:
            return [FRESH] if has_news else []
        self._retry_at = anyio.current_time() + self._retry_after_s
        return [*ALL_WAITING]
