"""Requests, replies and calls to `decide` with defaults: a test names only what it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.retry import CallKind, Decision, RetryBudget, SendProgress, decide
from hitpaw_async.models import ExportRequest, VideoFacts
from hitpaw_async.policies import RetryPolicy

if TYPE_CHECKING:
    from hitpaw_async.errors import HitPawError

API_KEY = "hp-key-7f3c9a5e1b2d4f60"
JOB_ID = "tZgnWAwQT80RgLNp4QToNHSW"
VIDEO_URL = "https://example.com/video.mp4"


def a_request(video_url: str = VIDEO_URL, **changes: Any) -> ExportRequest:
    return ExportRequest(video_url, **{"model": 17, "resolution": (1920, 1080), **changes})


def facts(duration_s: float | None = 60, frame_rate: object = 30, size: tuple[int, int] | None = None) -> VideoFacts:
    width, height = size or (None, None)
    return VideoFacts(duration_s=duration_s, frame_rate=frame_rate, width=width, height=height)  # type: ignore[arg-type]


def a_reply(body: object = b"", status_code: int = 200, **changes: Any) -> Reply:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status_code=status_code, body=encoded, **{"secrets": (API_KEY,), **changes})


def a_decision(error: HitPawError, kind: CallKind = CallKind.EXPORT, **changes: Any) -> Decision:
    circumstances = {
        "progress": SendProgress.NOT_BEGUN,
        "attempt": 1,
        "elapsed_s": 0.0,
        "policy": RetryPolicy(),
        "budget": RetryBudget(50, 0.1),
        "draw": 0.5,
    }
    return decide(kind, error, **{**circumstances, **changes})
