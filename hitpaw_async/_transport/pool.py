"""The pool: callers, gated so that nobody ever waits inside httpx, and one way to send for all of them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

import anyio

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import Reply, parse_retry_after
from hitpaw_async._redact import redact_url
from hitpaw_async._tasks import LoopLocal, within
from hitpaw_async._transport.connections import closed_error
from hitpaw_async._transport.exceptions import SlowHeadError, transport_error
from hitpaw_async._transport.proxies import NO_PROXIES, Proxies
from hitpaw_async._transport.quiet_logs import redacted_http_logs
from hitpaw_async._transport.request import Connection, Request, StreamedFile
from hitpaw_async._transport.senders import ClientSender, StackSender
from hitpaw_async.policies import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from hitpaw_async._transport.response import ByteStream
    from hitpaw_async._transport.send_progress import SendWatch
    from hitpaw_async._transport.senders import HTTPClient, Sender

__all__ = ["HTTPPool"]

READ_TIMEOUT_S: Final = 30.0
HEAD_SILENCES_MAX: Final = 1.5
"""Deadline of a response's head in longest silences, connecting included: a server that sends it
byte by byte is never silent. More than one, so that a server that is silent is told from one that is slow."""


class HTTPPool:
    """Connections, gated so that nobody ever waits inside httpx.

    They are its own, unless it wraps a caller's client, and each event loop's are its own: a
    client may be used in one loop after another, or in several threads at once.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        http_client: HTTPClient | None = None,
        proxies: Proxies = NO_PROXIES,
        transport: Transport = Transport.HTTPX,
    ) -> None:
        make_sender = partial(_sender, max_connections, http_client, proxies, transport)
        make_sender()  # refuses what can't be used
        # There is an await in each call anyway: a turn that is free is taken without another one.
        self._gates = LoopLocal(lambda: anyio.Semaphore(max_connections, fast_acquire=True))
        self._senders: LoopLocal[Sender] = LoopLocal(make_sender)
        self._is_closed = False
        self.can_pin_addresses = http_client is None and not proxies
        """True if a connection can go to a vetted address: proxies and callers' clients resolve names themselves."""

    @property
    def _gate(self) -> anyio.Semaphore:
        return self._gates.get()

    @property
    def _sender(self) -> Sender:
        return self._senders.get()

    @_sender.setter
    def _sender(self, sender: Sender) -> None:
        self._senders = LoopLocal(lambda: sender)

    async def aclose(self) -> None:
        """Close what this pool owns in this event loop. A caller's client is never closed.

        Connections of other loops can only be closed there; this pool uses them no more.
        """
        self._is_closed = True
        await self._sender.aclose()

    async def retire(self) -> None:
        """Use no connection again that is open now: the answers on one of them may belong to other questions."""
        await self._sender.retire()

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        connection: Connection = Connection.REUSED,
        watch: SendWatch | None = None,
        secrets: tuple[str, ...] = (),
        admission: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Send one POST and read its whole reply.

        Args:
            url: Absolute URL.
            body: JSON, encoded.
            headers: Sent as they are, over the standard ones.
            timeout_s: The deadline of the whole call, from the moment a connection may be used. With a `watch`, time in
                which this process could not have read does not count.
            connection: The connection to use: a kept one or a fresh one.
            watch: Sees how far the send got. Without one, head and body go out in one piece.
            secrets: Texts that `Reply.excerpt` must not show.
            admission: Awaited when a connection may be used, before the deadline begins: whoever waited for one may
                have to wait for something else by now.

        Raises:
            TransportError: No reply; `watch.progress` tells how far the send got.
            ProtocolError: The reply is larger than 1 MiB.
        """
        outgoing = Request(
            method="POST",
            url=url,
            headers={"content-type": "application/json", **headers},
            body=body,
            silence_max_s=timeout_s,
            connection=connection,
            watch=watch,
        )
        outcome: Reply | errors.HitPawError | None = None
        async with self._gate:
            if admission is not None:
                await admission()
            if watch is None:
                # A question may be asked again: a plain deadline will do, at less cost.
                with anyio.move_on_after(timeout_s):
                    outcome = await self._attempt(outgoing, secrets)
            else:
                outcome = await within(timeout_s, lambda: self._attempt(outgoing, secrets))
        if isinstance(outcome, Reply):
            return outcome
        if outcome is None:
            if watch is not None:
                watch.note_deadline()
            outcome = errors.TransportError(
                f"No answer within {timeout_s:g} s ({redact_url(url)}). Check the network, or allow more time."
            )
        # Raised outside the handler: the original would hang on as __context__, and its request holds the key.
        raise outcome

    async def _attempt(self, outgoing: Request, secrets: tuple[str, ...]) -> Reply | errors.HitPawError:
        """The reply, or why there is none."""
        try:
            return await self._exchange(outgoing, secrets)
        except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
            if outgoing.watch is not None:
                outgoing.watch.note_failure(error)
            return transport_error(outgoing.url, error, is_callers=self._sender.is_callers)

    async def _exchange(self, outgoing: Request, secrets: tuple[str, ...]) -> Reply:
        if outgoing.watch is not None and not self._sender.tells_progress:
            await outgoing.watch.announce()
        self._require_open()
        with redacted_http_logs():
            answer = await self._sender.ask(outgoing)
        return Reply(
            status_code=answer.status_code,
            body=answer.body,
            retry_after_s=parse_retry_after(answer.retry_after, now=time.time()),
            secrets=secrets,
        )

    async def put(
        self,
        url: str,
        *,
        file: StreamedFile,
        headers: Mapping[str, str],
        addresses: Sequence[str],
        silence_max_s: float,
    ) -> tuple[int, Mapping[str, str]]:
        """Send one file with a PUT, on a connection of its own: no key, no cookies, no redirects.

        Args:
            url: Absolute URL.
            file: The body. Exceptions of reading it are passed on.
            headers: Sent as they are, over the standard ones.
            addresses: The vetted IP addresses to connect to; none where the pool may resolve the host.
            silence_max_s: The longest silence that is borne, also while connecting.

        Returns:
            The status and the headers of the answer; its body is left unread.

        Raises:
            TransportError: No answer.
        """
        outgoing = Request(
            method="PUT",
            url=url,
            headers=headers,
            file=file,
            silence_max_s=silence_max_s,
            connection=Connection.FRESH,
            addresses=tuple(addresses),
        )
        failure: errors.HitPawError | None = None
        async with self._gate:
            try:
                self._require_open()
                with redacted_http_logs():
                    stream = await self._sender.send(outgoing)
                try:
                    return stream.status_code, stream.headers
                finally:
                    await stream.aclose()
            except errors.HitPawError:
                raise
            except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
                failure = transport_error(url, error, is_callers=self._sender.is_callers)
        raise failure

    @asynccontextmanager
    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        address: str | None = None,
        addresses: Sequence[str] = (),
        read_timeout_s: float = READ_TIMEOUT_S,
        is_bulk: bool = False,
        is_head: bool = False,
    ) -> AsyncIterator[ByteStream]:
        """Open one GET for streaming: no key, no cookies, no redirects, identity encoding.

        Args:
            url: Absolute URL.
            headers: E.g. Range.
            address: The vetted IP address to connect to, in place of resolving the URL's host again. The host stays the
                one that TLS verifies and the Host header names.
            addresses: The same where there are several: if the first does not answer soon, the next is tried beside it.
            read_timeout_s: The longest silence, connecting included. The whole head may take half as long again.
            is_head: True to send a HEAD in its place.
            is_bulk: True if the body is large and goes to disk. If nothing forbids it, the stream is a `BulkStream`.

        Raises:
            TransportError: No response; `SlowHeadError` where its head takes too long.
        """
        # A pinned connection leads to its address: the next host there would be served without its own certificate
        # being looked at.
        pinned = tuple(addresses) if address is None else (address,)
        connection = Connection.FRESH if pinned else Connection.REUSED
        outgoing = Request(
            method="HEAD" if is_head else "GET",
            url=url,
            headers=headers or {},
            silence_max_s=read_timeout_s,
            connection=connection,
            addresses=pinned,
            is_bulk=is_bulk,
        )
        failure: errors.HitPawError | None = None
        async with self._gate:
            stream = None
            try:
                self._require_open()
                with redacted_http_logs(), anyio.move_on_after(read_timeout_s * HEAD_SILENCES_MAX):
                    stream = await self._sender.send(outgoing)
            except Exception as error:  # noqa: BLE001 (whatever a transport raises becomes ours)
                failure = transport_error(url, error, is_callers=self._sender.is_callers)
            if stream is not None:
                try:
                    yield stream
                finally:
                    await stream.aclose()
            elif failure is None:
                host = redact_url(url).split("?")[0]
                failure = SlowHeadError(
                    f"The head of the response did not come in time ({host}). Check the network and the address."
                )
        if failure is not None:
            raise failure

    def _require_open(self) -> None:
        if self._is_closed:
            raise closed_error()


def _sender(max_connections: int, http_client: HTTPClient | None, proxies: Proxies, transport: Transport) -> Sender:
    if http_client is not None:
        return ClientSender(http_client)
    lanes = StackSender(max_connections, proxies)
    match transport:
        case Transport.HTTPX:
            return lanes
        case Transport.AIOHTTP:
            from hitpaw_async._transport.aiohttp import AiohttpSender  # noqa: PLC0415 (an extra, and slow to import)

            return AiohttpSender(lanes)
        case _:
            assert_never(transport)
