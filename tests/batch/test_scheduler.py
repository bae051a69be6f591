from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from hitpaw_async import (
    AuthenticationError,
    BatchLimits,
    BudgetExceededError,
    ConfigurationError,
    CreditBudget,
    DownloadError,
    EventKind,
    InsufficientCreditsError,
    InvalidRequestError,
    ItemState,
    JobFailedError,
    JobTimeoutError,
    JournalError,
    PlanAction,
    Resolution,
    SubmissionUnknownError,
    WhenFull,
)
from tests.batch.laboratory import HALF_A_MINUTE, facts_lasting, laboratory, names_in, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hitpaw_async import BatchEvent, ExportRequest

pytestmark = [pytest.mark.anyio]

DONE, SKIPPED, REJECTED, FAILED = ItemState.DONE, ItemState.SKIPPED, ItemState.REJECTED, ItemState.FAILED
UNCERTAIN, SUBMITTED, FETCHING = ItemState.UNCERTAIN, ItemState.SUBMITTED, ItemState.FETCHING


@pytest.fixture(autouse=True)
async def _time_limit() -> AsyncIterator[None]:
    with anyio.fail_after(20):
        yield


async def test_each_video_is_charged_once_and_has_one_outcome() -> None:
    async with laboratory() as lab, lab.hitpaw.batch(limits=BatchLimits(jobs_in_flight=5)) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(20)))
    assert {outcome.state for outcome in outcomes.values()} == {DONE}
    assert lab.charged == {str(number): 1 for number in range(20)}
    assert all(outcome.job and outcome.job.res_url and outcome.credits == 1 for outcome in outcomes.values())


async def test_requests_may_come_from_an_async_generator() -> None:
    async def requests() -> AsyncIterator[ExportRequest]:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            yield video(number)

    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        states = [outcome.state async for outcome in batch.run(requests())]
    assert states == [DONE] * 3


async def test_the_budget_holds_whatever_the_concurrency() -> None:
    limits = BatchLimits(jobs_in_flight=30, submissions=10)
    async with laboratory() as lab, lab.hitpaw.batch(budget=7, limits=limits) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(30)))
        statistics = batch.statistics()
    assert sum(outcome.state is DONE for outcome in outcomes.values()) == 7
    skipped = [outcome for outcome in outcomes.values() if outcome.state is SKIPPED]
    assert {type(outcome.error) for outcome in skipped} == {BudgetExceededError}
    assert len(lab.charged) == 7
    assert (statistics.credits_spent, statistics.credits_left, statistics.skipped) == (7, 0, 23)


async def test_budget_is_given_out_in_the_order_of_the_input() -> None:
    async with laboratory() as lab, lab.hitpaw.batch(budget=4, limits=BatchLimits(submissions=8)) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(8)))
    assert [outcomes[str(number)].state for number in range(8)] == [DONE] * 4 + [SKIPPED] * 4


@pytest.mark.parametrize("when_full", list(WhenFull))
async def test_a_cheaper_video_is_taken_after_a_dearer_one_was_skipped(when_full: WhenFull) -> None:
    budget = CreditBudget(2, when_full=when_full)
    async with laboratory() as lab, lab.hitpaw.batch(budget=budget) as batch:
        outcomes = await outcomes_of(batch, video("dear", facts=facts_lasting(3)), video("cheap"))
    assert outcomes["dear"].state is SKIPPED
    assert outcomes["cheap"].state is DONE


async def test_a_video_waits_for_a_reservation_that_is_given_back() -> None:
    refused = {"call": "export", "url": "bad", "do": "reply", "status": 400, "body": {"code": 501016, "message": "no"}}
    async with laboratory({**refused, "delay_s": 0.05}) as lab, lab.hitpaw.batch(budget=1) as batch:
        outcomes = await outcomes_of(batch, video("bad"), video("good"))
    assert outcomes["bad"].state is REJECTED
    assert outcomes["good"].state is DONE


async def test_unknown_facts_reserve_the_worst_case() -> None:
    async with laboratory() as lab, lab.hitpaw.batch(budget=159) as batch:
        outcomes = await outcomes_of(batch, video("unknown", facts=None))
        plan = await batch.plan([video("another", facts=None)])
    assert outcomes["unknown"].state is SKIPPED
    error = outcomes["unknown"].error
    assert isinstance(error, BudgetExceededError)
    assert (error.needed_credits, error.left_credits) == (160, 159)
    assert [item.key for item in plan.items if item.action is PlanAction.SKIP] == [
        video("unknown", facts=None).key,
        video("another", facts=None).key,
    ]
    assert "The length is unknown: 10 minutes, the longest allowed." in plan.items[1].reasons


async def test_what_breaks_a_limit_is_rejected_and_never_sent() -> None:
    too_long = video("long", facts=facts_lasting(11))
    too_small = video("small", resolution=Resolution(100, 100), extension="mp4")
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, too_long, too_small, video("fine"))
    assert outcomes["long"].state is REJECTED
    assert lab.simulator.exports_received == 1
    assert "128x128" in str(outcomes["small"].error)
    assert "extension" in str(outcomes["small"].error)
    assert outcomes["fine"].state is DONE


async def test_a_known_key_is_not_submitted_again_and_its_outcome_is_reported_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal) as batch:
            await outcomes_of(batch, video("a"), video("b"))
        async with lab.hitpaw.batch(journal=journal) as batch:
            outcomes = await outcomes_of(batch, video("a"), video("b"), video("c"))
            assert batch.statistics().done == 3
    assert {name: outcome.state for name, outcome in outcomes.items()} == {"a": DONE, "b": DONE, "c": DONE}
    assert lab.charged == {"a": 1, "b": 1, "c": 1}


async def test_a_key_twice_in_the_input_is_one_video() -> None:
    async with laboratory() as lab, lab.hitpaw.batch(limits=BatchLimits(submissions=4)) as batch:
        outcomes = await outcomes_of(batch, video("a"), video("a"), video("b"), video("a"))
    assert lab.charged == {"a": 1, "b": 1}
    assert len(outcomes) == 2


async def test_a_key_that_stands_for_another_video_is_refused() -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, video("a", key="k"), video("b", key="k"))
        assert batch.statistics().total == 1
    assert outcomes["a"].state is DONE
    assert outcomes["b"].state is REJECTED
    assert isinstance(outcomes["b"].error, InvalidRequestError)
    assert lab.charged == {"a": 1}


async def test_two_signatures_of_one_url_under_one_key_are_one_video() -> None:
    signed = [video("a.mp4?signature=1&x=", key="k"), video("a.mp4?signature=2&x=", key="k")]
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        states = [outcome.state async for outcome in batch.run(signed)]
    assert states == [DONE]
    assert len(lab.simulator.ledger) == 1


async def test_what_was_skipped_is_taken_up_with_a_larger_budget(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal, budget=2) as batch:
            await outcomes_of(batch, *(video(number) for number in range(5)))
        async with lab.hitpaw.batch(journal=journal, budget=5) as batch:
            outcomes = await outcomes_of(batch)
            statistics = batch.statistics()
    assert [outcome.state for outcome in outcomes.values()] == [DONE] * 3
    assert (statistics.done, statistics.skipped, statistics.credits_spent) == (5, 0, 5)
    assert set(lab.charged.values()) == {1}


async def test_exhausted_credits_stop_submitting_and_what_is_paid_for_is_finished() -> None:
    async with laboratory(credits=3) as lab, lab.hitpaw.batch(limits=BatchLimits(submissions=1)) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(8)))
    assert [outcomes[str(number)].state for number in range(8)] == [DONE] * 3 + [SKIPPED] * 5
    assert {type(outcomes[str(number)].error) for number in range(3, 8)} == {InsufficientCreditsError}
    assert lab.simulator.exports_received == 4


async def test_a_refused_key_ends_the_batch_and_costs_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory(api_key="wrong") as lab, lab.hitpaw.batch(journal=journal) as batch:
        with pytest.raises(AuthenticationError, match="HITPAW_API_KEY"):
            await outcomes_of(batch, *(video(number) for number in range(8)))
    assert lab.charged == {}
    async with laboratory() as lab, lab.hitpaw.batch(journal=journal) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(8)))
    assert {outcome.state for outcome in outcomes.values()} == {DONE}


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "drop", "when": "after"},
        {"do": "reply", "status": 502, "when": "after"},
        {"do": "garbage", "when": "after"},
        {"do": "null-job-id"},
    ],
    ids=lambda fault: fault["do"],
)
async def test_a_lost_reply_is_uncertain_and_never_sent_again(tmp_path: Path, fault: dict[str, str]) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory({"call": "export", "url": "lost", **fault}) as lab:
        async with lab.hitpaw.batch(journal=journal, budget=3) as batch:
            outcomes = await outcomes_of(batch, video("lost"), video("a"), video("b"), video("c"))
            statistics = batch.statistics()
        assert outcomes["lost"].state is UNCERTAIN
        assert isinstance(outcomes["lost"].error, SubmissionUnknownError)
        assert (statistics.credits_spent, statistics.credits_reserved, statistics.credits_left) == (2, 1, 0)
        async with lab.hitpaw.batch(journal=journal, budget=4) as batch:
            again = await outcomes_of(batch, video("lost"), video("c"))
            assert batch.statistics().uncertain == 1
    assert again["lost"].state is UNCERTAIN
    assert isinstance(again["lost"].error, SubmissionUnknownError)
    assert again["c"].state is DONE
    assert lab.charged["lost"] == 1


async def test_a_busy_vendor_is_waited_for_and_charges_once() -> None:
    busy = {"call": "export", "nth": [1, 2], "do": "rate-limit", "retry_after_s": 0}
    async with laboratory(busy) as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE
    assert lab.charged == {"a": 1}


async def test_an_address_that_answers_nonsense_does_not_turn_the_library_uncertain() -> None:
    async with laboratory({"call": "export", "do": "garbage"}) as lab:
        async with lab.hitpaw.batch(limits=BatchLimits(submissions=2)) as batch:
            outcomes = await outcomes_of(batch, *(video(number) for number in range(40)))
    states = [outcome.state for outcome in outcomes.values()]
    assert 5 <= states.count(UNCERTAIN) <= 6
    assert states.count(SKIPPED) == 40 - states.count(UNCERTAIN)


@pytest.mark.parametrize(("is_charged", "spent"), [(True, 2), (False, 1)])
async def test_a_job_that_the_vendor_gives_up_counts_as_the_user_says(*, is_charged: bool, spent: int) -> None:
    budget = CreditBudget(10, failed_jobs_are_charged=is_charged)
    async with laboratory({"call": "export", "url": "bad", "do": "job-error"}) as lab:
        async with lab.hitpaw.batch(budget=budget) as batch:
            outcomes = await outcomes_of(batch, video("bad"), video("good"))
            assert batch.statistics().credits_spent == spent
    assert outcomes["bad"].state is FAILED
    assert isinstance(outcomes["bad"].error, JobFailedError)
    assert outcomes["good"].state is DONE


async def test_a_status_that_nobody_documented_means_not_finished() -> None:
    paused = {"call": "task", "nth": [1, 2], "do": "reply", "status": 200, "body": {"job_id": None, "status": "PAUSED"}}
    async with laboratory(paused) as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE


async def test_an_outage_while_polling_loses_no_job() -> None:
    outage = {"call": "task", "nth": list(range(1, 12)), "do": "reply", "status": 503}
    async with laboratory(outage) as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE
    assert lab.charged == {"a": 1}


@pytest.mark.parametrize(("refusals", "state"), [(2, DONE), (20, DONE), (9999, FAILED)])
async def test_a_job_the_vendor_does_not_know_fails_only_after_it_said_so_for_long(
    refusals: int, state: ItemState
) -> None:
    unknown = {"code": 501404, "message": "no such job"}
    rule = {"call": "task", "nth": list(range(1, refusals + 1)), "do": "reply", "status": 404, "body": unknown}
    async with laboratory(rule) as lab, lab.hitpaw.batch() as batch:
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is state


async def test_leaving_early_keeps_what_was_paid_for(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    requests = [video(number) for number in range(12)]
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal, limits=BatchLimits(jobs_in_flight=4)) as batch:
            async for _ in batch.run(requests):
                break
        assert 0 < len(lab.charged) < 12
        async with lab.hitpaw.batch(journal=journal) as batch:
            outcomes = await outcomes_of(batch, *requests)
            assert batch.statistics().done == 12
    assert {outcome.state for outcome in outcomes.values()} == {DONE}
    assert set(lab.charged.values()) == {1}


async def test_a_cancelled_batch_keeps_what_was_paid_for(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    requests = [video(number) for number in range(30)]
    async with laboratory({"call": "export", "do": "delay", "delay_s": 0.01}) as lab:
        with anyio.move_on_after(0.06):
            async with lab.hitpaw.batch(journal=journal) as batch:
                await outcomes_of(batch, *requests)
        async with lab.hitpaw.batch(journal=journal) as batch:
            await outcomes_of(batch, *requests)
            statistics = batch.statistics()
    assert (statistics.done, statistics.uncertain) == (30, 0)
    assert set(lab.charged.values()) == {1}


async def test_input_is_pulled_as_places_become_free() -> None:
    pulled = 0

    def endless() -> Iterator[ExportRequest]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield video(number)

    limits = BatchLimits(jobs_in_flight=6, submissions=2)
    async with laboratory() as lab, lab.hitpaw.batch(limits=limits) as batch:
        taken = 0
        async for outcome in batch.run(endless()):
            assert outcome.state is DONE
            taken += 1
            await anyio.sleep(0.01)
            assert pulled <= taken + limits.jobs_in_flight
            if taken == 15:
                break


async def test_an_input_that_raises_ends_the_run_with_its_own_error() -> None:
    def broken() -> Iterator[ExportRequest]:
        yield video("a")
        raise LookupError("the list ends here")

    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        with pytest.raises(LookupError, match="ends here"):
            await outcomes_of(batch, *[]) or [outcome async for outcome in batch.run(broken())]


async def test_something_else_than_a_request_is_refused_by_name() -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        with pytest.raises(ConfigurationError, match="ExportRequest values, not str"):
            [outcome async for outcome in batch.run(["https://videos.test/a.mp4"])]  # type: ignore[list-item]


async def test_a_job_over_its_time_is_left_at_the_vendor_and_found_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory(speed=20) as lab:
        limits = BatchLimits(job_timeout_s=0.05)
        async with lab.hitpaw.batch(journal=journal, limits=limits) as batch:
            outcomes = await outcomes_of(batch, video("a"))
            assert batch.statistics().unfinished == 1
        assert outcomes["a"].state is SUBMITTED
        assert isinstance(outcomes["a"].error, JobTimeoutError)
        async with lab.hitpaw.batch(journal=journal) as batch:
            outcomes = await outcomes_of(batch)
    assert outcomes["a"].state is DONE
    assert lab.charged == {"a": 1}


async def test_results_are_downloaded_under_names_of_their_own(tmp_path: Path) -> None:
    output = tmp_path / "results"
    output.mkdir()
    (output / "Clip.mp4").write_text("somebody's")
    twin = video("clip", resolution="1920x1080")
    async with laboratory() as lab, lab.hitpaw.batch(output=output) as batch:
        requests = [video("clip"), twin, video("other", extension=".mkv")]
        paths = [outcome.path async for outcome in batch.run(requests)]
    assert len(set(paths)) == 3
    assert names_in(output) == {path.name for path in paths if path} | {"Clip.mp4"}
    assert (output / "other.mkv").read_bytes() == lab.simulator.result_bytes
    assert (output / "Clip.mp4").read_text() == "somebody's"


async def test_a_file_that_appears_under_the_results_name_is_left_alone(tmp_path: Path) -> None:
    async with laboratory() as lab, lab.hitpaw.batch(output=tmp_path) as batch:
        await anyio.Path(tmp_path / "clip.mp4").write_text("somebody's")
        outcomes = await outcomes_of(batch, video("clip"))
    path = outcomes["clip"].path
    assert path is not None
    assert path.read_bytes() == lab.simulator.result_bytes
    assert (tmp_path / "clip.mp4").read_text() == "somebody's"


async def test_a_result_that_cannot_be_written_waits_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def disk_full(*_: object, **__: object) -> None:
        raise DownloadError("There is no space left on the disk. Make room and run again.")

    journal, output = tmp_path / "journal.db", tmp_path / "results"
    async with laboratory() as lab:
        with monkeypatch.context() as patch:
            patch.setattr(lab.hitpaw._session, "fetch_result", disk_full)
            async with lab.hitpaw.batch(journal=journal, output=output) as batch:
                outcomes = await outcomes_of(batch, video("a"))
        assert outcomes["a"].state is FETCHING
        assert isinstance(outcomes["a"].error, DownloadError)
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE
    assert names_in(output) == {"a.mp4"}
    assert lab.charged == {"a": 1}


async def test_a_result_that_no_longer_exists_fails_its_item(tmp_path: Path) -> None:
    async with laboratory({"call": "result", "do": "reply", "status": 404}) as lab:
        async with lab.hitpaw.batch(output=tmp_path) as batch:
            outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is FAILED
    assert names_in(tmp_path) == set()


async def test_requests_can_be_journaled_first_and_run_later(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal) as batch:
            assert await batch.enqueue(video(number) for number in range(120)) == 120
            assert await batch.enqueue([video(1), video("new")]) == 1
            assert lab.charged == {}
            with pytest.raises(InvalidRequestError, match="another video"):
                await batch.enqueue([video("other", key=video(1).key)])
        async with lab.hitpaw.batch(journal=journal, limits=BatchLimits(jobs_in_flight=100)) as batch:
            outcomes = await outcomes_of(batch)
    assert len(outcomes) == 121
    assert set(lab.charged.values()) == {1}


async def test_higher_priority_goes_first_among_what_waits_in_the_journal() -> None:
    async with laboratory() as lab, lab.hitpaw.batch(limits=BatchLimits(submissions=1)) as batch:
        await batch.enqueue([video("low"), video("high", priority=9), video("middle", priority=5)])
        await outcomes_of(batch)
    assert list(lab.charged) == ["high", "middle", "low"]


async def test_a_journal_is_opened_by_one_batch_at_a_time(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal):
            with pytest.raises(JournalError, match="Another process"):
                async with lab.hitpaw.batch(journal=journal):
                    pytest.fail("it was opened twice")
        async with lab.hitpaw.batch(journal=journal):
            pass


async def test_one_run_at_a_time() -> None:
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        first = batch.run([video("a")])
        with pytest.raises(ConfigurationError, match="is running"):
            batch.run([video("b")])
        assert [outcome.state async for outcome in first] == [DONE]
        assert [outcome.state async for outcome in batch.run([video("b")])] == [DONE]


async def test_a_plan_says_what_a_run_then_does_and_costs_nothing() -> None:
    requests = [
        video("a"),
        video("long", facts=facts_lasting(11)),
        video("dear", facts=facts_lasting(5)),
        video("b", facts=HALF_A_MINUTE),
    ]
    async with laboratory() as lab, lab.hitpaw.batch(budget=3) as batch:
        plan = await batch.plan(requests)
        assert lab.simulator.exports_received == 0
        outcomes = await outcomes_of(batch, *requests)
        known = await batch.plan(requests)
    expected = {PlanAction.SUBMIT: DONE, PlanAction.SKIP: SKIPPED, PlanAction.REJECT: REJECTED}
    by_key = {outcome.key: outcome.state for outcome in outcomes.values()}
    assert {item.key: expected[item.action] for item in plan.items} == by_key
    assert (plan.credits_upper, plan.credits_exact, plan.credits_skipped, plan.credits_left) == (2, 1, 5, 1)
    assert known.count(PlanAction.KNOWN) == 3


async def test_events_tell_the_story_of_each_item() -> None:
    events: list[BatchEvent] = []
    async with laboratory() as lab, lab.hitpaw.batch(budget=5, on_event=events.append) as batch:
        await outcomes_of(batch, video("a"))
    kinds = [event.kind for event in events if event.kind not in (EventKind.STATUS, EventKind.BUDGET)]
    assert kinds == [
        EventKind.QUEUED,
        EventKind.RESERVED,
        EventKind.SUBMITTING,
        EventKind.SUBMITTED,
        EventKind.FINISHED,
        EventKind.ENDED,
    ]
    assert max(event.spent_credits + event.reserved_credits for event in events) == 1


async def test_a_listener_that_fails_does_not_harm_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: BatchEvent) -> None:
        raise LookupError("no display")

    async with laboratory() as lab, lab.hitpaw.batch(on_event=fail) as batch:
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE
    assert "listener" in caplog.text


async def test_a_result_whose_file_was_there_before_its_record_is_not_fetched_twice(tmp_path: Path) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "results"
    async with laboratory() as lab:
        with anyio.CancelScope() as power_cut:
            fetch = lab.hitpaw._session.fetch_result

            async def fetch_and_die(*arguments: object, **options: object) -> None:
                await fetch(*arguments, **options)  # type: ignore[arg-type]
                power_cut.cancel()
                await anyio.sleep_forever()

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lab.hitpaw._session, "fetch_result", fetch_and_die)
                async with lab.hitpaw.batch(journal=journal, output=output) as batch:
                    await outcomes_of(batch, video("a"))
        assert names_in(output) == {"a.mp4"}
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch)
    assert outcomes["a"].state is DONE
    assert outcomes["a"].path == output / "a.mp4"
    assert names_in(output) == {"a.mp4"}
