"""Tells the caller which paid job an interrupted export or wait leaves behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitpaw_async.models import Job

__all__ = ["JobIdKeeper", "accepted_as", "tell"]

_LOG = logging.getLogger("hitpaw_async")


class JobIdKeeper:
    """Remembers what became of an export whose caller is cancelled. The observer where there is no journal."""

    job_id: str | None = None
    is_sent: bool = False
    """True if it may have reached the vendor."""

    async def sending(self) -> None:
        """From here on it may be accepted."""
        self.is_sent = True

    async def not_accepted(self) -> None:
        """It was not, and may be sent once more."""
        self.is_sent = False

    async def accepted(self, job: Job) -> None:
        """Keep the id."""
        self.job_id = job.job_id

    def tell(self, interruption: BaseException, grace_s: float) -> None:
        """Say which cost the interrupted export may have caused. Says nothing if it was not sent.

        Args:
            interruption: The exception that interrupted it.
            grace_s: How long its answer was waited for.
        """
        if self.job_id is not None:
            interruption.add_note(accepted_as(self.job_id))
            _LOG.warning("The export was accepted as job %s while its caller was cancelled.", self.job_id)
        elif self.is_sent:
            tell(
                interruption,
                f"The export was sent, and no answer came within {grace_s:g} s of its cancellation: it may have been "
                "accepted and charged. Look into your HitPaw account before you submit the video again.",
            )


def accepted_as(job_id: str) -> str:
    """The advice where a job's id is known."""
    return f"The video was accepted as job {job_id}: wait for that job, do not submit it again."


def tell(interruption: BaseException, text: str) -> None:
    """Put a text into an exception, and into the log: `move_on_after` swallows the exception."""
    interruption.add_note(text)
    _LOG.warning("%s", text)
