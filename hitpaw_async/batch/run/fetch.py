"""A finished job's result, brought to disk under the name that was decided before a credit was spent."""

from __future__ import annotations

import hashlib
import itertools
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.refusals import Refusals, next_look_s
from hitpaw_async._errors import telling_bugs
from hitpaw_async._tasks import to_its_end
from hitpaw_async.download.file_names import encodable_name, safe_name
from hitpaw_async.download.part_file import require_storing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from hitpaw_async._session import Session
    from hitpaw_async.batch.run.in_flight import Flight

__all__ = ["Looks", "bring_to_disk", "longest_s", "output_check"]

_LOG = logging.getLogger("hitpaw_async")

NAMES_MAX: Final = 100
"""Of one result. Others may write to the same folder: other journals, with the same videos and keys."""


@telling_bugs
async def bring_to_disk(
    session: Session, flight: Flight, output: Path, on_progress: Callable[[int, int | None], None]
) -> Path:
    """Download a flight's result, unless an earlier process did.

    What its host refuses is not waited for here: others are fetched meanwhile.

    Args:
        session: Whose downloads these are.
        flight: A job that is COMPLETED, of an item with a target.
        output: The folder.
        on_progress: Told the bytes received and, where it is known, the bytes in all.

    Returns:
        Where it is: under its target, or where somebody has put a file of that name, with the key's digest in it.

    Raises:
        DownloadError: It can't be had, or not be written.
        InternalError: A bug is in the way.
        HitPawError: Asking for a fresh URL failed.
    """
    job = flight.job
    assert flight.kind.has_target
    assert flight.label is not None
    assert job is not None
    assert job.res_url is not None
    taken: errors.DownloadError | None = None
    for path in itertools.islice(_candidates(output, flight.label, flight.key), NAMES_MAX):
        try:
            return await session.fetch_result(
                job.res_url,
                path,
                job_id=job.job_id,
                # An earlier process may have got as far as giving it its name. The same length proves nothing.
                adopts=flight.kind.was_fetching,
                refused_wait_s=0.0,
                on_progress=on_progress,
            )
        except errors.DownloadError as error:
            if not error.is_taken:
                raise
            taken = error
    assert taken is not None
    raise taken


async def longest_s(session: Session, flight: Flight, path: Path) -> float | None:
    """The longest that a flight's result lasts by any reading of its file, where less may have been charged for that.

    None: that is not so, or it can't be read, and what was set aside counts on.
    """
    told = None if flight.job is None else flight.job.credits
    if not flight.kind.may_give_back or told is not None:
        return None
    try:
        facts = await session.probe(path)
    except errors.HitPawError as error:
        _LOG.info("%s: The length of its result is unknown, and its price stays the worst case: %s", flight.key, error)
        return None
    return max((length for length in (facts.duration_s, facts.duration_max_s) if length is not None), default=None)


def output_check(output: Path | None) -> Callable[[], Awaitable[None]] | None:
    """What tries whether the folder for results takes files; None where there is none."""
    return None if output is None else partial(to_its_end, require_storing, output)


def _candidates(output: Path, target: str, key: str) -> Iterator[Path]:
    """Paths for a result, the best first. Somebody's file stays: then ours gets the key's digest, then a number."""
    # A journal may come from anybody, and names that it has must not lead out of the folder.
    name = safe_name(target)
    path = output / encodable_name(name, sys.getfilesystemencoding())
    if path.name == name:
        yield path
    # Of names that can't be written here, two may look alike: those get the digest at once.
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    yield path.with_name(f"{path.stem}-{digest}{path.suffix}")
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{digest}-{number}{path.suffix}")


@attrs.define
class Looks:
    """When each result that its host refuses is looked for again.

    Args:
        gone_after_s: How long that goes on.
    """

    _gone_after_s: float
    _refusals: dict[str, Refusals] = attrs.field(factory=dict, init=False)
    """By key."""

    def again_in_s(self, flight: Flight, error: errors.DownloadError, *, age_s: float) -> float | None:
        """Seconds until a result that was refused just now is looked for again; None where it was long enough.

        Args:
            flight: Whose result it is.
            error: How it was refused.
            age_s: How long ago its job was accepted.
        """
        now = anyio.current_time()
        before = self._refusals.get(flight.key, Refusals(now, 0))
        refusals = self._refusals[flight.key] = attrs.evolve(before, count=before.count + 1)
        wait_s = next_look_s(refusals, now=now, age_s=age_s, gone_after_s=self._gone_after_s)
        if wait_s is not None:
            level = logging.INFO if before.count else logging.WARNING
            _LOG.log(level, "job %s: %s It is looked for again by itself.", flight.job_id, error)
        return wait_s

    def forget(self, key: str) -> None:
        """The item has landed."""
        self._refusals.pop(key, None)
