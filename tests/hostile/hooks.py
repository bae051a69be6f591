"""Rows of webhooks: what strangers can post, and what a vendor's own webhooks can do wrong."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs
import httpx

from hitpaw_async import ItemState
from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async.batch.webhooks import HINTS_MAX, Hint, Hints, WebhookPolicy
from hitpaw_async.webhooks import BODY_BYTES_MAX, TOKEN_CHARS_MAX, WebhookReceiver
from tests.batch.laboratory import laboratory, outcomes_of, video
from tests.hostile.rows import Area, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitpaw_async import BatchScheduler

__all__ = ["hook_rows"]

JSON: Final = {"content-type": "application/json"}
GOOD: Final = b'{"job_id":"j","status":"COMPLETED","res_url":"https://e.test/x"}'
POLICY: Final = WebhookPolicy(base_url="http://hooks.test/hitpaw", wait_s=0.3)
LOST: Final = {"call": "export", "url": "lost", "do": "drop", "when": "after"}


@attrs.frozen
class Post:
    """One request of a stranger's."""

    fault: str
    method: str = "POST"
    path: str = "/hitpaw/token"
    headers: dict[str, str] = attrs.field(factory=lambda: dict(JSON))
    body: bytes = GOOD


STRANGERS: Final = (
    Post("a GET", method="GET"),
    Post("a PUT", method="PUT"),
    Post("a method that nobody knows", method="BREW"),
    Post("no token", path="/hitpaw/"),
    Post("a token beyond its length", path="/hitpaw/" + "x" * (TOKEN_CHARS_MAX + 1)),
    Post("no content type", headers={}),
    Post("a form", headers={"content-type": "application/x-www-form-urlencoded"}),
    Post("text that looks like JSON", headers={"content-type": "text/plain"}),
    Post("nothing for a body", body=b""),
    Post("a body that is not JSON", body=b"{job_id:}"),
    Post("a body that is not UTF-8", body=b'{"job_id":"\xff"}'),
    Post("a JSON list", body=b"[]"),
    Post("a null job id", body=b'{"job_id":null}'),
    Post("a number for a job id", body=b'{"job_id":7}'),
    Post("a lone surrogate in a job id", body=b'{"job_id":"\\ud800"}'),
    Post("a job id of 60 KB", body=json.dumps({"job_id": "x" * 60_000}).encode()),
    Post("60,000 brackets", body=b"[" * 60_000),
    Post("NaN", body=b'{"job_id":"j","status":NaN}'),
    Post("a body past the cap", body=GOOD + b" " * BODY_BYTES_MAX),
)


@attrs.define
class Sink:
    taken: list[tuple[str, Webhook]] = attrs.field(factory=list)

    def notify(self, token: str, webhook: Webhook) -> None:
        self.taken.append((token, webhook))


async def stranger_learns_nothing(_: Path, *, post: Post) -> None:
    sink = Sink()
    receiver = WebhookReceiver(sink)
    assert receiver.handle(post.method, post.path, post.headers, post.body) == receiver.handle("POST", "/x", JSON, GOOD)
    assert sink.taken == [("x", Webhook("j", "COMPLETED"))], "only the real thing"


async def body_never_ends(_: Path) -> None:
    chunks = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal chunks
        chunks += 1
        return {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/token", "headers": [(b"content-type", b"application/json")]}
    await WebhookReceiver(Sink())(scope, receive, send)
    assert chunks == BODY_BYTES_MAX // 10_000 + 1
    assert sent[0]["status"] == 202


async def sender_hangs_up(_: Path) -> None:
    sink, sent = Sink(), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/token", "headers": []}
    await WebhookReceiver(sink)(scope, receive, send)
    assert (sink.taken, sent) == ([], [])


async def flood_is_bounded(_: Path) -> None:
    hints = Hints()
    for number in range(2 * HINTS_MAX):
        hints.put(Hint(str(number), "j"))
    for _again in range(1000):
        hints.put(Hint("same", "j"))
    assert len(hints._waiting) == HINTS_MAX


@attrs.define
class Meddler:
    """Sits between the vendor and the batch, and passes on what `change` makes of each webhook."""

    change: Callable[[Webhook], list[Webhook]]
    batch: BatchScheduler | None = None

    def notify(self, token: str, webhook: Webhook) -> None:
        for changed in self.change(webhook):
            assert self.batch is not None
            self.batch.notify(token, changed)


async def batch_believes_the_task_call_only(
    _: Path, *, change: Callable[[Webhook], list[Webhook]], lost_state: ItemState
) -> None:
    meddler = Meddler(change)
    receiver: Any = WebhookReceiver(meddler)
    transport = httpx.ASGITransport(receiver)
    async with httpx.AsyncClient(transport=transport) as http_client, laboratory(LOST, http_client=http_client) as lab:
        async with lab.simulator, lab.hitpaw.batch(webhooks=POLICY, budget=10) as batch:
            meddler.batch = batch
            with anyio.fail_after(15):
                outcomes = await outcomes_of(batch, video("lost"), video("a"))
            statistics = batch.statistics()
    assert outcomes["a"].state is ItemState.DONE
    assert outcomes["lost"].state is lost_state
    assert lab.charged == {"lost": 1, "a": 1}
    assert statistics.credits_spent + statistics.credits_reserved == 2


MEDDLERS: Final[dict[str, tuple[Callable[[Webhook], list[Webhook]], str, ItemState]]] = {
    "the vendor's own webhook": (lambda webhook: [webhook], "the lost job is found", ItemState.DONE),
    "a webhook a hundred times": (lambda webhook: [webhook] * 100, "the lost job is found, once", ItemState.DONE),
    "a forged job id on the right path": (
        lambda _: [Webhook("forged", "COMPLETED")],
        "not believed: UNCERTAIN",
        ItemState.UNCERTAIN,
    ),
    "a forged ERROR": (
        lambda webhook: [Webhook(webhook.job_id, "ERROR")],
        "not believed: the task call says COMPLETED",
        ItemState.DONE,
    ),
    "webhooks that never come": (lambda _: [], "UNCERTAIN after a bounded wait", ItemState.UNCERTAIN),
}


async def path_is_guessed(_: Path) -> None:
    """Ten thousand guesses at an open batch: nothing is taken for a webhook of it, and the batch goes on."""
    async with laboratory() as lab, lab.simulator, lab.hitpaw.batch(webhooks=POLICY) as batch:
        receiver = WebhookReceiver(batch)
        for number in range(10_000):
            receiver.handle("POST", f"/hitpaw/guess-{number}", JSON, GOOD)
        outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is ItemState.DONE
    assert lab.charged == {"a": 1}


def hook_rows() -> Iterator[Row]:
    """All of them."""

    def row(fault: str, injection: str, expected: str, invariant: str, play: Callable[..., Any]) -> Row:
        return Row(
            area=Area.WEBHOOK, fault=fault, injection=injection, expected=expected, invariant=invariant, play=play
        )

    for post in STRANGERS:
        play: Callable[..., Any] = partial(stranger_learns_nothing, post=post)
        yield row(post.fault, "a stranger's request", "the same answer as to all, nothing taken", "I10", play)
    yield row("a body that never ends", "chunks of 10 KB", "left at the cap", "I8", body_never_ends)
    yield row("a sender that hangs up", "disconnect", "no answer, nothing taken", "I8, I10", sender_hangs_up)
    yield row("a flood of hints", "20,000 paths, 1,000 duplicates", "at most 10,000 wait", "I8", flood_is_bounded)
    yield row("10,000 guesses at a path", "an open batch", "none is taken, the batch ends", "I1, I11", path_is_guessed)
    for fault, (change, expected, state) in MEDDLERS.items():
        play = partial(batch_believes_the_task_call_only, change=change, lost_state=state)
        yield row(fault, "an export whose answer was lost", f"{expected}; one charge", "I1, I2, I5", play)
