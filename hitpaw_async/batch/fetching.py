"""A finished job's result, brought to disk under the name that was decided before a credit was spent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hitpaw_async import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hitpaw_async.batch.flights import Flight
    from hitpaw_async.client import AsyncHitPaw

__all__ = ["bring_to_disk"]


async def bring_to_disk(
    hitpaw: AsyncHitPaw, flight: Flight, output: Path, on_progress: Callable[[int, int | None], None]
) -> Path:
    """Download a flight's result, unless an earlier process did.

    Args:
        hitpaw: Whose downloads these are.
        flight: A job that is COMPLETED, of an item with a target.
        output: The folder.
        on_progress: Told the bytes received and, where it is known, the bytes in all.

    Returns:
        Where it is: under its target, or where somebody has put a file of that name, with the key's digest in it.

    Raises:
        DownloadError: It can't be had, or not be written.
        HitPawError: Asking for a fresh URL failed.
    """
    job = flight.job
    assert flight.kind.has_target
    assert flight.label is not None
    assert job is not None
    assert job.res_url is not None
    path = output / flight.label
    digest = hashlib.sha256(flight.key.encode()).hexdigest()[:8]
    other = path.with_name(f"{path.stem}-{digest}{path.suffix}")
    if flight.kind.was_fetching:
        for candidate in (path, other):
            if await hitpaw.has_result(job.res_url, candidate):
                return candidate
    try:
        return await hitpaw.fetch_result(job.res_url, path, job_id=job.job_id, on_progress=on_progress)
    except errors.DownloadError as error:
        if not error.is_taken:
            raise
    # Somebody put a file of that name there since the item was taken in. Theirs stays; ours gets the key's digest.
    return await hitpaw.fetch_result(job.res_url, other, job_id=job.job_id, on_progress=on_progress)
