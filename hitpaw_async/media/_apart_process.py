"""The process of `_apart`: it limits itself, reads one source, says what it is, and ends."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from hitpaw_async.errors import InternalError
from hitpaw_async.media._apart import PREAMBLE, QUESTION
from hitpaw_async.media._pyav import load_av
from hitpaw_async.media._reading import read_facts
from hitpaw_async.media._sources import LocalSource, RefusedError

if TYPE_CHECKING:
    from hitpaw_async.models import VideoFacts

__all__ = ["main"]


@attrs.frozen
class _AskedSource:
    """A source whose bytes the other side reads."""

    size_bytes: int | None
    sample_bytes_max: int
    visits_max: int

    def read_at(self, position: int, count: int) -> bytes:
        _say(b"R", position, count)
        return _receive(sys.stdin.buffer)


def main() -> None:
    """Answer the one question that comes on standard input."""
    told: dict[str, Any] = json.loads(_receive(sys.stdin.buffer))
    load_av()
    _limit(told["memory_bytes_max"], told["cpu_s_max"])
    try:
        facts = _read(told)
    except RefusedError as refusal:
        _say_text(b"X", str(refusal))
    except InternalError as error:
        _say_text(b"B", [error.kind, error.place])
    else:
        _say_text(b"F", {name: _plain(value) for name, value in attrs.asdict(facts).items()})


def _read(told: dict[str, Any]) -> VideoFacts:
    if told["path"] is None:
        return read_facts(_AskedSource(told["size_bytes"], told["sample_bytes_max"], told["visits_max"]))
    with LocalSource(told["path"]) as source:
        return read_facts(source)


def _limit(memory_bytes: int, cpu_s: int) -> None:
    import resource  # noqa: PLC0415 (Unix alone has it)

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Fraction) else value


def _receive(stream: BinaryIO) -> bytes:
    (count,) = PREAMBLE.unpack(stream.read(PREAMBLE.size))
    return stream.read(count)


def _say(kind: bytes, position: int, count: int) -> None:
    sys.stdout.buffer.write(QUESTION.pack(kind, position, count))
    sys.stdout.buffer.flush()


def _say_text(kind: bytes, value: object) -> None:
    text = json.dumps(value).encode()
    sys.stdout.buffer.write(QUESTION.pack(kind, 0, len(text)) + text)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
