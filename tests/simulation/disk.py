"""The simulated disk: a journal of which only committed transactions survive, threads in virtual time, result files."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs

from hitpaw_async.batch.file_names import NamesTaken
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.rows import from_row, to_row
from hitpaw_async.errors import DownloadError, JournalError, MediaError
from hitpaw_async.models import VideoFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hitpaw_async import AsyncHitPaw
    from hitpaw_async._core.itemstate import Item
    from tests.simulation.invariants import Invariants
    from tests.simulation.vendor import Vendor
    from tests.simulation.world import World

__all__ = ["DurableLog", "Results", "SimulatedStore", "Threads"]

T = TypeVar("T")

STRANGER = "a stranger's file"


@attrs.define(eq=False)
class DurableLog:
    """What is on the disk: every change that was ever committed, in order."""

    changes: list[Item] = attrs.field(factory=list)
    settings: dict[str, str] = attrs.field(factory=dict)
    items: dict[str, Item] = attrs.field(factory=dict)
    """What the changes add up to."""

    @property
    def spent_credits(self) -> int:
        return sum(item.charged_credits + item.written_off_credits for item in self.items.values())

    @property
    def reserved_credits(self) -> int:
        return sum(item.reserved_credits for item in self.items.values())

    def keys(self, *states: str) -> set[str]:
        """The keys of the items in these states."""
        return {key for key, item in self.items.items() if item.state in states}


class SimulatedStore(MemoryStore):
    """A store with the semantics of the one in memory, and the durability of the log.

    Args:
        world: Chance and death.
        log: Where commits go, and what it opens with.
        on_commit: Told of each transaction, as pairs of before and after.
    """

    is_blocking = True

    def __init__(
        self, world: World, log: DurableLog, *, on_commit: Callable[[Sequence[tuple[Item | None, Item]]], None]
    ) -> None:
        super().__init__()
        self._world = world
        self._log = log
        self._on_commit = on_commit
        self._changes: list[tuple[Item | None, Item]] = []
        self._restore([*replayed(log.changes).values()], log.settings)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._world.is_dead:
            raise JournalError("The dead write nothing.")
        items, settings = [*self._items.values()], dict(self._settings)
        self._changes = []
        try:
            yield
            self._fail("commit fails")
        except BaseException:
            self._restore(items, settings)
            raise
        self._commit()
        self._fail("commit fails after all")

    def add(self, item: Item) -> None:
        super().add(item)
        self._changes.append((None, item))

    def put(self, item: Item) -> None:
        before = self._items[item.key]
        super().put(item)
        after = self._items[item.key]
        if after is not before:
            self._changes.append((before, after))

    def _restore(self, items: Sequence[Item], settings: Mapping[str, str]) -> None:
        """Have these items, in the order of their arrival, and nothing else."""
        super().__init__()
        for item in items:
            super().add(item)
            if item.job_id is not None:
                self._keys_by_job[item.job_id] = item.key
            if item.hook_digest is not None:
                self._keys_by_hook[item.hook_digest] = item.key
        self._settings.update(settings)

    def _fail(self, how: str) -> None:
        if self._changes and self._world.chance(how):
            self._world.note(f"disk: {how}")
            self._world.is_cut_short = True
            raise JournalError("The simulated disk is full.")

    def _commit(self) -> None:
        self._log.settings.update(self._settings)
        if not self._changes:
            return
        for _, after in self._changes:
            self._log.changes.append(after)
            self._log.items[after.key] = after
            self._world.note(f"disk: {shown(after)}")
        self._on_commit(self._changes)


def shown(item: Item) -> str:
    """An item on one line of the log."""
    return (
        f"{item.key} {item.state} v{item.version} run {item.run} reserved {item.reserved_credits} "
        f"charged {item.charged_credits} written off {item.written_off_credits} job {item.job_id}"
    )


def replayed(changes: Sequence[Item]) -> dict[str, Item]:
    """The items after these changes, as the rows of a journal would bring them back."""
    last = {item.key: item for item in changes}
    return {key: from_row(to_row(item)) for key, item in last.items()}


class Threads:
    """Stands in for worker threads: the work takes virtual time, and nobody is told before it is done."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run_sync(self, work: Callable[..., T], *arguments: Any, **_: Any) -> T:
        world = self._world
        with anyio.CancelScope(shield=True):
            world.moment("thread")
            latency_s = self._latency_s()
            world.disk_wait_s += latency_s
            await world.pass_time(latency_s)
            world.moment("before the commit")
            result = work(*arguments)
            world.moment("after the commit")
            await world.pass_time(world.rng.uniform(0, 0.005))
        return result

    def _latency_s(self) -> float:
        world = self._world
        if world.chance("stalled disk"):
            world.note("disk: stalls")
            return 45.0
        return world.rng.uniform(0, 3) if world.chance("slow disk") else world.rng.choice((0.0, 0.002, 0.01))


class Results:
    """Stands in for downloads: which files are in the output folder, and whose result each of them is."""

    def __init__(self, world: World, vendor: Vendor, invariants: Invariants, names_taken: Sequence[str]) -> None:
        self._world = world
        self._vendor = vendor
        self._invariants = invariants
        self.files: dict[str, str] = dict.fromkeys(names_taken, STRANGER)

    def names(self) -> NamesTaken:
        """Stands in for a listing of the output folder."""
        return NamesTaken(self.files)

    def attach(self, hitpaw: AsyncHitPaw) -> None:
        """Take the place of a client's downloads."""

        async def fetch_result(url: str, path: Path, *, job_id: str, adopts: bool, **_: Any) -> Path:
            if adopts and self.files.get(path.name) == job_id:
                await self._world.pass_time(self._world.rng.uniform(0, 1))
                return path
            return await self._fetch(hitpaw, url, path, job_id)

        probe_source = hitpaw._session.probe

        async def probe(path: Path | str) -> VideoFacts:
            """A result lasts as long as its source, give or take what containers differ by."""
            if isinstance(path, str):
                return await probe_source(path)
            await self._world.pass_time(self._world.rng.uniform(0, 1))
            if self._world.chance("a result that can't be read"):
                raise MediaError("The result is no video.")
            duration_s = self._vendor.durations_s[self.files[path.name]]
            return VideoFacts(duration_s=duration_s + self._world.rng.choice((-0.9, 0.0, 0.3)))

        hitpaw._session.fetch_result = fetch_result  # type: ignore[assignment,method-assign]
        hitpaw._session.probe = probe  # type: ignore[assignment,method-assign]

    async def check(self) -> None:
        """Stands in for a try whether the output folder takes files."""
        await self._world.pass_time(0.01)
        if self._world.chance("folder takes nothing"):
            raise DownloadError("The folder can only be read.", is_unstored=True)

    async def _fetch(self, hitpaw: AsyncHitPaw, url: str, path: Path, job_id: str) -> Path:
        self._invariants.download_begins(path.name, job_id)
        try:
            self._require_free(path.name)
            await self._transfer(hitpaw, url, job_id)
            # Nobody else thinks of a name with a key's digest.
            if "-" not in path.name and self._world.chance("name taken meanwhile"):
                self.files.setdefault(path.name, STRANGER)
            self._require_free(path.name)
            self._world.moment("publishing")
            if self._world.is_dead:
                raise DownloadError("The dead write nothing.")
            self.files[path.name] = job_id
            self._world.note(f"disk: {path.name} holds the result of {job_id}")
            self._world.moment("published")
            await self._world.pass_time(0.01)
        finally:
            self._invariants.download_ends(path.name)
        return path

    async def _transfer(self, hitpaw: AsyncHitPaw, url: str, job_id: str) -> None:
        world, job = self._world, self._vendor.jobs[job_id]
        assert _job_of(url) == job_id
        await world.pass_time(world.rng.uniform(0, 3))
        if world.chance("result fails"):
            job.is_doomed = True
        if job.is_doomed or world.chance("result expired"):
            await hitpaw._session.result_url(job_id)
        if job.is_gone or world.chance("result gone"):
            job.is_gone = True
            raise DownloadError("The result no longer exists.", is_gone=True, is_refused=True)
        if world.chance("result late"):
            raise DownloadError("The result does not exist yet.", is_gone=True, is_refused=True)
        if world.chance("a text for a result"):
            raise DownloadError("The server sent a text.", is_refused=True)
        if world.chance("download fails"):
            raise DownloadError("The connection broke off too often.")
        await world.pass_time(world.rng.uniform(0, 3))
        if world.chance("result not stored"):
            raise DownloadError("The disk is full.", is_unstored=True)

    def _require_free(self, name: str) -> None:
        if name in self.files:
            raise DownloadError(f"{name} exists already.", is_taken=True)


def _job_of(url: str) -> str:
    return url.split("?", maxsplit=1)[0].rpartition("/")[2].removesuffix(".mp4")
