"""Torn and bit-flipped files: a journal that a process left half-way, damaged, and what the next process makes of it.

The process must end: with its work, or with an error of the library. And it must charge no video again whose row can
still be read, or whose loss can be seen. What is gone without a trace (a WAL without its end, a database of no bytes)
the mark in the lock file tells; should something be charged again all the same, it is counted.

    python -m tests.crashes.damage
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from tests.crashes.lane import Ending, Lane, kill_at
from tests.crashes.promises import ADMITTING, keys_of, rows_in
from tests.crashes.vendor import LastingVendor
from tests.crashes.worker import (
    ENDED,
    ENDED_BY_AN_ERROR_OF_THE_LIBRARY,
    JOURNAL,
    Order,
)

BUDGET: Final = 100
"""More than the videos cost: the budget must not be what prevents a second charge."""

NTH_MAX: Final = 100

_SUFFIXES: Final = ("", "-wal", "-journal")


class Damage(StrEnum):
    """What befalls a file."""

    BIT = "one bit flipped"
    BLOCK = "a sector of zeros"
    GARBAGE = "a sector of noise"
    TORN = "the end cut off"
    EMPTY = "emptied"


def damage(path: Path, kind: Damage, source: random.Random) -> None:
    """Damage a file that is not empty."""
    data = bytearray(path.read_bytes())
    position = source.randrange(len(data))
    sector = position - position % 512
    match kind:
        case Damage.BIT:
            data[position] ^= 1 << source.randrange(8)
        case Damage.BLOCK:
            data[sector : sector + 512] = bytes(len(data[sector : sector + 512]))
        case Damage.GARBAGE:
            data[sector : sector + 512] = source.randbytes(len(data[sector : sector + 512]))
        case Damage.TORN:
            del data[position:]
        case Damage.EMPTY:
            data.clear()
    path.write_bytes(data)


@attrs.define
class Summary:
    """What all damages come to."""

    endings: Counter[str] = attrs.field(factory=Counter)
    by_damage: dict[str, Counter[str]] = attrs.field(factory=dict)
    unknowing: Counter[str] = attrs.field(factory=Counter)
    """Journals with videos charged again whose rows were gone without a trace, by damage."""
    violations: list[str] = attrs.field(factory=list)

    def text(self) -> str:
        """The figures."""
        lines = [f"{self.endings.total()} damaged journals", f"endings: {_listed(self.endings)}"]
        lines += [f"    {name}: {_listed(counts)}" for name, counts in sorted(self.by_damage.items())]
        lines.append(f"charged again, the row gone without a trace: {_listed(self.unknowing) or 'none'}")
        return "\n".join([*lines, f"{len(self.violations)} violations", *self.violations[:30]])


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


class DamageRun:
    """Journals damaged on one vendor. `folder` keeps what broke a promise."""

    def __init__(self, lane: Lane, vendor: LastingVendor, folder: Path, source: random.Random) -> None:
        self._lane = lane
        self._vendor = vendor
        self._folder = folder
        self._source = source
        self.summary = Summary()

    def visit(self, number: int, kinds: tuple[Damage, ...] = tuple(Damage)) -> None:
        """Kill a process half-way, damage one of the journal's files, and start another process."""
        source = self._source
        name = f"damage-{number}"
        (self._folder / name).mkdir()
        order = Order(
            folder=str(self._folder / name),
            name=name,
            base_url=self._vendor.base_url,
            budget=BUDGET,
            is_wal=source.random() < 0.5,
        )
        call = source.choice(("pwrite64", "fdatasync", "ftruncate", "recvfrom", "sendto"))
        self._lane.run(order, *kill_at(call, source.randint(2, NTH_MAX)))
        files = [path for suffix in _SUFFIXES if _has_bytes(path := self._folder / name / f"{JOURNAL}{suffix}")]
        if not files:
            shutil.rmtree(order.folder)
            return
        path, kind = source.choice(files), source.choice(kinds)
        damage(path, kind, source)
        readable = _readable_keys(Path(order.folder))
        ending = self._lane.run(order)
        is_kept = self._judge(ending, order, readable, f"{path.name.removeprefix(JOURNAL) or 'database'}, {kind}")
        if not is_kept:
            shutil.rmtree(order.folder)

    def _judge(self, ending: Ending, order: Order, readable: set[str] | None, what: str) -> bool:
        """Whether a promise was broken."""
        summary = self.summary
        name = {ENDED: "went on", ENDED_BY_AN_ERROR_OF_THE_LIBRARY: "refused"}.get(ending.code, f"code {ending.code}")
        summary.endings[name] += 1
        summary.by_damage.setdefault(what, Counter())[name] += 1
        where = f"{order.name}: {what} ({'WAL' if order.is_wal else 'TRUNCATE'})"
        count = len(summary.violations)
        if name.startswith("code"):
            summary.violations.append(f"{where}: {'it hung' if ending.is_hung else name}\n{ending.log[-2500:]}")
        charges = self._vendor.charges()
        twice = {key for url, key in keys_of(order).items() if charges[url] > 1}
        if twice and readable is not None and not twice & readable:
            summary.unknowing[what] += 1
        elif twice:
            summary.violations.append(f"{where}: charged twice: {twice}\n{ending.log[-2500:]}")
        return len(summary.violations) > count


def _readable_keys(folder: Path) -> set[str] | None:
    """Keys whose rows still admit a charge; None where the damage can be seen."""
    try:
        return {row.key for row in rows_in(folder).values() if row.state in ADMITTING}
    except (sqlite3.DatabaseError, UnicodeError):
        return None


def _has_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def run_damages(count: int, *, seed: int, kinds: tuple[Damage, ...] = tuple(Damage)) -> Summary:
    """Damage `count` journals.

    Raises:
        TracingError: There is no tracing on this machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="damage-"))
    with LastingVendor() as vendor, Lane(folder) as lane:
        run = DamageRun(lane, vendor, folder, random.Random(seed))
        number = 0
        while run.summary.endings.total() < count:
            run.visit(number, kinds)
            number += 1
    if not run.summary.violations:
        shutil.rmtree(folder)
    return run.summary


def main() -> int:
    """Print figures. Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.damage", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_at_s = time.monotonic()
    summary = run_damages(arguments.count, seed=arguments.seed)
    sys.stdout.write(f"{summary.text()}\n{time.monotonic() - began_at_s:.0f} s\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
