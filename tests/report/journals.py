"""Journals as batches leave them, without running one."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs

from hitpaw_async import ExportRequest, ItemState, VideoFacts, VideoModel
from hitpaw_async._core.itemstate import Item, Problem
from hitpaw_async.batch.journal.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEGAN_AT = 1_700_000_000.0
FACTS = VideoFacts(duration_s=20, frame_rate=25, width=640, height=360)
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def an_item(name: str, state: ItemState = ItemState.DONE, **fields: Any) -> Item:
    request = ExportRequest(
        fields.pop("url", f"https://videos.example.com/{name}.mp4"),
        model=VideoModel.GENERAL_DENOISE_BALANCE,
        resolution="1280x720",
        key=name,
        facts=FACTS,
        metadata=fields.pop("metadata", {}),
    )
    return Item(key=name, request=request, state=state, target=f"{name}.mp4", queued_at=BEGAN_AT, **fields)


def a_done_item(name: str, *, at: float = 0.0, **fields: Any) -> Item:
    """Submitted `at` seconds after the beginning; waits 5 s, is converted for 20 s and downloaded for 2 s."""
    begins = BEGAN_AT + at
    times = {"submitted_at": begins, "converting_at": begins + 5, "completed_at": begins + 25}
    return an_item(
        name, **{"charged_credits": 2, "job_id": f"job-{name}", **times, "finished_at": begins + 27, **fields}
    )


def a_library(count: int) -> list[Item]:
    """Many items in every state that a report knows, submitted over three runs with a night between each."""
    chance = random.Random(7)
    return [_random_item(number, chance) for number in range(count)]


def _random_item(number: int, chance: random.Random) -> Item:
    name = f"holiday-2019-{number:05d}"
    at = number * 2.0 + 40_000 * (number % 3)
    done = a_done_item(name, at=at, charged_credits=chance.randint(1, 9))
    draw = chance.random()
    if draw < 0.04:
        problem = Problem("JobFailedError", "The vendor could not enhance this video (job status ERROR).")
        return attrs.evolve(done, state=ItemState.FAILED, problem=problem, completed_at=None)
    if draw < 0.06:
        problem = Problem("InvalidRequestError", "The source is 734.0 s long; at most 600 s are accepted.")
        return an_item(name, ItemState.REJECTED, problem=problem, finished_at=BEGAN_AT + at)
    if draw < 0.07:
        problem = Problem("SubmissionUnknownError", "The export was sent and its answer was lost.")
        return an_item(name, ItemState.UNCERTAIN, problem=problem, reserved_credits=2, finished_at=BEGAN_AT + at)
    waited, converted, downloaded = chance.expovariate(0.1), chance.lognormvariate(4, 0.6), chance.expovariate(0.5)
    began = done.submitted_at or 0.0
    return attrs.evolve(
        done,
        converting_at=None if draw > 0.97 else began + waited,
        completed_at=began + waited + converted,
        finished_at=began + waited + converted + downloaded,
    )


def write_journal(path: Path, items: Iterable[Item]) -> Path:
    with closing(SqliteStore(path)) as store, store.transaction():
        for item in items:
            store.add(item)
    return path
