"""The events of a batch: what happens is told in order, to any number of readers, and none holds the batch up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async import (
    BatchEvent,
    BatchLimits,
    ConfigurationError,
    CreditBudget,
    EventKind,
    EventsLostError,
    ItemState,
    JobStatus,
    WaitReason,
)
from hitpaw_async.batch.events import hub as eventhub
from hitpaw_async.batch.events.hub import EventHub
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async import EventStream

pytestmark = pytest.mark.anyio

K = EventKind


def happening(number: int, kind: EventKind, key: str | None = "a", **fields: object) -> BatchEvent:
    return BatchEvent(kind=kind, at=0.0, number=number, key=key, **fields)  # type: ignore[arg-type]


def opened(hub: EventHub, *, buffer_max: int = 1000) -> EventStream:
    return hub.open(happening(hub.number, K.SNAPSHOT, None), buffer_max=buffer_max)


async def rest_of(stream: EventStream) -> list[BatchEvent]:
    stream.close()
    with anyio.fail_after(5):
        return [event async for event in stream]


async def test_a_reader_sees_all_that_happens_from_a_snapshot_to_the_end(tmp_path: Path) -> None:
    events: list[BatchEvent] = []

    async def read(stream: EventStream) -> None:
        async for event in stream:
            events.append(event)  # noqa: PERF401 (what was read before the end counts as well)

    async with laboratory() as lab, anyio.create_task_group() as tasks:
        async with lab.hitpaw.batch(journal=tmp_path / "j.db", budget=5, output=tmp_path / "out") as batch:
            with batch.events() as stream:
                tasks.start_soon(read, stream)
                await outcomes_of(batch, video("a"))
                await anyio.wait_all_tasks_blocked()
    story = [event.kind for event in events if event.kind not in (K.BUDGET, K.STATUS) and not event.received_bytes]
    expected = [K.SNAPSHOT, K.QUEUED, K.RESERVED, K.SUBMITTING, K.SUBMITTED, K.DOWNLOADING, K.FINISHED, K.ENDED]
    assert story == expected
    assert [event.number for event in events] == sorted(event.number for event in events)
    assert {event.status for event in events if event.kind is K.STATUS} <= {*JobStatus}
    finished = next(event for event in events if event.kind is K.FINISHED)
    assert finished.outcome is not None
    assert (finished.state, finished.label) == (ItemState.DONE, "a.mp4")
    assert (finished.spent_credits, finished.left_credits) == (1, 4)
    assert all(event.dropped == 0 for event in events)


async def test_what_json_gets_holds_no_secret_and_no_path(tmp_path: Path) -> None:
    events: list[BatchEvent] = []
    secret = attrs.evolve(video("a"), video_url="https://name:word@videos.test/a.mp4?signature=hunter2")
    async with laboratory() as lab:
        async with lab.hitpaw.batch(output=tmp_path / "out", on_event=events.append) as batch:
            async for _ in batch.run([secret, video("b", resolution="10x10")]):
                pass
    texts = [json.dumps(event.to_dict()) for event in events]
    assert not [text for text in texts if "hunter2" in text or "word@" in text or str(tmp_path) in text]
    done = next(event.to_dict() for event in events if event.kind is K.FINISHED and event.state is ItemState.DONE)
    assert (done["event"], done["state"], done["credits"], done["file"]) == ("finished", "done", 1, "a.mp4")
    refused = next(event.to_dict() for event in events if event.state is ItemState.REJECTED)
    assert refused["error"]["type"] == "InvalidRequestError"


async def test_a_late_reader_begins_with_where_the_batch_stands_and_what_is_under_way() -> None:
    async with laboratory(speed=0.001) as lab, lab.hitpaw.batch(budget=9) as batch:
        outcomes = batch.run([video("a"), video("b"), video("bad", resolution="10x10")])
        await anext(outcomes)
        with anyio.fail_after(5):
            while batch.statistics().credits_spent < 2:  # noqa: ASYNC110 (the vendor takes as long as it takes)
                await anyio.sleep(0.001)
        with batch.events() as stream:
            first = [await anext(stream) for _ in range(3)]
    snapshot, *under_way = first
    assert snapshot.kind is K.SNAPSHOT
    assert snapshot.statistics is not None
    assert (snapshot.statistics.rejected, snapshot.statistics.unfinished) == (1, 2)
    assert (snapshot.spent_credits, snapshot.left_credits) == (2, 7)
    assert {event.label for event in under_way} == {"a.mp4", "b.mp4"}
    assert {event.state for event in under_way} == {ItemState.SUBMITTED}


async def test_a_reader_that_never_reads_holds_up_nothing_and_misses_no_end() -> None:
    limits = BatchLimits(jobs_in_flight=50)
    async with laboratory() as lab, lab.hitpaw.batch(limits=limits) as batch:
        stream = batch.events(buffer_max=10)
        with anyio.fail_after(20):
            await outcomes_of(batch, *(video(number) for number in range(100)))
        events = await rest_of(stream)
    finished = [event for event in events if event.kind is K.FINISHED]
    assert len(finished) == len({event.key for event in finished}) == 100
    assert sum(event.dropped for event in events) > 300
    assert len(events) <= 100 + 10 + 2
    numbers = [event.number for event in events]
    assert numbers == sorted(numbers)


async def test_the_count_of_what_was_dropped_comes_with_the_next_event() -> None:
    hub = EventHub()
    stream = opened(hub, buffer_max=2)
    for number in range(1, 6):
        hub.emit(happening(number, K.STATUS, str(number)))
    hub.emit(happening(6, K.FINISHED))
    seen = [(event.number, event.dropped) for event in await rest_of(stream)]
    assert seen == [(0, 3), (4, 0), (5, 0), (6, 0)]


async def test_a_newer_figure_takes_the_place_of_an_older_one_and_is_not_counted() -> None:
    hub = EventHub()
    stream = opened(hub, buffer_max=3)
    for number in range(1, 100):
        hub.emit(happening(number, K.DOWNLOADING, "ab"[number % 2], received_bytes=number))
    hub.emit(happening(100, K.BUDGET, None))
    hub.emit(happening(101, K.BUDGET, None))
    events = (await rest_of(stream))[1:]
    assert [(event.number, event.dropped) for event in events] == [(98, 0), (99, 0), (101, 0)]


async def test_a_reader_that_is_hopelessly_behind_is_told_so_and_nobody_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eventhub, "KEPT_EVENTS_MAX", 5)
    hub = EventHub()
    slow, quick = opened(hub), opened(hub)
    read: list[int] = []
    for number in range(1, 9):
        hub.emit(happening(number, K.FINISHED, str(number)))
        read += [(await anext(quick)).number]
    with pytest.raises(EventsLostError, match=r"Call events\(\) again"):
        _ = [read.append(-event.number) async for event in slow]  # type: ignore[func-returns-value]
    assert read == [0, 1, 2, 3, 4, 5, 6, 7, 0, -1, -2, -3, -4, -5]
    with pytest.raises(EventsLostError):
        await anext(slow)


async def test_a_reader_that_left_gets_nothing_more() -> None:
    hub = EventHub()
    with opened(hub) as stream:
        await anext(stream)
    hub.emit(happening(1, K.FINISHED))
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert hub._streams == []


async def test_what_is_finished_is_under_way_no_more() -> None:
    hub = EventHub()
    hub.emit(happening(1, K.SUBMITTED, "a"))
    hub.emit(happening(2, K.SUBMITTED, "b"))
    hub.emit(happening(3, K.FINISHED, "a"))
    hub.emit(happening(4, K.QUEUED, "c"))
    assert [(event.number, event.key) for event in await rest_of(opened(hub))] == [(4, None), (2, "b")]


async def test_of_what_the_run_has_nothing_is_kept() -> None:
    hub = EventHub()
    hub.emit(happening(1, K.SUBMITTED, "a"))
    hub.took_off("a")
    hub.emit(happening(2, K.STATUS, "a"))
    hub.emit(happening(3, K.SUBMITTED, "b"))
    stream = hub.open(happening(3, K.SNAPSHOT, None), [happening(3, K.STATUS, "b")], buffer_max=1)
    seen = [(event.kind, event.key) for event in await rest_of(stream)]
    assert seen == [(K.SNAPSHOT, None), (K.STATUS, "b")]


async def test_events_that_nobody_wants_are_counted_all_the_same() -> None:
    numbers: list[int] = []
    heard: list[BatchEvent] = []
    for listener in (None, heard.append):
        async with laboratory() as lab, lab.hitpaw.batch(on_event=listener) as batch:
            await outcomes_of(batch, video("a", resolution="10x10"), video("b", resolution="10x10"))
            with batch.events() as stream:
                numbers.append((await anext(stream)).number)
    assert numbers == [len(heard)] * 2


async def test_the_stream_ends_when_the_batch_closes() -> None:
    async with laboratory() as lab:
        async with lab.hitpaw.batch() as batch:
            stream = batch.events()
        with anyio.fail_after(5):
            assert [event.kind async for event in stream] == [K.SNAPSHOT]


async def test_an_item_that_waits_for_the_budget_says_so() -> None:
    events: list[BatchEvent] = []
    slow = {"call": "export", "do": "delay", "delay_s": 0.2}
    async with laboratory(slow) as lab, lab.hitpaw.batch(budget=CreditBudget(1), on_event=events.append) as batch:
        outcomes = await outcomes_of(batch, video("a"), video("b"))
    waiting = [event for event in events if event.kind is K.WAITING]
    assert [(event.label, event.waiting_for) for event in waiting] == [("b.mp4", WaitReason.BUDGET)]
    assert outcomes["b"].state is ItemState.SKIPPED


async def test_the_end_of_a_run_says_what_ended_it_early() -> None:
    events: list[BatchEvent] = []
    async with laboratory(api_key="wrong") as lab, lab.hitpaw.batch(on_event=events.append) as batch:
        with pytest.raises(Exception, match="HITPAW_API_KEY"):
            await outcomes_of(batch, video("a"))
    assert events[-1].kind is K.ENDED
    assert "AuthenticationError" in (events[-1].detail or "")


async def test_giving_an_item_up_is_told_as_its_end() -> None:
    events: list[BatchEvent] = []
    lost = {"call": "export", "do": "drop", "when": "after"}
    async with laboratory(lost) as lab, lab.hitpaw.batch(on_event=events.append) as batch:
        outcomes = await outcomes_of(batch, video("a"))
        await batch.give_up(outcomes["a"].key)
    ends = [event.state for event in events if event.kind is K.FINISHED]
    assert ends == [ItemState.UNCERTAIN, ItemState.FAILED]


async def test_a_listener_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: BatchEvent) -> None:
        raise LookupError("no display")

    async with laboratory() as lab, lab.hitpaw.batch(on_event=fail) as batch:
        outcomes = await outcomes_of(batch, video("a"), video("b"))
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert len([record for record in caplog.records if "listener" in record.message]) == 1


async def test_a_buffer_of_nothing_is_refused() -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        with pytest.raises(ConfigurationError, match="buffer_max"):
            batch.events(buffer_max=0)


async def test_events_are_logged_with_their_fields(caplog: pytest.LogCaptureFixture) -> None:
    secret = attrs.evolve(video("a", key="k"), video_url="https://name:word@videos.test/a.mp4?signature=hunter2")
    caplog.set_level("DEBUG", logger="hitpaw_async")
    async with laboratory() as lab, lab.hitpaw.batch(budget=5) as batch:
        async for _ in batch.run([secret]):
            pass
    records = [record.__dict__ for record in caplog.records if hasattr(record, "hitpaw_event")]
    ends = [record for record in records if record["levelname"] == "INFO"]
    assert [record["hitpaw_event"] for record in ends] == ["finished", "ended"]
    assert (ends[0]["hitpaw_key"], ends[0]["hitpaw_state"], ends[0]["hitpaw_credits"]) == ("k", "done", 1)
    assert {"queued", "reserved", "submitting", "submitted", "status"} <= {record["hitpaw_event"] for record in records}
    assert not [record for record in records if "hunter2" in str(record) or "word@" in str(record)]


async def test_only_a_word_that_nobody_knows_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        await outcomes_of(batch, video("a"), video("b"))
    assert "nobody knows" not in caplog.text


@pytest.mark.parametrize("buffer_max", [0, -1, 1.5, 1_000_001, "10", None, True])
async def test_a_buffer_is_a_whole_number_of_events(buffer_max: Any) -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        with pytest.raises(ConfigurationError, match="buffer_max"):
            batch.events(buffer_max=buffer_max)
        batch.events(buffer_max=1).close()
