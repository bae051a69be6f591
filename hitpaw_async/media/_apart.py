"""A probe in a process of its own, with limits: what FFmpeg makes of a stranger's file cannot take the service along.

The process gets neither the key nor a network: it asks for the bytes of a URL, and this side reads them.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.abc
import attrs

from hitpaw_async._lacks import lack_of
from hitpaw_async._validators import between
from hitpaw_async.errors import ConfigurationError, InternalError, TransportError
from hitpaw_async.media._sources import RefusedError
from hitpaw_async.models import VideoFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["PREAMBLE", "QUESTION", "ProcessLimits", "Question", "facts_apart"]

QUESTION: Final = struct.Struct(">cQI")
"""Message of the process: R, a position and a count; or F, X or B, zero, and the length of the JSON that follows."""
PREAMBLE: Final = struct.Struct(">I")
"""Prefix of bytes sent to it: their count."""
JSON_BYTES_MAX: Final = 1 << 16
READ_BYTES_MAX: Final = 64 << 20
_MODULE: Final = "hitpaw_async.media._apart_process"
_RATES: Final = ("frame_rate", "peak_frame_rate", "frame_rate_max")
_OWN_PREFIX: Final = "HITPAW_"


@attrs.frozen(kw_only=True)
class ProcessLimits:
    """The limits of a process that probes one file. It takes some 0.3 s and 60 MB to start; Unix only.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    memory_bytes_max: int = attrs.field(default=1 << 30, validator=between(1 << 28, 1 << 40, whole=True))
    """Of address space, which is more than what is used: the libraries alone take 300 MB of it."""
    cpu_s_max: int = attrs.field(default=10, validator=between(1, 3600, whole=True))


@attrs.frozen(kw_only=True)
class Question:
    """Description of the source for the process."""

    path: str | None = None
    """A file that it opens itself; None: bytes that it asks for."""
    size_bytes: int | None = None
    sample_bytes_max: int = 0
    visits_max: int = 0


async def facts_apart(
    question: Question, limits: ProcessLimits, read_at: Callable[[int, int], Awaitable[bytes]]
) -> VideoFacts:
    """Read the facts of a source in a process of its own, which ends with this call.

    Raises:
        RefusedError: It is no video that can be used, or it took more than the limits.
        ConfigurationError: The process cannot be started here.
        TransportError: No file handle, or no memory, is left for one.
        InternalError: A bug is in the way.
        BaseException: Any exception of `read_at`.
    """
    if sys.platform == "win32":
        raise ConfigurationError("A process with limits needs Unix. Probe without `process`.")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_PREFIX)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    told = json.dumps({**attrs.asdict(question), **attrs.asdict(limits)}).encode()
    try:
        process = await anyio.open_process([sys.executable, "-m", _MODULE], stderr=subprocess.DEVNULL, env=environment)
    except OSError as error:
        lack = lack_of(error)
        reason = f"The process for a probe cannot be started ({error.strerror})."
    else:
        async with _Ended(process):
            return await _converse(process, told, limits, read_at)
    if lack is not None:
        raise TransportError(f"{reason} The source can't be read just now: {lack}.")
    raise ConfigurationError(f"{reason} Probe without `process`.")


@attrs.define
class _Ended:
    """A process that is killed at the end, whatever happens, and waited for."""

    _process: anyio.abc.Process

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                self._process.kill()
            await self._process.aclose()


async def _converse(
    process: anyio.abc.Process, told: bytes, limits: ProcessLimits, read_at: Callable[[int, int], Awaitable[bytes]]
) -> VideoFacts:
    assert process.stdin is not None
    assert process.stdout is not None
    answers = _Buffered(process.stdout)
    try:
        await process.stdin.send(PREAMBLE.pack(len(told)) + told)
        while True:
            kind, position, count = QUESTION.unpack(await answers.receive(QUESTION.size))
            if kind == b"R" and count <= READ_BYTES_MAX:
                data = await read_at(position, count)
                await process.stdin.send(PREAMBLE.pack(len(data)) + data)
                continue
            if kind not in (b"B", b"F", b"X") or count > JSON_BYTES_MAX:
                break
            text = json.loads(await answers.receive(count))
            if kind == b"F":
                return _facts(text)
            raise InternalError(*text) if kind == b"B" else RefusedError(str(text))
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    raise RefusedError(
        f"Reading it took more than {limits.memory_bytes_max >> 20} MiB of memory or {limits.cpu_s_max} s, or ended its"
        " process. It is damaged, or made to do so."
    )


@attrs.define
class _Buffered:
    _stream: anyio.abc.ByteReceiveStream
    _data: bytearray = attrs.field(factory=bytearray)

    async def receive(self, count: int) -> bytes:
        while len(self._data) < count:
            self._data += await self._stream.receive()
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken


def _facts(told: dict[str, Any]) -> VideoFacts:
    rates: dict[str, Any] = {name: Fraction(told[name]) for name in _RATES if told[name] is not None}
    return VideoFacts(**(told | rates))
