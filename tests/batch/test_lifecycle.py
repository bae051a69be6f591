"""A batch that is not open, closed, opened twice, left elsewhere, or set up with anything else: one clear answer."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async import BackgroundBatch, ConfigurationError, HitPawError, ItemState
from hitpaw_async._tasks import Host
from tests.batch.laboratory import laboratory, video
from tests.client.callers import a_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from hitpaw_async.batch.scheduler import BatchScheduler

TOO_LONG_S = 10.0


async def _iterate(batch: BatchScheduler) -> None:
    async for _ in batch.uncertain():
        pass


async def _of(value: object) -> object:
    return value


USES: dict[str, Callable[[BatchScheduler], Awaitable[object]]] = {
    "run": lambda batch: _of(batch.run([])),
    "follow": lambda batch: _of(batch.follow()),
    "enqueue": lambda batch: batch.enqueue([]),
    "plan": lambda batch: batch.plan([]),
    "events": lambda batch: _of(batch.events()),
    "uncertain": _iterate,
    "find": lambda batch: batch.find("key"),
    "bind": lambda batch: batch.bind("key", "job"),
    "give_up": lambda batch: batch.give_up("key"),
    "resubmit": lambda batch: batch.resubmit("key"),
    "note": lambda batch: batch.note("name"),
    "set_note": lambda batch: batch.set_note("name", "text"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", USES)
async def test_a_batch_that_is_not_open_says_so(name: str) -> None:
    async with laboratory() as lab:
        batch = lab.hitpaw.batch()
        with anyio.fail_after(TOO_LONG_S), pytest.raises(ConfigurationError, match="not open"):
            await USES[name](batch)
        async with batch:
            pass
        with anyio.fail_after(TOO_LONG_S), pytest.raises(ConfigurationError, match="not open"):
            await USES[name](batch)


def test_a_batch_is_set_up_before_a_loop_runs_and_then_says_that_it_is_not_open() -> None:
    batch = a_client("http://127.0.0.1:9").batch()
    with pytest.raises(ConfigurationError, match="not open"):
        batch.statistics()
    with pytest.raises(ConfigurationError, match="not open"):
        batch.run([])


@pytest.mark.anyio
async def test_after_closing_its_last_figures_can_be_read_and_it_can_be_opened_again() -> None:
    async with laboratory() as lab:
        batch = lab.hitpaw.batch()
        for number in range(2):
            with anyio.fail_after(TOO_LONG_S):
                async with batch:
                    states = [outcome.state async for outcome in batch.run([video(number)])]
            assert states == [ItemState.DONE]
            assert batch.statistics().done == 1
        assert lab.charged == {"0": 1, "1": 1}


@pytest.mark.anyio
async def test_an_event_stream_ends_with_its_batch() -> None:
    async with laboratory() as lab:
        async with lab.hitpaw.batch() as batch:
            events = batch.events()
        with anyio.fail_after(TOO_LONG_S):
            assert [event.kind async for event in events]


@pytest.mark.anyio
async def test_opened_twice_the_second_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with laboratory() as lab:
        batch = lab.hitpaw.batch(journal=tmp_path / "journal.db")
        async with batch:
            with pytest.raises(ConfigurationError, match="open already"):
                await batch.__aenter__()
            assert [outcome.state async for outcome in batch.run([video("a")])] == [ItemState.DONE]


@pytest.mark.anyio
async def test_of_two_who_open_it_at_once_one_is_refused(tmp_path: Path) -> None:
    async with laboratory() as lab:
        batch = lab.hitpaw.batch(journal=tmp_path / "journal.db")
        opened, refused = [], []

        async def open_it() -> None:
            try:
                await batch.__aenter__()
                opened.append(batch)
            except ConfigurationError as error:
                refused.append(error)

        with anyio.fail_after(TOO_LONG_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_it)
                tasks.start_soon(open_it)
        assert (len(opened), len(refused)) == (1, 1)
        with anyio.fail_after(TOO_LONG_S):
            await batch.__aexit__(None, None, None)
        with pytest.raises(ConfigurationError, match="not open"):
            await batch.__aexit__(None, None, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", "500"),
        ("budget", 5.0),
        ("budget", True),
        ("limits", 7),
        ("limits", 0),
        ("journal", 5),
        ("output", 5),
        ("output", b"out"),
        ("name", 3),
        ("webhooks", 1),
        ("on_event", 3),
        ("on_event", _iterate),
        ("probe", "yes"),
        ("journal_wait_s", "soon"),
    ],
)
async def test_settings_of_the_wrong_kind_are_refused_at_once(name: str, value: Any) -> None:
    async with laboratory() as lab:
        with pytest.raises(ConfigurationError, match=name.replace("_", ".") if name != "budget" else "(?i)budget"):
            lab.hitpaw.batch(**{name: value})


@pytest.mark.anyio
@pytest.mark.parametrize("videos", [5, None, "https://videos.test/a.mp4"])
async def test_videos_that_are_no_list_are_refused_and_the_batch_stays_usable(videos: Any) -> None:
    async with laboratory() as lab:
        with anyio.fail_after(TOO_LONG_S):
            async with lab.hitpaw.batch() as batch:
                for use in (batch.enqueue, batch.plan):
                    with pytest.raises(ConfigurationError, match="iterable of ExportRequest"):
                        await use(videos)
                with pytest.raises(ConfigurationError, match="iterable of ExportRequest"):
                    batch.run(videos)
                assert [outcome.state async for outcome in batch.run([video("a")])] == [ItemState.DONE]


@pytest.mark.anyio
async def test_what_cannot_be_opened_leaves_no_journal_locked(tmp_path: Path) -> None:
    async with laboratory() as lab:
        (tmp_path / "file").touch()
        batch = lab.hitpaw.batch(journal=tmp_path / "journal.db", output=tmp_path / "file")
        for _ in range(2):
            with anyio.fail_after(TOO_LONG_S), pytest.raises(ConfigurationError, match="output folder"):
                await batch.__aenter__()
        async with lab.hitpaw.batch(journal=tmp_path / "journal.db"):
            pass


@pytest.mark.anyio
async def test_a_background_batch_that_is_not_open_or_open_twice_says_so(tmp_path: Path) -> None:
    async with laboratory() as lab:
        jobs = BackgroundBatch(lab.hitpaw.batch(journal=tmp_path / "journal.db"))
        for use in (
            lambda: jobs.submit(video("a")),
            lambda: jobs.status("key"),
            lambda: _of(jobs.statistics()),
            lambda: _of(jobs.events()),
            lambda: jobs.__aexit__(None, None, None),
        ):
            with anyio.fail_after(TOO_LONG_S), pytest.raises(ConfigurationError, match="not open"):
                await use()
        async with jobs:
            with pytest.raises(ConfigurationError, match="open already"):
                await jobs.__aenter__()
        with anyio.fail_after(TOO_LONG_S):
            async with jobs:
                await jobs.submit(video("a"))
        with pytest.raises(ConfigurationError, match="not open"):
            await jobs.submit(video("b"))


@pytest.mark.anyio
@pytest.mark.parametrize("settings", [{"batch": 5}, {"on_outcome": 5}])
async def test_a_background_batch_of_the_wrong_kind_is_refused(settings: dict[str, Any]) -> None:
    async with laboratory() as lab:
        with pytest.raises(ConfigurationError):
            await BackgroundBatch(**{"batch": lab.hitpaw.batch(), **settings}).__aenter__()


@pytest.mark.anyio
async def test_opened_in_one_task_and_closed_in_another_it_works_and_lets_its_journal_go(tmp_path: Path) -> None:
    async with laboratory() as lab:
        stack = AsyncExitStack()
        batches: list[BatchScheduler] = []

        async def open_it() -> None:
            batches.append(await stack.enter_async_context(lab.hitpaw.batch(journal=tmp_path / "journal.db")))

        with anyio.fail_after(TOO_LONG_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_it)
            assert [outcome.state async for outcome in batches[0].run([video("a")])] == [ItemState.DONE]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stack.aclose)
            async with lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
                assert batch.statistics().done == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio itself complains of such a generator
async def test_a_generator_around_a_batch_that_is_left_early_lets_its_journal_go(tmp_path: Path) -> None:
    async def outcomes() -> AsyncIterator[object]:
        async with laboratory() as lab, lab.hitpaw.batch(journal=tmp_path / "journal.db") as batch:
            async for outcome in batch.run([video(number) for number in range(5)]):
                yield outcome

    async for _ in outcomes():
        break
    with anyio.fail_after(TOO_LONG_S):
        while True:
            gc.collect()
            try:
                async with laboratory() as lab, lab.hitpaw.batch(journal=tmp_path / "journal.db"):
                    return
            except HitPawError:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_batch_that_nobody_leaves_lets_its_journal_go_when_the_loop_ends(backend: str, tmp_path: Path) -> None:
    kept: list[BatchScheduler] = []

    async def forget() -> None:
        hitpaw = a_client("http://127.0.0.1:9")
        kept.append(await hitpaw.batch(journal=tmp_path / "journal.db").__aenter__())

    async def use_it_and_open_anew() -> None:
        with anyio.fail_after(TOO_LONG_S):
            with pytest.raises(ConfigurationError, match="not open"):
                await kept[0].enqueue([])
            async with a_client("http://127.0.0.1:9").batch(journal=tmp_path / "journal.db"):
                pass

    anyio.run(forget, backend=backend)
    anyio.run(use_it_and_open_anew, backend=backend)


def test_a_batch_of_another_loop_that_goes_on_says_so(tmp_path: Path) -> None:
    other = asyncio.new_event_loop()
    batch = a_client("http://127.0.0.1:9").batch(journal=tmp_path / "journal.db")
    other.run_until_complete(batch.__aenter__())
    try:
        for use in (lambda: batch.enqueue([]), lambda: batch.__aexit__(None, None, None)):

            async def used(use: Callable[[], Awaitable[object]] = use) -> None:
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await use()

            asyncio.run(asyncio.wait_for(used(), TOO_LONG_S))
    finally:
        other.run_until_complete(batch.__aexit__(None, None, None))
        other.run_until_complete(other.shutdown_default_executor())
        other.close()


@pytest.mark.anyio
async def test_entering_a_context_that_is_cancelled_leaves_it() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            await anyio.sleep_forever()
            yield
        finally:
            left.append("left")

    with anyio.move_on_after(0.05) as scope:
        await Host(slow()).enter()
    assert scope.cancelled_caught
    assert left == ["left"]


def test_a_batch_is_made_before_an_event_loop_runs(tmp_path: Path) -> None:
    hitpaw = a_client(base_url="http://127.0.0.1:9")
    batch = hitpaw.batch(journal=tmp_path / "a.db")
    with pytest.raises(ConfigurationError, match="not open"):
        batch.statistics()

    async def main() -> int:
        async with hitpaw, batch:
            return batch.statistics().total

    assert asyncio.run(main()) == 0
