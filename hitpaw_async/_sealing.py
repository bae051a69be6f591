"""Public calls whose tracebacks end at themselves: tools that show local variables find no key and no signed URL there.

An exception of this library says in its message and attributes what a program needs to know. The frames beneath a
public call would say more: they hold URLs with signatures, headers, and the key.
"""

from __future__ import annotations

import traceback
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hitpaw_async.errors import HitPawError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

__all__ = ["sealed", "without_frames"]

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


def sealed(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let whatever ends a public coroutine leave it without what the frames beneath it hold, nor its arguments.

    A cancellation as well: `asyncio.wait_for` hangs it onto the TimeoutError that it raises.
    """

    @wraps(call)
    async def outermost(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 (raised below)
            failure = without_frames(error)
        del args, kwargs
        raise failure

    return outermost


def without_frames(error: E) -> E:
    """An exception, and all that hang on it, whose tracebacks have no variables any more.

    Of a bug the lines stay, for whoever must mend it. Of anything else the traceback begins anew where it is raised.
    """
    seen: set[int] = set()
    left: list[BaseException] = [error]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
        if isinstance(one, Exception) and not isinstance(one, HitPawError):
            traceback.clear_frames(one.__traceback__)
        else:
            one.__traceback__ = None
    return error
