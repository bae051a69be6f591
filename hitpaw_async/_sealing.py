"""Public calls whose tracebacks end at themselves: tools that show local variables find no key and no signed URL there.

An exception of this library says in its message and attributes what a program needs to know. The frames beneath a
public call would say more: they hold URLs with signatures, headers, and the key.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hitpaw_async.errors import HitPawError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

__all__ = ["sealed"]

P = ParamSpec("P")
T = TypeVar("T")


def sealed(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let the library's exceptions leave a public coroutine without the frames beneath it, nor its arguments."""

    @wraps(call)
    async def outermost(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except HitPawError as error:
            failure = error.with_traceback(None)
        del args, kwargs
        raise failure

    return outermost
