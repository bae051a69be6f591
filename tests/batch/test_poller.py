"""The poller in virtual time: when it asks, in which order, and how many at once."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.rate_limit import Pace
from hitpaw_async.batch.run.poller import Poller, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@attrs.define(eq=False, weakref_slot=False)
class Named(Waiting):
    name: str


class Diary:
    """Notes when each job was asked for."""

    def __init__(self, answers: Callable[[str, int], float | None], *, call_s: float = 0.0) -> None:
        self.entries: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self._answers = answers
        self._call_s = call_s
        self._began_at = anyio.current_time()

    async def ask(self, job: Named) -> float | None:
        self.entries.append((round(anyio.current_time() - self._began_at, 6), job.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(self._call_s)
        self.at_once -= 1
        return self._answers(job.name, sum(asked == job.name for _, asked in self.entries))


async def polled(poller: Poller[Named], *, for_s: float, workers: int = 1) -> None:
    with anyio.move_on_after(for_s):
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(poller.serve)


async def test_jobs_are_asked_for_when_they_are_due_and_no_sooner() -> None:
    diary = Diary(lambda _, times: 10.0 if times < 3 else None)
    poller = Poller(diary.ask)
    poller.add(Named("late"), due_in_s=7)
    poller.add(Named("soon"), due_in_s=5)
    await polled(poller, for_s=100)
    assert diary.entries == [(5, "soon"), (7, "late"), (15, "soon"), (17, "late"), (25, "soon"), (27, "late")]
    assert len(poller) == 0


async def test_a_job_that_is_woken_is_asked_for_at_once_and_once() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    job = Named("a")
    poller.add(job, due_in_s=50)
    poller.add(Named("b"), due_in_s=60)

    async def wake() -> None:
        await anyio.sleep(3)
        poller.wake(job)
        poller.wake(job)
        poller.wake(Named("unknown"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        await polled(poller, for_s=100)
    assert diary.entries == [(3, "a"), (60, "b")]


async def test_a_job_that_is_added_while_all_wait_is_not_missed() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    poller.add(Named("far"), due_in_s=1000)

    async def add() -> None:
        await anyio.sleep(2)
        poller.add(Named("near"), due_in_s=1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(add)
        await polled(poller, for_s=10, workers=3)
    assert diary.entries == [(3, "near")]


async def test_a_later_due_time_does_not_put_an_earlier_one_off() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    job = Named("a")
    poller.add(job, due_in_s=5)
    poller.add(job, due_in_s=50)
    await polled(poller, for_s=100)
    assert diary.entries == [(5, "a")]


async def test_no_more_calls_are_under_way_than_there_are_workers() -> None:
    diary = Diary(lambda *_: None, call_s=1)
    poller = Poller(diary.ask)
    for number in range(40):
        poller.add(Named(str(number)), due_in_s=0)
    await polled(poller, for_s=11, workers=4)
    assert diary.most_at_once == 4
    assert len(diary.entries) == 40
    assert diary.entries[-1][0] == 9


async def test_the_heap_does_not_grow_with_wake_ups() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    job = Named("a")
    poller.add(job, due_in_s=1000)
    for seconds in range(900, 100, -1):
        poller.add(job, due_in_s=seconds)
        assert len(poller._heap) <= 100
    await polled(poller, for_s=2000)
    assert diary.entries == [(101, "a")]
    assert poller._heap == []


async def test_jobs_that_ended_early_leave_the_heap_before_they_would_have_been_due() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    jobs = [Named(str(number)) for number in range(1000)]
    for job in jobs:
        poller.add(job, due_in_s=1e6)
    for job in jobs:
        poller.wake(job)
    await polled(poller, for_s=1)
    assert len(diary.entries) == 1000
    assert len(poller) == 0
    assert len(poller._heap) <= 100


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["add", "wake"]), st.integers(0, 40)), max_size=60))
def test_whatever_is_added_and_woken_each_job_is_asked_for_when_it_is_due(steps: list[tuple[int, str, int]]) -> None:
    """Beside a model that keeps the due times in a plain dictionary and looks at all of them."""

    async def walk() -> None:
        due_at: dict[str, float] = {}
        expected: list[tuple[float, str]] = []
        diary = Diary(lambda *_: 7.03)  # so that nothing is due at the moment of a step
        poller, jobs = Poller(diary.ask), [Named(name) for name in "abcd"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poller.serve)
            for moment, (number, verb, due_in_s) in enumerate(steps):
                job = jobs[number]
                if verb == "add":
                    poller.add(job, due_in_s=due_in_s + 0.5)
                    due_at[job.name] = min(due_at.get(job.name, math.inf), moment + due_in_s + 0.5)
                elif job.name in due_at:
                    poller.wake(job)
                    due_at[job.name] = min(due_at[job.name], float(moment))
                await anyio.sleep(1)
                while (due := sorted((at, name) for name, at in due_at.items())) and due[0][0] < moment + 1:
                    at, name = due[0]
                    expected.append((round(at, 6), name))
                    due_at[name] = at + 7.03
            assert len(poller) == len(due_at)
            tasks.cancel_scope.cancel()
        assert sorted(diary.entries) == sorted(expected)

    trio.run(walk, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_no_more_is_asked_than_the_pace_allows_and_nobody_starves() -> None:
    diary = Diary(lambda *_: 1.0)
    poller = Poller(diary.ask, pace=Pace(5.0))
    for number in range(40):
        poller.add(Named(str(number)), due_in_s=0)
    await polled(poller, for_s=100, workers=4)
    asked = Counter(job for _, job in diary.entries)
    assert 500 <= sum(asked.values()) <= 507
    assert set(asked) == {str(number) for number in range(40)}
    assert max(asked.values()) - min(asked.values()) <= 1


async def test_over_the_pace_whoever_is_due_longest_goes_first() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, pace=Pace(1.0))
    for number in (3, 1, 2, 0):
        poller.add(Named(str(number)), due_in_s=5 + number / 100)
    await polled(poller, for_s=20)
    assert [job for _, job in diary.entries] == ["0", "1", "2", "3"]
    assert diary.entries[-1][0] - diary.entries[0][0] >= 2


async def test_a_webhook_is_heard_while_the_pace_holds_the_others_back() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, pace=Pace(1.0))
    for number in range(5):
        poller.add(Named(str(number)), due_in_s=10)
    hinted = Named("hinted")
    poller.add(hinted, due_in_s=1000)

    async def wake() -> None:
        await anyio.sleep(11.5)
        poller.wake(hinted)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        await polled(poller, for_s=30)
    assert diary.entries[-1] == (pytest.approx(15, abs=1), "hinted")


async def test_jobs_due_within_the_slack_go_out_together_and_none_before_it_is_due() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, slack_s=0.5)
    for due_in_s in (5.0, 5.2, 5.4, 5.6):
        poller.add(Named(str(due_in_s)), due_in_s=due_in_s)
    await polled(poller, for_s=20)
    assert diary.entries == [(5.5, "5.0"), (5.5, "5.2"), (5.5, "5.4"), (6.1, "5.6")]
