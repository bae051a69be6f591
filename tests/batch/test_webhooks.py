"""Webhooks and the batch: a lost job id is found again, and nobody else can change anything."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import attrs
import httpx
import pytest

from hitpaw_async import BatchLimits, ConfigurationError, ItemState
from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async.batch.webhooks import HINTS_MAX, Hint, Hints, WebhookPolicy
from hitpaw_async.webhooks import WebhookReceiver
from tests.batch.laboratory import Laboratory, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hitpaw_async import BatchScheduler

pytestmark = pytest.mark.anyio

POLICY = WebhookPolicy(base_url="http://hooks.test/hitpaw", wait_s=5)
LOST = {"call": "export", "url": "lost", "do": "drop", "when": "after"}
JSON = {"content-type": "application/json"}


@attrs.define
class Switchboard:
    """Lets the vendor reach whatever batch is open, as a web server would."""

    batch: BatchScheduler | None = None
    seen: list[tuple[str, bytes]] = attrs.field(factory=list)

    def notify(self, token: str, webhook: Webhook) -> None:
        if self.batch is not None:
            self.batch.notify(token, webhook)


@asynccontextmanager
async def vendor_with_webhooks(
    *rules: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[Laboratory, Switchboard]]:
    switchboard = Switchboard()
    receiver = httpx.ASGITransport(WebhookReceiver(switchboard))
    async with (
        httpx.AsyncClient(transport=receiver) as http_client,
        laboratory(*rules, http_client=http_client, **settings) as lab,
        lab.simulator,
    ):
        yield lab, switchboard


@asynccontextmanager
async def opened(lab: Laboratory, switchboard: Switchboard, **options: Any) -> AsyncIterator[BatchScheduler]:
    async with lab.hitpaw.batch(**{"webhooks": POLICY, **options}) as batch:
        switchboard.batch = batch
        yield batch
        switchboard.batch = None


async def test_a_lost_job_id_is_found_by_its_webhook_and_the_video_is_finished() -> None:
    async with vendor_with_webhooks(LOST) as (lab, switchboard), opened(lab, switchboard, budget=5) as batch:
        outcomes = await outcomes_of(batch, video("lost"), video("a"))
        statistics = batch.statistics()
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert lab.charged == {"lost": 1, "a": 1}
    assert (statistics.credits_spent, statistics.credits_reserved, statistics.uncertain) == (2, 0, 0)


async def test_a_webhook_that_comes_after_a_restart_binds_what_an_earlier_process_lost(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    impatient = attrs.evolve(POLICY, wait_s=0)
    async with vendor_with_webhooks(LOST, speed=10) as (lab, switchboard):
        async with opened(lab, switchboard, journal=journal, webhooks=impatient) as batch:
            outcomes = await outcomes_of(batch, video("lost"))
            assert outcomes["lost"].state is ItemState.UNCERTAIN
        async with opened(lab, switchboard, journal=journal) as batch:
            with anyio.fail_after(10):
                while batch.statistics().uncertain:  # noqa: ASYNC110 (the webhook comes when it comes)
                    await anyio.sleep(0.01)
            outcomes = await outcomes_of(batch)
    assert outcomes["lost"].state is ItemState.DONE
    assert lab.charged == {"lost": 1}


async def test_without_a_webhook_the_wait_ends_and_the_item_is_reported_uncertain() -> None:
    policy = attrs.evolve(POLICY, wait_s=0.1)
    async with vendor_with_webhooks(LOST) as (lab, _), lab.hitpaw.batch(webhooks=policy) as batch:
        outcomes = await outcomes_of(batch, video("lost"), video("a"))
    assert outcomes["lost"].state is ItemState.UNCERTAIN
    assert outcomes["a"].state is ItemState.DONE


async def test_a_forged_job_id_on_the_right_path_changes_nothing() -> None:
    tokens: list[str] = []

    class Eavesdropper(Switchboard):
        def notify(self, token: str, webhook: Webhook) -> None:
            tokens.append(token)
            if self.batch is not None:
                self.batch.notify(token, Webhook("forged", "COMPLETED"))

    switchboard = Eavesdropper()
    transport = httpx.ASGITransport(WebhookReceiver(switchboard))
    async with httpx.AsyncClient(transport=transport) as http_client, laboratory(LOST, http_client=http_client) as lab:
        policy = WebhookPolicy(base_url=POLICY.base_url, wait_s=0.5)
        async with lab.simulator, opened(lab, switchboard, webhooks=policy) as batch:
            outcomes = await outcomes_of(batch, video("lost"), video("a"))
    assert len(tokens) == 2
    assert outcomes["lost"].state is ItemState.UNCERTAIN
    assert outcomes["a"].state is ItemState.DONE


async def test_the_job_of_another_item_is_never_bound_twice() -> None:
    class Mixer(Switchboard):
        def notify(self, token: str, webhook: Webhook) -> None:
            if self.batch is not None:
                self.batch.notify(token, Webhook(other_job, webhook.status_text))

    switchboard = Mixer()
    transport = httpx.ASGITransport(WebhookReceiver(switchboard))
    async with httpx.AsyncClient(transport=transport) as http_client, laboratory(LOST, http_client=http_client) as lab:
        policy = WebhookPolicy(base_url=POLICY.base_url, wait_s=0.5)
        async with lab.simulator, opened(lab, switchboard, webhooks=policy) as batch:
            await outcomes_of(batch, video("a"))
            other_job = lab.simulator.ledger[0].job_id
            outcomes = await outcomes_of(batch, video("lost"))
    assert outcomes["lost"].state is ItemState.UNCERTAIN


async def test_a_webhook_makes_a_poll_due_and_replays_do_no_harm() -> None:
    async with vendor_with_webhooks() as (lab, switchboard), opened(lab, switchboard) as batch:
        lab.hitpaw._session.poll = attrs.evolve(lab.hitpaw._session.poll, interval_min_s=100, interval_max_s=100)
        with anyio.fail_after(10):
            outcomes = await outcomes_of(batch, *(video(number) for number in range(5)))
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert lab.simulator.polls_received <= 10


async def test_a_burst_of_a_thousand_webhooks_makes_one_poll_a_path() -> None:
    polls_of_a_job = 2
    tokens: dict[str, str] = {}

    class Echo(Switchboard):
        """Replays each webhook a hundred times, and adds a hundred of its own."""

        def notify(self, token: str, webhook: Webhook) -> None:
            tokens[token] = webhook.job_id
            for number in range(100):
                super().notify(token, webhook)
                super().notify(f"forged-{number}", webhook)

    switchboard = Echo()
    transport = httpx.ASGITransport(WebhookReceiver(switchboard))
    async with httpx.AsyncClient(transport=transport) as http_client, laboratory(http_client=http_client) as lab:
        lab.hitpaw._session.poll = attrs.evolve(lab.hitpaw._session.poll, interval_min_s=100, interval_max_s=100)
        async with lab.simulator, opened(lab, switchboard) as batch:
            with anyio.fail_after(8):
                outcomes = await outcomes_of(batch, *(video(number) for number in range(10)))
            assert len(batch._open.hints._waiting) <= 110
    assert len(tokens) == 10
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert lab.simulator.polls_received <= 10 * polls_of_a_job


async def test_a_path_that_was_looked_into_is_left_alone_for_a_while_and_its_last_word_counts() -> None:
    hints = Hints()
    hints.put(Hint("a", "first"))
    assert await hints.get() == Hint("a", "first")
    hints._rest("a", 0.05)
    for number in range(1000):
        hints.put(Hint("a", str(number)))
    hints.put(Hint("b", "other"))
    assert await hints.get() == Hint("b", "other")
    with anyio.fail_after(5):
        assert await hints.get() == Hint("a", "999")
    assert not hints._waiting


async def test_many_lost_replies_all_come_back() -> None:
    rule = {"call": "export", "every": 3, "do": "drop", "when": "after"}
    limits = BatchLimits(jobs_in_flight=10)
    async with vendor_with_webhooks(rule) as (lab, switchboard), opened(lab, switchboard, limits=limits) as batch:
        outcomes = await outcomes_of(batch, *(video(number) for number in range(60)))
    assert {outcome.state for outcome in outcomes.values()} == {ItemState.DONE}
    assert set(lab.charged.values()) == {1}
    assert len(lab.charged) == 60


async def test_the_path_is_kept_nowhere(tmp_path: Path) -> None:
    paths: list[str] = []
    async with vendor_with_webhooks() as (lab, switchboard):
        export = lab.hitpaw._session.calls.export

        async def recorded(*arguments: Any, **options: Any) -> Any:
            paths.append(options["web_hook_url"])
            return await export(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lab.hitpaw._session.calls, "export", recorded)
            async with opened(lab, switchboard, journal=tmp_path / "journal.db") as batch:
                await outcomes_of(batch, video("a"), video("b"))
    contents = await anyio.to_thread.run_sync(lambda: [file.read_bytes() for file in tmp_path.iterdir()])
    assert len(set(paths)) == 2
    for path in paths:
        token = path.removeprefix(POLICY.base_url + "/").encode()
        assert len(token) >= 43, "32 random bytes"
        assert not any(token in content for content in contents)


GOOD = b'{"job_id":"j","status":"COMPLETED","res_url":"https://e.test/x"}'


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "is_taken"),
    [
        ("POST", "/hitpaw/token", JSON, GOOD, True),
        ("POST", "/token", {"content-type": "application/json; charset=utf-8"}, GOOD, True),
        ("GET", "/hitpaw/token", JSON, GOOD, False),
        ("POST", "/hitpaw/", JSON, GOOD, False),
        ("POST", "/hitpaw/" + "x" * 200, JSON, GOOD, False),
        ("POST", "/hitpaw/token", {"content-type": "text/plain"}, GOOD, False),
        ("POST", "/hitpaw/token", {}, GOOD, False),
        ("POST", "/hitpaw/token", JSON, b"", False),
        ("POST", "/hitpaw/token", JSON, b"[]", False),
        ("POST", "/hitpaw/token", JSON, b'{"job_id":null}', False),
        ("POST", "/hitpaw/token", JSON, b'{"job_id":7}', False),
        ("POST", "/hitpaw/token", JSON, b"[" * 60_000, False),
        ("POST", "/hitpaw/token", JSON, b"\xff\xfe", False),
    ],
)
async def test_everybody_gets_the_same_answer_and_only_webhooks_are_taken(
    *, method: str, path: str, headers: dict[str, str], body: bytes, is_taken: bool
) -> None:
    taken: list[tuple[str, Webhook]] = []

    class Sink:
        def notify(self, token: str, webhook: Webhook) -> None:
            taken.append((token, webhook))

    transport = httpx.ASGITransport(WebhookReceiver(Sink()))
    async with httpx.AsyncClient(transport=transport, base_url="http://hooks.test") as client:
        reply = await client.request(method, path, headers=headers, content=body)
    assert (reply.status_code, reply.content) == (202, b'{"ok":true}')
    assert taken == ([("token", Webhook("j", "COMPLETED"))] if is_taken else [])


async def test_a_body_over_the_cap_is_not_read_to_its_end() -> None:
    chunks = 0
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    receiver = WebhookReceiver(Switchboard())
    scope = {"type": "http", "method": "POST", "path": "/token", "headers": [(b"content-type", b"application/json")]}
    await receiver(scope, receive, send)
    assert chunks == 7
    assert sent[0]["status"] == 202


async def test_a_flood_of_hints_is_bounded() -> None:
    hints = Hints()
    for number in range(HINTS_MAX + 500):
        hints.put(Hint(str(number), "j"))
        hints.put(Hint(str(number), "k"))
    first = await hints.get()
    assert first == Hint("500", "k")
    assert len(hints._waiting) == HINTS_MAX - 1


@pytest.mark.parametrize(
    "url",
    [
        *("hooks.test", "https://hooks.test/?a=b", "ftp://hooks.test", "https://hooks test/"),
        *("https://", "https:///path", "https://hooks.test:0"),
    ],
)
async def test_an_address_that_cannot_be_posted_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        WebhookPolicy(base_url=url)
