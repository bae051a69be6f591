"""The vendor as a test sees it: what it was asked and charged, and what it is told to do next."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Final

import attrs

from hitpaw_async._validators import checked_number
from hitpaw_async.models import ExportRequest, JobStatus, VideoFacts
from hitpaw_async.simulator import Charge, FaultAction, FaultCall, FaultRule, FaultTime, Simulator
from hitpaw_async.simulator.vendor import JobDuration

__all__ = ["ScriptedVendor", "VendorJob"]

A_MINUTE: Final = VideoFacts(
    duration_s=60, frame_rate=Fraction(30), width=1280, height=720, size_bytes=20_000_000, container="mp4"
)


@attrs.frozen(kw_only=True)
class VendorJob:
    """A job that the vendor accepted and charged."""

    job_id: str
    request: ExportRequest
    duration_s: float
    """Seconds from its acceptance to its end."""
    final_status: JobStatus
    """COMPLETED or ERROR."""


@attrs.define(eq=False, repr=False)
class ScriptedVendor:
    """The vendor of a `HitPawSimulator`.

    Every URL is a video, by default one of a minute, 1280 x 720 at 30 frames per second; no video is fetched.
    """

    _simulator: Simulator
    videos: dict[str, VideoFacts | None] = attrs.field(init=False, factory=dict)
    """What the vendor finds at a URL, where it is not the default; None: no video (400 / 501016)."""
    default_video: VideoFacts = attrs.field(init=False, default=A_MINUTE)
    is_reachable: bool = attrs.field(init=False, default=True)
    """False: connections are refused."""

    def __repr__(self) -> str:
        return f"ScriptedVendor({len(self.charges)} charges, {self.credits_left} credits left)"

    @property
    def credits_left(self) -> int:
        """The balance, which may be set; with too little of it an export is refused (402 / 501002)."""
        return self._simulator.vendor.credits_left

    @credits_left.setter
    def credits_left(self, credits_left: int) -> None:
        self._simulator.vendor.credits_left = credits_left

    @property
    def job_duration_s(self) -> JobDuration | None:
        """Seconds that new jobs take, or a function of their requests; None: half the video's length."""
        return self._simulator.vendor.job_duration_s

    @job_duration_s.setter
    def job_duration_s(self, duration_s: JobDuration | None) -> None:
        self._simulator.vendor.job_duration_s = duration_s

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Every charge, in its order: `credits`, `video_url`, `job_id`, `model_id`, `resolution`, `at_s`."""
        return self._simulator.ledger

    def charges_by_url(self) -> Counter[str]:
        """How often each video was charged: 1 is what it should be, 2 was paid twice."""
        return self._simulator.charges_by_url()

    @property
    def jobs(self) -> tuple[VendorJob, ...]:
        """Every job that was accepted, in their order."""
        return tuple(
            VendorJob(
                job_id=job.job_id,
                request=job.request,
                duration_s=job.duration_s,
                final_status=JobStatus.ERROR if job.is_doomed else JobStatus.COMPLETED,
            )
            for job in self._simulator.vendor.jobs.values()
        )

    @property
    def exports_received(self) -> int:
        """Export calls that came in, refused ones included."""
        return self._simulator.exports_received

    @property
    def polls_received(self) -> int:
        """Task calls that came in."""
        return self._simulator.polls_received

    def fail_next(
        self,
        call: FaultCall | str,
        do: FaultAction | str,
        *,
        times: int = 1,
        url: str = "",
        when: FaultTime | str = FaultTime.BEFORE,
        status: int | None = None,
        delay_s: float | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """Let the next calls go wrong. What was asked for first happens first.

        | to test | `fail_next(...)` |
        |---|---|
        | an export whose answer is lost: charged, and nobody knows | `"export", "drop", when="after"` |
        | a job that is accepted, charged, and ends in ERROR | `"export", "job-error"` |
        | HTTP 429 for five seconds | `"export", "rate-limit", retry_after_s=5` |
        | a gateway's error page | `"task", "reply", status=502` |
        | a vendor that is late | `"task", "delay", delay_s=20` |
        | a download that breaks off | `"result", "truncate"` |
        | a result that is gone | `"result", "reply", status=404, times=9` |

        Args:
            call: "export", "task" or "result" (a download).
            do: What happens: see `hitpaw_async.simulator.faults`.
            times: How often.
            url: Only for videos whose URL contains this text.
            when: "before" the call is processed, or "after": then only the answer is lost.
            status: The HTTP status of a "reply".
            delay_s: Seconds that pass first.
            retry_after_s: What `Retry-After` says.

        Raises:
            ConfigurationError: The fields don't go together.
        """
        checked_number(times, 1, 1e9, name="times", whole=True)
        rule = FaultRule(
            call=call,
            do=do,
            times=times,
            url=url,
            when=when,
            status=status,
            delay_s=delay_s,
            retry_after_s=retry_after_s,
        )
        self.script(rule)

    def script(self, *rules: FaultRule) -> None:
        """Let what the rules say go wrong from now on, after the rules that are there."""
        for rule in rules:
            self._simulator.fault_run.add(rule)

    def facts_of(self, video_url: str) -> VideoFacts | None:
        """What the vendor finds at a URL; None: no video."""
        return self.videos.get(video_url, self.default_video)
