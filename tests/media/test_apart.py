"""A probe in a process of its own: the same facts, no key in it, and its limits end it alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from hitpaw_async.errors import ConfigurationError, InternalError, MediaError, TransportError
from hitpaw_async.media import ProcessLimits, _apart, probe_file
from tests.media import manners
from tests.media.callers import probe
from tests.media.studio import Recipe, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.media.manners import FileServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="limits are Unix's"),
]

LIMITS = ProcessLimits()
SPEEDS = Recipe(name="apart.mkv", rate=60, keeps=lambda number: number >= 60 or number % 4 == 0)


async def test_the_facts_are_those_of_a_probe_within_the_process(folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, SPEEDS, folder)
    url = origin.serve(await anyio.Path(path).read_bytes())
    expected = await anyio.to_thread.run_sync(probe_file, path)
    with anyio.fail_after(30):
        assert await probe(path, process=LIMITS) == expected
        assert await probe(url, process=LIMITS) == expected
    assert expected.peak_frame_rate == 60


async def test_a_refusal_is_said_as_within_the_process(tmp_path: Path, origin: FileServer) -> None:
    path = anyio.Path(tmp_path / "text.mp4")
    await path.write_text("no video " * 99)
    for source in (str(path), origin.serve(await path.read_bytes()), str(tmp_path / "absent.mp4")):
        with anyio.fail_after(30), pytest.raises(MediaError, match=r"It is text|No such file"):
            await probe(source, process=LIMITS)


async def test_a_network_that_fails_is_no_fault_of_the_file(folder: Path, origin: FileServer) -> None:
    path = await anyio.to_thread.run_sync(make, SPEEDS, folder)
    url = origin.serve(await anyio.Path(path).read_bytes(), manners.stall_after(0))
    with anyio.fail_after(30), pytest.raises(TransportError):
        await probe(url, process=LIMITS, timeout_s=2)
    with anyio.fail_after(30), pytest.raises(TransportError):
        await probe("http://127.0.0.1:9/a.mp4", process=LIMITS)


async def test_a_process_that_ends_ends_nothing_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "endless.py"
    package.write_text("while True: pass")
    monkeypatch.setattr(_apart, "_MODULE", "endless")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = await anyio.to_thread.run_sync(make, SPEEDS, folder)
    with anyio.fail_after(30), pytest.raises(TransportError, match="not read in"):
        await probe(path, process=LIMITS, timeout_s=1)
    package.write_text("import os; os.abort()")
    with anyio.fail_after(30), pytest.raises(MediaError, match="ended its process"):
        await probe(path, process=LIMITS)


async def test_a_bug_in_the_process_is_no_fault_of_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "buggy.py").write_text(
        "from hitpaw_async.media import _apart_process, _reading\n"
        "def look(*_, **__): raise KeyError('ours')\n"
        "_reading.look = look\n"
        "_apart_process.main()\n"
    )
    monkeypatch.setattr(_apart, "_MODULE", "buggy")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = await anyio.to_thread.run_sync(make, SPEEDS, folder)
    with anyio.fail_after(30), pytest.raises(InternalError, match="KeyError"):
        await probe(path, process=LIMITS)


async def test_the_process_does_not_have_the_key(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITPAW_API_KEY", "SECRET")
    seen = tmp_path / "seen"
    (tmp_path / "telling.py").write_text(f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))")
    monkeypatch.setattr(_apart, "_MODULE", "telling")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = await anyio.to_thread.run_sync(make, SPEEDS, folder)
    with anyio.fail_after(30), pytest.raises(MediaError):
        await probe(path, process=LIMITS)
    told = await anyio.Path(seen).read_text()
    assert "PYTHONPATH" in told
    assert "SECRET" not in told


@pytest.mark.parametrize("fields", [{"memory_bytes_max": 1}, {"cpu_s_max": 0}, {"cpu_s_max": 1.5}])
def test_limits_are_checked_when_they_are_made(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        ProcessLimits(**fields)
