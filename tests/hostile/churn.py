"""Everything at once, again and again, on a bad network; then: is anything left open that was not open before?

`python -m tests.hostile.churn --seconds 60 --backend both` prints what was done, and what there was before and after:
tasks, threads, file descriptors, sockets, and free slots of the client's pools.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import random
import sys
import tempfile
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import attrs
import trio
import trio.lowlevel

from hitpaw_async import AsyncHitPaw, DownloadPolicy, ExportRequest, HitPawError
from hitpaw_async.webhooks import WebhookReceiver
from tests.client.callers import QUICK_POLL, QUICK_RETRY
from tests.client.fault_server import JOB_ID, Fault, FaultServer
from tests.support.http_server import CLIP, Act, Origin, cut_off, file, reset_connection, says

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from tests.support.http_server import Seen

__all__ = ["Census", "churn"]

WORKERS: Final = 8
CONNECTIONS: Final = 4
CALL_S_MAX: Final = 0.4
WARM_UP_S: Final = 0.5

NOT_PLAYED: Final = (Fault.REDIRECT, Fault.SCRIPTED, Fault.RATE_LIMIT, Fault.GATEWAY_429)
"""After a 429, whoever said it, an export may be sent again."""
FAULTS: Final = tuple(fault for fault in Fault if fault not in NOT_PLAYED)


@attrs.frozen(kw_only=True)
class Census:
    """What this process has open, and what a client has to give."""

    tasks: int = 0
    threads: int
    descriptors: int
    sockets: int
    free_slots: int = 0

    @classmethod
    def take(cls, **inside: int) -> Census:
        """Count, once what was closed has had a chance to go.

        Args:
            inside: What only code on the event loop can tell.
        """
        gc.collect()
        links = [_target(path) for path in Path("/proc/self/fd").iterdir()]
        return cls(
            threads=sum(not _is_idle(thread) for thread in threading.enumerate()),
            descriptors=len(links),
            sockets=sum(link.startswith("socket:") for link in links),
            **inside,
        )

    def leaks_since(self, before: Census) -> dict[str, int]:
        """What there is more of than before, and how many slots are missing."""
        now, then = attrs.asdict(self), attrs.asdict(before)
        now["free_slots"], then["free_slots"] = -self.free_slots, -before.free_slots
        return {name: now[name] - then[name] for name in now if now[name] > then[name]}


def _is_idle(thread: threading.Thread) -> bool:
    """Whether trio keeps it for the next work, for ten seconds."""
    return thread.name.startswith("Trio thread")


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


class _FaultyServer(FaultServer):
    """Plays a random fault an exchange; half of them none."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(Fault.NONE)
        self._draw = draw

    def _next_fault(self) -> Fault:
        with self._lock:
            return self._draw.choice(FAULTS) if self._draw.random() < 0.5 else Fault.NONE


def _any_act(draw: random.Random) -> Act:
    def breaks(connection: socket.socket, seen: Seen) -> None:
        cut_off(CLIP, 1000)(connection, seen)
        reset_connection(connection)

    acts = (file(CLIP), file(CLIP), cut_off(CLIP, 30_000), breaks, says("503 Busy"), says("403 Forbidden"))

    def act(connection: socket.socket, seen: Seen) -> None:
        draw.choice(acts)(connection, seen)

    return act


@attrs.define
class _Churn:
    """A client, its faulty servers, and what was done with them."""

    hitpaw: AsyncHitPaw
    origin: Origin
    folder: Path
    draw: random.Random
    done: Counter[str] = attrs.field(factory=Counter)

    async def work(self, number: int, until: float) -> None:
        """Do one thing after another; each may fail, and many are cancelled."""
        turn = 0
        while anyio.current_time() < until:
            turn += 1
            name, call = self._next_call(f"{number}-{turn}")
            with anyio.move_on_after(self.draw.random() * CALL_S_MAX) as scope:
                try:
                    await call()
                    self.done[name] += 1
                except HitPawError as error:
                    self.done[type(error).__name__] += 1
            if scope.cancelled_caught:
                self.done["cancelled"] += 1

    def _next_call(self, mark: str) -> tuple[str, Callable[[], Awaitable[object]]]:
        request = ExportRequest(f"https://videos.example.com/{mark}.mp4", model=17, resolution="1280x720")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "export": partial(self.hitpaw.export, request),
            "task": partial(self.hitpaw.task, JOB_ID),
            "enhance": partial(self.hitpaw.enhance, request),
            "download": partial(self.hitpaw.download, self.origin.url, self.folder / f"{mark}.mp4"),
            "batch": partial(self._run_batch, request),
            "webhooks": self._take_webhooks,
        }
        name = self.draw.choice([*calls, "task", "export", "download"])
        return name, calls[name]

    async def _run_batch(self, request: ExportRequest) -> None:
        journal = self.folder / f"{request.key}.db"
        async with self.hitpaw.batch(journal=journal, budget=10) as batch:
            async for _ in batch.run([request]):
                pass

    async def _take_webhooks(self) -> None:
        async with self.hitpaw.batch() as batch:
            receiver = WebhookReceiver(batch)
            for number in range(20):
                body = b'{"job_id":"j%d","status":"COMPLETED","res_url":""}' % number
                receiver.handle("POST", f"/{number}", {"content-type": "application/json"}, body)
            await anyio.lowlevel.checkpoint()


@attrs.frozen
class Report:
    """What was done, and what was open before and after it."""

    before: Census
    after: Census
    done: Counter[str]

    def __str__(self) -> str:
        done = ", ".join(f"{count:,} {name}" for name, count in self.done.most_common())
        lines = [f"{self.done.total():,} calls: {done}"]
        lines += [
            f"  {name:<12} before {getattr(self.before, name):>4}  after {getattr(self.after, name):>4}"
            for name in NAMES
        ]
        return "\n".join([*lines, f"  leaks: {self.after.leaks_since(self.before) or 'none'}"])


NAMES: Final = tuple(field.name for field in attrs.fields(Census))


def churn(seconds: float, *, backend: str, seed: int = 1) -> Report:
    """Work for some seconds on a backend, after a short round that brings up what is made once and kept."""
    with tempfile.TemporaryDirectory() as folder:
        warmed, _, _ = anyio.run(_round, WARM_UP_S, Path(folder), seed, backend=backend)
        before = Census.take(tasks=warmed, free_slots=2 * CONNECTIONS)
        tasks, free_slots, done = anyio.run(_round, seconds, Path(folder), seed + 1, backend=backend)
        return Report(before, Census.take(tasks=tasks, free_slots=free_slots), done)


async def _round(seconds: float, folder: Path, seed: int) -> tuple[int, int, Counter[str]]:
    """The tasks that are left at its end, the free slots of a client that nobody uses any more, and what was done."""
    draw, results = random.Random(seed), anyio.Path(folder) / f"round-{seed}"
    await results.mkdir()
    policy = DownloadPolicy(trusted_hosts={"127.0.0.1"}, attempts_max=3, backoff_first_s=0.001, backoff_max_s=0.002)
    with _FaultyServer(draw) as server, Origin(_any_act(draw)) as origin:
        async with AsyncHitPaw(
            api_key="key",
            base_url=server.url,
            timeout=0.3,
            max_connections=CONNECTIONS,
            retry=QUICK_RETRY,
            poll=QUICK_POLL,
            download=policy,
        ) as hitpaw:
            churning = _Churn(hitpaw, origin, Path(results), draw)
            await _work_together(churning, seconds)
            free_slots = sum(pool._gate.value for pool in (hitpaw._session.calls._pool, hitpaw._session.fetch_pool))
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        tasks = _tasks()
        assert len({request.body for request in server.exports}) == len(server.exports), "no export was sent twice"
    return tasks, free_slots, churning.done


async def _work_together(churning: _Churn, seconds: float) -> None:
    until = anyio.current_time() + seconds
    async with anyio.create_task_group() as tasks:
        for number in range(WORKERS):
            tasks.start_soon(churning.work, number, until)


def main() -> int:
    """Churn on one backend or both, and print the figures; 1 where anything leaked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long, on each backend")
    parser.add_argument("--backend", choices=("asyncio", "trio", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.getLogger("hitpaw_async").setLevel(logging.CRITICAL)
    has_leaked = False
    for backend in ("asyncio", "trio") if given.backend == "both" else (given.backend,):
        report = churn(given.seconds, backend=backend, seed=given.seed)
        has_leaked |= bool(report.after.leaks_since(report.before))
        print(f"{backend}, {given.seconds:g} s: {report}", flush=True)  # noqa: T201
    return int(has_leaked)


if __name__ == "__main__":
    sys.exit(main())
