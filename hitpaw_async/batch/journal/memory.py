"""A journal in memory, for runs that need not survive their process, and for tests in virtual time."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from hitpaw_async.batch.journal.ranking import Ranking
from hitpaw_async.batch.journal.store import Books, Cursor, JobIdTakenError
from hitpaw_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.batch.journal.ranking import Rank
    from hitpaw_async.models import ItemState

__all__ = ["MemoryStore"]


class MemoryStore:
    """Items in memory, found by key, job id and webhook, and in the order in which they are taken up."""

    is_blocking = False

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._ranks: dict[str, Rank] = {}
        self._keys: list[str] = []
        """In the order of arrival."""
        self._ranking = Ranking()
        self._targets: set[str] = set()
        self._keys_by_job: dict[str, str] = {}
        self._keys_by_hook: dict[str, str] = {}
        self._settings: dict[str, str] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def add(self, item: Item) -> None:
        if item.key in self._items or (item.target is not None and self.has_target(item.target)):
            raise JournalError(f"The journal has the key or the target of {item.key!r} already.")
        self._items[item.key] = item
        rank = self._ranks[item.key] = (-item.request.priority, len(self._keys))
        self._keys.append(item.key)
        self._ranking.add(rank, item.state)
        if item.target is not None:
            self._targets.add(item.target.casefold())

    def get(self, key: str) -> Item | None:
        return self._items.get(key)

    def put(self, item: Item) -> None:
        if item.version <= self._items[item.key].version:
            return
        if item.job_id is not None and self._keys_by_job.setdefault(item.job_id, item.key) != item.key:
            raise JobIdTakenError(f"The job id {item.job_id} stands at another item already.")
        if item.hook_digest is not None:
            self._keys_by_hook[item.hook_digest] = item.key
        self._items[item.key] = item
        self._ranking.move(self._ranks[item.key], item.state)

    def renew(self, item: Item) -> None:
        self._items[item.key] = attrs.evolve(self._items[item.key], request=item.request)

    def keys(self, prefix: str, limit: int) -> list[str]:
        return sorted(key for key in self._items if key.startswith(prefix))[:limit]

    def has_target(self, name: str) -> bool:
        return name.casefold() in self._targets

    def find_job(self, job_id: str) -> Item | None:
        key = self._keys_by_job.get(job_id)
        item = None if key is None else self._items[key]
        return item if item is not None and item.job_id == job_id else None

    def find_hook(self, digest: str) -> Item | None:
        key = self._keys_by_hook.get(digest)
        item = None if key is None else self._items[key]
        return item if item is not None and item.hook_digest == digest else None

    def page(self, states: Collection[ItemState], after: Cursor, limit: int) -> list[tuple[Cursor, Item]]:
        ranks = self._ranking.after(states, (-after.priority, after.sequence))
        return [
            (Cursor(-priority, sequence), self._items[self._keys[sequence]])
            for priority, sequence in islice(ranks, limit)
        ]

    def books(self) -> Books:
        counts: dict[ItemState, int] = {}
        for item in self._items.values():
            counts[item.state] = counts.get(item.state, 0) + 1
        return Books(
            counts=counts,
            spent_credits=sum(item.spent_credits for item in self._items.values()),
            reserved_credits=sum(item.reserved_credits for item in self._items.values()),
        )

    def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    def set_setting(self, name: str, value: str) -> None:
        self._settings[name] = value

    def make_room(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to let go of: the items stay readable."""
