"""Sends a webhook: a POST, tried a few times, then given up with a warning."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async._redact import redact_url
from hitpaw_async.errors import HitPawError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitpaw_async._transport import HTTPPool

__all__ = ["WebhookSender"]

_LOG: Final = logging.getLogger("hitpaw_async.simulator")

WAITS_S: Final = (1.0, 4.0)
"""Before the second and the third attempt, at speed 1. v3 doesn't say that a webhook is tried again: assumed."""
TIMEOUT_S: Final = 10.0


@attrs.frozen
class WebhookSender:
    """Tells a URL about a job. Never follows a redirect."""

    _pool: HTTPPool
    _speed: float

    async def send(self, url: str, fields: Mapping[str, str]) -> bool:
        """Send until it is answered with a 2xx, three times at most.

        Returns:
            True if it was.
        """
        body = json.dumps(fields).encode()
        for wait_s in (*WAITS_S, None):
            problem = await self._problem(url, body)
            if problem is None:
                return True
            _LOG.info("The webhook to %s was not taken: %s", redact_url(url), problem)
            if wait_s is not None:
                await anyio.sleep(wait_s / self._speed)
        _LOG.warning("The webhook to %s was given up after %d attempts.", redact_url(url), len(WAITS_S) + 1)
        return False

    async def _problem(self, url: str, body: bytes) -> str | None:
        try:
            reply = await self._pool.post(url, body=body, headers={}, timeout_s=TIMEOUT_S)
        except HitPawError as error:
            return str(error)
        return None if 200 <= reply.status_code < 300 else f"HTTP {reply.status_code}"
