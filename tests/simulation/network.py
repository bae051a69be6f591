"""The simulated network: a transport that breaks at every place where a real one can, and says how far it got."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import attrs
import httpx
import trio

from hitpaw_async._core.protocol.messages import NOBODYS_JOB
from tests.simulation.vendor import API_KEY, Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.simulation.invariants import Invariants
    from tests.simulation.vendor import Vendor
    from tests.simulation.world import World

__all__ = ["SimulatedTransport"]

_POST: Final = SimpleNamespace(method=b"POST")
_CONNECT: Final = SimpleNamespace(method=b"CONNECT")
_PAGES_OF_ANY_HOST: Final = (200, 403, 404)


@attrs.define(eq=False)
class Sending:
    """One request on its way."""

    fields: Mapping[str, Any]
    is_export: bool
    subject: str
    """The key of the item, or the id of the job."""
    trace: Callable[[str, Mapping[str, Any]], Awaitable[None]] | None
    began_at_s: float
    is_body_begun: bool = False
    is_answered: bool = False

    async def tell(self, event: str, request: object | None = None) -> None:
        """Tell the client what a real connection would."""
        if self.trace is not None:
            await self.trace(event, {} if request is None else {"request": request})


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Brings calls to the vendor, or doesn't.

    Args:
        world: Time, chance and death.
        vendor: Who answers.
        invariants: Who watches.
        has_events: Whether it tells how far a send got.
    """

    def __init__(self, world: World, vendor: Vendor, invariants: Invariants, *, has_events: bool) -> None:
        self._world = world
        self._vendor = vendor
        self._invariants = invariants
        self._has_events = has_events
        self._asked = 0
        """How often it was asked who is there."""
        self._is_strange = False
        """Whether somebody else answered last."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sending = self._sending(request)
        if sending.subject == NOBODYS_JOB:
            self._asked, self._is_strange = self._asked + 1, False
        self._invariants.call_begins(sending.is_export, sending.subject)
        try:
            await self._connect(sending)
            await self._write(sending)
            return await self._reply(sending)
        except trio.Cancelled:
            self._leave(sending)
            raise
        finally:
            self._invariants.call_ends(sending.is_export, sending.subject)

    def _sending(self, request: httpx.Request) -> Sending:
        assert request.headers["ApiKey"] == API_KEY
        fields = json.loads(request.content)
        is_export = request.url.path.endswith("/export")
        return Sending(
            fields=fields,
            is_export=is_export,
            subject=self._vendor.video_of(fields).request().key if is_export else fields["job_id"],
            trace=request.extensions.get("trace") if self._has_events else None,
            began_at_s=self._world.now_s,
        )

    async def _connect(self, sending: Sending) -> None:
        world = self._world
        await sending.tell("connection.connect_tcp.started")
        await world.pass_time(world.rng.uniform(0, 0.2))
        outage = None if world.faults is None else world.faults.outage(trio.current_time())
        if world.is_dead or (outage is not None and outage.status is None) or world.chance("no connection"):
            world.note(f"network: no connection for {sending.subject}")
            raise world.rng.choice((httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))("simulated")
        world.moment("connected")
        if world.chance("proxy"):
            await sending.tell("http11.send_request_headers.started", _CONNECT)
            await sending.tell("http11.send_request_body.started", _CONNECT)
            await world.pass_time(0.01)
            if world.chance("proxy refuses"):
                raise httpx.ProxyError("simulated")
        await sending.tell("connection.connect_tcp.complete")

    async def _write(self, sending: Sending) -> None:
        world = self._world
        await sending.tell("http11.send_request_headers.started", _POST)
        world.moment("headers written")
        await world.pass_time(world.rng.uniform(0, 0.02))
        # Without events nobody can tell how far it got: then only what never connected breaks without effect.
        if world.is_dead or (sending.trace is not None and world.chance("broken headers")):
            world.note(f"network: breaks before the body of {sending.subject}")
            await sending.tell("http11.send_request_headers.failed")
            raise httpx.WriteError("simulated")
        await sending.tell("http11.send_request_headers.complete")
        await sending.tell("http11.send_request_body.started", _POST)
        if sending.is_export:
            self._invariants.body_begins(sending.subject)
            # A first question that got no answer at all proves nothing, and is no reason to wait.
            is_asked = self._asked > 0 and not self._is_strange
            world.require(is_asked, "I4", f"{sending.subject} is sent, and nobody knows whether that is the vendor")
        sending.is_body_begun = True
        world.moment("body begun")
        await world.pass_time(world.rng.uniform(0, 0.02))
        if world.chance("broken body"):
            world.note(f"network: breaks in the body of {sending.subject}")
            self._perhaps_accept_late(sending)
            raise httpx.WriteError("simulated")
        await sending.tell("http11.send_request_body.complete")
        world.moment("body written")

    async def _reply(self, sending: Sending) -> httpx.Response:
        world = self._world
        await world.pass_time(world.rng.uniform(0, 0.5))
        page = self._page()
        if page is not None:
            return _response(self._gateways_answer(sending, page))
        if world.chance("silence"):
            world.note(f"network: silence for {sending.subject}")
            if world.rng.random() < 0.3:
                self._answer(sending)
            await world.pass_time(100_000.0)
            raise httpx.ReadTimeout("simulated")
        answer = self._answer(sending)
        await world.pass_time(world.rng.uniform(0, 0.5))
        if world.chance("slow reply"):
            await world.pass_time(world.rng.uniform(0, 25))
        if world.chance("lost reply"):
            world.note(f"network: loses the reply to {sending.subject}")
            raise world.rng.choice((httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout))("simulated")
        world.note(f"network: HTTP {answer.status} for {sending.subject}")
        if sending.is_export:
            self._tell_what_came(sending.subject, answer)
        world.moment("reply read" if sending.is_export else "polled")
        return _response(answer)

    def _answer(self, sending: Sending) -> Answer:
        sending.is_answered = True
        if sending.is_export:
            return self._vendor.export(sending.fields)
        if self._world.chance("asked twice"):
            self._vendor.task(sending.subject)
        return self._vendor.task(sending.subject)

    def _tell_what_came(self, key: str, answer: Answer) -> None:
        if answer.job_id is not None:
            self._invariants.job_announced(key, answer.job_id)
        elif answer.is_refusal:
            self._invariants.body_was_refused(key)

    def _gateways_answer(self, sending: Sending, status: int) -> Answer:
        """What a gateway says in the vendor's place, to whom it may have passed the call on."""
        world = self._world
        is_json = status in (403, 404) and world.rng.random() < 0.5
        page = Answer(status, {"code": status, "message": "no Route matched"}) if is_json else Answer(status)
        world.note(f"gateway: {status}{' in JSON' if is_json else ''} for {sending.subject}")
        if sending.subject == NOBODYS_JOB:
            self._is_strange = status in _PAGES_OF_ANY_HOST and not is_json
            # Nothing tells such a page from a wrong address; who goes on without an end asks again.
            world.is_cut_short |= self._is_strange and world.has_end
        if status == 429:
            # Whoever says so has not passed it on.
            if sending.is_export:
                sending.is_answered = True
                self._invariants.body_was_refused(sending.subject)
        elif world.rng.random() < 0.4:
            self._answer(sending)
        else:
            self._perhaps_accept_late(sending)
        return page

    def _page(self) -> int | None:
        """The status of a page that no vendor wrote; it may have come before or after the vendor acted."""
        world = self._world
        outage = None if world.faults is None else world.faults.outage(trio.current_time())
        if outage is not None:
            return outage.status
        return world.rng.choice((502, 503, 504, 500, 404, 403, 429, 200)) if world.chance("gateway page") else None

    def _leave(self, sending: Sending) -> None:
        """The client gives up. What it has sent may be accepted all the same."""
        if sending.is_export and sending.is_body_begun and not sending.is_answered:
            self._perhaps_accept_late(sending)
        if sending.is_export and sending.is_body_begun and sending.trace is not None:
            self._invariants.sender_left(sending.began_at_s)

    def _perhaps_accept_late(self, sending: Sending) -> None:
        if sending.is_export and self._world.chance("accepted late"):
            sending.is_answered = True
            self._vendor.accept_late(sending.fields, in_s=self._world.rng.choice((0.0, 1.0, 20.0, 300.0)))


def _response(answer: Answer) -> httpx.Response:
    return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
