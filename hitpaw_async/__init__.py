"""An asyncio client, batch scheduler and command line for HitPaw's Video Enhancer API.

Importing it is cheap: names are loaded when they are first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = bool()  # noqa: UP018 (see below)
if TYPE_CHECKING:
    from typing import Final

    from hitpaw_async._core.pricing import estimate
    from hitpaw_async.batch.background import BackgroundBatch
    from hitpaw_async.batch.events.event import BatchEvent, EventKind, WaitReason
    from hitpaw_async.batch.events.hub import EventStream
    from hitpaw_async.batch.events.statistics import BatchStatistics
    from hitpaw_async.batch.items import ItemsPage
    from hitpaw_async.batch.plan import BatchPlan, PlanAction, PlannedItem
    from hitpaw_async.batch.scheduler import BatchScheduler
    from hitpaw_async.batch.webhooks import WebhookPolicy
    from hitpaw_async.client import AsyncHitPaw
    from hitpaw_async.errors import (
        APIError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigurationError,
        DownloadError,
        EventsLostError,
        HitPawError,
        InsufficientCreditsError,
        InternalError,
        InvalidRequestError,
        InvalidVideoURLError,
        ItemCancelledError,
        JobFailedError,
        JobNotFoundError,
        JobTimeoutError,
        JournalBusyError,
        JournalError,
        MediaError,
        MissingExtraError,
        ProtocolError,
        QueueFullError,
        RateLimitError,
        ServerError,
        StorageError,
        SubmissionUnknownError,
        TransportError,
    )
    from hitpaw_async.models import (
        CreditQuote,
        ExportRequest,
        ItemState,
        Job,
        JobStatus,
        Outcome,
        Resolution,
        VideoFacts,
        VideoModel,
    )
    from hitpaw_async.policies import (
        BatchLimits,
        CreditBudget,
        DownloadPolicy,
        PollPolicy,
        RetryPolicy,
        Transport,
        WhenFull,
    )

__all__ = [
    "APIError",
    "AsyncHitPaw",
    "AuthenticationError",
    "BackgroundBatch",
    "BadRequestError",
    "BatchEvent",
    "BatchLimits",
    "BatchPlan",
    "BatchScheduler",
    "BatchStatistics",
    "BudgetExceededError",
    "ConfigurationError",
    "CreditBudget",
    "CreditQuote",
    "DownloadError",
    "DownloadPolicy",
    "EventKind",
    "EventStream",
    "EventsLostError",
    "ExportRequest",
    "HitPawError",
    "InsufficientCreditsError",
    "InternalError",
    "InvalidRequestError",
    "InvalidVideoURLError",
    "ItemCancelledError",
    "ItemState",
    "ItemsPage",
    "Job",
    "JobFailedError",
    "JobNotFoundError",
    "JobStatus",
    "JobTimeoutError",
    "JournalBusyError",
    "JournalError",
    "MediaError",
    "MissingExtraError",
    "Outcome",
    "PlanAction",
    "PlannedItem",
    "PollPolicy",
    "ProtocolError",
    "QueueFullError",
    "RateLimitError",
    "Resolution",
    "RetryPolicy",
    "ServerError",
    "StorageError",
    "SubmissionUnknownError",
    "Transport",
    "TransportError",
    "VideoFacts",
    "VideoModel",
    "WaitReason",
    "WebhookPolicy",
    "WhenFull",
    "estimate",
]

_MODULES: Final = {
    "_core.pricing": ("estimate",),
    "batch.background": ("BackgroundBatch",),
    "batch.events.hub": ("EventStream",),
    "batch.events.event": ("BatchEvent", "EventKind", "WaitReason"),
    "batch.webhooks": ("WebhookPolicy",),
    "batch.items": ("ItemsPage",),
    "batch.plan": ("BatchPlan", "PlanAction", "PlannedItem"),
    "batch.scheduler": ("BatchScheduler",),
    "batch.events.statistics": ("BatchStatistics",),
    "client": ("AsyncHitPaw",),
    "models": (
        "CreditQuote",
        "ExportRequest",
        "ItemState",
        "Job",
        "JobStatus",
        "Outcome",
        "Resolution",
        "VideoFacts",
        "VideoModel",
    ),
    "policies": ("BatchLimits", "CreditBudget", "DownloadPolicy", "PollPolicy", "RetryPolicy", "Transport", "WhenFull"),
}
"""Module of each public name that is not an error."""

_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
