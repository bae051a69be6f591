"""Workers let through in the order of their tickets."""

from __future__ import annotations

import anyio

__all__ = ["Turnstile"]


class Turnstile:
    """Lets concurrent workers through one point in the order in which they took their tickets."""

    def __init__(self) -> None:
        self._issued = 0
        self._next = 0
        self._passed: set[int] = set()
        self._changed = anyio.Event()

    def take_ticket(self) -> int:
        """A place in the order."""
        self._issued += 1
        return self._issued - 1

    async def wait(self, ticket: int) -> None:
        """Wait until all earlier tickets have passed."""
        while self._next < ticket:
            await self._changed.wait()

    def leave(self, ticket: int) -> None:
        """Pass, or give up one's place; doing it twice does no harm."""
        self._passed.add(ticket)
        while self._next in self._passed:
            self._passed.remove(self._next)
            self._next += 1
        self._changed.set()
        self._changed = anyio.Event()
