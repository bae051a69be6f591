"""What the services under test are run with, the same for each framework."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from hitpaw_async import (
    AsyncHitPaw,
    BackgroundBatch,
    BatchLimits,
    ExportRequest,
    PollPolicy,
    RetryPolicy,
    VideoFacts,
)
from hitpaw_async.batch.webhooks import WebhookPolicy

PORT = int(os.environ.get("SERVICE_PORT", "0"))
FACTS = VideoFacts(duration_s=30, frame_rate=Fraction(30), width=640, height=360, container="mp4")


def new_client() -> AsyncHitPaw:
    poll = PollPolicy(interval_min_s=0.5, interval_max_s=1)
    return AsyncHitPaw(poll=poll, retry=RetryPolicy(backoff_first_s=0.05, backoff_max_s=0.2), max_connections=16)


def new_batch(hitpaw: AsyncHitPaw) -> BackgroundBatch:
    folder = Path(os.environ["SERVICE_FOLDER"])
    return BackgroundBatch(
        hitpaw.batch(
            journal=folder / "journal.db",
            budget=1000,
            limits=BatchLimits(jobs_in_flight=32),
            output=folder / "enhanced",
            webhooks=WebhookPolicy(base_url=f"http://127.0.0.1:{PORT}/hitpaw", wait_s=1),
        ),
        retry_after_s=1,
    )


def request_for(url: str) -> ExportRequest:
    return ExportRequest(url, model="general-denoise-balance", resolution="1280x720", facts=FACTS)
