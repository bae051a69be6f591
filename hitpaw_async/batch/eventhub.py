"""Hands a batch's events to those who listen. Nobody who listens can hold the batch up, or break it."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.lowlevel
import attrs

from hitpaw_async.batch.eventlog import log_event
from hitpaw_async.batch.events import BatchEvent, EventKind
from hitpaw_async.errors import ConfigurationError, EventsLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from hitpaw_async.models import ItemState, JobStatus

__all__ = ["BUFFERED_EVENTS_MAX", "EventHub", "EventStream"]

_LOG = logging.getLogger("hitpaw_async")

BUFFERED_EVENTS_MAX: Final = 1000
"""Events of passing interest that wait for one reader, unless it asks for another number."""

KEPT_EVENTS_MAX: Final = 10_000
"""Events that no reader may miss which wait for one reader. One that is further behind is cut off."""

_KEPT: Final = frozenset({EventKind.SNAPSHOT, EventKind.FINISHED, EventKind.STOPPED, EventKind.ENDED})
"""What is never dropped."""

_UNDER_WAY: Final = frozenset(
    {
        EventKind.RESERVED,
        EventKind.SUBMITTING,
        EventKind.SUBMITTED,
        EventKind.UNCERTAIN,
        EventKind.STATUS,
        EventKind.DOWNLOADING,
        EventKind.WAITING,
    }
)
"""What a late reader is told of each item. Items that only wait in the journal are counted, not told."""


class EventStream:
    """One reader's events, in their order: `with batch.events() as events:`, then `async for event in events:`.

    It ends when the batch is closed. A reader that is slow misses events of passing interest, the oldest first, and the
    next one that it gets says how many (`BatchEvent.dropped`).

    Raises:
        EventsLostError: From the iteration: it is so far behind that it would have missed what no reader may miss.
    """

    def __init__(self, first: Iterable[BatchEvent], *, buffer_max: int, leave: Callable[[EventStream], None]) -> None:
        if not 1 <= buffer_max <= 1_000_000:
            raise ConfigurationError(f"buffer_max must be a whole number from 1 to 1000000, not {buffer_max!r}.")
        self._buffer_max = buffer_max
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


@attrs.frozen(weakref_slot=False)
class _AtVendor:
    """What is kept of the last event of an item at the vendor: there may be a hundred thousand of them."""

    kind: EventKind
    at: float
    number: int
    label: str | None
    state: ItemState | None
    job_id: str | None
    status: JobStatus | None

    @classmethod
    def of(cls, event: BatchEvent) -> _AtVendor:
        return cls(event.kind, event.at, event.number, event.label, event.state, event.job_id, event.status)

    def event(self, key: str, snapshot: BatchEvent) -> BatchEvent:
        """The event, with the books as they stand now."""
        fields = {field.name: getattr(self, field.name) for field in attrs.fields(_AtVendor)}
        return attrs.evolve(snapshot, key=key, statistics=None, **fields)


class EventHub:
    """Hands a batch's events on. One event loop; not for threads.

    Args:
        on_event: Called with each event. What it raises is logged, the first time.
    """

    def __init__(self, on_event: Callable[[BatchEvent], None] | None = None) -> None:
        self._on_event = on_event
        self._has_failed = False
        self._streams: list[EventStream] = []
        self._under_way: dict[str, BatchEvent | _AtVendor] = {}
        self.number = 0
        """The number of the last event."""

    def emit(self, event: BatchEvent) -> None:
        """Hand an event on."""
        self.number = event.number
        log_event(event)
        if event.key is not None:
            if event.kind in _UNDER_WAY:
                is_at_vendor = event.kind in (EventKind.SUBMITTED, EventKind.STATUS)
                self._under_way[event.key] = _AtVendor.of(event) if is_at_vendor else event
            elif event.kind in (EventKind.QUEUED, EventKind.FINISHED):
                self._under_way.pop(event.key, None)
        for stream in [*self._streams]:
            stream.put(event)
        if self._on_event is not None:
            self._call(self._on_event, event)

    def open(self, snapshot: BatchEvent, *, buffer_max: int) -> EventStream:
        """A new reader's stream: the snapshot, the items under way, then what happens from now on."""
        under_way = [
            last.event(key, snapshot) if isinstance(last, _AtVendor) else last for key, last in self._under_way.items()
        ]
        stream = EventStream([snapshot, *under_way], buffer_max=buffer_max, leave=self._forget)
        self._streams.append(stream)
        return stream

    def label(self, key: str) -> str | None:
        """What an item that is under way is called; None where it isn't."""
        last = self._under_way.get(key)
        return None if last is None else last.label

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
