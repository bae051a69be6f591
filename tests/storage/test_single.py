"""One local video through the single calls: checked, staged, enhanced, removed from there, and brought to a bucket."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import urllib.request
from contextlib import nullcontext
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async import (
    APIError,
    AsyncHitPaw,
    AuthenticationError,
    DownloadPolicy,
    ExportRequest,
    HitPawError,
    InvalidRequestError,
    Job,
    JobFailedError,
    JobNotFoundError,
    JobStatus,
    JobTimeoutError,
    MediaError,
    PollPolicy,
    StorageError,
    SubmissionUnknownError,
)
from hitpaw_async._urls.sources import FileSource
from hitpaw_async.storage import Bucket, LocalVideo, Staged
from hitpaw_async.storage._single import enhance_staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.storage.servers import ObjectServer

pytestmark = pytest.mark.anyio

SAMPLE = files("hitpaw_async.simulator").joinpath("samples/bbb_360p_5s.mp4").read_bytes()
FIELDS: dict[str, Any] = {"model": 17, "resolution": "320x180"}


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    """The address of a simulated vendor, in a process of its own: it fetches sources as the real one does."""
    pytest.importorskip("av")
    command = [sys.executable, "-m", "hitpaw_async", "simulate", "--port", "0", "--speed", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[4]
        finally:
            process.kill()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "big buck.mp4"
    path.write_bytes(SAMPLE)
    return path


def charged(vendor: str) -> int:
    with urllib.request.urlopen(f"{vendor}/simulator/ledger", timeout=10) as answer:
        return len(json.load(answer)["charges"])


def a_client(vendor: str, server: ObjectServer | None = None) -> AsyncHitPaw:
    hosts = {host for host in (vendor, server and server.endpoint) if host}
    return AsyncHitPaw(
        api_key="any",
        base_url=vendor,
        poll=PollPolicy(interval_min_s=0.05, interval_max_s=0.2),
        download=DownloadPolicy(trusted_hosts=frozenset(host.split("/")[2] for host in hosts)),
    )


async def test_a_local_video_is_enhanced_and_goes_from_bucket_to_bucket(
    server: ObjectServer, bucket: Callable[..., Bucket], clip: Path, vendor: str, prefix: str
) -> None:
    seen: list[list[str]] = []

    class Watched(Bucket):
        async def remove(self, object_key: str) -> None:
            seen.append(await anyio.to_thread.run_sync(server.names, prefix))
            await super().remove(object_key)

    staging = Watched(f"{server.url}/{prefix}temp/", **server.client)
    async with a_client(vendor, server) as hitpaw:
        job = await hitpaw.enhance(clip, staging=staging, **FIELDS)
        assert job.status is JobStatus.COMPLETED
        assert [len(names) for names in seen] == [1]
        assert server.names(prefix) == []
        location = await hitpaw.download(job, bucket("out"))
        assert location.startswith(f"{server.url}/{prefix}out/")
        assert server.names(prefix) == [location.removeprefix(f"{server.url}/")]
        assert server.read(location.removeprefix(f"{server.url}/"))[4:8] == b"ftyp"


async def test_names_in_buckets_go_wherever_paths_go(
    s3: ObjectServer, clip: Path, vendor: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("access_key_id", "secret_access_key", "region"):
        monkeypatch.setenv(f"AWS_{name.upper()}", s3.client[name])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    s3.put(f"{prefix}raw/film 1.mp4", SAMPLE)
    async with a_client(vendor, s3) as hitpaw:
        job = await hitpaw.enhance(f"{s3.url}/{prefix}raw/film 1.mp4", **FIELDS)
        target = f"{s3.url}/{prefix}out/film 1.mp4"
        assert await hitpaw.download(job, target) == target
        assert s3.names(prefix) == [f"{prefix}out/film 1.mp4", f"{prefix}raw/film 1.mp4"]
        with pytest.raises(StorageError) as caught:
            await hitpaw.download(job, target)
        assert caught.value.is_taken
        assert await hitpaw.download(job, target, overwrite=True) == target
        again = await hitpaw.enhance(ExportRequest(clip.as_uri(), **FIELDS), staging=Bucket(f"{s3.url}/{prefix}temp"))
        path = await hitpaw.download(again, clip.with_name("result.mp4"))
    assert path.name == "result.mp4"
    assert [name for name in s3.names(prefix) if "temp" in name] == []


@pytest.mark.parametrize("what", ["no video", "too small a size", "no file", "no staging", "empty"])
async def test_what_can_not_be_enhanced_is_neither_uploaded_nor_paid(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], clip: Path, vendor: str, prefix: str, what: str
) -> None:
    fields, staging, kind = dict(FIELDS), s3_bucket(), HitPawError
    before = await anyio.to_thread.run_sync(charged, vendor)
    match what:
        case "no video":
            kind = MediaError
            await anyio.Path(clip).write_bytes(b"x" * 100_000)
        case "too small a size":
            kind = InvalidRequestError
            fields["resolution"] = "64x64"
        case "no file":
            kind = StorageError
            await anyio.Path(clip).unlink()
        case "no staging":
            kind, staging = InvalidRequestError, None
        case _:
            kind = StorageError
            await anyio.Path(clip).write_bytes(b"")
    async with a_client(vendor) as hitpaw:
        with pytest.raises(kind):
            await hitpaw.enhance(clip, staging=staging, **fields)
    assert s3.names(prefix) == []
    assert await anyio.to_thread.run_sync(charged, vendor) == before


class Shelf:
    """A staging of its own, that notes what is done."""

    def __init__(self, *, fails: bool = False) -> None:
        self.done: list[str] = []
        self.fails = fails

    async def link(self, source: LocalVideo) -> Staged:
        self.done.append("link")
        return Staged("https://shelf.example/a?token=s3cr3t", None, "shelf:a")

    async def remove(self, object_key: str) -> None:
        self.done.append("remove")
        if self.fails:
            raise StorageError("The shelf is locked.")


JOB = Job(job_id="j-1")
UNKNOWN = SubmissionUnknownError(ExportRequest("https://example.com/a.mp4", **FIELDS), "No answer.")


@pytest.mark.parametrize(
    ("export", "wait", "is_removed"),
    [
        (None, None, True),
        (APIError(402, 501002, "no"), None, True),
        (AuthenticationError(401, 501001, "no"), None, True),
        (UNKNOWN, None, False),
        (None, JobFailedError(attrs.evolve(JOB, status=JobStatus.ERROR)), True),
        (None, JobTimeoutError(JOB, 1.0), False),
        (None, JobNotFoundError(404, None, "no"), False),
        (None, AuthenticationError(401, 501001, "no"), False),
    ],
)
async def test_what_was_staged_stays_for_as_long_as_a_job_may_need_it(
    clip: Path, export: HitPawError | None, wait: HitPawError | None, is_removed: bool
) -> None:
    shelf = Shelf()

    async def accept(found: object) -> None:
        shelf.done.append("check")

    async def submit(url: str) -> Job:
        if export is not None:
            raise export
        return JOB

    async def finish(job: Job) -> Job:
        if wait is not None:
            raise wait
        return job

    failure = copy.copy(export or wait)
    export, wait = (failure, None) if export is not None else (None, failure)
    with pytest.raises(type(failure)) if failure is not None else nullcontext():
        await enhance_staged(FileSource(str(clip)), shelf, check=accept, export=submit, wait=finish)
    notes = " ".join(getattr(failure, "__notes__", ()))
    assert ("shelf:a" in notes) is not is_removed
    assert shelf.done == ["check", "link", *(["remove"] if is_removed else [])]


async def test_what_can_not_be_removed_fails_no_job(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def anything(given: Any) -> Job:
        return JOB

    async def accept(found: object) -> None: ...

    shelf = Shelf(fails=True)
    made = await enhance_staged(FileSource(str(clip)), shelf, check=accept, export=anything, wait=anything)
    assert made is JOB
    assert "shelf:a" in caplog.text
    assert "s3cr3t" not in caplog.text
