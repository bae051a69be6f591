"""One download under way: attempts that go on where the last one stopped, begin anew, or ask for a fresh URL."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import attrs

from hitpaw_async import errors
from hitpaw_async._core.retry import backoff_s
from hitpaw_async._fetch.redirects import ResultSource, shown_url
from hitpaw_async._fetch.response import ExpectedBody, Remedy, UnusableReplyError, expected_body
from hitpaw_async._tasks import to_its_end
from hitpaw_async._transport import BulkStream, SlowHeadError
from hitpaw_async.download.contents import HEAD_BYTES, foreign_content

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from hitpaw_async._transport import ByteStream
    from hitpaw_async.download.part_file import Part
    from hitpaw_async.policies import DownloadPolicy

__all__ = ["Transfer"]

_WRITE_BYTES: Final = 1 << 20
_PROGRESS_BYTES_MIN: Final = 1 << 20
"""Bytes beyond all earlier attempts that count as progress: then attempts are counted anew."""
_REFRESHES_MAX: Final = 2
"""Fresh URLs asked for in a row, without progress between them."""
_SLOW_HEADS_MAX: Final = 2
"""Responses whose heads did not come to an end, without progress between them. Each has held a place for longer than
the longest silence, so there are fewer of them than of other attempts."""
_REFUSED_PAUSE_FIRST_S: Final = 0.25
_REFUSED_PAUSE_MAX_S: Final = 15.0
_RETRY_AFTER_MAX_S: Final = 300.0


@attrs.define(kw_only=True, eq=False)
class Transfer:
    """Fills a part with the whole of one result."""

    part: Part
    source: ResultSource
    policy: DownloadPolicy
    random_source: random.Random
    url: str = attrs.field(repr=False)
    refresh: Callable[[], Awaitable[str]] | None
    on_progress: Callable[[int, int | None], None] | None
    on_headers: Callable[[Mapping[str, str]], Awaitable[None]] | None = None
    """Awaited with the headers of each reply that is going to be read."""
    refused_wait_s: float = 0.0
    """Seconds for which a refused result is retried."""
    _buffer: bytearray = attrs.field(factory=bytearray, init=False)
    _head: bytearray = attrs.field(factory=bytearray, init=False)
    """The first bytes of what was received, by which it is recognised."""
    _validator: str | None = attrs.field(default=None, init=False)
    """The version that the part belongs to, where more of it can be asked for."""
    _total_bytes: int | None = attrs.field(default=None, init=False)
    _best_bytes: int = attrs.field(default=0, init=False)
    """The most that ever was in the part, counted where an attempt failed."""
    _failures: int = attrs.field(default=0, init=False)
    _slow_heads: int = attrs.field(default=0, init=False)
    _refusals: int = attrs.field(default=0, init=False)
    _refused_at: float | None = attrs.field(default=None, init=False)
    """Time of the first of the refusals in a row."""

    async def run(self) -> None:
        """Fill the part with the whole result.

        Raises:
            DownloadError: It can't be had, or not be written.
        """
        while True:
            try:
                await self._attempt()
            except errors.TransportError as error:
                self._slow_heads += isinstance(error, SlowHeadError)
                fault = UnusableReplyError(str(error).rstrip("."))
            except UnusableReplyError as error:
                fault = error
            else:
                return
            # Outside the handlers: what is raised from here on doesn't drag along what went before.
            await self._recover(fault)

    async def _attempt(self) -> None:
        start = 0 if self._validator is None else self.part.size_bytes
        headers = {"range": f"bytes={start}-", "if-range": str(self._validator)} if start else {}
        async with self.source.open(self.url, headers, turn=self._failures) as stream:
            promise = expected_body(
                stream.status_code,
                stream.headers,
                start=start,
                validator=self._validator,
                total=self._total_bytes,
                now=time.time(),
            )
            self._require_allowed(promise.total or 0)
            if self.on_headers is not None:
                await self.on_headers(stream.headers)
            self._validator, self._total_bytes, self._buffer = promise.validator, promise.total, bytearray()
            if promise.start != self.part.size_bytes:
                await to_its_end(self.part.restart)
                self._report()
            del self._head[promise.start :]
            await self._receive(stream, promise)
        self._require_whole(promise)

    async def _receive(self, stream: ByteStream, promise: ExpectedBody) -> None:
        if isinstance(stream, BulkStream):
            await self._receive_in_bulk(stream, promise)
        else:
            await self._receive_in_chunks(stream, promise)

    async def _receive_in_bulk(self, stream: BulkStream, promise: ExpectedBody) -> None:
        def take(block: memoryview) -> None:
            self._require_due(self.part.size_bytes + len(block), promise)
            self._look_at(block)
            self.part.write(block)
            if self.on_progress is not None:
                anyio.from_thread.run_sync(self._report)

        try:
            await stream.copy(take, block_time_max_s=_WRITE_BYTES / self.policy.bytes_per_s_min)
        except TimeoutError:
            is_slow = True
        else:
            is_slow = False
        if is_slow:
            raise self._too_slow()

    async def _receive_in_chunks(self, stream: ByteStream, promise: ExpectedBody) -> None:
        scope = anyio.CancelScope(deadline=self._write_deadline())

        async def take(chunk: bytes) -> None:
            self._buffer += chunk
            self._look_at(chunk)
            self._require_due(self.part.size_bytes + len(self._buffer), promise)
            if len(self._buffer) >= _WRITE_BYTES:
                scope.deadline = math.inf
                await self._flush()
                scope.deadline = self._write_deadline()

        try:
            await _each_chunk(stream, take, scope)
        except errors.TransportError:
            await self._flush()
            raise
        await self._flush()
        if scope.cancelled_caught:
            raise self._too_slow()

    def _require_due(self, received_bytes: int, promise: ExpectedBody) -> None:
        if promise.end is not None and received_bytes > promise.end:
            raise UnusableReplyError("the server sent more than it said it would", Remedy.ANEW)
        self._require_allowed(received_bytes)

    def _look_at(self, block: bytes | memoryview) -> None:
        """Leave a body whose first bytes say that it is something else than a video."""
        missing_bytes = HEAD_BYTES - len(self._head)
        if missing_bytes > 0:
            self._head += block[:missing_bytes]
            if len(self._head) == HEAD_BYTES:
                self._require_video(HEAD_BYTES)

    def _require_video(self, size_bytes: int) -> None:
        foreign = foreign_content(bytes(self._head), size_bytes)
        if foreign is not None:
            raise UnusableReplyError(f"the server sent {foreign} instead of a video", Remedy.ANEW, is_foreign=True)

    def _too_slow(self) -> UnusableReplyError:
        return UnusableReplyError(f"the server sent less than {self.policy.bytes_per_s_min} bytes a second")

    def _write_deadline(self) -> float:
        return anyio.current_time() + _WRITE_BYTES / self.policy.bytes_per_s_min

    async def _flush(self) -> None:
        if self._buffer:
            full, self._buffer = self._buffer, bytearray()
            await to_its_end(self.part.write, full)
            self._report()

    def _report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.part.size_bytes, self._total_bytes)

    def _require_allowed(self, size_bytes: int) -> None:
        if size_bytes > self.policy.size_bytes_max:
            raise errors.DownloadError(
                f"The result at {shown_url(self.url)} is larger than the {self.policy.size_bytes_max} bytes allowed. "
                "If that is right, raise DownloadPolicy.size_bytes_max."
            )

    def _require_whole(self, promise: ExpectedBody) -> None:
        size_bytes = self.part.size_bytes
        if size_bytes == 0:
            raise UnusableReplyError("the result is empty")
        if promise.total not in (None, size_bytes):
            raise UnusableReplyError("the server sent less than it said it would")
        if size_bytes < HEAD_BYTES:
            self._require_video(size_bytes)

    async def _recover(self, fault: UnusableReplyError) -> None:
        """Wait for the next attempt, or give up."""
        if self.part.size_bytes >= self._best_bytes + _PROGRESS_BYTES_MIN:
            self._best_bytes, self._failures, self._refusals = self.part.size_bytes, 0, 0
            self._slow_heads, self._refused_at = 0, None
        if fault.remedy is Remedy.FRESH_URL:
            await self._renew(fault)
            return
        if fault.remedy is Remedy.ANEW:
            self._validator = None
        self._failures += 1
        retry_after_s = fault.retry_after_s or 0.0
        is_over = self._failures >= self.policy.attempts_max or self._slow_heads >= _SLOW_HEADS_MAX
        if is_over or retry_after_s > _RETRY_AFTER_MAX_S:
            raise errors.DownloadError(
                f"The result at {shown_url(self.url)} could not be fetched (attempts: {self._failures}): "
                f"{fault.reason}. Download it again later: the job is done, so that costs nothing.",
                is_refused=fault.is_foreign,
            )
        await anyio.sleep(retry_after_s + self._backoff_s(self._failures))
        if fault.is_foreign and self.refresh is not None:
            self.url = await self.refresh()

    async def _renew(self, fault: UnusableReplyError) -> None:
        """Ask for a fresh URL, or if there is none wait and look again; or give up."""
        self._refusals += 1
        now = anyio.current_time()
        if self._refused_at is None:
            self._refused_at = now
        left_s = self._refused_at + self.refused_wait_s - now
        if left_s <= 0 and (self.refresh is None or self._refusals > _REFRESHES_MAX):
            raise self._refused(fault)
        # An expired URL needs no wait, only a fresh one.
        if self._refusals > 1 or self.refresh is None:
            grown_s = min(_REFUSED_PAUSE_MAX_S, _REFUSED_PAUSE_FIRST_S * 2.0 ** min(self._refusals, 60))
            await anyio.sleep(min(grown_s, left_s) if left_s > 0 else self._backoff_s(self._refusals))
        if self.refresh is not None:
            self.url = await self.refresh()

    def _refused(self, fault: UnusableReplyError) -> errors.DownloadError:
        is_gone = fault.status_code in (404, 410)
        what = "no longer exists" if is_gone else "was refused: its URL has expired or is not public"
        advice = (
            "Ask the task call for a fresh URL, or download the job instead of the URL."
            if self.refresh is None
            else "Fresh URLs didn't help. If it stays so, ask the vendor's support: the job was paid for."
        )
        return errors.DownloadError(
            f"The result at {shown_url(self.url)} {what} ({fault.reason}). {advice}", is_gone=is_gone, is_refused=True
        )

    def _backoff_s(self, failures: int) -> float:
        first_s, max_s = self.policy.backoff_first_s, self.policy.backoff_max_s
        return backoff_s(failures, first_s=first_s, max_s=max_s, draw=self.random_source.random())


async def _each_chunk(stream: ByteStream, take: Callable[[bytes], Awaitable[None]], scope: anyio.CancelScope) -> None:
    """Hand each chunk of the body to `take`, within `scope`.

    If `take` raises, the rest of the body is left by cancelling the next read. Generators that are merely dropped
    are closed late, by nobody in particular, and trio complains of them.
    """
    failure: Exception | None = None
    try:
        with scope:
            async for chunk in stream.chunks():
                if failure is None:
                    try:
                        await take(chunk)
                    except Exception as error:  # noqa: BLE001 (raised below)
                        failure = error
                        scope.cancel()
    except errors.TransportError as error:
        failure = failure or error
    if failure is not None:
        raise failure
