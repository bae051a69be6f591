"""The vendor's v3 API as a dialect."""

from __future__ import annotations

from typing import Final

from hitpaw_async import errors
from hitpaw_async._core.protocol.dialect import Dialect
from hitpaw_async.models import JobStatus

__all__ = ["V3"]

V3: Final = Dialect(
    name="v3",
    export_path="/api/v3/video-enhancer/export",
    task_path="/api/v3/video-enhancer-api/task",
    key_header="ApiKey",
    errors_by_code={
        501001: errors.AuthenticationError,
        501002: errors.InsufficientCreditsError,
        501016: errors.InvalidVideoURLError,
        110400002: errors.JobNotFoundError,
    },
    statuses={
        **{status.value: status for status in JobStatus},
        **dict.fromkeys(("PENDING", "INPUT_PREPARING"), JobStatus.WAITING),
        **dict.fromkeys(("CONVERT_COMPLETED", "OUTPUT_SAVING", "OUTPUT_SAVED"), JobStatus.CONVERTING),
        **dict.fromkeys(
            ("ERROR_INTERRUPTION", "TIMEOUT", "CANCEL", "CANCELED", "CANCELLED", "REJECT", "REJECTED", "NSFW"),
            JobStatus.ERROR,
        ),
    },
)
"""The vendor's v3 API. Source: v3 document; paths, header and codes as given there, except for 110400002 and the words
beyond its four, which the vendor's platform and its MCP server (`internal/handler/task_status.go`) have."""
