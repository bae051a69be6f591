"""A folder that takes no results: nothing more is paid for, what is paid for is kept, and it goes on once mended."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async import BackgroundBatch, BatchLimits, DownloadError, ItemState
from hitpaw_async.download.part_file import require_storing
from tests.batch.laboratory import laboratory, names_in, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

DONE, FETCHING, SKIPPED = ItemState.DONE, ItemState.FETCHING, ItemState.SKIPPED
LIBRARY = [video(number) for number in range(24)]
FEW = BatchLimits(jobs_in_flight=4, submissions=1, downloads=1)


@attrs.define
class Disk:
    """What the file system answers to each write of a result."""

    failure: int | None = None
    left_bytes: int = 1 << 40

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.failure is not None:
            raise OSError(self.failure, os.strerror(self.failure))
        if self.left_bytes <= (1 << 20):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left_bytes -= len(data)
        return os.write(descriptor, data)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        failure = errno.ENOSPC if self.left_bytes < length else self.failure
        if failure is not None:
            raise OSError(failure, os.strerror(failure))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    fake: Any = type("os", (), {**vars(os), "write": disk.write, "posix_fallocate": disk.allocate})
    monkeypatch.setattr("hitpaw_async.download.part_file.os", fake)
    return disk


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE, errno.EDQUOT])
async def test_where_a_folder_takes_nothing_nothing_is_paid_for(tmp_path: Path, disk: Disk, failure: int) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    disk.failure = failure
    async with laboratory() as lab:
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
        assert lab.charged == {}
        assert {outcome.state for outcome in outcomes.values()} == {SKIPPED}
        assert "results can't be stored" in str(outcomes["0"].error)
        disk.failure = None
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
    assert {outcome.state for outcome in outcomes.values()} == {DONE}
    assert set(lab.charged.values()) == {1}


async def test_a_disk_that_fills_up_ends_the_paying(tmp_path: Path, disk: Disk) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    async with laboratory() as lab:
        disk.left_bytes = (1 << 20) + 5 * len(lab.simulator.result_bytes)
        async with lab.hitpaw.batch(journal=journal, output=output, limits=FEW) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
        states = [outcome.state for outcome in outcomes.values()]
        assert states.count(DONE) == 5
        assert 3 <= states.count(FETCHING) <= 3 + 4 + 1, "a few, and those that were at the vendor by then"
        assert len(lab.charged) == states.count(DONE) + states.count(FETCHING)
        disk.left_bytes = 1 << 40
        async with lab.hitpaw.batch(journal=journal, output=output, limits=FEW) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
    assert {outcome.state for outcome in outcomes.values()} == {DONE}
    assert set(lab.charged.values()) == {1}
    assert len(names_in(output)) == len(LIBRARY)


async def test_a_result_that_is_stored_after_all_lets_the_same_run_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = 0
    async with laboratory() as lab:
        fetch = lab.hitpaw._session.fetch_result

        async def fetch_result(*arguments: Any, **options: Any) -> Path:
            nonlocal stored
            stored += 1
            if stored <= 3:
                raise DownloadError("The share is gone.", is_unstored=True)
            return await fetch(*arguments, **options)

        monkeypatch.setattr(lab.hitpaw._session, "fetch_result", fetch_result)
        async with lab.hitpaw.batch(output=tmp_path, limits=BatchLimits(jobs_in_flight=5, downloads=1)) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
    states = [outcome.state for outcome in outcomes.values()]
    assert (states.count(FETCHING), states.count(DONE)) == (3, len(LIBRARY) - 3)
    assert set(lab.charged.values()) == {1}


async def test_one_result_that_is_too_large_for_a_disk_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with laboratory() as lab:
        fetch = lab.hitpaw._session.fetch_result

        async def fetch_result(url: str, path: Path, **options: Any) -> Path:
            if path.name in {"1.mp4", "2.mp4", "9.mp4"}:
                raise DownloadError("The file is too large.", is_unstored=True)
            return await fetch(url, path, **options)

        monkeypatch.setattr(lab.hitpaw._session, "fetch_result", fetch_result)
        async with lab.hitpaw.batch(output=tmp_path, limits=FEW) as batch:
            outcomes = await outcomes_of(batch, *LIBRARY)
    assert [outcome.state for outcome in outcomes.values()].count(DONE) == len(LIBRARY) - 3


@pytest.mark.parametrize("is_full_at_first", [False, True])
async def test_in_the_background_it_goes_on_by_itself(tmp_path: Path, disk: Disk, *, is_full_at_first: bool) -> None:
    async with laboratory() as lab:
        batch = lab.hitpaw.batch(journal=tmp_path / "journal.db", output=tmp_path / "out", limits=FEW)
        disk.left_bytes = 0 if is_full_at_first else (1 << 20) + 2 * len(lab.simulator.result_bytes)
        async with BackgroundBatch(batch, retry_after_s=0.05) as jobs:
            for request in LIBRARY:
                await jobs.submit(request)
            with anyio.fail_after(30):
                while not is_full_at_first and jobs.statistics().done < 2:  # noqa: ASYNC110 (it is others' work)
                    await anyio.sleep(0.01)
            await anyio.sleep(0.5)  # Nothing more may happen.
            charged = len(lab.charged)
            assert charged == 0 if is_full_at_first else 3 <= charged <= 2 + 3 + 4 + 1
            assert jobs.statistics().done == (0 if is_full_at_first else 2)
            disk.left_bytes = 1 << 40
            with anyio.fail_after(30):
                with jobs.events() as events:
                    async for _ in events:
                        if jobs.statistics().done == len(LIBRARY):
                            break
    assert set(lab.charged.values()) == {1}
    assert len(lab.charged) == len(LIBRARY)


def test_a_try_leaves_nothing_behind(tmp_path: Path) -> None:
    require_storing(tmp_path / "new")
    assert names_in(tmp_path / "new") == set()


def test_a_folder_that_is_none_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DownloadError, match="is a file, not a folder") as caught:
        require_storing(tmp_path / "file" / "out")
    assert caught.value.is_unstored
