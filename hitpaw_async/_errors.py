"""The exceptions that all other modules stand on, and how a bug is told from what the world does.

Users import them from `hitpaw_async.errors`, and that is where they say that they are from. A bug never becomes a
verdict on a file, a job, a journal or a network.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = [
    "ConfigurationError",
    "HitPawError",
    "InternalError",
    "InvalidRequestError",
    "MissingExtraError",
    "bug_in",
    "internal_error",
    "is_bug",
    "telling_bugs",
]

P = ParamSpec("P")
T = TypeVar("T")

_KINDS: Final = (AssertionError, AttributeError, IndexError, KeyError, NameError, NotImplementedError, TypeError)
_MODULES: Final = frozenset({"builtins", "attr.exceptions"})
_PACKAGE: Final = __name__.partition(".")[0]


def _rebuild(cls: type[HitPawError], args: tuple[object, ...], state: dict[str, Any]) -> HitPawError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


def _declares(cls: type[HitPawError], name: str) -> bool:
    return any(name in vars(base).get("__annotations__", {}) for base in cls.__mro__)


class HitPawError(Exception):
    """The root of everything that this library raises."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @classmethod
    def restored(cls, message: str, /, **attributes: object) -> HitPawError:
        """An error as a journal kept it: its class, its message, and those of `attributes` that its class declares."""
        declared = {name: value for name, value in attributes.items() if _declares(cls, name)}
        return _rebuild(cls, (message,), declared)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(HitPawError):
    """The program is set up wrongly: a missing key, an address that redirects, settings that exclude each other."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: The extra that brings it.
    """

    extra: str = "all"

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency. Install it: pip install 'hitpaw-async[{extra}]'")
        self.extra = extra


class InvalidRequestError(HitPawError):
    """A request breaks a rule that is known before anything is sent, so nothing was sent and nothing was spent.

    Attributes:
        problems: Every rule that is broken, one sentence each.
    """

    problems: tuple[str, ...] = ()

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("Nothing was sent or spent. Correct the request: " + " ".join(self.problems))


class InternalError(HitPawError):
    """A bug of this library, or of one that it uses. It says nothing about a video, a job, a journal or a network.

    Attributes:
        kind: The class of the exception that came as a surprise.
        place: The modules and lines where it was raised; "" where that is unknown.
    """

    kind: str = ""
    place: str = ""

    def __init__(self, kind: str, place: str = "") -> None:
        where = f" in {place}" if place else ""
        super().__init__(
            f"This is a bug in hitpaw-async ({kind}{where}). It says nothing about your videos, files, network or "
            "account, and nothing was decided by it. Please report it, with this message and what `hitpaw doctor` says."
        )
        self.kind = kind
        self.place = place


for _kind in (HitPawError, ConfigurationError, MissingExtraError, InvalidRequestError, InternalError):
    _kind.__module__ = "hitpaw_async.errors"


def is_bug(error: BaseException) -> bool:
    """Tell if an exception that came out of a broad attempt is a programming error.

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


def bug_in(error: BaseException) -> HitPawError | None:
    """The bug that an exception is, or that a group of them has among it, as one of the library's own."""
    if isinstance(error, BaseExceptionGroup):
        return next((bug for bug in map(bug_in, error.exceptions) if bug is not None), None)
    return internal_error(error) if is_bug(error) else None


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
    """Describe the place it was raised at: the innermost line of this package, and the innermost of all."""
    frames = [
        (str(frame.f_globals.get("__name__", "?")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [place for place in frames if place[0].partition(".")[0] == _PACKAGE]
    shown = dict.fromkeys((*own[-1:], *frames[-1:]))
    return " and ".join(f"{module}, line {line}" for module, line in shown)
