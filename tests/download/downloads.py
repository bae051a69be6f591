"""A download with a pool of its own, and what it left in its folder."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from hitpaw_async._transport import HTTPPool
from hitpaw_async.download import Downloader
from hitpaw_async.policies import DownloadPolicy

if TYPE_CHECKING:
    import httpx


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def only(folder: Path, name: str, content: bytes) -> None:
    """The folder has this one whole file and nothing else."""
    assert names(folder) == [name]
    assert (folder / name).read_bytes() == content


def open_files(folder: Path) -> list[str]:
    """What this process has open in a folder, where the system tells."""
    descriptors = Path("/proc/self/fd")
    paths = []
    for descriptor in descriptors.iterdir() if descriptors.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # The listing's own descriptor is closed by now.
            paths.append(str(descriptor.readlink()))
    return [path for path in paths if path.startswith(str(folder))]


IMPATIENT = {"backoff_first_s": 0, "backoff_max_s": 0, "attempts_max": 3, "read_timeout_s": 5, "refused_wait_s": 0}


def policy(**settings: Any) -> DownloadPolicy:
    return DownloadPolicy(**{"trusted_hosts": frozenset({"127.0.0.1"}), **IMPATIENT, **settings})


async def fetch(
    url: str,
    target: Path,
    *,
    settings: dict[str, Any] | None = None,
    http_client: httpx.AsyncClient | None = None,
    pin_addresses: bool = True,
    **options: Any,
) -> Path:
    """One download with a pool of its own, bounded in time."""
    pool = HTTPPool(max_connections=4, http_client=http_client)
    downloader = Downloader(pool, policy(**settings or {}), pin_addresses=pin_addresses, random_source=random.Random(1))
    try:
        with anyio.fail_after(15):
            return await downloader.download(url, target, **options)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.aclose()
