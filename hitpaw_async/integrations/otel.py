"""OpenTelemetry: spans and metrics of a batch, fed by its events. The API alone; the SDK is the application's.

```python
hitpaw.batch(journal="library.db", on_event=BatchTelemetry())
```

A span `hitpaw.video` for each item that comes to be submitted, with these inside:

| span | from | to |
|---|---|---|
| `hitpaw.export` | the intent is durable | the answer is in, or lost; one for each attempt |
| `hitpaw.process` | the job is known | the vendor's last word; its statuses are events of the span |
| `hitpaw.download` | the vendor is done | the result is on disk |

Its attributes: `hitpaw.item.key`, `hitpaw.item.state`, `hitpaw.job.id`, `hitpaw.credits`, `error.type`. An item that a
closing batch leaves for the next start has `hitpaw.item.interrupted`.

| instrument | kind, unit | |
|---|---|---|
| `hitpaw.videos` | counter, {video} | items that ended, each once, by `hitpaw.item.state` |
| `hitpaw.credits.spent` | counter, {credit} | what was added to what counts as spent |
| `hitpaw.credits.reserved` | up-down counter, {credit} | what is reserved now |
| `hitpaw.video.duration` | histogram, s | from the reservation to the end, by `hitpaw.item.state` |
| `hitpaw.export.duration` | histogram, s | one export, accepted or not |
| `hitpaw.download.duration` | histogram, s | one result |
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.errors import MissingExtraError
from hitpaw_async.models import ItemState

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError:
    raise MissingExtraError("hitpaw_async.integrations.otel", "otel") from None

from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.trace import TracerProvider

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from hitpaw_async.batch.events.event import BatchEvent

__all__ = ["BatchTelemetry"]

SCOPE_NAME: Final = "hitpaw_async"

_BEGINNINGS: Final = (EventKind.RESERVED, EventKind.SUBMITTING, EventKind.SUBMITTED, EventKind.DOWNLOADING)
"""An item's first event in this process may be any of these: an earlier one may have got further."""

_PHASES: Final = {
    EventKind.SUBMITTING: "hitpaw.export",
    EventKind.SUBMITTED: "hitpaw.process",
    EventKind.DOWNLOADING: "hitpaw.download",
}

_UNFINISHED: Final = (ItemState.SUBMITTED, ItemState.FETCHING)

CLOCK_STEP_S: Final = 1e-5
"""A journal's times come back rounded to microseconds."""

_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200)
"""Exports take a second, jobs minutes to hours: the SDK's own bounds are for milliseconds."""

_GOOD: Final = (ItemState.DONE, ItemState.SUBMITTED, ItemState.FETCHING)


@attrs.define(eq=False)
class _Trace:
    """The open spans of one item."""

    video: Span
    context: Context
    began_at: float
    phase: Span | None = None
    phase_kind: EventKind | None = None
    phase_began_at: float = 0.0


class BatchTelemetry:
    """Makes spans and metrics of a batch's events: give it to `AsyncHitPaw.batch(on_event=...)`. One for each batch.

    Args:
        tracer_provider: Where spans go; None: the global one.
        meter_provider: Where metrics go; None: the global one.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE_NAME, version_of_this(), tracer_provider=tracer_provider)
        meter = metrics.get_meter(SCOPE_NAME, version_of_this(), meter_provider=meter_provider)
        self._videos = meter.create_counter("hitpaw.videos", "{video}", "Items that ended, by their state")
        self._spent = meter.create_counter("hitpaw.credits.spent", "{credit}", "Credits that count as spent")
        self._reserved = meter.create_up_down_counter("hitpaw.credits.reserved", "{credit}", "Credits reserved now")

        def seconds(name: str, description: str) -> Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=_BUCKETS_S)

        self._video_duration = seconds("hitpaw.video.duration", "From the reservation to the end of an item")
        self._phase_durations = {
            EventKind.SUBMITTING: seconds("hitpaw.export.duration", "One export, accepted or not"),
            EventKind.DOWNLOADING: seconds("hitpaw.download.duration", "One result"),
        }
        self._since: float | None = None
        """When this run began: an item that ended before is reported again."""
        self._left: set[str] = set()
        """Paid items that were counted as left in this run, and are tried again."""
        self._traces: dict[str, _Trace] = {}
        self._spent_credits: int | None = None
        self._reserved_credits = 0

    def __call__(self, event: BatchEvent) -> None:
        """Take one event in."""
        if self._since is None:
            self._since = event.at
        self._count_credits(event)
        if event.kind is EventKind.ENDED:
            self._interrupt_all(event)
            self._since = event.at
            self._left.clear()
        if event.key is None:
            return
        if event.key not in self._traces and event.kind in _BEGINNINGS:
            self._begin(event.key, event)
        traced = self._traces.get(event.key)
        if event.kind is EventKind.FINISHED:
            self._finish(event.key, traced, event)
        elif traced is not None:
            self._follow(traced, event)

    def _count_credits(self, event: BatchEvent) -> None:
        spent_before = self._spent_credits if self._spent_credits is not None else event.spent_credits
        if event.spent_credits > spent_before:
            self._spent.add(event.spent_credits - spent_before)
        self._spent_credits = event.spent_credits
        if event.reserved_credits != self._reserved_credits:
            self._reserved.add(event.reserved_credits - self._reserved_credits)
            self._reserved_credits = event.reserved_credits

    def _begin(self, key: str, event: BatchEvent) -> None:
        span = self._tracer.start_span("hitpaw.video", start_time=_nanoseconds(event.at))
        span.set_attribute("hitpaw.item.key", key)
        self._traces[key] = _Trace(span, trace.set_span_in_context(span), event.at)

    def _follow(self, traced: _Trace, event: BatchEvent) -> None:
        if event.job_id is not None:
            traced.video.set_attribute("hitpaw.job.id", event.job_id)
        if event.kind is EventKind.STATUS:
            span = traced.phase or traced.video
            span.add_event("hitpaw.status", {"hitpaw.job.status": str(event.status)}, _nanoseconds(event.at))
        elif event.kind in _PHASES and event.kind is not traced.phase_kind:
            self._end_phase(traced, event)
            traced.phase_kind, traced.phase_began_at = event.kind, event.at
            name, start = _PHASES[event.kind], _nanoseconds(event.at)
            traced.phase = self._tracer.start_span(name, traced.context, _kind_of(event.kind), start_time=start)
        elif event.kind in (EventKind.RESERVED, EventKind.UNCERTAIN):
            # The attempt was not accepted, or nobody knows.
            self._end_phase(traced, event)

    def _end_phase(self, traced: _Trace, event: BatchEvent) -> None:
        if traced.phase is None or traced.phase_kind is None:
            return
        if event.state in (ItemState.UNCERTAIN, ItemState.FAILED):
            traced.phase.set_status(trace.StatusCode.ERROR)
        traced.phase.end(_nanoseconds(event.at))
        duration = self._phase_durations.get(traced.phase_kind)
        if duration is not None:
            duration.record(max(0.0, event.at - traced.phase_began_at))
        traced.phase = traced.phase_kind = None

    def _finish(self, key: str, traced: _Trace | None, event: BatchEvent) -> None:
        attributes: dict[str, Any] = {"hitpaw.item.state": str(event.state)}
        if self._is_news(key, event):
            self._videos.add(1, attributes)
        if traced is None:
            return
        del self._traces[key]
        self._end_phase(traced, event)
        self._video_duration.record(max(0.0, event.at - traced.began_at), attributes)
        outcome = event.outcome
        if outcome is not None and outcome.credits is not None:
            attributes["hitpaw.credits"] = outcome.credits
        if outcome is not None and outcome.error is not None:
            attributes["error.type"] = type(outcome.error).__name__
        traced.video.set_attributes(attributes)
        if event.state not in _GOOD:
            traced.video.set_status(trace.StatusCode.ERROR)
        traced.video.end(_nanoseconds(event.at))

    def _is_news(self, key: str, event: BatchEvent) -> bool:
        """Whether an item ended in this run: a known one is reported again, and a paid one is told for each reason."""
        if event.state in _UNFINISHED:
            is_news = key not in self._left
            self._left.add(key)
            return is_news
        self._left.discard(key)
        finished_at = None if event.outcome is None else event.outcome.finished_at
        return finished_at is None or self._since is None or finished_at.timestamp() >= self._since - CLOCK_STEP_S

    def _interrupt_all(self, event: BatchEvent) -> None:
        for traced in self._traces.values():
            self._end_phase(traced, event)
            traced.video.set_attribute("hitpaw.item.interrupted", value=True)
            traced.video.end(_nanoseconds(event.at))
        self._traces.clear()


def version_of_this() -> str:
    """The version of this library; empty if it runs without its metadata, e.g. from a zip."""
    try:
        return metadata.version("hitpaw-async")
    except metadata.PackageNotFoundError:
        return ""


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)


def _kind_of(kind: EventKind) -> trace.SpanKind:
    return trace.SpanKind.INTERNAL if kind is EventKind.SUBMITTED else trace.SpanKind.CLIENT
