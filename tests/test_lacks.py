"""A process that has run out of something says so: nothing is wrong with a file, a library or an installation then."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from hitpaw_async import ConfigurationError, MediaError, MissingExtraError, TransportError
from hitpaw_async._lacks import lack_of, unloadable
from hitpaw_async.batch.probe import TolerantProbe
from hitpaw_async.media import _apart, _reading, probe, probe_file
from hitpaw_async.media._apart import ProcessLimits
from hitpaw_async.simulator.clips import SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async import HitPawError

HANDLES, MEMORY = "no file handle is left", "no memory is left"


class LikeMemoryError(MemoryError):
    """As FFmpeg's own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EMFILE, "x"), HANDLES),
        (OSError(errno.ENFILE, "x"), HANDLES),
        (OSError(errno.ENOMEM, "x"), MEMORY),
        (MemoryError(), MEMORY),
        (ImportError(f"/lib/logging.so: cannot open shared object file: {os.strerror(errno.EMFILE)}"), HANDLES),
        (ImportError(f"/lib/logging.so: failed to map segment: {os.strerror(errno.ENOMEM)}"), MEMORY),
        (OSError(errno.ENOENT, "x"), None),
        (OSError("x"), None),
        (ImportError("no such symbol"), None),
        (LikeMemoryError(), None),
        (ValueError("x"), None),
    ],
)
def test_what_has_run_out(error: Exception, expected: str | None) -> None:
    said = lack_of(error)
    assert said is None if expected is None else (said is not None and said.startswith(expected))


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ModuleNotFoundError("no", name="av"), MissingExtraError, "pip install 'hitpaw-async[media]'"),
        (ModuleNotFoundError("no numpy", name="numpy"), ConfigurationError, "--force-reinstall"),
        (ImportError("wrong ELF class"), ConfigurationError, "wrong ELF class"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), TransportError, "ulimit -n"),
        (MemoryError(), TransportError, "no memory"),
    ],
)
def test_an_extra_that_can_not_be_loaded(error: ImportError, kind: type[HitPawError], says: str) -> None:
    failure = unloadable(error, purpose="It", name="PyAV", extra="media", modules=("av",))
    assert type(failure) is kind
    assert says in str(failure)


PROGRAM = """
import os, resource, sys
import anyio
import hitpaw_async.media
from hitpaw_async import AsyncHitPaw, HitPawError, TransportError

class Taker:
    "Takes all file handles when so many modules of PyAV's are loaded."
    count, taken = 0, []
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "av":
            self.count += 1
            while self.count >= int(sys.argv[2]) and not self.is_over:
                try:
                    self.taken.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    break
    is_over = False

async def main():
    async with AsyncHitPaw(api_key="key") as hitpaw:
        try:
            await hitpaw.probe(hitpaw_async.media.__file__)
        except HitPawError as error:
            print(type(error).__name__, error)

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
taker = Taker()
sys.meta_path.insert(0, taker)
anyio.run(main, backend=sys.argv[1])
taker.is_over = True
for handle in taker.taken:
    os.close(handle)
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("at", ["1", *(pytest.param(at, marks=pytest.mark.slow) for at in ("2", "3", "8", "30"))])
def test_without_a_file_handle_pyav_is_neither_missing_nor_broken(at: str, backend: str) -> None:
    """The source is no video: once there are handles again, that is what is said of it."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, backend, at], capture_output=True, text=True, check=True)
    without, later = ran.stdout.splitlines()
    assert without.startswith("TransportError PyAV could not be loaded just now: no file handle is left"), ran.stdout
    assert later.startswith("MediaError"), ran.stdout


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_file_that_can_not_be_opened_for_want_of_handles_is_not_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(TransportError, match="just now"):
        probe_file(path)


def test_memory_that_ran_out_while_reading_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_reading, "open_video", exhaust)
    with pytest.raises(TransportError, match="no memory is left"):
        probe_file(SAMPLE)


def test_memory_that_a_file_makes_ffmpeg_ask_for_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise LikeMemoryError

    monkeypatch.setattr(_reading, "open_video", exhaust)
    with pytest.raises(MediaError, match="FFmpeg"):
        probe_file(SAMPLE)


@pytest.mark.anyio
async def test_a_process_that_can_not_be_started_for_want_of_handles_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(anyio, "open_process", refuse)
    assert _apart.anyio is anyio
    with pytest.raises(TransportError, match="no file handle is left"):
        await probe(SAMPLE, process=ProcessLimits())


@pytest.mark.anyio
async def test_a_batch_that_nobody_asked_to_read_goes_on_without() -> None:
    """What is unknown is priced at its worst, as where the network fails: the batch goes on."""

    async def starved(_: str) -> None:
        raise TransportError("PyAV could not be loaded just now: no file handle is left.")

    with pytest.raises(TransportError):
        await TolerantProbe(starved)("https://videos.test/a.mp4")  # type: ignore[arg-type]
