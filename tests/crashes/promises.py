"""What must hold in a folder after a process has died in it, and after the next one has finished the work."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from tests.crashes.vendor import RESULT_BYTES
from tests.crashes.worker import JOURNAL, LOG, RESULTS, Order, requests_of, urls_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ADMITTING: Final = {"submitting", "submitted", "fetching", "done", "failed", "uncertain"}
"""States that say: this may have been charged."""

_OURS: Final = {JOURNAL, f"{JOURNAL}.lock", RESULTS, LOG}


@attrs.frozen
class Row:
    """An item as the journal has it."""

    key: str
    state: str
    reserved_credits: int
    charged_credits: int
    path: str | None


@attrs.define
class Figures:
    """What was found in one folder, or in many."""

    violations: list[str] = attrs.field(factory=list)
    uncertain: int = 0
    uncertain_charged: int = 0
    done: int = 0
    leftovers: Counter[str] = attrs.field(factory=Counter)
    """Files that the last process left, by their kind. None may stand under a result's name."""

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)

    @property
    def states(self) -> str:
        """How the videos ended."""
        return f"{self.done} DONE, {self.uncertain} UNCERTAIN, of which {self.uncertain_charged} had been charged"

    def add(self, other: Figures) -> None:
        self.violations += other.violations
        self.uncertain += other.uncertain
        self.uncertain_charged += other.uncertain_charged
        self.done += other.done
        self.leftovers += other.leftovers


def rows_in(folder: Path) -> dict[str, Row]:
    """The rows of a journal by key, read from a copy: opening it would already be the first step of a resume.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="crash-copy-") as copy:
        for path in folder.glob(f"{JOURNAL}*"):
            if not path.name.endswith((".room", ".lock", "-shm")):
                shutil.copyfile(path, Path(copy, path.name))
        return read_rows(Path(copy, JOURNAL))


def read_rows(journal: Path) -> dict[str, Row]:
    """The rows of a journal by key. A half-done transaction in it is rolled back.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    if not journal.exists():
        return {}
    with closing(sqlite3.connect(journal)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'items'").fetchone():
            return {}
        rows = connection.execute("SELECT key, state, reserved_credits, charged_credits, path FROM items").fetchall()
    return {row[0]: Row(*row) for row in rows}


def keys_of(order: Order) -> dict[str, str]:
    """The videos' keys by their URLs."""
    return {request.video_url: request.key for request in requests_of(order.name, order.videos)}


def look_after_a_death(order: Order, charges: Mapping[str, int]) -> Figures:
    """What must hold at every moment, so also in what a dead process left."""
    figures = Figures()
    try:
        rows = rows_in(Path(order.folder))
    except sqlite3.DatabaseError as error:
        figures.violations.append(f"the journal is damaged: {error}")
        return figures
    _look_at_charges(figures, order, rows, charges)
    _look_at_results(figures, order, rows)
    return figures


def look_at_the_end(order: Order, charges: Mapping[str, int]) -> Figures:
    """What must hold once a process has finished the work: nothing is lost, nothing lies about."""
    figures = look_after_a_death(order, charges)
    if figures.violations:
        return figures
    rows = rows_in(Path(order.folder))
    for url, key in keys_of(order).items():
        row = rows.get(key)
        if row is None or row.state not in ("done", "uncertain"):
            figures.violations.append(f"{url} is lost: {row}")
            continue
        figures.done += row.state == "done"
        figures.uncertain += row.state == "uncertain"
        figures.uncertain_charged += row.state == "uncertain" and charges[url] > 0
        if row.state == "done":
            figures.require(charges[url] == 1, f"{url} is DONE and was charged {charges[url]} times")
            figures.require(row.path is not None and Path(row.path).is_file(), f"{url} is DONE without its file")
            figures.require(row.charged_credits == 1, f"{url} is DONE and books {row.charged_credits} credits")
        else:
            figures.require(row.reserved_credits == 1, f"{url} is UNCERTAIN and holds {row.reserved_credits} credits")
    figures.require(len(rows) == order.videos, f"{len(rows)} rows for {order.videos} videos")
    _look_for_leftovers(figures, Path(order.folder))
    return figures


def _look_at_charges(figures: Figures, order: Order, rows: Mapping[str, Row], charges: Mapping[str, int]) -> None:
    keys = keys_of(order)
    for url in urls_of(order.name, order.videos):
        figures.require(charges[url] <= 1, f"{url} was charged {charges[url]} times")
        row = rows.get(keys[url])
        if charges[url]:
            figures.require(row is not None, f"{url} was charged and has no row")
            figures.require(row is None or row.state in ADMITTING, f"{url} was charged and its row says {row}")
    total = sum(row.reserved_credits + row.charged_credits for row in rows.values())
    figures.require(total <= order.videos, f"{total} credits spent and reserved, of a budget of {order.videos}")


def _look_at_results(figures: Figures, order: Order, rows: Mapping[str, Row]) -> None:
    """A file under a result's name is complete; one that the journal calls DONE is there."""
    folder = Path(order.folder, RESULTS)
    for path in folder.glob("*"):
        if not path.name.startswith("."):
            figures.require(path.read_bytes() == RESULT_BYTES, f"{path.name} is not complete")
    for row in rows.values():
        if row.state == "done":
            figures.require(row.path is not None and Path(row.path).is_file(), f"{row.key} is DONE without its file")


def _look_for_leftovers(figures: Figures, folder: Path) -> None:
    names = {path.name for path in folder.iterdir()} - _OURS
    for name in names:
        if name == f"{JOURNAL}-journal" and not (folder / name).stat().st_size:
            continue  # So SQLite leaves it where it doesn't use a WAL.
        figures.leftovers[name.removeprefix(JOURNAL)] += 1
    figures.leftovers.update(".part" for _ in (folder / RESULTS).glob(".*.hitpaw.part"))
    results = [path for path in (folder / RESULTS).glob("*") if not path.name.startswith(".")]
    figures.require(len(results) == figures.done, f"{len(results)} results, {figures.done} videos DONE")
