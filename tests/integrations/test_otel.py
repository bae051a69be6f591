"""OpenTelemetry: what the SDK's exporters in memory get of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from hitpaw_async.integrations.otel import BatchTelemetry
from tests.batch.laboratory import laboratory, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.anyio


@attrs.define
class Exported:
    exporter: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    telemetry: BatchTelemetry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.telemetry = BatchTelemetry(tracer_provider=tracers, meter_provider=MeterProvider([self.reader]))

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def points(self, name: str) -> dict[Any, Any]:
        """The points of an instrument, by the item's state."""
        data = self.reader.get_metrics_data()
        metrics = [
            metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
        ]
        points = [point for metric in metrics if metric.name == name for point in metric.data.data_points]
        return {point.attributes.get("hitpaw.item.state"): point for point in points}


@pytest.fixture
def exported() -> Exported:
    return Exported()


async def test_a_video_is_a_span_with_its_calls_inside(exported: Exported, tmp_path: Path) -> None:
    async with (
        laboratory() as lab,
        lab.hitpaw.batch(budget=5, output=tmp_path / "out", on_event=exported.telemetry) as batch,
    ):
        await outcomes_of(batch, video("a", key="a"))
    (whole,) = exported.spans("hitpaw.video")
    assert whole.context is not None
    job_id = lab.simulator.ledger[0].job_id
    assert dict(whole.attributes or {}) == {
        "hitpaw.item.key": "a",
        "hitpaw.item.state": "done",
        "hitpaw.job.id": job_id,
        "hitpaw.credits": 1,
    }
    for name in ("hitpaw.export", "hitpaw.process", "hitpaw.download"):
        (inside,) = exported.spans(name)
        assert inside.parent is not None
        assert inside.parent.span_id == whole.context.span_id
        assert whole.start_time <= inside.start_time <= inside.end_time <= whole.end_time  # type: ignore[operator]
    (process,) = exported.spans("hitpaw.process")
    assert "COMPLETED" in {(event.attributes or {})["hitpaw.job.status"] for event in process.events}


async def test_credits_states_and_durations_are_counted(exported: Exported) -> None:
    doomed = {"call": "export", "do": "job-error", "url": "doomed"}
    async with laboratory(doomed) as lab, lab.hitpaw.batch(budget=3, on_event=exported.telemetry) as batch:
        await outcomes_of(batch, video("a"), video("b"), video("doomed"), video("bad", resolution="10x10"), video("x"))
    videos = {state: point.value for state, point in exported.points("hitpaw.videos").items()}
    assert videos == {"done": 2, "failed": 1, "rejected": 1, "skipped": 1}
    assert exported.points("hitpaw.credits.spent")[None].value == 3
    assert exported.points("hitpaw.credits.reserved")[None].value == 0
    assert exported.points("hitpaw.export.duration")[None].count == 3
    durations = exported.points("hitpaw.video.duration")
    assert {state: point.count for state, point in durations.items()} == {"done": 2, "failed": 1}
    (failed,) = [span for span in exported.spans("hitpaw.video") if not span.status.is_ok]
    assert (failed.attributes or {})["error.type"] == "JobFailedError"
    assert failed.status.status_code is StatusCode.ERROR


async def test_what_was_spent_before_is_not_counted_again(exported: Exported, tmp_path: Path) -> None:
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=tmp_path / "j.db") as batch:
            await outcomes_of(batch, video("a"), video("b"))
        async with lab.hitpaw.batch(journal=tmp_path / "j.db", on_event=exported.telemetry) as batch:
            await outcomes_of(batch, video("c"))
    assert exported.points("hitpaw.credits.spent")[None].value == 1


async def test_what_a_closing_batch_leaves_is_ended_and_said_so(exported: Exported) -> None:
    async with laboratory(speed=0.001) as lab, lab.hitpaw.batch(on_event=exported.telemetry) as batch:
        outcomes = batch.run([video("a"), video("bad", resolution="10x10")])
        await anext(outcomes)
        with batch.events() as events:
            async for event in events:
                if event.job_id is not None:
                    break
    (left,) = exported.spans("hitpaw.video")
    assert (left.attributes or {})["hitpaw.item.interrupted"] is True
    assert exported.telemetry._traces == {}


async def test_a_lost_answer_is_an_error_of_the_export(exported: Exported) -> None:
    lost = {"call": "export", "do": "drop", "when": "after"}
    async with laboratory(lost) as lab, lab.hitpaw.batch(on_event=exported.telemetry) as batch:
        await outcomes_of(batch, video("a"))
    (export,) = exported.spans("hitpaw.export")
    assert export.status.status_code is StatusCode.ERROR
    (whole,) = exported.spans("hitpaw.video")
    assert (whole.attributes or {})["hitpaw.item.state"] == "uncertain"


async def test_what_is_reported_again_is_not_counted_again(exported: Exported, tmp_path: Path) -> None:
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=tmp_path / "j.db") as batch:
            await outcomes_of(batch, video("a"), video("bad", resolution="10x10"))
        async with lab.hitpaw.batch(journal=tmp_path / "j.db", on_event=exported.telemetry) as batch:
            await outcomes_of(batch, video("a"), video("bad", resolution="10x10"), video("c"))
            await outcomes_of(batch, video("c"))
    assert {state: point.value for state, point in exported.points("hitpaw.videos").items()} == {"done": 1}


async def test_instruments_say_what_they_are_and_their_buckets_fit_seconds(exported: Exported) -> None:
    async with laboratory() as lab, lab.hitpaw.batch(on_event=exported.telemetry) as batch:
        await outcomes_of(batch, video("a"))
    data = exported.reader.get_metrics_data()
    [scope] = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert scope.scope.version
    assert all(metric.description for metric in scope.metrics)
    for metric in scope.metrics:
        if metric.unit == "s":
            [point] = metric.data.data_points
            assert {1, 3600} < {*point.explicit_bounds}
    [span] = exported.spans("hitpaw.video")
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.version == scope.scope.version
