"""What people and programs do to a journal's files, at random, while others work on it: nothing is paid twice.

    python -m tests.simulation.journal_files --seeds 1..500

A seed plays a few hands, each of which opens the journal by one of its names, as a process does, and submits videos to
a vendor that counts. In between, files are copied, put back, linked, removed, held and edited. Real files, real locks,
the real store; hands take turns, so that a seed is the same run each time.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import attrs

from hitpaw_async import ExportRequest
from hitpaw_async._core.itemstate import Accepted, Intended, Item, Reserved, Restarted, advance
from hitpaw_async.batch.journal import sqlite
from hitpaw_async.batch.journal import sqlite_errors as _errors
from hitpaw_async.batch.journal.opening import recover
from hitpaw_async.batch.journal.sqlite import SqliteStore
from hitpaw_async.errors import JournalError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Handling", "run_seed"]

VIDEOS: Final = 6
STEPS: Final = 30
NOW: Final = 1_800_000_000.0
CHARGEABLE: Final = frozenset(ItemState) - {ItemState.QUEUED, ItemState.RESERVED, ItemState.SKIPPED, ItemState.REJECTED}


class BrokenPromiseError(Exception):
    """A promise was broken; the first words name it."""


@attrs.define(eq=False)
class Hand:
    """A process that works on the journal."""

    store: SqliteStore
    name: Path
    run: int


@attrs.define(eq=False)
class Handling:
    """One seed: the folder, the vendor's charges, and who works on the journal."""

    seed: int
    folder: Path
    rng: random.Random = attrs.field(init=False)
    charges: Counter[str] = attrs.field(factory=Counter)
    said: set[str] = attrs.field(factory=set)
    """Videos that were accepted, and could not be written down: a person was told."""
    hands: list[Hand] = attrs.field(factory=list)
    happened: Counter[str] = attrs.field(factory=Counter)
    log: list[str] = attrs.field(factory=list)
    _holder: sqlite3.Connection | None = None
    _backups: int = 0

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(f"journal {self.seed}")
        (self.folder / "library").mkdir()

    @property
    def journal(self) -> Path:
        return self.folder / "library" / "journal.db"

    @property
    def has_content(self) -> bool:
        return self.journal.exists() and self.journal.stat().st_size > 0

    def play(self) -> None:
        """Play the seed.

        Raises:
            BrokenPromiseError: A promise was broken.
        """
        moves: list[tuple[Callable[[], None], int]] = [
            (self._open, 6),
            (self._submit, 14),
            (self._leave, 3),
            (self._die, 3),
            (self._back_up, 2),
            (self._put_back, 3),
            (self._remove_lock, 1),
            (self._replace, 1),
            (self._empty, 1),
            (self._hold, 2),
            (self._let_go, 3),
            (self._edit, 1),
        ]
        choices, weights = zip(*moves, strict=True)
        try:
            for _ in range(STEPS):
                self.rng.choices(choices, weights)[0]()
            self._let_go()
            self._look()
        finally:
            self._let_go()
            while self.hands:
                self._leave()

    def _note(self, what: str, detail: object = "") -> None:
        self.happened[what] += 1
        self.log.append(f"{what} {detail}".rstrip())

    def _names(self) -> list[Path]:
        """The journal's name, and others that lead to it."""
        library = self.journal.parent
        names = [self.journal, self.journal]
        symlink, linked = library / "other.db", self.folder / "linked"
        if not symlink.is_symlink():
            symlink.symlink_to(self.journal)
        if not linked.is_symlink():
            linked.symlink_to(library)
        names += [symlink, linked / self.journal.name]
        if self.has_content:
            hard = library / "hard.db"
            hard.unlink(missing_ok=True)
            os.link(self.journal, hard)
            names.append(hard)
            copy = self.folder / "copy.db"
            if not copy.exists() or self.rng.random() < 0.5:
                shutil.copy(self.journal, copy)
            names.append(copy)
        return names

    def _open(self) -> None:
        if len(self.hands) == 2:
            return
        name = self.rng.choice(self._names())
        try:
            store = SqliteStore(name)
            with store.transaction():
                run, _ = recover(store, now=NOW)
        except JournalError as error:
            self._note("refused", f"{name.name}: {str(error)[:60]}")
            return
        if self._holder is not None:
            store.hurry(0)
        self.hands.append(Hand(store, name, run))
        self._note("opened", name.name)

    def _submit(self) -> None:
        if not self.hands:
            return
        hand = self.rng.choice(self.hands)
        request = ExportRequest(f"https://videos.test/{self.rng.randrange(VIDEOS)}.mp4", model=17, resolution="1x1")
        key = request.key
        try:
            item = self._taken(hand, request)
            if item is None:
                return
            if self.rng.random() < 0.1:
                self._edit()
            sending = advance(advance(item, Reserved(1)), Intended())
            with hand.store.transaction():
                hand.store.put(sending)
        except JournalError as error:
            self._note("not sent", str(error)[:60])
            self._end(hand)
            return
        self.charges[key] += 1
        self._note("charged", key[:6])
        if self.charges[key] > 1:
            raise BrokenPromiseError(f"I1: {key} is charged {self.charges[key]} times")
        if self.rng.random() < 0.2:
            self._die_of(hand)
            return
        if self.rng.random() < 0.2:
            self._hold()
        job_id = f"job-{key}-{self.charges[key]}"
        try:
            with hand.store.transaction():
                hand.store.put(advance(sending, Accepted(job_id, NOW)))
        except JournalError as error:
            self.said.add(key)
            self._note("said", str(error)[:60])
            self._end(hand)

    def _taken(self, hand: Hand, request: ExportRequest) -> Item | None:
        """The item of a video, where it is to be submitted."""
        with hand.store.transaction():
            item = hand.store.get(request.key)
            if item is None:
                item = Item(key=request.key, request=request, queued_at=NOW, run=hand.run)
                hand.store.add(item)
            elif item.state is ItemState.QUEUED and item.run != hand.run:
                item = advance(item, Restarted(hand.run, NOW))
                hand.store.put(item)
        return item if item.state is ItemState.QUEUED else None

    def _end(self, hand: Hand) -> None:
        self.hands.remove(hand)
        hand.store.close()

    def _leave(self) -> None:
        if self.hands:
            self._note("left")
            self._end(self.rng.choice(self.hands))

    def _die(self) -> None:
        if self.hands:
            self._die_of(self.rng.choice(self.hands))

    def _die_of(self, hand: Hand) -> None:
        """Let go of everything, as the system does for who is killed: what was committed stays."""
        self._note("died")
        self._end(hand)

    def _back_up(self) -> None:
        if self.journal.exists():
            self._backups += 1
            shutil.copytree(self.journal.parent, self.folder / f"backup-{self._backups}", symlinks=True)
            self._note("backed up", self._backups)

    def _put_back(self) -> None:
        """Restore a backup, whole, over what is there; nobody does that while the journal is open, but by mistake."""
        if not self._backups or (self.hands and self.rng.random() < 0.8):
            return
        number = self.rng.randint(1, self._backups)
        shutil.rmtree(self.journal.parent)
        shutil.copytree(self.folder / f"backup-{number}", self.journal.parent, symlinks=True)
        self._note("put back", number)

    def _remove_lock(self) -> None:
        if not self.has_content:
            return  # who removes it then means it so, and is told what follows
        for name in (self.journal.name, "hard.db"):
            (self.journal.parent / f"{name}.lock").unlink(missing_ok=True)
        self._note("lock removed")

    def _replace(self) -> None:
        """Put a copy in the journal's place: another file of that name."""
        if self.journal.exists():
            copy = self.journal.with_name("copy-of-journal")
            shutil.copy(self.journal, copy)
            copy.replace(self.journal)
            self._note("replaced")

    def _empty(self) -> None:
        """The journal is lost: an empty file, or none, is in its place, and its lock file beside it."""
        lock = self.journal.with_name(f"{self.journal.name}.lock")
        has_mark = lock.exists() and lock.stat().st_size > 0
        if self.has_content and has_mark and not self.hands:
            self.journal.unlink()
            if self.rng.random() < 0.5:
                self.journal.touch()
            self._note("emptied")

    def _hold(self) -> None:
        """Another program holds the journal: a browser of databases."""
        if self._holder is not None or not self.journal.exists():
            return
        connection = sqlite3.connect(self.journal, isolation_level=None, timeout=0)
        try:
            connection.execute("BEGIN IMMEDIATE" if self.rng.random() < 0.5 else "BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.Error:
            connection.close()
            return
        self._holder = connection
        for hand in self.hands:
            hand.store.hurry(0)
        self._note("held")

    def _let_go(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
            self._note("let go")

    def _edit(self) -> None:
        """Another program changes rows: they have newer versions then."""
        if self._holder is not None or not self.journal.exists():
            return
        try:
            with closing(sqlite3.connect(self.journal, timeout=0)) as connection, connection:
                connection.execute("UPDATE items SET version = version + 5 WHERE state = 'queued'")
        except sqlite3.Error:
            return
        self._note("edited")

    def _look(self) -> None:
        """Each charge is in the journal, or was said; or the journal is refused, and a person is told why."""
        while self.hands:
            self._leave()
        try:
            store = SqliteStore(self.journal)
        except JournalError as error:
            self._note("refused at last", str(error)[:60])
            return
        try:
            with store.transaction():
                recover(store, now=NOW)
            for key in self.charges:
                item = store.get(key)
                if item is None or item.state not in CHARGEABLE:
                    raise BrokenPromiseError(f"I3: {key} is charged, and is {item and item.state}")
        finally:
            store.close()
        self._note("looked at")


@contextmanager
def _quick() -> Iterator[None]:
    """Nobody waits for long, and nothing is flushed."""
    with ExitStack() as stack:
        for module, name, value in (
            (_errors, "TRY_S", 0.001),
            (_errors, "HURRIED_S", 0.0),
            (_errors, "HELD_MAX_S", 0.01),
            (sqlite, "TRY_S", 0.001),
            (sqlite, "HELD_ASIDE_S", 0.001),
        ):
            stack.enter_context(patch.object(module, name, value))
        stack.enter_context(patch("os.fsync", lambda _: None))
        yield


def run_seed(seed: int) -> tuple[Handling, str | None]:
    """Play a seed. Returns it, and the promise that was broken, if one was."""
    memory = Path("/dev/shm")
    parent = str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="hitpaw-journal-files-") as folder, _quick():
        state = {"HITPAW_STATE_DIR": str(Path(folder) / "state")}
        handling = Handling(seed, Path(folder))
        with patch.dict(os.environ, state):
            try:
                handling.play()
            except BrokenPromiseError as error:
                return handling, str(error)
            except Exception as error:  # noqa: BLE001 (what escapes is the finding)
                return handling, f"I10: {error!r}"
    return handling, None


def main() -> int:
    """Play seeds, print figures. Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.journal_files", description=__doc__)
    parser.add_argument("--seeds", default="1..200", help="a range A..B, both included")
    parser.add_argument("--until-violation", action="store_true", help="stop at the first broken promise")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("..")
    began_at, broken, happened = time.monotonic(), 0, Counter[str]()
    for seed in range(int(first), int(last or first) + 1):
        handling, violation = run_seed(seed)
        happened += handling.happened
        if violation is not None:
            broken += 1
            sys.stdout.write("\n".join(f"    {line}" for line in handling.log) + f"\nseed {seed} broke {violation}\n")
            if arguments.until_violation:
                break
    told = ", ".join(f"{count} {what}" for what, count in happened.most_common())
    sys.stdout.write(f"{told}\n{broken} violations in {time.monotonic() - began_at:.1f} s\n")
    return 1 if broken else 0


if __name__ == "__main__":
    logging.getLogger("hitpaw_async").setLevel(logging.CRITICAL + 1)
    sys.exit(main())
