"""Somebody's own code on top of hitpaw-async: this is what their tests are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitpaw_async import (
    AsyncHitPaw,
    CreditBudget,
    ExportRequest,
    ItemState,
    JobFailedError,
    SubmissionUnknownError,
    VideoFacts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FACTS = VideoFacts(duration_s=42, frame_rate=30, width=1280, height=720)


async def enhance_one(url: str, folder: Path) -> str:
    """What the studio tells its customer."""
    async with AsyncHitPaw() as hitpaw:
        try:
            job = await hitpaw.enhance(url, model=17, resolution="1280x720")
        except JobFailedError:
            return "This video can't be enhanced."
        except SubmissionUnknownError:
            return "Somebody has to look into it."
        path = await hitpaw.download(job, folder / "enhanced.mp4")
        return f"Here it is: {path.name}"


async def enhance_library(urls: Iterable[str], folder: Path, *, credits_max: int) -> dict[str, ItemState]:
    """Enhance what the budget allows; go on with it when called again."""
    requests = [ExportRequest(url, model=17, resolution="1280x720", facts=FACTS) for url in urls]
    states = {}
    async with AsyncHitPaw() as hitpaw:
        settings = {"journal": folder / "library.db", "budget": CreditBudget(credits_max), "output": folder / "out"}
        async with hitpaw.batch(**settings) as batch:
            async for outcome in batch.run(requests):
                states[outcome.request.video_url] = outcome.state
    return states
