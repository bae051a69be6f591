"""A short set of what the campaigns of this package do at length."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if sys.platform != "linux":
    pytest.skip("kills at system calls are a matter of Linux and its strace", allow_module_level=True)

from tests.crashes.campaign import Kind, run_campaign
from tests.crashes.damage import Damage, run_damages
from tests.crashes.io_faults import run_faults
from tests.crashes.lane import Lane, TracingError, kill_at
from tests.crashes.power_loss import Model, replayed, traced
from tests.crashes.promises import look_after_a_death, look_at_the_end, rows_in
from tests.crashes.vendor import LastingVendor
from tests.crashes.worker import ENDED, ENDED_BY_AN_ERROR_OF_THE_LIBRARY, JOURNAL, RESULTS, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    NewOrder = Callable[..., Order]


pytestmark = pytest.mark.slow


@pytest.fixture
def vendor() -> Iterator[LastingVendor]:
    with LastingVendor() as lasting:
        yield lasting


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    folder = tmp_path / "lane"
    folder.mkdir()
    with Lane(folder) as opened:
        yield opened


@pytest.fixture
def new_order(tmp_path: Path, vendor: LastingVendor) -> NewOrder:
    def make(name: str, **fields: object) -> Order:
        folder = tmp_path / name
        folder.mkdir()
        return Order(folder=str(folder), name=name, base_url=vendor.base_url, **fields)  # type: ignore[arg-type]

    return make


@pytest.fixture
def _tracing(lane: Lane, new_order: NewOrder) -> None:
    try:
        lane.run(new_order("is-there-tracing", videos=1), "-e", "trace=mkdir")
    except TracingError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_tracing")
def test_no_kill_point_charges_twice_or_loses_a_video() -> None:
    summary = run_campaign(25, kinds=list(Kind), seed=1)
    assert not summary.figures.violations
    assert summary.points.total() == 25
    assert summary.processes["killed"] >= 25
    assert summary.figures.done + summary.figures.uncertain >= 25 * 6


@pytest.mark.usefixtures("_tracing")
def test_a_kill_point_finds_an_intent_that_was_not_written(
    lane: Lane, vendor: LastingVendor, new_order: NewOrder
) -> None:
    violations: list[str] = []
    for nth in range(16, 40, 2):
        order = new_order(f"forgetful-{nth}", bug="no intent")
        lane.run(order, *kill_at("recvfrom", nth))
        if look_after_a_death(order, vendor.charges()).violations:
            lane.run(order)
            violations = look_at_the_end(order, vendor.charges()).violations
            break
    assert any("charged 2 times" in violation for violation in violations)


@pytest.mark.usefixtures("_tracing")
@pytest.mark.parametrize("is_wal", [True, False])
def test_no_acknowledged_row_is_lost_with_the_power(
    lane: Lane, vendor: LastingVendor, tmp_path: Path, *, is_wal: bool
) -> None:
    trace, order = traced(lane, vendor, tmp_path, is_wal=is_wal)
    for model in Model:
        verdict = replayed(trace, order, model, every=5 if model is Model.TORN else 1)
        assert not verdict.problems, (model, verdict.examples)
        assert verdict.acknowledged == 6 * 6, "five states and one send a video"


@pytest.mark.usefixtures("_tracing")
def test_the_replay_finds_a_journal_that_is_not_synced(lane: Lane, vendor: LastingVendor, tmp_path: Path) -> None:
    trace, order = traced(lane, vendor, tmp_path, is_wal=True, bug="no sync")
    verdict = replayed(trace, order, Model.LENIENT)
    assert verdict.problems["acknowledged row lost"]
    assert verdict.problems["export without a row"]


@pytest.mark.usefixtures("_tracing")
def test_a_failing_disk_ends_the_batch_in_order_and_loses_nothing() -> None:
    summary = run_faults(12, seed=1)
    assert not summary.figures.violations
    assert summary.endings["JournalError"]


def test_of_two_processes_on_one_journal_one_is_turned_away(
    lane: Lane, vendor: LastingVendor, new_order: NewOrder, tmp_path: Path
) -> None:
    order = new_order("shared")
    other_folder = tmp_path / "other-lane"
    other_folder.mkdir()
    with Lane(other_folder) as other_lane:
        lane.start(order)
        other_lane.start(order)
        endings = [lane.join(order), other_lane.join(order)]
    assert sorted(ending.code for ending in endings) == [ENDED, ENDED_BY_AN_ERROR_OF_THE_LIBRARY]
    assert "Another process works on this journal" in endings[0].log
    figures = look_at_the_end(order, vendor.charges())
    assert (figures.violations, figures.done) == ([], 6)


@pytest.mark.usefixtures("_tracing")
def test_a_process_that_was_killed_holds_no_journal(lane: Lane, vendor: LastingVendor, new_order: NewOrder) -> None:
    order = new_order("orphaned")
    assert lane.run(order, *kill_at("recvfrom", 10)).is_killed
    left = Path(order.folder, f"{JOURNAL}.room")
    assert left.exists()
    assert lane.run(order).is_finished
    assert not left.exists()
    assert not look_at_the_end(order, vendor.charges()).violations


@pytest.mark.usefixtures("_tracing")
def test_what_a_killed_download_left_is_gone_after_the_next(
    lane: Lane, vendor: LastingVendor, new_order: NewOrder
) -> None:
    """Killed between giving a result its name and removing the other one: the result is whole, and is not fetched."""
    order = new_order("parted", videos=1)
    assert lane.run(order, *kill_at("unlink", 1)).is_killed
    assert len(list(Path(order.folder, RESULTS).iterdir())) == 2
    assert not look_after_a_death(order, vendor.charges()).violations
    assert lane.run(order).is_finished
    assert [row.state for row in rows_in(Path(order.folder)).values()] == ["done"]
    more = attrs.evolve(order, videos=2)
    assert lane.run(more).is_finished
    figures = look_at_the_end(more, vendor.charges())
    assert (figures.violations, dict(figures.leftovers)) == ([], {})


@pytest.mark.usefixtures("_tracing")
@pytest.mark.parametrize("kind", list(Damage))
def test_a_damaged_journal_is_refused_or_goes_on_without_a_second_charge(kind: Damage) -> None:
    summary = run_damages(2, seed=1, kinds=(kind,))
    assert not summary.violations


def test_a_bit_flipped_in_an_index_is_seen_before_a_video_is_taken_for_new(
    lane: Lane, vendor: LastingVendor, new_order: NewOrder
) -> None:
    order = new_order("flipped", videos=2, budget=10)
    assert lane.run(order).is_finished
    journal = Path(order.folder, JOURNAL)
    data = bytearray(journal.read_bytes())
    key = next(iter(rows_in(Path(order.folder))))
    data[data.rindex(key.encode())] ^= 1
    journal.write_bytes(data)
    ending = lane.run(order)
    assert ending.code == ENDED_BY_AN_ERROR_OF_THE_LIBRARY
    assert "is damaged" in ending.log
    assert set(vendor.charges().values()) == {1}
