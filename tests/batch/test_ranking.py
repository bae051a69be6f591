"""Ranks by state, beside a model that sorts everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async.batch.journal.ranking import Rank, Ranking
from hitpaw_async.models import ItemState

STATES = (ItemState.QUEUED, ItemState.SUBMITTED, ItemState.SKIPPED, ItemState.DONE)
FIRST: Rank = (float("-inf"), -1)

additions = st.tuples(st.just("add"), st.integers(-2, 2), st.sampled_from(STATES))
moves = st.tuples(st.just("move"), st.integers(0, 200), st.sampled_from(STATES))


@given(st.lists(additions | moves, max_size=200), st.sets(st.sampled_from(STATES)), st.integers(0, 200))
def test_ranks_are_found_as_if_all_were_sorted(
    steps: list[tuple[str, int, ItemState]], states: set[ItemState], start: int
) -> None:
    ranking, ranks, states_now = Ranking(), list[Rank](), list[ItemState]()
    for verb, number, state in steps:
        if verb == "add":
            rank = (float(number), len(ranks))
            ranking.add(rank, state)
            ranks.append(rank)
            states_now.append(state)
        elif ranks:
            at = number % len(ranks)
            ranking.move(ranks[at], state)
            states_now[at] = state
    after = ranks[start % len(ranks)] if ranks else FIRST
    in_states = sorted(rank for rank, state in zip(ranks, states_now, strict=True) if state in states)
    assert list(ranking.after(states, FIRST)) == in_states
    assert list(ranking.after(states, after)) == [rank for rank in in_states if rank > after]


def test_what_has_left_a_state_is_forgotten_there() -> None:
    ranking = Ranking()
    for number in range(10_000):
        ranking.add((0, number), ItemState.QUEUED)
        ranking.move((0, number), ItemState.SUBMITTED)
        ranking.move((0, number), ItemState.DONE)
    held = {state: len(ranked) for state, ranked in ranking._ranked.items()}
    assert held.pop(ItemState.DONE) == 10_000
    assert max(held.values()) <= 100
