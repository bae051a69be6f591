"""Makes the file of a result, in worker threads that leave a core to everybody else."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import attrs

from hitpaw_async.errors import MissingExtraError
from hitpaw_async.simulator import upscale

if TYPE_CHECKING:
    from pathlib import Path

    from hitpaw_async.models import Resolution

__all__ = ["Renderer"]


@attrs.frozen
class Renderer:
    """Upscales sources into a folder, at most one less than there are cores at once."""

    _folder: Path
    _limiter: anyio.CapacityLimiter = attrs.field(
        init=False, factory=lambda: anyio.CapacityLimiter(max(1, (os.cpu_count() or 1) - 1))
    )

    async def render(self, source: Path, *, name: str, resolution: Resolution) -> Path:
        """Upscale a source. Cancelled, it ends within a frame and leaves nothing behind.

        Args:
            source: The file to scale. It stays.
            name: The name of the result; its extension decides the container.
            resolution: The size that the result gets, exactly.

        Raises:
            MediaError: It is not a video that can be read, or its result can't be written.
        """
        target = self._folder / name
        part = target.with_name(f"{name}.part")
        is_stopped = threading.Event()
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_set_when_cancelled, is_stopped)
            failure = await anyio.to_thread.run_sync(
                _make, source, part, target, resolution, is_stopped, limiter=self._limiter
            )
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return target


async def _set_when_cancelled(is_stopped: threading.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        is_stopped.set()


def _make(
    source: Path, part: Path, target: Path, resolution: Resolution, is_stopped: threading.Event
) -> Exception | None:
    """Make `target` by way of `part`. A failure is returned: raised in a task group, it would come out in a group."""
    try:
        try:
            upscale.upscale(source, part, target.suffix, resolution, should_stop=is_stopped.is_set)
        except MissingExtraError:
            shutil.copyfile(source, part)
        part.replace(target)
    except Exception as error:  # noqa: BLE001 (it is raised by the caller)
        return error
    finally:
        part.unlink(missing_ok=True)
    return None
