"""A batch in the background: work comes in at any time, is paid for once, and is lost by nothing."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    AuthenticationError,
    BackgroundBatch,
    BatchLimits,
    BudgetExceededError,
    ConfigurationError,
    CreditBudget,
    DownloadError,
    EventKind,
    InvalidRequestError,
    ItemCancelledError,
    ItemState,
    JobTimeoutError,
    JournalError,
    QueueFullError,
    VideoFacts,
)
from hitpaw_async._core.itemstate import Intended, Item, Reserved, advance
from hitpaw_async._session import Session
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.testing import VirtualTime, virtual_backend
from tests.batch.laboratory import HALF_A_MINUTE, Laboratory, laboratory, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from hitpaw_async import BatchEvent, ExportRequest, Outcome

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def background(
    lab: Laboratory, *, retry_after_s: float = 0.05, waiting_max: int = 1000, on_outcome: Any = None, **options: Any
) -> AsyncIterator[BackgroundBatch]:
    batch = lab.hitpaw.batch(**options)
    async with BackgroundBatch(
        batch, retry_after_s=retry_after_s, waiting_max=waiting_max, on_outcome=on_outcome
    ) as jobs:
        yield jobs


async def until(is_true: Callable[[], bool], *, within_s: float = 20) -> None:
    with anyio.fail_after(within_s):
        while not is_true():  # noqa: ASYNC110 (what is waited for is the vendor's)
            await anyio.sleep(within_s / 10_000)


async def test_what_comes_in_at_any_time_is_done_and_charged_once(tmp_path: Path) -> None:
    async with laboratory() as lab, background(lab, journal=tmp_path / "j.db", output=tmp_path / "out") as jobs:
        for number in range(5):
            await jobs.submit(video(number))
        await until(lambda: jobs.statistics().done == 5)
        async with anyio.create_task_group() as callers:
            for number in range(40):
                callers.start_soon(jobs.submit, video(number))
        await until(lambda: jobs.statistics().done == 40)
        outcome = await jobs.status(video(7).key)
        assert outcome is not None
        assert (outcome.state, outcome.credits) == (ItemState.DONE, 1)
        assert await jobs.status("nobody's") is None
    assert lab.charged == {str(number): 1 for number in range(40)}


async def test_what_was_taken_in_is_done_after_a_restart(tmp_path: Path) -> None:
    slow = {"call": "export", "do": "delay", "delay_s": 0.05}
    limits = BatchLimits(jobs_in_flight=2, submissions=1)
    async with laboratory(slow) as lab:
        async with background(lab, journal=tmp_path / "j.db", limits=limits) as jobs:
            keys = [await jobs.submit(video(number)) for number in range(20)]
            before = jobs.statistics()
        assert before.unfinished > 10
        async with background(lab, journal=tmp_path / "j.db") as jobs:
            assert jobs.statistics().total == 20
            await until(lambda: jobs.statistics().done == 20)
            assert {await jobs.submit(video(number)) for number in range(20)} == set(keys)
    assert lab.charged == {str(number): 1 for number in range(20)}


async def test_what_waits_is_told_once_whoever_takes_it_up(tmp_path: Path) -> None:
    slow = {"call": "export", "do": "delay", "delay_s": 0.05}
    limits = BatchLimits(jobs_in_flight=1, submissions=1)
    told = list[list[str | None]]()
    async with laboratory(slow) as lab:
        for done in (2, 4):
            events: list[BatchEvent] = []
            async with background(lab, journal=tmp_path / "j.db", limits=limits, on_event=events.append) as jobs:
                for number in range(4):
                    await jobs.submit(video(number, key=str(number)))
                await until(lambda done=done: jobs.statistics().done == done)
            told.append([event.key for event in events if event.kind is EventKind.QUEUED])
    assert told == [["0", "1", "2", "3"], []]


async def test_an_item_that_is_in_somebodys_hands_is_not_taken_up_again() -> None:
    slow = {"call": "export", "do": "delay", "delay_s": 0.2, "nth": 1}
    events: list[BatchEvent] = []
    async with (
        laboratory(slow) as lab,
        background(lab, budget=CreditBudget(1), on_event=events.append, retry_after_s=60) as jobs,
    ):
        await jobs.submit(video("first"))
        await until(lambda: jobs.statistics().credits_reserved == 1)
        # Past `submit`, which takes in no more than the budget has room for.
        await jobs.batch.enqueue([video("waits")])
        await until(lambda: any(event.kind is EventKind.WAITING for event in events))
        for number in range(3):
            await jobs.batch.enqueue([video(number)])
            await anyio.wait_all_tasks_blocked()
        await until(lambda: jobs.statistics().unfinished == 0)
        statistics = jobs.statistics()
    assert (statistics.done, statistics.skipped) == (1, 4)
    ends = [event.key for event in events if event.kind is EventKind.FINISHED]
    assert len(ends) == len(set(ends)) == 5


async def test_higher_priority_goes_first_among_what_waits(tmp_path: Path) -> None:
    done: list[str] = []

    async def note(outcome: Outcome) -> None:
        done.append(outcome.key)

    slow = {"call": "export", "do": "delay", "delay_s": 0.1, "nth": 1}
    limits = BatchLimits(jobs_in_flight=1, submissions=1)
    async with laboratory(slow) as lab, background(lab, limits=limits, on_outcome=note) as jobs:
        await jobs.submit(video("first", key="first"))
        await until(lambda: jobs.statistics().credits_reserved == 1)
        await jobs.submit(video("low", key="low"))
        await jobs.submit(video("high", key="high", priority=5))
        await until(lambda: jobs.statistics().done == 3)
        await until(lambda: len(done) == 3)
    assert done == ["first", "high", "low"]


async def test_without_credits_work_waits_in_the_journal_and_goes_on_when_there_are_some() -> None:
    async with laboratory(credits=2) as lab, background(lab) as jobs:
        for number in range(30):
            await jobs.submit(video(number))
        await until(lambda: len(lab.simulator.ledger) == 2 and jobs.statistics().skipped > 0)
        for number in range(30, 40):
            await jobs.submit(video(number))
        assert jobs.statistics().unfinished > 10, "it waits as it is"
        lab.simulator.vendor.credits_left = 100
        await until(lambda: jobs.statistics().done == 40)
    assert lab.charged == {str(number): 1 for number in range(40)}


@pytest.mark.parametrize(("fault", "times", "uncertain"), [("rate-limit", 60, 0), ("drop", 8, 8)])
async def test_an_outage_is_waited_out_and_nothing_is_paid_twice(fault: str, times: int, uncertain: int) -> None:
    outage = {"call": "export", "do": fault, "times": times}
    async with laboratory(outage) as lab, background(lab, retry_after_s=0.02) as jobs:
        for number in range(30):
            await jobs.submit(video(number))
        await until(lambda: jobs.statistics().unfinished == 0 and jobs.statistics().skipped == 0)
        statistics = jobs.statistics()
    assert (statistics.done, statistics.uncertain) == (30 - uncertain, uncertain)
    assert set(lab.charged.values()) == {1}
    assert len(lab.charged) == statistics.done


async def test_a_key_that_is_refused_is_said_and_tried_again() -> None:
    async with laboratory(api_keys={"other"}) as lab, background(lab) as jobs:
        await jobs.submit(video("a"))
        await until(lambda: jobs.failure is not None)
        assert isinstance(jobs.failure, AuthenticationError)
        await jobs.submit(video("b"))
        lab.simulator.vendor.api_keys = frozenset({"key"})
        await until(lambda: jobs.statistics().done == 2)
        assert jobs.failure is None
    assert lab.charged == {"a": 1, "b": 1}


def note_in(told: list[tuple[ItemState, str | None]]) -> Callable[[Outcome], Any]:
    """A listener that notes the state and the kind of error of each outcome."""

    async def note(outcome: Outcome) -> None:
        told.append((outcome.state, None if outcome.error is None else type(outcome.error).__name__))

    return note


async def test_a_full_disk_is_waited_out_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really, told, tries = os.write, list[tuple[ItemState, str | None]](), 0

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal tries
        tries += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    output = tmp_path / "out"
    async with laboratory() as lab:
        monkeypatch.setattr("hitpaw_async.download.part_file.os.write", write)
        async with background(lab, output=output, retry_after_s=0.01, on_outcome=note_in(told)) as jobs:
            await jobs.submit(video("a"))
            await until(lambda: tries >= 4)
            assert jobs.statistics().unfinished == 1
            monkeypatch.setattr("hitpaw_async.download.part_file.os.write", really)
            await until(lambda: len(told) == 2)
    assert told == [(ItemState.FETCHING, "DownloadError"), (ItemState.DONE, None)], (
        "once for the reason, once at its end"
    )
    assert (output / "a.mp4").read_bytes() == lab.simulator.result_bytes
    assert lab.charged == {"a": 1}


@pytest.mark.parametrize(
    "anyio_backend", [virtual_backend(name) for name in ("asyncio", "trio")], ids=lambda pair: pair[0]
)
async def test_results_that_cannot_be_fetched_for_an_hour_are_fetched_by_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[ItemState, str | None]] = []
    tried_at: list[float] = []

    async def fetch_result(_: str, path: Path, **__: object) -> Path:
        tried_at.append(anyio.current_time())
        if anyio.current_time() < begins_at + 3600:
            raise DownloadError("The results' host can't be reached.")
        return path

    async def has_result(*_: object) -> bool:
        return False

    with VirtualTime() as time:
        time.start()
        async with laboratory() as lab:
            monkeypatch.setattr(lab.hitpaw._session, "fetch_result", fetch_result)
            monkeypatch.setattr(lab.hitpaw._session, "has_result", has_result)
            begins_at = anyio.current_time()
            async with background(lab, output=tmp_path, retry_after_s=60, on_outcome=note_in(told)) as jobs:
                await jobs.submit(video("a"))
                await until(lambda: len(told) == 2, within_s=5 * 3600)
    pauses = [after - before for before, after in pairwise(tried_at)]
    assert told == [(ItemState.FETCHING, "DownloadError"), (ItemState.DONE, None)]
    assert [round(pause_s / 60) for pause_s in pauses] == [1, 2, 4, 8, 16, 16, 16]
    assert lab.charged == {"a": 1}


async def test_a_job_over_its_time_is_asked_for_again_until_it_is_done() -> None:
    told: list[tuple[ItemState, str | None]] = []
    limits = BatchLimits(job_timeout_s=0.01, jobs_in_flight=1)
    async with (
        laboratory(speed=50) as lab,
        background(lab, limits=limits, retry_after_s=0.01, on_outcome=note_in(told)) as jobs,
    ):
        await jobs.submit(video("a"))
        await until(lambda: len(told) == 2)
        assert jobs.statistics().done == 1
    assert told == [(ItemState.SUBMITTED, JobTimeoutError.__name__), (ItemState.DONE, None)]
    assert lab.charged == {"a": 1}


LOST = {"call": "export", "do": "drop", "when": "after", "url": "lost"}


async def test_what_a_person_settles_goes_on_at_once(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    async with laboratory(LOST | {"times": 2}) as lab:
        async with background(lab, journal=journal) as jobs:
            old = await jobs.submit(video("lost-0"))
            await until(lambda: jobs.statistics().uncertain == 1)
        async with background(lab, journal=journal) as jobs:
            new = await jobs.submit(video("lost-1"))
            await until(lambda: jobs.statistics().uncertain == 2)
            await jobs.batch.bind(new, lab.simulator.ledger[1].job_id)
            await until(lambda: jobs.statistics().done == 1)
            await jobs.batch.bind(old, lab.simulator.ledger[0].job_id)
            await until(lambda: jobs.statistics().done == 2)
    assert lab.charged == {"lost-0": 1, "lost-1": 1}


@pytest.mark.parametrize("has_restarted", [False, True])
async def test_what_a_person_pays_again_is_submitted_once_more(tmp_path: Path, *, has_restarted: bool) -> None:
    journal = tmp_path / "j.db"
    async with laboratory(LOST | {"times": 1}) as lab:
        async with background(lab, journal=journal) as jobs:
            key = await jobs.submit(video("lost"))
            await until(lambda: jobs.statistics().uncertain == 1)
            if not has_restarted:
                await jobs.batch.resubmit(key)
                await until(lambda: jobs.statistics().done == 1)
        async with background(lab, journal=journal) as jobs:
            if has_restarted:
                await jobs.batch.resubmit(key)
                await jobs.submit(video("other"))
            await until(lambda: jobs.statistics().done == jobs.statistics().total)
    assert lab.charged["lost"] == 2


@pytest.mark.parametrize("choice", ["bind", "resubmit"])
async def test_what_is_settled_before_its_turn_is_taken_up_once(choice: str) -> None:
    """The last process died in the middle of three sends. The reader is at the first, the second has the only place."""
    store, told, go_on = MemoryStore(), list[str](), anyio.Event()
    names = ("lost-0", "lost-1", "lost-2")
    for name in names:
        queued = Item(key=name, request=video(name, key=name), queued_at=0)
        store.add(advance(advance(queued, Reserved(1)), Intended()))

    async def note(outcome: Outcome) -> None:
        told.append(outcome.key)
        await go_on.wait()

    limits = BatchLimits(jobs_in_flight=1)
    async with laboratory() as lab:
        jobs_at_vendor = [await lab.hitpaw.export(video(name)) for name in names]
        async with background(lab, journal=store, limits=limits, on_outcome=note) as jobs:
            await until(lambda: told == ["lost-0"])
            await anyio.wait_all_tasks_blocked()
            found = (jobs_at_vendor[2].job_id,) if choice == "bind" else ()
            await getattr(jobs.batch, choice)("lost-2", *found)
            await jobs.submit(video("next", key="next"))
            go_on.set()
            await until(lambda: "next" in told and jobs.statistics().unfinished == 0)
            await anyio.wait_all_tasks_blocked()
    assert told == [*names, "next"]
    assert lab.charged == {"lost-0": 1, "lost-1": 1, "lost-2": 1 if choice == "bind" else 2, "next": 1}


@pytest.mark.parametrize(
    ("status", "code", "state"), [(402, 501002, ItemState.SKIPPED), (400, 501016, ItemState.REJECTED)]
)
async def test_what_was_found_uncertain_and_is_paid_again_is_tried_again_where_the_vendor_refuses(
    status: int, code: int, state: ItemState
) -> None:
    """The last process died in the middle of a send. What a person pays again is in nobody's hands once refused."""
    store, told = MemoryStore(), list[ItemState]()
    store.add(advance(advance(Item(key="a", request=video("a", key="a"), queued_at=0), Reserved(1)), Intended()))
    refusal = {"call": "export", "nth": 1, "do": "reply", "status": status, "body": {"code": code, "message": "no"}}

    async def note(outcome: Outcome) -> None:
        told.append(outcome.state)

    async with laboratory(refusal) as lab, background(lab, journal=store, on_outcome=note) as jobs:
        await until(lambda: told == [ItemState.UNCERTAIN])
        await jobs.batch.resubmit("a")
        await until(lambda: state in told)
        if state is ItemState.REJECTED:
            await jobs.submit(video("a", key="a"))
        await until(lambda: ItemState.DONE in told)
    assert lab.charged == {"a": 1}


@pytest.mark.parametrize(("choice", "charges"), [("bind", 1), ("resubmit", 2), ("give_up", 1)])
async def test_what_a_person_settles_waits_for_no_webhook_any_more(tmp_path: Path, choice: str, charges: int) -> None:
    policy = WebhookPolicy(base_url="http://hooks.test/hitpaw", wait_s=3600)
    limits = BatchLimits(jobs_in_flight=1)
    deaf = httpx.MockTransport(lambda _: httpx.Response(204))
    async with (
        httpx.AsyncClient(transport=deaf) as http_client,
        laboratory(LOST | {"times": 1}, http_client=http_client) as lab,
        lab.simulator,
        background(lab, journal=tmp_path / "j.db", webhooks=policy, limits=limits) as jobs,
    ):
        key = await jobs.submit(video("lost"))
        await until(lambda: jobs.statistics().uncertain == 1)
        found = (lab.simulator.ledger[0].job_id,) if choice == "bind" else ()
        await getattr(jobs.batch, choice)(key, *found)
        await jobs.submit(video("next"))
        await until(lambda: jobs.statistics().done + jobs.statistics().failed == 2)
        outcome = await jobs.status(key)
        assert outcome is not None
        assert outcome.state is (ItemState.FAILED if choice == "give_up" else ItemState.DONE)
    assert lab.charged == {"lost": charges, "next": 1}


async def test_what_breaks_a_limit_is_not_taken_in() -> None:
    async with laboratory() as lab, background(lab) as jobs:
        with pytest.raises(InvalidRequestError):
            await jobs.submit(video("a", resolution="10x10"))
        await jobs.submit(video("a", key="k"))
        with pytest.raises(InvalidRequestError, match="another video"):
            await jobs.submit(video("b", key="k"))
        await until(lambda: jobs.statistics().done == 1)
        assert jobs.statistics().total == 1


async def test_a_full_queue_refuses_more_until_there_is_room() -> None:
    slow = {"call": "export", "do": "delay", "delay_s": 0.05, "nth": 1}
    async with laboratory(slow) as lab, background(lab, waiting_max=3) as jobs:
        for number in range(3):
            await jobs.submit(video(number))
        with pytest.raises(QueueFullError) as caught:
            await jobs.submit(video("more"))
        assert caught.value.unfinished == 3
        await until(lambda: jobs.statistics().done == 3)
        await jobs.submit(video("more"))
        await until(lambda: jobs.statistics().done == 4)


async def test_a_second_process_on_the_journal_is_kept_out(tmp_path: Path) -> None:
    async with laboratory() as lab, background(lab, journal=tmp_path / "j.db") as jobs:
        with pytest.raises(JournalError, match="Another process"):
            async with background(lab, journal=tmp_path / "j.db"):
                pytest.fail("it was let in")
        await jobs.submit(video("a"))
        await until(lambda: jobs.statistics().done == 1)


async def test_a_listener_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def fail(outcome: Outcome) -> None:
        told.append(outcome.key)
        raise LookupError("no database")

    async with laboratory() as lab, background(lab, on_outcome=fail) as jobs:
        for number in range(3):
            await jobs.submit(video(number))
        await until(lambda: len(told) == 3)
    assert len(set(told)) == 3
    assert "on_outcome failed" in caplog.text


async def test_a_caller_that_hangs_up_leaves_nothing_in_doubt(tmp_path: Path) -> None:
    async with laboratory() as lab, background(lab, journal=tmp_path / "j.db") as jobs:
        with anyio.CancelScope() as hang_up:
            hang_up.cancel()
            await jobs.submit(video("a"))
        assert not jobs.batch._bookkeeper.is_in_doubt
        await until(lambda: jobs.statistics().done == 1)


async def test_an_endless_run_ends_when_its_batch_closes(tmp_path: Path) -> None:
    async with laboratory() as lab:
        with anyio.fail_after(10):
            async with lab.hitpaw.batch(journal=tmp_path / "j.db") as batch:
                outcomes = batch.follow()
                await batch.enqueue([video("a")])
                assert (await anext(outcomes)).state is ItemState.DONE
                with pytest.raises(ConfigurationError, match="running"):
                    batch.run()


@pytest.mark.parametrize("settings", [{"retry_after_s": 0}, {"retry_after_s": float("inf")}, {"waiting_max": 0}])
async def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    async with laboratory() as lab:
        with pytest.raises(ConfigurationError, match="must be"):
            BackgroundBatch(lab.hitpaw.batch(), **settings)


async def refusals(jobs: BackgroundBatch, *requests: ExportRequest) -> list[str]:
    """The keys of those that could not be afforded."""
    refused = []
    for request in requests:
        try:
            await jobs.submit(request)
        except BudgetExceededError:
            refused.append(request.key)
    return refused


async def test_no_more_is_taken_in_than_the_budget_has_room_for(tmp_path: Path) -> None:
    """Whatever is taken in is done: nobody is told yes, and skipped."""
    clips = [video(number, key=f"{number}", facts=None) for number in range(6)]
    async with laboratory() as lab, background(lab, budget=500, probe=False, journal=tmp_path / "j.db") as jobs:
        assert await refusals(jobs, *clips) == ["3", "4", "5"]
        assert jobs.statistics().total == 3, "a refused one leaves nothing in the journal"
        await until(lambda: jobs.statistics().done == 3)
        assert await refusals(jobs, *clips) == ["3", "4", "5"], "a known key is not new, and costs nothing more"
        assert await refusals(jobs, video("known", key="small")) == []
        await until(lambda: jobs.statistics().done == 4)
        assert jobs.statistics().skipped == 0


async def test_sources_are_read_before_the_answer_so_that_what_can_be_afforded_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def probe(_: AsyncHitPaw, __: str, **___: Any) -> VideoFacts:
        await anyio.sleep(0.01)
        return HALF_A_MINUTE

    monkeypatch.setattr(Session, "probe", probe)
    async with laboratory() as lab, background(lab, budget=5) as jobs:
        refused: list[str] = []

        async def bring(number: int) -> None:
            refused.extend(await refusals(jobs, video(number, facts=None)))

        async with anyio.create_task_group() as clients:
            for number in range(7):
                clients.start_soon(bring, number)
        await until(lambda: jobs.statistics().done == 5)
    assert len(refused) == 2
    assert len(lab.charged) == 5


async def test_one_video_brought_by_many_at_once_is_promised_once() -> None:
    async with laboratory() as lab, background(lab, budget=1) as jobs:
        async with anyio.create_task_group() as clients:
            for _ in range(5):
                clients.start_soon(jobs.submit, video("same"))
        await until(lambda: jobs.statistics().done == 1)
    assert lab.charged == {"same": 1}


async def test_what_waits_from_before_a_restart_is_promised_first(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal, budget=3) as batch:
            await batch.enqueue([video("old"), video("older")])
        slow = lab.hitpaw.batch(journal=journal, budget=3)
        async with BackgroundBatch(slow, retry_after_s=0.05) as jobs:
            assert await refusals(jobs, video("new"), video("newer", key="newer")) == ["newer"]
            await until(lambda: jobs.statistics().done == 3)
            assert jobs.statistics().skipped == 0


async def test_what_was_promised_and_refused_by_the_vendor_gives_its_room_back() -> None:
    async with laboratory(sources=lambda url: None if "refused" in url else HALF_A_MINUTE) as lab:
        async with background(lab, budget=1) as jobs:
            await jobs.submit(video("refused"))
            await until(lambda: jobs.statistics().rejected == 1)
            await jobs.submit(video("next"))
            await until(lambda: jobs.statistics().done == 1)


async def test_a_source_that_breaks_a_limit_is_refused_before_it_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe(_: AsyncHitPaw, __: str, **___: Any) -> VideoFacts:
        return VideoFacts(duration_s=601)

    monkeypatch.setattr(Session, "probe", probe)
    async with laboratory() as lab, background(lab) as jobs:
        with pytest.raises(InvalidRequestError, match="601"):
            await jobs.submit(video("long", facts=None))
        assert jobs.statistics().total == 0


class ForgetfulStore(MemoryStore):
    """Says once that a change could not be written, after it has been (or without that it has)."""

    fails_at: str | None = None
    keeps = True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield
        if self.fails_at == "commit":
            self.fails_at = None
            raise JournalError("disk I/O error")

    def add(self, item: Item) -> None:
        if self.fails_at == "add":
            self.fails_at = "commit"
            if not self.keeps:
                return
        super().add(item)

    def put(self, item: Item) -> None:
        super().put(item)
        if self.fails_at == "resubmission" and item.resubmissions:
            self.fails_at = "commit"


@pytest.mark.parametrize("keeps", [True, False])
async def test_what_came_in_by_a_commit_that_raised_is_counted_if_it_happened(keeps: bool) -> None:
    store = ForgetfulStore()
    store.keeps = keeps
    async with laboratory() as lab, background(lab, journal=store) as jobs:
        await jobs.submit(video("b"))
        await until(lambda: jobs.statistics().done == 1)
        store.fails_at = "add"
        with pytest.raises(JournalError):
            await jobs.submit(video("a"))
        await jobs.submit(video("c"))
        await until(lambda: jobs.statistics().done == 2 + keeps)
        statistics = jobs.statistics()
        assert (statistics.total, statistics.unfinished) == (2 + keeps, 0)
    assert lab.charged == {**({"a": 1} if keeps else {}), "b": 1, "c": 1}


async def test_a_resubmission_by_a_commit_that_raised_is_counted_if_it_happened() -> None:
    store = ForgetfulStore()
    async with laboratory({"call": "export", "times": 1, "do": "drop", "when": "after"}) as lab:
        async with background(lab, journal=store) as jobs:
            key = await jobs.submit(video("a"))
            await until(lambda: jobs.statistics().uncertain == 1)
            store.fails_at = "resubmission"
            with pytest.raises(JournalError):
                await jobs.batch.resubmit(key)
            await jobs.submit(video("b"))
            await until(lambda: jobs.statistics().done == 2)
            statistics = jobs.statistics()
            assert (statistics.total, statistics.unfinished, statistics.uncertain) == (2, 0, 0)


async def test_items_are_listed_by_state_page_by_page() -> None:
    async with laboratory() as lab, background(lab) as jobs:
        keys = [await jobs.submit(video(number)) for number in range(5)]
        for key in keys:
            outcome = await jobs.wait(key)
            assert outcome is not None
            assert outcome.state is ItemState.DONE
        seen: list[str] = []
        after = None
        while True:
            page = await jobs.items("done", after=after, limit=2)
            seen += [outcome.key for outcome in page.outcomes]
            if (after := page.after) is None:
                break
        assert seen == keys
        assert (await jobs.items(ItemState.FAILED, ItemState.UNCERTAIN)).outcomes == ()
        assert len((await jobs.items()).outcomes) == 5


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": 10_000}, {"after": "nonsense"}])
async def test_a_page_that_can_not_be_is_refused(asked: dict[str, Any]) -> None:
    async with laboratory() as lab, background(lab) as jobs:
        with pytest.raises(InvalidRequestError):
            await jobs.items(**asked)
        with pytest.raises(InvalidRequestError, match="queued"):
            await jobs.items("eaten")


async def test_what_waits_is_cancelled_and_never_charged(tmp_path: Path) -> None:
    """Ten of twenty, before and after a run has taken a page of them up; a restart changes nothing."""
    slow = {"call": "export", "do": "delay", "delay_s": 2, "times": 1}
    limits = BatchLimits(jobs_in_flight=1, submissions=1, stop_grace_s=10)
    async with laboratory(slow) as lab:
        async with background(lab, journal=tmp_path / "j.db", limits=limits, budget=CreditBudget(100)) as jobs:
            keys = [await jobs.submit(video(number)) for number in range(20)]
            for key in keys[10:]:
                outcome = await jobs.cancel(key)
                assert outcome.state is ItemState.REJECTED
                assert isinstance(outcome.error, ItemCancelledError)
                waited = await jobs.wait(key)
                assert waited is not None
                assert waited.state is ItemState.REJECTED
            with pytest.raises(InvalidRequestError, match="has ended"):
                await jobs.cancel(keys[19])
            with pytest.raises(InvalidRequestError, match="no item"):
                await jobs.cancel("nobody's")
        async with background(lab, journal=tmp_path / "j.db", budget=CreditBudget(100)) as jobs:
            await jobs.submit(video(15))
            for key in keys[:10]:
                done = await jobs.wait(key)
                assert done is not None
                assert done.state is ItemState.DONE
            assert (jobs.statistics().done, jobs.statistics().rejected) == (10, 10)
            assert (await jobs.again(keys[15])).state is ItemState.QUEUED
            again = await jobs.wait(keys[15])
            assert again is not None
            assert again.state is ItemState.DONE
    assert lab.charged == {str(number): 1 for number in [*range(10), 15]}


async def test_a_promise_to_what_is_cancelled_is_free_for_others() -> None:
    slow = {"call": "export", "do": "delay", "delay_s": 1, "times": 1}
    limits = BatchLimits(jobs_in_flight=1, submissions=1, stop_grace_s=10)
    async with laboratory(slow) as lab, background(lab, limits=limits, budget=CreditBudget(3)) as jobs:
        keys = [await jobs.submit(video(number)) for number in range(3)]
        with pytest.raises(BudgetExceededError):
            await jobs.submit(video(3))
        await jobs.cancel(keys[2])
        await jobs.wait(await jobs.submit(video(3)))
        assert jobs.statistics().done + jobs.statistics().unfinished == 3
        await jobs.wait(keys[1])
    assert set(lab.charged) == {"0", "1", "3"}


async def test_what_is_being_submitted_or_paid_for_is_not_cancelled() -> None:
    async with laboratory() as lab, background(lab) as jobs:
        key = await jobs.submit(video(1))
        while (await jobs.items("queued")).outcomes:  # noqa: ASYNC110 (what is waited for is the vendor's)
            await anyio.sleep(0.001)
        with pytest.raises(InvalidRequestError, match="can't be cancelled"):
            await jobs.cancel(key)
        outcome = await jobs.wait(key)
        assert outcome is not None
        assert outcome.state is ItemState.DONE
    assert lab.charged == {"1": 1}


async def test_a_wait_ends_with_its_time_and_with_the_batch() -> None:
    async with laboratory(speed=0.001) as lab:
        async with background(lab) as jobs, anyio.create_task_group() as tasks:
            key = await jobs.submit(video(1))
            assert await jobs.wait("nobody's") is None
            outcome = await jobs.wait(key, timeout_s=0.01)
            assert outcome is not None
            assert not outcome.state.is_terminal
            tasks.cancel_scope.cancel()
        with pytest.raises(ConfigurationError, match="not open"):
            await jobs.wait(key)
