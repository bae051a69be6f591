"""What a service opens at its start: one client, and a batch in the background where it is asked for."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hitpaw_async.batch.background import BackgroundBatch
    from hitpaw_async.client import AsyncHitPaw
    from hitpaw_async.errors import HitPawError

__all__ = ["log_for_operator", "opened"]

_LOG = logging.getLogger("hitpaw_async")


@asynccontextmanager
async def opened(
    client: Callable[[], AsyncHitPaw], batch: Callable[[AsyncHitPaw], BackgroundBatch] | None
) -> AsyncIterator[tuple[AsyncHitPaw, BackgroundBatch | None]]:
    """Open both, and close them in order."""
    async with client() as hitpaw:
        if batch is None:
            yield hitpaw, None
            return
        async with batch(hitpaw) as jobs:
            yield hitpaw, jobs


def log_for_operator(error: HitPawError) -> None:
    """Log an error whose words are not for a caller."""
    _LOG.error("A request failed: %s: %s", type(error).__name__, error)
