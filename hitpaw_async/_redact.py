"""Redacts URLs and foreign texts: no query, no user info, no control characters, and bounded length.

Of an exception's frames nothing: tracebacks of `sealed` public calls end at themselves, so that tools that show local
variables find no key and no signed URL there. An exception of this library says in its message and attributes what a
program needs to know.
"""

from __future__ import annotations

import re
import traceback
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit, urlunsplit

import attrs

from hitpaw_async._errors import HitPawError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

__all__ = ["excerpt", "redact_url", "sealed", "shown", "shown_fields", "without_frames"]

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

EXCERPT_CHARS_MAX: Final = 300

_URL: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>]+")
_QUERY: Final = re.compile(r"([?&][^\s\"'<>?&=]{1,100}=)[^\s\"'<>]*")
"""The rest of a URL whose beginning is damaged or cut off."""
_ESCAPE: Final = re.compile(r"\\+(?:/|u(00[2-7][0-9a-fA-F]))")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def redact_url(url: str) -> str:
    """A URL without what may be secret: its query (signatures live there), fragment, user name and password."""
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        query = "***" if parts.query else ""
        shown = urlunsplit((parts.scheme, netloc, parts.path, query, ""))
    except ValueError:
        return "<not a URL>"
    return _CONTROL.sub(" ", shown)


def shown_fields(value: Any) -> Iterator[tuple[str, object]]:
    """The fields of an attrs value as they may be shown: hidden ones out, those with a `repr` of their own as URLs."""
    for field in attrs.fields(type(value)):
        held = getattr(value, field.name)
        if field.repr is True:
            yield field.alias or field.name, held
        elif field.repr:
            yield field.alias or field.name, None if held is None else redact_url(held)


def shown(value: Any) -> str:
    """Write an attrs value as it is built: attrs' own `repr` names fields, which may be private, and no arguments."""
    fields = ((field, getattr(value, field.name)) for field in attrs.fields(type(value)) if field.repr)
    texts = (
        (field.alias or field.name, repr(held) if field.repr is True else field.repr(held)) for field, held in fields
    )
    return f"{type(value).__qualname__}({', '.join(f'{name}={text}' for name, text in texts)})"


def excerpt(text: str, *, chars_max: int = EXCERPT_CHARS_MAX, secrets: tuple[str, ...] = ()) -> str:
    """A foreign text as it may be shown: secrets and URL queries out, one line, at most `chars_max` characters."""
    considered = chars_max * 4
    shown = _unescaped(text[:considered])
    for secret in secrets:
        shown = shown.replace(secret, "***")
    if len(text) > considered and secrets:
        # A secret that the cut runs through is not recognised: no part of it may be left.
        shown = shown[: -max(map(len, secrets))]
    shown = _URL.sub(lambda match: redact_url(match.group()), shown)
    shown = _QUERY.sub(r"\1***", shown)
    shown = _CONTROL.sub(" ", shown)
    # Also what turns the direction of writing, or is not seen: a terminal would show another text than was written.
    shown = "".join(character if character.isprintable() else " " for character in shown).strip()
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "\u2026"


def _unescaped(text: str) -> str:
    """A text without JSON's escapes of plain characters: a URL's marks are recognised only as they are."""
    return _ESCAPE.sub(lambda match: "/" if match[1] is None else chr(int(match[1], 16)), text)


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
