"""Single connections, kept last in, first out, so that a call costs the same at ten and at a thousand.

httpcore's pool looks at all of its connections on each event, which costs 10 ms a call at 100 connections. A lane is
one `httpcore.AsyncHTTP11Connection` over a connection opened here; no request ever waits in it. Who may use a lane is
decided by the gate before (`HTTPPool`): there are never more callers than lanes that may be open.

No task looks after idle lanes: each call closes those that have expired, oldest first, so that every lane is closed
once; a client that makes no calls at all closes the rest in `aclose`.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import attrs
import httpcore

from hitpaw_async import errors
from hitpaw_async._transport import network as wire
from hitpaw_async._transport.request import Connection
from hitpaw_async._transport.tls import tls_context

if TYPE_CHECKING:
    from hitpaw_async._transport.request import Request, Target

__all__ = ["KEEPALIVE_EXPIRY_S", "ConnectionStack", "KeptConnection", "closed_error"]

KEEPALIVE_EXPIRY_S: Final = 2.0
"""Well under the 5 s after which common servers close idle connections: the two ends must not race."""

_Origin: TypeAlias = tuple[bool, str, int]


@attrs.define(eq=False)
class KeptConnection:
    """One connection, in use by one request or idle."""

    origin: _Origin
    http: httpcore.AsyncHTTP11Connection
    stream: httpcore.AsyncNetworkStream
    is_pinned: bool
    """True if it leads to a given address: the next host there must not be served under this host's TLS name."""
    generation: int
    """Which of the pool's generations it belongs to; those of earlier ones are not kept."""
    expires_at: float = 0.0

    def may_be_kept(self) -> bool:
        """True if nothing of the last request is left in it: not if that broke off, was cancelled or is unread.

        Nor where more came than was asked for: the next request would take it for its answer, and so on for ever.
        """
        if not self.http.is_idle() or self.is_pinned:
            return False
        surplus, _ = self.http._h11_state.trailing_data  # noqa: SLF001 (httpcore keeps it, and tells nobody)
        return not surplus and not self.stream.get_extra_info("is_readable")

    async def aclose(self) -> None:
        """Close it, whatever is going on."""
        with anyio.CancelScope(shield=True):
            await self.http.aclose()


class ConnectionStack:
    """The open lanes of one pool.

    Args:
        connections_max: The most that are open at once, in use and idle.
    """

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._idle: dict[_Origin, deque[KeptConnection]] = {}
        self._by_age: OrderedDict[KeptConnection, None] = OrderedDict()
        self._in_use: set[KeptConnection] = set()
        self._opening = 0
        self._generation = 0
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """Connections that carry a request."""
        return len(self._in_use)

    @property
    def idle(self) -> int:
        """Connections that wait for the next request."""
        return len(self._by_age)

    async def take(self, outgoing: Request, target: Target) -> KeptConnection:
        """A lane for one request: the last one used, where a used one will do, else a new one.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: There is no connection.
            ConfigurationError: The pool is closed.
        """
        await self._close_expired()
        if outgoing.connection is Connection.REUSED and outgoing.address is None:
            while (lane := self._last_used(target.origin)) is not None:
                if not lane.http.has_expired():
                    self._in_use.add(lane)
                    return lane
                await lane.aclose()
        return await self._new(outgoing, target)

    async def give_back(self, lane: KeptConnection) -> None:
        """The request is over, however it ended: the lane is kept, or closed."""
        self._in_use.discard(lane)
        if self._is_closed or lane.generation != self._generation or not lane.may_be_kept():
            await lane.aclose()
            return
        lane.expires_at = time.monotonic() + KEEPALIVE_EXPIRY_S
        self._idle.setdefault(lane.origin, deque()).append(lane)
        self._by_age[lane] = None

    async def retire(self) -> None:
        """Keep no lane that is open now: those that are idle are closed, those in use when they are given back."""
        self._generation += 1
        while self._by_age:
            await self._forget_oldest().aclose()

    async def aclose(self) -> None:
        """Close all lanes, those in use as well."""
        self._is_closed = True
        lanes = [*self._by_age, *self._in_use]
        self._by_age.clear()
        self._idle.clear()
        self._in_use.clear()
        for lane in lanes:
            await lane.aclose()

    async def _new(self, outgoing: Request, target: Target) -> KeptConnection:
        self._opening += 1
        try:
            while self._by_age and len(self._by_age) + len(self._in_use) + self._opening > self._connections_max:
                await self._forget_oldest().aclose()
            lane = await _open(outgoing, target, generation=self._generation)
        finally:
            self._opening -= 1
        if self._is_closed:
            await lane.aclose()
            raise closed_error()
        self._in_use.add(lane)
        return lane

    def _last_used(self, origin: _Origin) -> KeptConnection | None:
        lanes = self._idle.get(origin)
        if lanes is None:
            return None
        lane = lanes.pop()
        if not lanes:
            del self._idle[origin]
        del self._by_age[lane]
        return lane

    def _forget_oldest(self) -> KeptConnection:
        """The lane that has been idle for longest, no longer among the idle ones."""
        lane, _ = self._by_age.popitem(last=False)
        lanes = self._idle[lane.origin]
        oldest = lanes.popleft()
        assert oldest is lane, "of the lanes to its own origin it is the oldest, too"
        if not lanes:
            del self._idle[lane.origin]
        return lane

    async def _close_expired(self) -> None:
        now = time.monotonic()
        while self._by_age and next(iter(self._by_age)).expires_at <= now:
            await self._forget_oldest().aclose()


async def _open(outgoing: Request, target: Target, *, generation: int) -> KeptConnection:
    tls = await tls_context() if target.is_secure else None
    stream = await wire.open_wire(
        outgoing.address or target.host,
        target.port,
        tls=tls,
        server_name=target.host,
        timeout_s=outgoing.silence_max_s,
        others=outgoing.addresses[1:],
    )
    http = httpcore.AsyncHTTP11Connection(target.url.origin, stream)
    return KeptConnection(target.origin, http, stream, is_pinned=outgoing.address is not None, generation=generation)


def closed_error() -> errors.ConfigurationError:
    """Build the error for using a closed pool."""
    return errors.ConfigurationError("The client is closed. Open a new one with `async with AsyncHitPaw()`.")
