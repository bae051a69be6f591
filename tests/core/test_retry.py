"""The table of what is done about a failure, row by row, and that no draw of luck sends a paid call twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async import errors
from hitpaw_async._core.retry import CallKind, Decision, RetryBudget, SendProgress, Verdict
from hitpaw_async.policies import RetryPolicy
from tests.core.values import a_decision

NOT_BEGUN, HEADERS_BEGUN, BODY_BEGUN = SendProgress
RETRY, PAUSE, GIVE_UP, UNKNOWN = Verdict


def api(kind: type[errors.APIError], status_code: int, *, vendor: bool = True, **more: Any) -> errors.APIError:
    return kind(status_code, 7 if vendor else None, "no", is_from_vendor=vendor, **more)


NETWORK = errors.TransportError("No connection.")

# What failed, how far the send got, then the verdict on an export and on a task call.
TABLE = {
    "nothing left": (NETWORK, NOT_BEGUN, RETRY, RETRY),
    "headers left": (NETWORK, HEADERS_BEGUN, RETRY, RETRY),
    "body left": (NETWORK, BODY_BEGUN, UNKNOWN, RETRY),
    "2xx not understood": (errors.ProtocolError("The reply is not JSON."), BODY_BEGUN, UNKNOWN, RETRY),
    "500": (api(errors.ServerError, 500), BODY_BEGUN, UNKNOWN, RETRY),
    "502 of a gateway": (api(errors.ServerError, 502, vendor=False), BODY_BEGUN, UNKNOWN, RETRY),
    "408": (api(errors.ServerError, 408), BODY_BEGUN, UNKNOWN, RETRY),
    "409": (api(errors.ServerError, 409), BODY_BEGUN, UNKNOWN, RETRY),
    "425": (api(errors.ServerError, 425), BODY_BEGUN, UNKNOWN, RETRY),
    "429": (api(errors.RateLimitError, 429), BODY_BEGUN, PAUSE, PAUSE),
    "429 of a gateway": (api(errors.RateLimitError, 429, vendor=False), BODY_BEGUN, PAUSE, PAUSE),
    "400": (api(errors.BadRequestError, 400), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "400 of a gateway": (api(errors.BadRequestError, 400, vendor=False), BODY_BEGUN, UNKNOWN, RETRY),
    "403 of a gateway": (api(errors.BadRequestError, 403, vendor=False), BODY_BEGUN, UNKNOWN, RETRY),
    "404": (api(errors.JobNotFoundError, 404), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "404 of a gateway": (api(errors.JobNotFoundError, 404, vendor=False), BODY_BEGUN, UNKNOWN, RETRY),
    "a gateway's JSON with 403": (errors.BadRequestError(403, 403, "no"), BODY_BEGUN, UNKNOWN, GIVE_UP),
    "a gateway's JSON with 404": (errors.JobNotFoundError(404, 404, "no"), BODY_BEGUN, UNKNOWN, GIVE_UP),
    "a gateway's JSON with another status": (errors.BadRequestError(403, 599, "no"), BODY_BEGUN, UNKNOWN, GIVE_UP),
    "a code of the vendor's": (errors.BadRequestError(403, 501099, "no"), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "a code that is no status": (errors.BadRequestError(403, 600, "no"), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "a status for a code, in a 200": (errors.BadRequestError(200, 400, "no"), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "501016": (api(errors.InvalidVideoURLError, 400), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "401": (api(errors.AuthenticationError, 401), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "401 of a gateway": (api(errors.AuthenticationError, 401, vendor=False), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "402": (api(errors.InsufficientCreditsError, 402), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "402 of a gateway": (api(errors.InsufficientCreditsError, 402, vendor=False), BODY_BEGUN, GIVE_UP, RETRY),
    "a code nobody knows": (api(errors.APIError, 200), BODY_BEGUN, UNKNOWN, GIVE_UP),
    "3xx": (errors.ConfigurationError("a redirect"), BODY_BEGUN, GIVE_UP, GIVE_UP),
    "closed": (errors.ConfigurationError("closed"), NOT_BEGUN, GIVE_UP, GIVE_UP),
}


@pytest.mark.parametrize(("error", "progress", "export", "task"), TABLE.values(), ids=TABLE)
def test_what_is_done_about_a_failure(
    error: errors.HitPawError, progress: SendProgress, export: Verdict, task: Verdict
) -> None:
    assert a_decision(error, CallKind.EXPORT, progress=progress).verdict is export
    assert a_decision(error, CallKind.TASK, progress=progress).verdict is task


@pytest.mark.parametrize("progress", SendProgress)
@pytest.mark.parametrize(
    "error", [row[0] for row in TABLE.values() if row[0] is not NETWORK], ids=lambda e: repr(e)[:50]
)
def test_an_answer_means_the_same_however_far_the_send_was_seen(
    error: errors.HitPawError, progress: SendProgress
) -> None:
    for kind in CallKind:
        assert a_decision(error, kind, progress=progress) == a_decision(error, kind, progress=BODY_BEGUN)


@pytest.mark.parametrize(
    ("attempt", "draw", "wait_s"),
    [(1, 0.0, 0.0), (1, 0.5, 0.25), (2, 0.5, 0.5), (3, 0.5, 1.0), (4, 0.5, 2.0), (7, 0.5, 10.0), (99, 0.5, 10.0)],
)
def test_waits_grow_with_full_jitter_up_to_the_longest(attempt: int, draw: float, wait_s: float) -> None:
    policy = RetryPolicy(attempts_max=100, backoff_first_s=0.5, backoff_max_s=20)
    assert a_decision(NETWORK, attempt=attempt, draw=draw, policy=policy) == Decision(RETRY, wait_s)


@pytest.mark.parametrize(("attempt", "verdict"), [(1, RETRY), (4, RETRY), (5, GIVE_UP), (6, GIVE_UP)])
def test_attempts_are_bounded(attempt: int, verdict: Verdict) -> None:
    policy = RetryPolicy(attempts_max=5)
    for kind in CallKind:
        assert a_decision(NETWORK, kind, attempt=attempt, policy=policy).verdict is verdict


@pytest.mark.parametrize(("elapsed_s", "verdict"), [(0.0, RETRY), (59.5, RETRY), (59.6, GIVE_UP), (61.0, GIVE_UP)])
def test_time_is_bounded_with_the_wait_counted_in(elapsed_s: float, verdict: Verdict) -> None:
    policy = RetryPolicy(time_max_s=60, backoff_first_s=1)
    assert a_decision(NETWORK, elapsed_s=elapsed_s, policy=policy).verdict is verdict


def test_a_refusal_waits_for_nothing_and_takes_no_token() -> None:
    budget = RetryBudget(3, 0.1)
    for error in (api(errors.BadRequestError, 400), errors.ProtocolError("no"), errors.ConfigurationError("no")):
        assert a_decision(error, budget=budget).wait_s == 0
    assert budget.tokens == 3


def test_what_is_not_tried_again_takes_no_token() -> None:
    budget = RetryBudget(3, 0.1)
    a_decision(NETWORK, budget=budget, attempt=5)
    a_decision(NETWORK, budget=budget, elapsed_s=1e6)
    a_decision(NETWORK, budget=budget, progress=BODY_BEGUN)
    assert budget.tokens == 3


def test_retries_of_all_calls_draw_on_one_budget() -> None:
    budget = RetryBudget(2, 0.5)
    verdicts = [a_decision(NETWORK, kind, budget=budget).verdict for kind in (*CallKind, *CallKind)]
    assert verdicts == [RETRY, RETRY, GIVE_UP, GIVE_UP]
    budget.credit_success()
    assert a_decision(NETWORK, budget=budget).verdict is GIVE_UP
    budget.credit_success()
    assert a_decision(NETWORK, budget=budget).verdict is RETRY


def test_a_budget_never_grows_over_its_size() -> None:
    budget = RetryBudget(1, 0.75)
    budget.credit_success()
    assert budget.tokens == 1
    assert budget.take()
    assert not budget.take()
    assert budget.tokens == 0
    assert not RetryBudget(0, 0.1).take()


@pytest.mark.parametrize("kind", CallKind)
@pytest.mark.parametrize(
    ("retry_after_s", "elapsed_s", "decision"),
    [
        (None, 0.0, Decision(PAUSE, 0.25)),
        (0.0, 0.0, Decision(PAUSE, 0.25)),
        (7.0, 0.0, Decision(PAUSE, 7.25)),
        (300.0, 0.0, Decision(PAUSE, 300.25)),
        (301.0, 0.0, Decision(GIVE_UP)),
        (7.0, 1000.0, Decision(PAUSE, 7.25)),
        (None, 1000.0, Decision(GIVE_UP)),
    ],
)
def test_retry_after_is_honoured_with_jitter_on_top(
    kind: CallKind, retry_after_s: float | None, elapsed_s: float, decision: Decision
) -> None:
    error = api(errors.RateLimitError, 429, retry_after_s=retry_after_s)
    assert a_decision(error, kind, elapsed_s=elapsed_s) == decision


def test_retry_after_is_bounded_by_attempts_and_budget() -> None:
    error = api(errors.RateLimitError, 429, retry_after_s=1.0)
    assert a_decision(error, attempt=5).verdict is GIVE_UP
    assert a_decision(error, budget=RetryBudget(0, 0)).verdict is GIVE_UP


POLICIES = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 100),
    time_max_s=st.floats(0, 86400),
    backoff_first_s=st.floats(0, 3600),
    backoff_max_s=st.floats(0, 3600),
    retry_after_max_s=st.floats(0, 86400),
)
CIRCUMSTANCES = st.fixed_dictionaries(
    {
        "policy": POLICIES,
        "attempt": st.integers(1, 10_000),
        "elapsed_s": st.floats(0, 1e9),
        "draw": st.floats(0, 1, exclude_max=True),
        "budget": st.builds(RetryBudget, st.floats(0, 100), st.floats(0, 1)),
    }
)
MAYBE_ACCEPTED = [row[0] for row in TABLE.values() if row[2] is UNKNOWN]


@given(circumstances=CIRCUMSTANCES)
def test_an_export_whose_body_left_is_never_sent_again_without_an_answer(circumstances: dict[str, Any]) -> None:
    for error in (NETWORK, *MAYBE_ACCEPTED):
        assert a_decision(error, progress=BODY_BEGUN, **circumstances) == Decision(UNKNOWN)


@given(circumstances=CIRCUMSTANCES, progress=st.sampled_from(SendProgress))
def test_every_retry_is_within_the_bounds(circumstances: dict[str, Any], progress: SendProgress) -> None:
    policy: RetryPolicy = circumstances["policy"]
    for kind in CallKind:
        for error in (row[0] for row in TABLE.values()):
            decision = a_decision(error, kind, progress=progress, **circumstances)
            assert 0 <= decision.wait_s <= policy.backoff_max_s
            if decision.verdict in (RETRY, PAUSE):
                assert circumstances["attempt"] < policy.attempts_max
                assert circumstances["elapsed_s"] + decision.wait_s <= policy.time_max_s


@given(circumstances=CIRCUMSTANCES, progress=st.sampled_from(SendProgress))
def test_a_task_call_is_never_unknown(circumstances: dict[str, Any], progress: SendProgress) -> None:
    for error in (row[0] for row in TABLE.values()):
        assert a_decision(error, CallKind.TASK, progress=progress, **circumstances).verdict is not UNKNOWN
