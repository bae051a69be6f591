"""Which items are in a state, in the order in which they are taken up: what an index does for a journal in a file.

Pure: ranks and states in, ranks out. A rank is (minus the priority, place in the order of arrival): the smaller, the
sooner. A rank that has left a state stays in that state's list until such ranks outnumber the others: so a change of
state costs a search and not a walk.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, TypeAlias

from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Rank", "Ranking"]

Rank: TypeAlias = tuple[float, int]

SPARE_RANKS: Final = 64
"""A state's list may have so many ranks more than twice the items that are in it."""


class Ranking:
    """Ranks by state. An item keeps its rank, and comes with the next place in the order of arrival."""

    def __init__(self) -> None:
        self._states: list[ItemState] = []
        """By place in the order of arrival."""
        self._ranked: dict[ItemState, list[Rank]] = {state: [] for state in ItemState}
        self._counts = dict.fromkeys(ItemState, 0)

    def add(self, rank: Rank, state: ItemState) -> None:
        """Take a new item in."""
        assert rank[1] == len(self._states), "not the next in the order of arrival"
        self._states.append(state)
        self._enter(rank, state)

    def move(self, rank: Rank, state: ItemState) -> None:
        """Note the state that an item is in now."""
        before = self._states[rank[1]]
        if before is not state:
            self._states[rank[1]] = state
            self._enter(rank, state)
            self._leave(before)

    def after(self, states: Collection[ItemState], rank: Rank) -> Iterator[Rank]:
        """The ranks behind `rank` that are in one of these states, in order. To be read before anything changes."""
        return heapq.merge(*(self._walk(state, rank) for state in states))

    def _walk(self, state: ItemState, rank: Rank) -> Iterator[Rank]:
        ranked = self._ranked[state]
        for place in range(bisect_right(ranked, rank), len(ranked)):
            if self._states[ranked[place][1]] is state:
                yield ranked[place]

    def _enter(self, rank: Rank, state: ItemState) -> None:
        self._counts[state] += 1
        ranked = self._ranked[state]
        place = bisect_left(ranked, rank)
        if place == len(ranked) or ranked[place] != rank:
            ranked.insert(place, rank)

    def _leave(self, state: ItemState) -> None:
        self._counts[state] -= 1
        ranked = self._ranked[state]
        if len(ranked) > 2 * self._counts[state] + SPARE_RANKS:
            self._ranked[state] = [rank for rank in ranked if self._states[rank[1]] is state]
