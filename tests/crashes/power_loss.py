"""Power lost at every step of a batch: what a disk would hold, replayed from a trace, and what the journal says then.

Only what was synced is kept. Three ways in which a file system may treat what was not:

- strict: a name is there only once its folder was synced, at the latest with its own
- lenient: syncing a new file keeps its name too, as ext4, XFS and Btrfs do
- torn: lenient, and of the writes that were not synced, each is there or isn't, by chance

    python -m tests.crashes.power_loss
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import attrs

from tests.crashes.lane import Lane
from tests.crashes.promises import ADMITTING, Row, keys_of, read_rows
from tests.crashes.vendor import RESULT_BYTES, LastingVendor
from tests.crashes.worker import JOURNAL, RESULTS, Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TRACED: Final = (
    "openat,close,write,pwrite64,lseek,ftruncate,fsync,fdatasync,link,linkat,rename,unlink,unlinkat,mkdir,sendto"
)
_CHANGING: Final = frozenset(TRACED.split(",")) - {"openat", "close", "lseek"}
STRING_BYTES_MAX: Final = 300_000
_RANKS: Final = {"queued": 0, "submitting": 1, "submitted": 2, "uncertain": 2, "fetching": 3, "done": 4}


class Model(StrEnum):
    """How a file system treats what was not synced."""

    STRICT = "strict"
    LENIENT = "lenient"
    TORN = "torn"


@attrs.frozen
class Call:
    """The beginning of a system call, or its end, where it succeeded."""

    thread: str
    name: str
    arguments: str
    result: int | None = None
    """What it returned; None: it begins."""

    @property
    def begins(self) -> bool:
        return self.result is None


_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*?),? *<unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")


def calls_in(trace: str) -> Iterator[Call]:
    """The calls of a trace, each at its beginning and at its end."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if found := _WHOLE.match(line):
            thread, name, arguments, result = found.groups()
            yield Call(thread, name, arguments)
        elif found := _BEGUN.match(line):
            begun[found[1]] = found[3]
            yield Call(found[1], found[2], found[3])
            continue
        elif found := _RESUMED.match(line):
            thread, name, rest, result = found.groups()
            arguments = begun.pop(thread) + rest
        else:
            continue
        if int(result) >= 0:
            yield Call(thread, name, arguments, int(result))


def _bytes_of(arguments: str, index: int = 0) -> bytes:
    quoted = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)[index]
    return bytes.fromhex(quoted.replace("\\x", ""))


def _path_of(arguments: str, index: int = 0) -> str:
    return _bytes_of(arguments, index).decode()


def _last_number(arguments: str) -> int:
    return int(arguments.rpartition(",")[2])


@attrs.define(eq=False)
class Inode:
    """A file's bytes: as programs see them, as a disk is sure to hold them, and the changes in between."""

    data: bytearray = attrs.field(factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = attrs.field(factory=list)
    """Writes (an offset and bytes) and cuts (a length and None) since the last sync."""

    def change(self, change: tuple[int, bytes | None]) -> None:
        self.unsynced.append(change)
        _apply(self.data, change)

    def torn(self, source: random.Random) -> bytes:
        data = bytearray(self.durable)
        for change in self.unsynced:
            if source.random() < 0.5:
                _apply(data, change)
        return bytes(data)


def _apply(data: bytearray, change: tuple[int, bytes | None]) -> None:
    position, written = change
    if len(data) < position:
        data.extend(bytes(position - len(data)))
    if written is None:
        del data[position:]
    else:
        data[position : position + len(written)] = written


@attrs.define(eq=False)
class _Opened:
    path: str
    inode: Inode | None
    """None: a folder."""
    position: int = 0


class Disk:
    """Files below one folder, followed through a trace."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: dict[str, Inode | None] = {}
        self._strict: dict[str, Inode | None] = {}
        self._lenient: dict[str, Inode | None] = {}
        self._opened: dict[int, _Opened] = {}
        self._syncing: dict[str, tuple[bytes, int]] = {}

    def follow(self, call: Call) -> None:
        handler = getattr(self, f"_{call.name}", None)
        if call.name in ("fsync", "fdatasync"):
            self._sync(call)
        elif handler is not None and call.begins is (call.name == "close"):
            # A number is free again before `close` has returned, and another thread may have got it.
            handler(call)

    def kept(self, model: Model, source: random.Random) -> dict[str, bytes | None]:
        """What the disk holds after a power loss now: paths with their bytes; None for a folder."""
        names = self._strict if model is Model.STRICT else self._lenient
        return {
            path: None if inode is None else inode.torn(source) if model is Model.TORN else inode.durable
            for path, inode in names.items()
            if self._has_parents(path, names)
        }

    def _has_parents(self, path: str, names: Mapping[str, Inode | None]) -> bool:
        parents = [str(parent) for parent in PurePosixPath(path).parents]
        return all(parent in names for parent in parents if parent.startswith(f"{self._root}/"))

    def _is_ours(self, path: str) -> bool:
        return path.startswith(f"{self._root}/") or path == self._root

    def _openat(self, call: Call) -> None:
        assert call.result is not None
        path = _path_of(call.arguments)
        if not self._is_ours(path):
            self._opened.pop(call.result, None)
            return
        if "O_DIRECTORY" in call.arguments or path == self._root:
            self._opened[call.result] = _Opened(path, None)
            return
        inode = self._names.get(path)
        if inode is None:
            if "O_CREAT" not in call.arguments:
                return  # a folder, opened to be synced
            inode = self._names[path] = Inode()
        if "O_TRUNC" in call.arguments:
            inode.change((0, None))
        self._opened[call.result] = _Opened(path, inode)

    def _close(self, call: Call) -> None:
        self._opened.pop(int(call.arguments), None)

    def _of(self, call: Call) -> _Opened | None:
        return self._opened.get(int(call.arguments.partition(",")[0]))

    def _pwrite64(self, call: Call) -> None:
        opened = self._of(call)
        if opened is not None and opened.inode is not None:
            opened.inode.change((_last_number(call.arguments), _bytes_of(call.arguments)[: call.result]))

    def _write(self, call: Call) -> None:
        opened = self._of(call)
        if opened is not None and opened.inode is not None:
            opened.inode.change((opened.position, _bytes_of(call.arguments)[: call.result]))
            opened.position += call.result or 0

    def _lseek(self, call: Call) -> None:
        opened = self._of(call)
        if opened is not None:
            opened.position = call.result or 0

    def _ftruncate(self, call: Call) -> None:
        opened = self._of(call)
        if opened is not None and opened.inode is not None:
            opened.inode.change((_last_number(call.arguments), None))

    def _sync(self, call: Call) -> None:
        """What was written before a sync began is durable once it has returned."""
        opened = self._of(call)
        if opened is None:
            return
        if opened.inode is None:
            if not call.begins:
                self._sync_folder(opened.path)
        elif call.begins:
            self._syncing[call.thread] = (bytes(opened.inode.data), len(opened.inode.unsynced))
        else:
            opened.inode.durable, count = self._syncing.pop(call.thread)
            del opened.inode.unsynced[:count]
            if self._names.get(opened.path) is opened.inode:
                self._keep_name(opened.path)

    def _keep_name(self, path: str) -> None:
        self._lenient[path] = self._names[path]
        for parent in map(str, PurePosixPath(path).parents):
            if parent in self._names:
                self._lenient[parent] = self._names[parent]

    def _sync_folder(self, folder: str) -> None:
        for names in (self._strict, self._lenient):
            for path in [path for path in names if str(PurePosixPath(path).parent) == folder]:
                del names[path]
            for path, inode in self._names.items():
                if str(PurePosixPath(path).parent) == folder:
                    names[path] = inode
            if folder in self._names and names is self._lenient:
                names[folder] = self._names[folder]

    def _mkdir(self, call: Call) -> None:
        path = _path_of(call.arguments)
        if self._is_ours(path):
            self._names[path] = None

    def _link(self, call: Call) -> None:
        old, new = _path_of(call.arguments), _path_of(call.arguments, 1)
        if old in self._names:
            self._names[new] = self._names[old]

    _linkat = _link

    def _rename(self, call: Call) -> None:
        old, new = _path_of(call.arguments), _path_of(call.arguments, 1)
        if old in self._names:
            self._names[new] = self._names.pop(old)

    def _unlink(self, call: Call) -> None:
        self._names.pop(_path_of(call.arguments), None)

    _unlinkat = _unlink


@attrs.define
class Told:
    """What the outside world has been told so far: the caller of the library, and the vendor."""

    acknowledged: dict[str, str] = attrs.field(factory=dict)
    """The furthest state that was reported, by key."""
    sent: set[str] = attrs.field(factory=set)
    """URLs whose export has begun to leave."""

    def follow(self, call: Call) -> bool:
        """Whether this call told something. What is being told counts as told."""
        if not call.begins or call.name not in ("write", "sendto") or '"' not in call.arguments:
            return False
        data = _bytes_of(call.arguments)
        if call.name == "sendto":
            found = re.search(rb'"video_url": ?"([^"]+)"', data)
            self.sent.update([found[1].decode()] if found else [])
            return found is not None
        if not call.arguments.startswith("1,") or not data.startswith(b"ACK "):
            return False
        _, state, key = data.decode().split()
        if _RANKS[state] >= _RANKS.get(self.acknowledged.get(key, "queued"), 0):
            self.acknowledged[key] = state
        return True


@attrs.define
class Verdict:
    """What the replay of one trace found."""

    points: int = 0
    acknowledged: int = 0
    """Points right at an acknowledgement or a send."""
    problems: Counter[str] = attrs.field(factory=Counter)
    examples: list[str] = attrs.field(factory=list)
    syncs: int = 0

    def blame(self, problem: str, example: str) -> None:
        if not self.problems[problem]:
            self.examples.append(f"{problem}: {example}")
        self.problems[problem] += 1


def replayed(trace: str, order: Order, model: Model, *, seed: int = 1, every: int = 1) -> Verdict:
    """Lose power at each call that told the world something, and after `every` so many that changed a file."""
    source, verdict, told = random.Random(seed), Verdict(), Told()
    disk = Disk(order.folder)
    known: dict[int, dict[str, Row] | str] = {}
    keys = keys_of(order)
    changes = 0
    for number, call in enumerate(calls_in(trace)):
        disk.follow(call)
        verdict.syncs += call.name in ("fsync", "fdatasync") and not call.begins
        has_told = told.follow(call)
        if not has_told and (call.begins or call.name not in _CHANGING):
            continue
        changes += not has_told
        if not has_told and changes % every:
            continue
        verdict.points += 1
        verdict.acknowledged += has_told
        kept = disk.kept(model, source)
        journal = {path: data for path, data in kept.items() if PurePosixPath(path).name.startswith(JOURNAL)}
        state = hash(tuple(sorted((path, data or b"") for path, data in journal.items() if not path.endswith(".room"))))
        if state not in known:
            known[state] = _opened_after(journal, order)
        _judge(verdict, known[state], kept, told, keys, order, f"call {number} ({call.name})")
    assert told.sent, "the trace shows no export: nothing was tested"
    return verdict


def _opened_after(journal: Mapping[str, bytes | None], order: Order) -> dict[str, Row] | str:
    """The rows that the next process finds; a text where the journal is damaged."""
    with tempfile.TemporaryDirectory(prefix="power-loss-") as folder:
        for path, data in journal.items():
            if not path.endswith((".room", ".lock", "-shm")):
                Path(folder, PurePosixPath(path).name).write_bytes(data or b"")
        try:
            return read_rows(Path(folder, JOURNAL))
        except sqlite3.DatabaseError as error:
            return str(error)


def _judge(
    verdict: Verdict,
    rows: dict[str, Row] | str,
    kept: Mapping[str, bytes | None],
    told: Told,
    keys: Mapping[str, str],
    order: Order,
    where: str,
) -> None:
    if isinstance(rows, str):
        verdict.blame("journal damaged", f"{where}: {rows}")
        return
    for key, state in told.acknowledged.items():
        row = rows.get(key)
        if row is None or _RANKS[row.state] < _RANKS[state]:
            verdict.blame("acknowledged row lost", f"{where}: {state} was reported, the row is {row}")
    for url in told.sent:
        row = rows.get(keys[url])
        if row is None or row.state not in ADMITTING:
            verdict.blame("export without a row", f"{where}: {url} was sent, the row is {row}")
    for row in rows.values():
        if row.state == "done" and kept.get(str(row.path)) != RESULT_BYTES:
            verdict.blame("DONE without its file", f"{where}: {row.path}")
    for path, data in kept.items():
        name = PurePosixPath(path)
        if (
            name.parent == PurePosixPath(order.folder, RESULTS)
            and not name.name.startswith(".")
            and data != RESULT_BYTES
        ):
            verdict.blame("half a result", f"{where}: {path} has {len(data or b'')} bytes")


def traced(
    lane: Lane, vendor: LastingVendor, folder: Path, *, is_wal: bool, bug: str | None = None
) -> tuple[str, Order]:
    """Run a batch, undisturbed, and return its trace."""
    name = "wal" if is_wal else "truncate"
    place = folder / name
    place.mkdir()
    order = Order(folder=str(place), name=f"power-{name}", base_url=vendor.base_url, is_wal=is_wal, bug=bug)
    log = folder / f"{name}.trace"
    ending = lane.run(
        order, "-xx", "-s", str(STRING_BYTES_MAX), "-o", str(log), "-e", f"trace={TRACED}", "-e", "signal=none"
    )
    assert ending.is_finished, ending.log
    return log.read_text(), order


def verdicts(seeds: Sequence[int]) -> Iterator[tuple[str, Model, Verdict]]:
    """Trace both ways of the journal, and replay each under every model; the torn one once a seed.

    Raises:
        TracingError: There is no tracing on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="power-loss-") as scratch, LastingVendor() as vendor:
        folder = Path(scratch)
        with Lane(folder) as lane:
            for is_wal in (True, False):
                trace, order = traced(lane, vendor, folder, is_wal=is_wal)
                for model in Model:
                    for seed in seeds if model is Model.TORN else (0,):
                        yield "WAL" if is_wal else "TRUNCATE", model, replayed(trace, order, model, seed=seed)


def main() -> int:
    """Print a line for each way of the journal and each model. Returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.power_loss", description=__doc__)
    parser.add_argument("--torn-seeds", type=int, default=3, help="how often the torn model throws its dice")
    arguments = parser.parse_args()
    is_broken = False
    began_at_s = time.monotonic()
    for way, model, verdict in verdicts(range(1, arguments.torn_seeds + 1)):
        is_broken |= bool(verdict.problems)
        problems = ", ".join(f"{count} x {problem}" for problem, count in verdict.problems.items())
        told = f"{verdict.acknowledged} of them as something was told"
        lines = [
            f"{way:8} {model:8} {verdict.points} points, {told}, {verdict.syncs} syncs: {problems or 'nothing lost'}",
            *(f"    {example}" for example in verdict.examples),
        ]
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(f"{time.monotonic() - began_at_s:.0f} s\n")
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
