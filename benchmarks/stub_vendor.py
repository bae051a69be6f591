"""A vendor without a wire: what is measured on it is the batch's own part, to the last microsecond and byte."""

from __future__ import annotations

import heapq
import random
from fractions import Fraction
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from hitpaw_async import AsyncHitPaw, BatchLimits, ExportRequest, Job, JobStatus, PollPolicy, VideoFacts, VideoModel
from hitpaw_async.batch.scheduler import BatchScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hitpaw_async._vendor.calls import ExportObserver
    from hitpaw_async.batch.journal.store import JournalStore

__all__ = ["StubCalls", "batch_on", "batch_over", "list_scheduled_s", "requests"]


class StubCalls:
    """Stands in for the vendor's calls. Time is the event loop's, be it real or virtual.

    It holds nothing of a job: the id of each says when it ends, as that of `stub_server`.

    Args:
        duration_s: How long the job of a request takes.
        export_s: How long an export takes.
    """

    def __init__(self, duration_s: Callable[[ExportRequest], float], *, export_s: float = 0.0) -> None:
        self._duration_s = duration_s
        self._export_s = export_s
        self._random = random.Random(1)
        self.task_calls = 0
        self.throttled = 0
        self.exports = 0

    def draw(self) -> float:
        return self._random.random()

    async def require_vendor(self) -> None:
        """It is one."""

    async def export(
        self,
        request: ExportRequest,
        *,
        observer: ExportObserver,
        web_hook_url: str | None = None,
        grace_s: float = 1.0,
    ) -> Job:
        await observer.sending()
        await anyio.sleep(self._export_s)
        self.exports += 1
        ends_at = anyio.current_time() + self._duration_s(request)
        job = Job(job_id=f"job-{self.exports:012d}-{ends_at:019.6f}")
        await observer.accepted(job)
        return job

    async def task(self, job_id: str) -> Job:
        self.task_calls += 1
        await anyio.lowlevel.checkpoint()
        if anyio.current_time() < float(job_id.rpartition("-")[2]):
            return Job(job_id=job_id, status=JobStatus.CONVERTING, status_text="CONVERTING")
        url = f"https://results.example/{job_id}.mp4?signature=0123456789abcdef"
        return Job(job_id=job_id, status=JobStatus.COMPLETED, status_text="COMPLETED", res_url=url)


def requests(lengths_s: Iterator[float]) -> Iterator[ExportRequest]:
    """A video of each length, made when it is asked for."""
    for number, length_s in enumerate(lengths_s):
        facts = VideoFacts(duration_s=length_s, frame_rate=Fraction(30), width=1280, height=720)
        yield ExportRequest(
            f"https://videos.example/library/{number:09d}.mp4",
            model=VideoModel.GENERAL_DENOISE_BALANCE,
            resolution="1920x1080",
            facts=facts,
        )


def batch_on(
    calls: StubCalls,
    journal: JournalStore | str | None,
    *,
    limits: BatchLimits,
    poll: PollPolicy | None = None,
    clock: Callable[[], float] = anyio.current_time,
) -> BatchScheduler:
    """A batch whose client makes its calls on the stub."""
    hitpaw = AsyncHitPaw(api_key="key", poll=poll)
    hitpaw._session.calls = calls  # type: ignore[assignment]
    return BatchScheduler(hitpaw._session, journal=journal, budget=None, limits=limits, output=None, clock=clock)


def batch_over(pool: object, *, limits: BatchLimits) -> BatchScheduler:
    """A batch whose client makes its calls on what takes a connection pool's place. Time is virtual."""
    hitpaw = AsyncHitPaw(api_key="key", random_source=random.Random(1))
    hitpaw._session.calls._pool = pool  # type: ignore[assignment]
    return BatchScheduler(
        hitpaw._session, journal=None, budget=None, limits=limits, output=None, clock=anyio.current_time
    )


def list_scheduled_s(durations_s: Sequence[float], places: int) -> float:
    """The makespan of list scheduling: each job, in order, on the place that is free first, found out at once."""
    free_at = [0.0] * places
    for duration_s in durations_s:
        heapq.heapreplace(free_at, free_at[0] + duration_s)
    return max(free_at)
