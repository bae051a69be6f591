"""Tells bugs from what the world does. A bug never becomes a verdict on a file, a job, a journal or a network."""

from __future__ import annotations

import traceback
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from hitpaw_async.errors import HitPawError, InternalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["internal_error", "is_bug", "telling_bugs"]

P = ParamSpec("P")
T = TypeVar("T")

_KINDS: Final = (AssertionError, AttributeError, IndexError, KeyError, NameError, NotImplementedError, TypeError)
_MODULES: Final = frozenset({"builtins", "attr.exceptions"})
_PACKAGE: Final = __name__.partition(".")[0]


def is_bug(error: BaseException) -> bool:
    """Whether an exception that came out of a broad attempt is a programming error, whatever was being worked on.

    Classes that other libraries derive from these say something of their own: FFmpeg's "no such decoder" is a
    LookupError.
    """
    return isinstance(error, InternalError) or (isinstance(error, _KINDS) and type(error).__module__ in _MODULES)


def internal_error(error: BaseException) -> HitPawError:
    """An unexpected exception as one of the library's own, which is returned as it is.

    Neither its words nor its frames are kept: they may hold a key or a signed URL. The error is to be raised outside
    the handler.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, HitPawError):
        return error
    return InternalError(type(error).__name__, _place(error))


def telling_bugs(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a bug leave a coroutine as an `InternalError`; everything else leaves it as it is."""

    @wraps(call)
    async def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await call(*args, **kwargs)
        except Exception as error:
            if not is_bug(error):
                raise
            surprise = internal_error(error)
        raise surprise

    return told


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost line of this package, and beneath it the innermost of all."""
    frames = [
        (str(frame.f_globals.get("__name__", "?")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [place for place in frames if place[0].partition(".")[0] == _PACKAGE]
    shown = dict.fromkeys((*own[-1:], *frames[-1:]))
    return " and ".join(f"{module}, line {line}" for module, line in shown)
