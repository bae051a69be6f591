"""What the live view costs: the CPU of a batch's events with the view drawn on a terminal, against without.

    python benchmarks/progress.py [items] [seconds]

Both arms play the same events of the same batch in real time, one process each, on a pseudo-terminal of 80 x 24 that
is read as fast as it is written. The difference of their CPU times, over the wall time, is the view's share of a core.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time

ITEMS = 10_000
SECONDS = 20.0
ACTIVE = 1000
STEPS_A_SECOND = 50


def play(items: int, seconds: float, *, is_drawn: bool) -> dict[str, float]:
    """Play a batch in this process; CPU and wall time of it."""
    import anyio

    from hitpaw_async import BatchEvent, BatchStatistics, EventKind, ExportRequest, ItemState, JobStatus, Outcome
    from hitpaw_async.cli.output.progress import Progress, choose_screen

    request = ExportRequest("https://a.example/a.mp4", model=17, resolution="1280x720", key="a")
    progress = Progress(choose_screen(sys.stderr, is_quiet=False), shows_all=False)
    done = 0

    def statistics() -> BatchStatistics:
        reserved = 2 * min(ACTIVE, items - done)
        return BatchStatistics(
            done=done,
            unfinished=items - done,
            credits_spent=2 * done,
            credits_reserved=reserved,
            credits_left=2 * (items - done) - reserved,
        )

    def event(kind: EventKind, number: int, **fields: object) -> BatchEvent:
        key = f"library/holiday-{number:06d}.mp4"
        return BatchEvent(kind=kind, at=0.0, key=key, label=key, **fields)  # type: ignore[arg-type]

    async def run() -> None:
        nonlocal done
        begun, began = 0, time.monotonic()
        async with anyio.create_task_group() as tasks:
            if is_drawn:
                tasks.start_soon(progress.serve, statistics)
            while done < items:
                target = min(items, int(items * (time.monotonic() - began) / seconds) + 1)
                while begun < min(items, target + ACTIVE):
                    progress.on_event(event(EventKind.SUBMITTED, begun, state=ItemState.SUBMITTED))
                    begun += 1
                while done < target:
                    progress.on_event(event(EventKind.STATUS, done, status=JobStatus.CONVERTING))
                    key = f"library/holiday-{done:06d}.mp4"
                    progress.add_outcome(Outcome(key=key, request=request, state=ItemState.DONE, credits=2))
                    done += 1
                await anyio.sleep(1 / STEPS_A_SECOND)
            tasks.cancel_scope.cancel()
        if is_drawn:
            await progress.finish(statistics())

    cpu, wall = time.process_time(), time.monotonic()
    anyio.run(run)
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}


def _arm(items: int, seconds: float, *, is_drawn: bool) -> dict[str, float]:
    """One arm in a process of its own, on a terminal of its own."""
    ours, theirs = pty.openpty()
    reader = threading.Thread(target=_read_all, args=(ours,), daemon=True)
    reader.start()
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, __file__, "--arm", str(items), str(seconds), str(int(is_drawn))],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        check=True,
    )
    os.close(theirs)
    reader.join(5)
    return json.loads(done.stdout)


def _read_all(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1 << 16):
            pass
    except OSError:
        pass
    os.close(descriptor)


def measure(items: int = ITEMS, seconds: float = SECONDS) -> dict[str, float]:
    """The view's share of a core, and what the same batch costs with and without it."""
    without = _arm(items, seconds, is_drawn=False)
    drawn = _arm(items, seconds, is_drawn=True)
    return {
        "items": items,
        "wall_s": drawn["wall_s"],
        "cpu_without_s": without["cpu_s"],
        "cpu_with_s": drawn["cpu_s"],
        "view_core_share": (drawn["cpu_s"] - without["cpu_s"]) / drawn["wall_s"],
        "ratio": drawn["cpu_s"] / without["cpu_s"],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--arm"]:
        print(json.dumps(play(int(sys.argv[2]), float(sys.argv[3]), is_drawn=sys.argv[4] == "1")))
    else:
        given = (int(sys.argv[1]) if sys.argv[1:] else ITEMS, float(sys.argv[2]) if sys.argv[2:] else SECONDS)
        print(json.dumps(measure(*given), indent=2))
