"""Secrets that are easy to find: put into every path, then searched for in whatever comes out."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs
from rich.console import Console
from rich.traceback import Traceback

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["API_KEY", "RESULT_URL_QUERY", "SOURCE_URL", "Log", "hits", "logged", "said_by"]

API_KEY: Final = "hp-canary-4f6e1c0b9a7d"
RESULT_SIGNATURE: Final = "canary-result-88e1/+="
SOURCE_SIGNATURE: Final = "canary-source-31d7"
RESULT_URL_QUERY: Final = f"Expires=1&Signature={quote(RESULT_SIGNATURE, safe='')}"
SOURCE_URL: Final = f"https://videos.example.com/holiday.mp4?X-Amz-Signature={SOURCE_SIGNATURE}"

NEEDLES: Final = (API_KEY, "canary-result-88e1", "canary-source-31d7")
"""What must be found nowhere. The result's signature is looked for without the part that encodings change."""

_LOGGERS: Final = ("hitpaw_async", "httpx", "httpcore", "anyio", "asyncio", "trio")


def hits(text: str | bytes, *, needles: tuple[str, ...] = NEEDLES) -> list[str]:
    """The canaries in a text."""
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    return [needle for needle in needles if needle in shown]


def chain(error: BaseException | None, seen: set[int] | None = None) -> Iterator[BaseException]:
    """An exception and all that hang on it: causes, contexts (suppressed ones too), members of a group."""
    known = set() if seen is None else seen
    if error is None or id(error) in known:
        return
    known.add(id(error))
    yield error
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from chain(other, known)


def said_by(error: BaseException) -> str:
    """All that any tool could show of an exception: texts, notes, attributes, tracebacks with local variables."""
    parts: list[str] = []
    for each in chain(error):
        parts += [str(each), repr(each), *map(str, each.args), *getattr(each, "__notes__", ())]
        parts += [f"{name}={value!r}" for name, value in vars(each).items()]
        frames = _library_frames(each)
        told = traceback.TracebackException(type(each), each, frames, capture_locals=True, compact=False)
        parts += told.format()
        console = Console(file=io.StringIO(), width=4000, force_terminal=False)
        if frames is not None:
            shown = Traceback.from_exception(
                type(each), each, frames, show_locals=True, locals_max_length=1000, locals_max_string=1_000_000
            )
            console.print(shown)
            parts.append(str(getattr(console.file, "getvalue", str)()))
    return "\n".join(parts)


def _library_frames(error: BaseException) -> Any:
    """The traceback from the first frame of the library on. Those above it are the test's, which knows the secrets."""
    frames = error.__traceback__
    while frames is not None and "hitpaw_async" not in frames.tb_frame.f_globals.get("__name__", "").split("."):
        frames = frames.tb_next
    return frames


@attrs.define
class Log(logging.Handler):
    """Everything that is logged, formatted."""

    lines: list[str] = attrs.field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))

    def __hash__(self) -> int:
        return id(self)


@contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of all loggers concerned, at DEBUG."""
    handler = Log()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def pickled(value: object) -> bytes:
    """A value as it would leave the process; nothing where it refuses to."""
    try:
        return pickle.dumps(value)
    except TypeError as error:
        return str(error).encode()
