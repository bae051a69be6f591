"""Scripted faults: the script's own errors, which calls a rule means, and what each fault does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.simulator import FaultAction, FaultCall, FaultRule, FaultScript, FaultTime, faults
from hitpaw_async.simulator.faults import ConnectionDroppedError, FaultRun
from tests.simulator.conversation import (
    URL,
    ManualClock,
    client_of,
    export,
    export_fields,
    exported,
    result_url,
    task,
    virtual,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def which(rule: dict[str, Any], calls: int = 12, url: str = URL) -> list[int]:
    """The numbers of the calls that a rule acts on."""
    run = FaultRun(FaultScript([FaultRule(call="task", do="drop", **rule)], seed=3))
    return [number for number in range(1, calls + 1) if run.next_fault(FaultCall.TASK, url)]


def test_a_rule_means_the_calls_that_it_describes() -> None:
    assert which({}) == list(range(1, 13))
    assert which({"nth": 2}) == [2]
    assert which({"nth": [1, 5]}) == [1, 5]
    assert which({"every": 5}) == [5, 10]
    assert which({"times": 2}) == [1, 2]
    assert which({"every": 2, "times": 2}) == [2, 4]
    assert which({"url": "clip"}) == list(range(1, 13))
    assert which({"url": "other"}) == []
    assert which({"probability": 0}) == []
    assert which({"probability": 1}) == list(range(1, 13))


def test_probability_is_repeatable_and_about_right() -> None:
    hits = which({"probability": 0.25}, calls=2000)
    assert hits == which({"probability": 0.25}, calls=2000)
    assert 400 < len(hits) < 600


def test_the_first_rule_that_is_due_acts_and_each_counts_its_own_calls() -> None:
    script = FaultScript(
        [
            FaultRule(call="export", do="drop", url="a", nth=2),
            FaultRule(call="export", do="garbage", every=2),
            FaultRule(call="task", do="drop"),
        ]
    )
    run = FaultRun(script)
    acted = [run.next_fault(FaultCall.EXPORT, url) for url in ("a", "b", "b", "a", "a")]
    assert [fault and fault.do for fault in acted] == [None, FaultAction.GARBAGE, None, FaultAction.DROP, None]


SCRIPT = {
    "seed": 7,
    "rules": [
        {"call": "export", "nth": 2, "do": "reply", "status": 502},
        {"call": "export", "every": 5, "when": "after", "do": "drop"},
        {"call": "result", "nth": [1, 3], "do": "truncate", "keep_bytes": 1000},
    ],
}


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps(SCRIPT))
    script = FaultScript.load(path)
    assert script.seed == 7
    assert script.rules[1] == FaultRule(call=FaultCall.EXPORT, do=FaultAction.DROP, when=FaultTime.AFTER, every=5)
    assert script.rules[2].nth == (1, 3)


def test_the_example_of_the_documentation_is_a_script() -> None:
    assert faults.__doc__ is not None
    example = faults.__doc__.partition("```json")[2].partition("```")[0]
    assert len(FaultScript.parse(example).rules) == 5


def rule_text(**fields: object) -> str:
    good = {"call": "task", "do": "drop"}
    return json.dumps({"rules": [good, {**good, **fields}]})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "line 1, column 2"),
        ("[]", "JSON object"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "rules must be a list"),
        ('{"rules": {}}', "rules must be a list"),
        ('{"rules": [], "sed": 1}', "'sed'"),
        ('{"rules": [], "seed": "x"}', "seed must be"),
        ('{"rules": [5]}', "rules[0]: A rule must be"),
        ('{"rules": [{"call": "task"}]}', "rules[0]: A rule needs do"),
        (rule_text(call="poll"), "rules[1]: call must be one of export, task, result"),
        (rule_text(do="explode"), "rules[1]: do must be one of"),
        (rule_text(when="later"), "rules[1]: when must be one of"),
        (rule_text(nht=1), "rules[1]: There is no field 'nht'"),
        (rule_text(nth=0), "rules[1]: nth"),
        (rule_text(nth=[1, "2"]), "rules[1]: nth"),
        (rule_text(nth="1"), "rules[1]: nth"),
        (rule_text(every=0), "rules[1]: every"),
        (rule_text(every=True), "rules[1]: every"),
        (rule_text(probability=1.5), "rules[1]: probability"),
        (rule_text(url=5), "rules[1]: url must be a string"),
        (rule_text(nth=1, every=2), "rules[1]: Give at most one of nth and every"),
        (rule_text(status=502), 'rules[1]: status does not go with "do": "drop"'),
        (rule_text(do="reply"), 'rules[1]: "do": "reply" needs status'),
        (rule_text(do="reply", status=99), "rules[1]: status"),
        (rule_text(do="reply", status=200, body=[1]), "rules[1]: body"),
        (rule_text(do="delay"), "needs delay_s"),
        (rule_text(do="delay", delay_s=-1), "rules[1]: delay_s"),
        (rule_text(do="null-job-id"), 'is for "call": "export" alone'),
        (rule_text(do="truncate"), 'is for "call": "result" alone'),
    ],
)
def test_a_bad_script_is_refused_with_the_place(content: str | bytes, says: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        FaultScript.parse(content, name="faults.json")
    assert says in str(caught.value)
    assert str(caught.value).startswith("faults.json: ")


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"nothing\.json"):
        FaultScript.load(tmp_path / "nothing.json")
    large = tmp_path / "large.json"
    large.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(errors.ConfigurationError, match="larger than 1 MiB"):
        FaultScript.load(large)


@pytest.mark.parametrize(
    ("rule", "status_code", "charges"),
    [
        ({"do": "reply", "status": 502}, 502, 0),
        ({"do": "reply", "status": 502, "when": "after"}, 502, 1),
        ({"do": "reply", "status": 503, "body": {"code": 1, "message": "later"}}, 503, 0),
        ({"do": "reply", "status": 200, "body": ""}, 200, 0),
        ({"do": "reply", "status": 301}, 301, 0),
        ({"do": "garbage"}, 200, 0),
        ({"do": "garbage", "when": "after"}, 200, 1),
        ({"do": "rate-limit", "retry_after_s": 3}, 429, 0),
        ({"do": "null-job-id"}, 200, 1),
    ],
)
async def test_a_reply_is_replaced_before_or_after_the_charge(
    rule: dict[str, Any], status_code: int, charges: int
) -> None:
    simulator = virtual({"call": "export", **rule, "nth": 1})
    async with client_of(simulator) as client:
        response = await export(client)
        assert response.status_code == status_code
        assert len(simulator.ledger) == charges
        with pytest.raises(errors.HitPawError):
            V3.decode_export(Reply(status_code=status_code, body=response.content))
        await exported(client)
    assert len(simulator.ledger) == charges + 1


async def test_a_rate_limit_comes_in_the_vendors_envelope() -> None:
    async with client_of(virtual({"call": "task", "do": "rate-limit", "retry_after_s": 3})) as client:
        response = await client.post(V3.task_path, json={"job_id": "any"})
    assert response.headers["retry-after"] == "3"
    with pytest.raises(errors.RateLimitError) as caught:
        V3.decode_task(Reply(status_code=429, body=response.content), job_id="any")
    assert caught.value.is_from_vendor


async def test_a_scripted_reply_has_its_body_and_retry_after() -> None:
    rule = {"call": "export", "do": "reply", "status": 503, "body": {"code": 9}, "retry_after_s": 4}
    async with client_of(virtual(rule)) as client:
        response = await export(client)
    assert (response.json(), response.headers["retry-after"]) == ({"code": 9}, "4")


@pytest.mark.parametrize(("when", "charges"), [("before", 0), ("after", 1)])
async def test_a_dropped_export_is_an_exception_in_process(when: str, charges: int) -> None:
    simulator = virtual({"call": "export", "do": "drop", "when": when})
    async with client_of(simulator) as client:
        with pytest.raises(ConnectionDroppedError):
            await export(client)
    assert len(simulator.ledger) == charges


async def test_a_refused_call_keeps_its_refusal() -> None:
    simulator = virtual({"call": "export", "do": "reply", "status": 502, "when": "after"}, credits=0)
    async with client_of(simulator) as client:
        assert (await export(client)).status_code == 402


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_delayed_call_is_late_and_goes_on(when: str) -> None:
    simulator = virtual({"call": "export", "do": "delay", "when": when, "delay_s": 0.05})
    async with client_of(simulator) as client:
        began_s = anyio.current_time()
        await exported(client)
    assert anyio.current_time() - began_s >= 0.05
    assert len(simulator.ledger) == 1


async def test_a_scripted_job_ends_in_error() -> None:
    clock = ManualClock()
    simulator = virtual({"call": "export", "do": "job-error", "nth": 2}, clock=clock)
    async with client_of(simulator) as client:
        job_ids = [await exported(client) for _ in range(2)]
        clock.now_s += 1000
        statuses = [(await task(client, job_id))["status"] for job_id in job_ids]
    assert statuses == ["COMPLETED", "ERROR"]


async def test_task_faults_see_the_url_of_their_job() -> None:
    simulator = virtual({"call": "task", "do": "reply", "status": 500, "url": "one"})
    async with client_of(simulator) as client:
        one, two = [await exported(client, video_url=f"https://videos.example/{name}") for name in ("one", "two")]
        statuses = [
            (await client.post(V3.task_path, json={"job_id": job_id})).status_code for job_id in (one, two, "none")
        ]
    assert statuses == [500, 200, 404]


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_result_may_be_refused(status: int) -> None:
    clock = ManualClock()
    simulator = virtual({"call": "result", "do": "reply", "status": status, "times": 1}, clock=clock)
    async with client_of(simulator) as client:
        url = await result_url(simulator, client, clock)
        assert (await client.get(url)).status_code == status
        assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize(("keep", "kept"), [({}, 500), ({"keep_bytes": 10}, 10), ({"keep_bytes": 0}, 0)])
async def test_a_truncated_result_is_short_of_its_length(keep: dict[str, int], kept: int) -> None:
    clock = ManualClock()
    simulator = virtual({"call": "result", "do": "truncate", "times": 1, **keep}, clock=clock, result_bytes=b"x" * 1000)
    async with client_of(simulator) as client:
        url = await result_url(simulator, client, clock)
        response = await client.get(url)
        assert (response.headers["content-length"], len(response.content)) == ("1000", kept)
        assert len((await client.get(url, headers={"Range": f"bytes={kept}-"})).content) == 1000 - kept


async def test_a_malformed_export_counts_as_a_call_without_a_url() -> None:
    simulator = virtual({"call": "export", "do": "reply", "status": 500, "url": "clip"})
    async with client_of(simulator) as client:
        assert (await client.post(V3.export_path, content=b"{")).status_code == 400
        assert (await client.post(V3.export_path, json=export_fields())).status_code == 500
