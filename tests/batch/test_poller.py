"""The poller in virtual time: when it asks, in which order, and how many at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest
import trio.testing

from hitpaw_async._core.pace import Pace
from hitpaw_async.batch.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Diary:
    """Notes when each job was asked for."""

    def __init__(self, answers: Callable[[str, int], float | None], *, call_s: float = 0.0) -> None:
        self.entries: list[tuple[float, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self._answers = answers
        self._call_s = call_s
        self._began_at = anyio.current_time()

    async def ask(self, job: str) -> float | None:
        self.entries.append((round(anyio.current_time() - self._began_at, 6), job))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.sleep(self._call_s)
        self.at_once -= 1
        return self._answers(job, sum(asked == job for _, asked in self.entries))


async def polled(poller: Poller[str], *, for_s: float, workers: int = 1) -> None:
    with anyio.move_on_after(for_s):
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(poller.serve)


async def test_jobs_are_asked_for_when_they_are_due_and_no_sooner() -> None:
    diary = Diary(lambda _, times: 10.0 if times < 3 else None)
    poller = Poller(diary.ask)
    poller.add("late", due_in_s=7)
    poller.add("soon", due_in_s=5)
    await polled(poller, for_s=100)
    assert diary.entries == [(5, "soon"), (7, "late"), (15, "soon"), (17, "late"), (25, "soon"), (27, "late")]
    assert len(poller) == 0


async def test_a_job_that_is_woken_is_asked_for_at_once_and_once() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    poller.add("a", due_in_s=50)
    poller.add("b", due_in_s=60)

    async def wake() -> None:
        await anyio.sleep(3)
        poller.wake("a")
        poller.wake("a")
        poller.wake("unknown")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        await polled(poller, for_s=100)
    assert diary.entries == [(3, "a"), (60, "b")]


async def test_a_job_that_is_added_while_all_wait_is_not_missed() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    poller.add("far", due_in_s=1000)

    async def add() -> None:
        await anyio.sleep(2)
        poller.add("near", due_in_s=1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(add)
        await polled(poller, for_s=10, workers=3)
    assert diary.entries == [(3, "near")]


async def test_a_later_due_time_does_not_put_an_earlier_one_off() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    poller.add("a", due_in_s=5)
    poller.add("a", due_in_s=50)
    await polled(poller, for_s=100)
    assert diary.entries == [(5, "a")]


async def test_no_more_calls_are_under_way_than_there_are_workers() -> None:
    diary = Diary(lambda *_: None, call_s=1)
    poller = Poller(diary.ask)
    for number in range(40):
        poller.add(str(number), due_in_s=0)
    await polled(poller, for_s=11, workers=4)
    assert diary.most_at_once == 4
    assert len(diary.entries) == 40
    assert diary.entries[-1][0] == 9


async def test_the_heap_does_not_grow_with_wake_ups() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask)
    poller.add("a", due_in_s=1000)
    for seconds in range(900, 100, -1):
        poller.add("a", due_in_s=seconds)
    await polled(poller, for_s=2000)
    assert [job for _, job in diary.entries] == ["a"]
    assert poller._heap == []


async def test_no_more_is_asked_than_the_pace_allows_and_nobody_starves() -> None:
    diary = Diary(lambda *_: 1.0)
    poller = Poller(diary.ask, pace=Pace(5.0))
    for number in range(40):
        poller.add(str(number), due_in_s=0)
    await polled(poller, for_s=100, workers=4)
    asked = Counter(job for _, job in diary.entries)
    assert 500 <= sum(asked.values()) <= 507
    assert set(asked) == {str(number) for number in range(40)}
    assert max(asked.values()) - min(asked.values()) <= 1


async def test_over_the_pace_whoever_is_due_longest_goes_first() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, pace=Pace(1.0))
    for number in (3, 1, 2, 0):
        poller.add(str(number), due_in_s=5 + number / 100)
    await polled(poller, for_s=20)
    assert [job for _, job in diary.entries] == ["0", "1", "2", "3"]
    assert diary.entries[-1][0] - diary.entries[0][0] >= 2


async def test_a_webhook_is_heard_while_the_pace_holds_the_others_back() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, pace=Pace(1.0))
    for number in range(5):
        poller.add(str(number), due_in_s=10)
    poller.add("hinted", due_in_s=1000)

    async def wake() -> None:
        await anyio.sleep(11.5)
        poller.wake("hinted")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        await polled(poller, for_s=30)
    assert diary.entries[-1] == (pytest.approx(15, abs=1), "hinted")


async def test_jobs_due_within_the_slack_go_out_together_and_none_before_it_is_due() -> None:
    diary = Diary(lambda *_: None)
    poller = Poller(diary.ask, slack_s=0.5)
    for due_in_s in (5.0, 5.2, 5.4, 5.6):
        poller.add(str(due_in_s), due_in_s=due_in_s)
    await polled(poller, for_s=20)
    assert diary.entries == [(5.5, "5.0"), (5.5, "5.2"), (5.5, "5.4"), (6.1, "5.6")]
