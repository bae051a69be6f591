"""How long does a batch take where nobody knows how many jobs the vendor takes? In virtual time.

    python -m benchmarks.capacity

The vendor has room for so many jobs at once. One refuses what is more with HTTP 429 and a `Retry-After`; another takes
all of it, but answers exports the more slowly, and works no faster. Beside "auto": the default, the vendor's room
itself (the best there is), and twice that. The calls are the client's own, with its retries and pauses; only the wire
is missing. List scheduling on all of the vendor's room is the bound.
"""

from __future__ import annotations

import heapq
import itertools
import json
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import attrs
import trio
import trio.testing

from benchmarks.makespan import durations_s
from benchmarks.stub_vendor import batch_over, list_scheduled_s, requests
from hitpaw_async import BatchLimits
from hitpaw_async._core.protocol.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from hitpaw_async._transport.send_progress import SendWatch

__all__ = ["Found", "Vendor", "found", "measure"]

ROOM: Final = 200
JOBS: Final = 5_000
MEAN_S: Final = 300.0
RETRY_AFTER_S: Final = 10.0
REFUSAL: Final = b'{"code":501429,"message":"Too many requests"}'
CALL_S: Final = 0.2
"""What an answer takes, while there is room."""
RUNS_MAX: Final = 50
"""A batch that left items for later is run again, as a user would."""


@attrs.define
class Vendor:
    """Takes the place of a connection pool: calls come in as bytes, and so go the answers."""

    durations_s: Iterator[float]
    room: int
    refuses: bool
    refused: int = 0
    _ends_at: list[float] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        admission: Callable[[], Awaitable[None]],
        watch: SendWatch | None,
        **_: Any,
    ) -> Reply:
        """Answer a call."""
        await admission()
        if watch is None:
            await anyio.sleep(CALL_S)
            return self._task(json.loads(body)["job_id"])
        await watch.announce()
        now = anyio.current_time()
        while self._ends_at and self._ends_at[0] <= now:
            heapq.heappop(self._ends_at)
        excess = max(0, len(self._ends_at) + 1 - self.room)
        if excess and self.refuses:
            self.refused += 1
            await anyio.sleep(CALL_S)
            return Reply(status_code=429, body=REFUSAL, retry_after_s=RETRY_AFTER_S)
        begins_at = now if not excess else heapq.nsmallest(excess, self._ends_at)[-1]
        ends_at = begins_at + next(self.durations_s)
        heapq.heappush(self._ends_at, ends_at)
        await anyio.sleep(CALL_S * (1 + 20 * excess / self.room))
        return _answer({"job_id": f"job-{next(self._numbers):012d}-{ends_at:019.6f}"})

    def _task(self, job_id: str) -> Reply:
        is_done = anyio.current_time() >= float(job_id.rpartition("-")[2])
        url = f"https://results.example/{job_id}.mp4" if is_done else ""
        return _answer({"job_id": job_id, "status": "COMPLETED" if is_done else "CONVERTING", "res_url": url})


def _answer(data: dict[str, str]) -> Reply:
    return Reply(status_code=200, body=json.dumps({"code": 200, "message": "Success", "data": data}).encode())


@attrs.frozen
class Found:
    """What a batch came to."""

    makespan_s: float
    bound_s: float
    refused: int
    """How often the vendor answered HTTP 429."""
    runs: int
    """How often the batch had to be run until nothing was left for later."""


def found(
    places: int | Literal["auto"], *, refuses: bool, room: int = ROOM, jobs: int = JOBS, mean_s: float = MEAN_S
) -> Found:
    """Run a batch to its end."""
    lengths_s, lasting_s = durations_s(1, jobs, mean_s)
    vendor = Vendor(iter(lasting_s), room, refuses)

    async def run() -> tuple[float, int]:
        began_at_s = trio.current_time()
        async with batch_over(vendor, limits=BatchLimits(jobs_in_flight=places)) as batch:
            for number in range(1, RUNS_MAX):
                async for _ in batch.run(requests(iter(lengths_s)) if number == 1 else ()):
                    pass
                if batch.statistics().done == jobs:
                    break
            return trio.current_time() - began_at_s, number

    makespan_s, runs = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return Found(makespan_s, list_scheduled_s(lasting_s, room), vendor.refused, runs)


def measure(*, jobs: int = JOBS, room: int = ROOM) -> Iterator[dict[str, object]]:
    """A row for each vendor and each number of places."""
    for refuses in (True, False):
        for places in ("auto", 16, room, 2 * room):
            outcome = found(places, refuses=refuses, room=room, jobs=jobs)  # type: ignore[arg-type]
            yield {
                "vendor": "refuses" if refuses else "slows",
                "places": places,
                "makespan_s": round(outcome.makespan_s),
                "to_bound": round(outcome.makespan_s / outcome.bound_s, 3),
                "refused": outcome.refused,
                "runs": outcome.runs,
            }


def main() -> None:
    """Print the table."""
    for row in measure():
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
