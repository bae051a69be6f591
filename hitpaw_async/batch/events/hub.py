"""Hands a batch's events to those who listen. Nobody who listens can hold the batch up, or break it."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.lowlevel
import attrs

from hitpaw_async._validators import checked_number
from hitpaw_async.batch.events.event import BatchEvent, EventKind
from hitpaw_async.batch.events.log import is_logged, log_event
from hitpaw_async.errors import EventsLostError

__all__ = ["BUFFERED_EVENTS_MAX", "EventHub", "EventStream"]

_LOG = logging.getLogger("hitpaw_async")

BUFFERED_EVENTS_MAX: Final = 1000
"""Events of passing interest that wait for one reader, unless it asks for another number."""

KEPT_EVENTS_MAX: Final = 10_000
"""Events that no reader may miss which wait for one reader. One that is further behind is cut off."""

_KEPT: Final = frozenset({EventKind.SNAPSHOT, EventKind.FINISHED, EventKind.STOPPED, EventKind.ENDED})
"""What is never dropped."""

_BOARDING: Final = frozenset(
    {EventKind.RESERVED, EventKind.SUBMITTING, EventKind.SUBMITTED, EventKind.UNCERTAIN, EventKind.WAITING}
)
"""What is kept for a late reader, of items on their way to the vendor. Those that are there, the run has."""

_BEFORE_OR_AFTER: Final = frozenset({EventKind.QUEUED, EventKind.FINISHED})
"""From these on an item is not under way. Items that only wait in the journal are counted, not told."""


class EventStream:
    """One reader's events, in their order: `with batch.events() as events:`, then `async for event in events:`.

    It ends when the batch is closed. A reader that is slow misses events of passing interest, the oldest first, and the
    next one that it gets says how many (`BatchEvent.dropped`).

    Raises:
        EventsLostError: From the iteration: it is so far behind that it would have missed what no reader may miss.
    """

    def __init__(self, first: Iterable[BatchEvent], *, buffer_max: int, leave: Callable[[EventStream], None]) -> None:
        self._buffer_max = checked_number(buffer_max, 1, 1_000_000, name="buffer_max", whole=True)
        self._leave = leave
        self._first = deque(first)
        self._kept: deque[BatchEvent] = deque()
        self._passing: OrderedDict[int, BatchEvent] = OrderedDict()
        self._figures: dict[tuple[EventKind, str | None], int] = {}
        """Where in `_passing` the newest figure of its kind stands."""
        self._dropped = 0
        self._is_closed = False
        self._is_behind = False
        self._changed = anyio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take no more events. What has come is still there to be read."""
        self._is_closed = True
        self._leave(self)
        self._changed.set()

    def put(self, event: BatchEvent) -> None:
        """Let an event wait for the reader. Never waits itself."""
        if event.kind not in _KEPT:
            self._put_passing(event)
        elif len(self._kept) < KEPT_EVENTS_MAX:
            self._kept.append(event)
        else:
            self._is_behind = True
            self.close()
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchEvent:
        # A turn for everybody else between any two: a reader that catches up must not hold the loop.
        await anyio.lowlevel.checkpoint()
        while not (self._first or self._kept or self._passing or self._is_closed):
            self._changed = anyio.Event()
            await self._changed.wait()
        event = self._take()
        if event is None:
            raise EventsLostError(KEPT_EVENTS_MAX) if self._is_behind else StopAsyncIteration
        if self._dropped:
            event = attrs.evolve(event, dropped=self._dropped)
            self._dropped = 0
        return event

    def _put_passing(self, event: BatchEvent) -> None:
        if event.is_figure:
            slot = event.kind, event.key
            self._passing.pop(self._figures.get(slot, 0), None)
            self._figures[slot] = event.number
        if len(self._passing) >= self._buffer_max:
            self._forget_figure(self._passing.popitem(last=False)[1])
            self._dropped += 1
        self._passing[event.number] = event

    def _take(self) -> BatchEvent | None:
        if self._first:
            return self._first.popleft()
        oldest = next(iter(self._passing.values()), None)
        if self._kept and (oldest is None or self._kept[0].number < oldest.number):
            return self._kept.popleft()
        if oldest is not None:
            del self._passing[oldest.number]
            self._forget_figure(oldest)
        return oldest

    def _forget_figure(self, event: BatchEvent) -> None:
        if event.is_figure:
            self._figures.pop((event.kind, event.key), None)


class EventHub:
    """Hands a batch's events on. One event loop; not for threads.

    Args:
        on_event: Called with each event. What it raises is logged, the first time.
    """

    def __init__(self, on_event: Callable[[BatchEvent], None] | None = None) -> None:
        self._on_event = on_event
        self._has_failed = False
        self._streams: list[EventStream] = []
        self._boarding: dict[str, BatchEvent] = {}
        self.number = 0
        """The number of the last event."""

    def wants(self, kind: EventKind) -> bool:
        """Whether an event of this kind has to be made, or `pass_over` will do: nobody would learn of it."""
        return bool(self._streams) or self._on_event is not None or kind in _BOARDING or is_logged(kind)

    def pass_over(self, kind: EventKind, key: str | None) -> None:
        """Count an event that nobody wants."""
        self.number += 1
        if key is not None and kind in _BEFORE_OR_AFTER:
            self._boarding.pop(key, None)

    def emit(self, event: BatchEvent) -> None:
        """Hand an event on."""
        self.number = event.number
        log_event(event)
        if event.key is not None:
            if event.kind in _BOARDING:
                self._boarding[event.key] = event
            elif event.kind in _BEFORE_OR_AFTER:
                self._boarding.pop(event.key, None)
        for stream in [*self._streams]:
            stream.put(event)
        if self._on_event is not None:
            self._call(self._on_event, event)

    def took_off(self, key: str) -> None:
        """From here on the run says how the item stands."""
        self._boarding.pop(key, None)

    def open(self, snapshot: BatchEvent, flights: Iterable[BatchEvent] = (), *, buffer_max: int) -> EventStream:
        """A new reader's stream: the snapshot, the items under way, then what happens from now on.

        Args:
            snapshot: Where the batch stands.
            flights: How each item at the vendor stands.
            buffer_max: Events of passing interest that wait for this reader.
        """
        under_way = self._boarding | {event.key: event for event in flights if event.key is not None}
        stream = EventStream([snapshot, *under_way.values()], buffer_max=buffer_max, leave=self._forget)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Let every stream end once it is read to its end."""
        for stream in [*self._streams]:
            stream.close()

    def _forget(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    def _call(self, listener: Callable[[BatchEvent], None], event: BatchEvent) -> None:
        try:
            listener(event)
        except Exception:  # noqa: BLE001 (it is not ours)
            # Somebody's display must not decide over somebody's money.
            if not self._has_failed:
                self._has_failed = True
                _LOG.exception("The listener to this batch's events failed. Later failures of it are not logged.")
