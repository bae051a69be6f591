"""Ctrl-C on trio strikes whatever code of a program happens to run. What must not be broken off is protected here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["uninterrupted"]

T = TypeVar("T")


def uninterrupted(work: Callable[[], Awaitable[T]]) -> Callable[[], Coroutine[object, object, T]]:
    """`work` for a task of its own that no Ctrl-C on trio strikes; the main task gets it instead.

    On asyncio a first Ctrl-C never strikes a task at work.
    """

    async def protected() -> T:
        return await work()

    # Looked up, not imported: where nobody has, nothing runs on it.
    trio = sys.modules.get("trio")
    if trio is not None:
        trio.lowlevel.enable_ki_protection(protected)
    return protected
