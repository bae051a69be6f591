"""Results of paid jobs that are late, refused, replaced by a text, or in a folder that others write to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from hitpaw_async import DownloadError, ItemState
from hitpaw_async._core import refusals
from tests.batch.laboratory import Laboratory, laboratory, names_in, outcomes_of, video

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

DONE, FAILED, FETCHING = ItemState.DONE, ItemState.FAILED, ItemState.FETCHING
DENIED = "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"


def refusing(status: int, times: int | None = None) -> dict[str, object]:
    rule: dict[str, object] = {"call": "result", "do": "reply", "status": status}
    return rule if times is None else {**rule, "times": times}


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PAUSE_FIRST_S", 0.02)


@pytest.mark.usefixtures("_looks_often")
@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_result_that_is_late_is_fetched_in_the_same_run(tmp_path: Path, status: int) -> None:
    async with laboratory(refusing(status, times=4), gone_after_s=60) as lab:
        async with lab.hitpaw.batch(output=tmp_path) as batch:
            outcomes = await outcomes_of(batch, video("a"))
    assert outcomes["a"].state is DONE
    assert lab.charged == {"a": 1}
    assert (tmp_path / "a.mp4").read_bytes() == lab.simulator.result_bytes


@pytest.mark.usefixtures("_looks_often")
async def test_a_late_result_holds_no_other_up(tmp_path: Path) -> None:
    landed: list[str] = []
    async with laboratory(refusing(404, times=4), gone_after_s=60) as lab:
        async with lab.hitpaw.batch(output=tmp_path) as batch:
            async for outcome in batch.run(video(number) for number in range(8)):
                landed.append(outcome.key)
                assert outcome.state is DONE
    assert len(landed) == 8


@pytest.mark.parametrize(("status", "state"), [(404, FAILED), (410, FAILED), (403, FETCHING)])
async def test_a_result_counts_as_lost_only_where_its_host_says_so_all_the_time(
    tmp_path: Path, status: int, state: ItemState
) -> None:
    journal = tmp_path / "journal.db"
    async with laboratory(refusing(status), gone_after_s=0.2) as lab:
        began = anyio.current_time()
        async with lab.hitpaw.batch(journal=journal, output=tmp_path / "out") as batch:
            outcomes = await outcomes_of(batch, video("a"))
        assert anyio.current_time() - began > 0.2
    assert outcomes["a"].state is state
    assert isinstance(outcomes["a"].error, DownloadError)
    assert names_in(tmp_path / "out") == set()


async def test_a_text_in_place_of_a_video_is_never_done(tmp_path: Path) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    async with laboratory({"call": "result", "do": "reply", "status": 200, "body": DENIED, "times": 40}) as lab:
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch, video("a"))
        assert outcomes["a"].state is FETCHING
        assert names_in(output) == set()
    assert lab.charged == {"a": 1}


async def stopped_before_its_record(lab: Laboratory, journal: Path, output: Path) -> None:
    """A run that ends between the download and its record."""
    with anyio.CancelScope() as power_cut:

        async def die(*_: object, **__: object) -> None:
            power_cut.cancel()
            await anyio.sleep_forever()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lab.hitpaw._session, "fetch_result", die)
            async with lab.hitpaw.batch(journal=journal, output=output) as batch:
                await outcomes_of(batch, video("a"))


async def test_another_jobs_result_of_the_same_length_is_not_taken_for_ours(tmp_path: Path) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "out"
    async with laboratory() as lab:
        await stopped_before_its_record(lab, journal, output)
        ours = lab.simulator.result_bytes
        theirs = ours[:-1] + b"?"
        (output / "a.mp4").write_bytes(theirs)
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch)
    path = outcomes["a"].path
    assert outcomes["a"].state is DONE
    assert path is not None
    assert path.read_bytes() == ours
    assert (output / "a.mp4").read_bytes() == theirs
    assert len(names_in(output)) == 2


async def test_where_others_took_all_names_it_gets_one_more(tmp_path: Path) -> None:
    """Several journals of one list in one folder: the key's digest is the same in each."""
    paths: list[Path | None] = []
    output = tmp_path / "out"
    async with laboratory() as lab:
        for number in range(4):
            # None knows of the others' names: the folder is empty when the name is chosen.
            async with lab.hitpaw.batch(journal=tmp_path / f"{number}.db", output=output) as batch:
                await batch.enqueue([video("a")])
        for number in range(4):
            async with lab.hitpaw.batch(journal=tmp_path / f"{number}.db", output=output) as batch:
                paths += [outcome.path async for outcome in batch.run()]
    assert len(set(paths)) == 4
    assert names_in(output) == {path.name for path in paths if path}


@pytest.mark.parametrize("target", ["../escaped/x.mp4", "/tmp/abs/y.sh", "a/b.mp4", "..", "", "x\0.mp4", ".hidden"])
async def test_a_name_in_a_journal_does_not_lead_out_of_the_folder(tmp_path: Path, target: str) -> None:
    journal, output = tmp_path / "journal.db", tmp_path / "a" / "out"
    async with laboratory() as lab:
        await stopped_before_its_record(lab, journal, output)
        await anyio.to_thread.run_sync(_rename_target, journal, target)
        async with lab.hitpaw.batch(journal=journal, output=output) as batch:
            outcomes = await outcomes_of(batch)
    path = outcomes["a"].path
    assert path is not None
    assert path.parent == output
    assert names_in(output) == {path.name}
    assert names_in(tmp_path / "a") == {"out"}


def _rename_target(journal: Path, target: str) -> None:
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE items SET target = ?", (target,))
