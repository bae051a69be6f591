"""Where a batch stands, as a value."""

from __future__ import annotations

import attrs

__all__ = ["BatchStatistics"]


@attrs.frozen(kw_only=True)
class BatchStatistics:
    """Where a batch stands, over all runs of its journal."""

    done: int = 0
    failed: int = 0
    rejected: int = 0
    skipped: int = 0
    uncertain: int = 0
    unfinished: int = 0
    """Everything else: queued, being submitted, at the vendor, being downloaded."""
    credits_spent: int = 0
    credits_reserved: int = 0
    credits_left: int | None = None
    """What the budget still has; None without a budget."""
    polls: int = 0
    """Task calls of this run."""

    @property
    def total(self) -> int:
        """All items."""
        return self.done + self.failed + self.rejected + self.skipped + self.uncertain + self.unfinished
