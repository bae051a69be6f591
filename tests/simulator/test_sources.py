"""Real sources: fetched, measured, refused; scaled into real results; and nothing left behind."""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from hitpaw_async import media
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.errors import ConfigurationError, MediaError, MissingExtraError
from hitpaw_async.models import Resolution
from hitpaw_async.simulator import FaultRule, FaultScript, Simulator, rendering, sources, upscale
from tests.simulator.conversation import ORIGIN, SAMPLE, client_of, export, exported, task, transport_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import httpx

    from hitpaw_async.simulator.rendering import Renderer

pytestmark = pytest.mark.anyio

pytest.importorskip("av")

VIDEO = SAMPLE.read_bytes()
ELSEWHERE = "http://elsewhere.example"


PAGES: dict[str, tuple[int, list[tuple[bytes, bytes]], list[bytes]]] = {
    "/clip.mp4": (200, [], [VIDEO]),
    "/half.mp4": (200, [], [VIDEO[:5000]]),
    "/page": (200, [], [b"<html>not a video</html>" * 100]),
    "/empty": (200, [], [b""]),
    "/huge": (200, [], [bytes(1 << 20)] * 4),
    "/said-to-be-huge": (200, [(b"content-length", b"3000001")], [b""]),
    "/of-no-length": (200, [(b"content-length", b"many")], [b""]),
    "/moved-nowhere": (302, [], [b""]),
    "/moved-to-a-file": (302, [(b"location", b"file:///etc/passwd")], [b""]),
}


class Web:
    """A web server with a video, and with trouble."""

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        path = scope["path"]
        if path == "/broken":
            raise ConnectionResetError
        status, headers, body = PAGES.get(path, (404, [], [b""]))
        if path.startswith("/moved-to/"):
            status, headers = 302, [(b"location", path.removeprefix("/moved-to").encode())]
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sample under two names."""
    served = tmp_path / "served"
    served.mkdir()
    for name in ("a clip.mp4", "vendor-error.mp4"):
        shutil.copyfile(SAMPLE, served / name)
    return served


async def finished(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """A job's last task reply."""
    with anyio.fail_after(10):
        while True:
            fields = await task(client, job_id)
            if fields["status"] in ("COMPLETED", "ERROR"):
                return fields
            await anyio.sleep(0.02)


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


async def test_a_fetched_video_becomes_a_real_result(tmp_path: Path) -> None:
    async with transport_to(Web()) as outward:
        simulator = Simulator(speed=1000, http_client=outward, work_dir=tmp_path / "work")
        async with simulator, client_of(simulator) as client:
            job_id = await exported(client, video_url=f"{ELSEWHERE}/clip.mp4", resolution=[320, 180], extension=".MKV")
            fields = await finished(client, job_id)
            response = await client.get(fields["res_url"])
            etag = response.headers["etag"]
            rest = await client.get(fields["res_url"], headers={"Range": "bytes=1000-", "If-Range": etag})
    assert fields["status"] == "COMPLETED"
    assert response.headers["content-type"] == "video/x-matroska"
    assert (rest.status_code, rest.content) == (206, response.content[1000:])
    result = tmp_path / "result.mkv"
    result.write_bytes(response.content)
    facts = await anyio.to_thread.run_sync(media.probe_file, result)
    assert facts.resolution == Resolution(320, 180)
    assert facts.duration_s == pytest.approx(5, abs=0.1)
    # The fetched source is gone, the result stays where it was asked for.
    assert names_in(tmp_path / "work") == [f"{job_id}.mkv"]


async def test_a_real_result_is_truncated_too(folder: Path) -> None:
    script = FaultScript([FaultRule(call="result", do="truncate", nth=2)])
    simulator = Simulator(speed=1000, files=folder, faults=script)
    async with simulator, client_of(simulator) as client:
        job_id = await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4", resolution=[128, 128])
        url = (await finished(client, job_id))["res_url"]
        whole, half = [(await client.get(url)).content for _ in range(2)]
    assert half == whole[: len(whole) // 2]


async def test_its_own_files_are_read_without_http_and_stay(folder: Path) -> None:
    async with transport_to(Web()) as outward:
        simulator = Simulator(speed=1000, files=folder, http_client=outward)
        async with simulator, client_of(simulator) as client:
            url = f"{ORIGIN}/files/a%20clip.mp4?x=1"
            job_id = await exported(client, video_url=url, resolution=[128, 128])
            fields = await finished(client, job_id)
            assert fields["status"] == "COMPLETED"
            assert (await client.get(fields["res_url"])).content[4:8] == b"ftyp"
    assert names_in(folder) == ["a clip.mp4", "vendor-error.mp4"]


async def test_a_marked_file_ends_in_error_without_being_scaled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[object] = []
    monkeypatch.setattr(upscale, "upscale", lambda *args, **_: scaled.append(args))
    simulator = Simulator(speed=100, files=folder)
    async with simulator, client_of(simulator) as client:
        job_id = await exported(client, video_url=f"{ORIGIN}/files/vendor-error.mp4")
        assert (await finished(client, job_id))["status"] == "ERROR"
    assert len(simulator.ledger) == 1
    assert scaled == []


async def test_what_was_measured_is_charged() -> None:
    async with transport_to(Web()) as outward:
        simulator = Simulator(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            await exported(client, video_url=f"{ELSEWHERE}/clip.mp4", resolution=[3840, 2160])
    assert [charge.credits for charge in simulator.ledger] == [3]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nothing", "HTTP 404"),
        ("/broken", ""),
        ("/empty", "empty"),
        ("/half.mp4", ""),
        ("/page", ""),
        pytest.param(
            "/huge",
            "The source has over",
            # A body that is given up leaves generators inside httpx to the collector, which trio notes.
            marks=pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
        ),
        ("/said-to-be-huge", "The source has over"),
        ("/of-no-length", "does not keep to HTTP"),
        ("/moved-to/moved-to/moved-to/moved-to/moved-to/moved-to/clip.mp4", "redirects too often"),
        ("/moved-nowhere", "HTTP 302"),
        ("/moved-to-a-file", "HTTP 302"),
    ],
)
async def test_what_is_not_a_video_is_not_a_valid_url(
    path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SIZE_MAX_BYTES", 3_000_000)
    async with transport_to(Web()) as outward:
        simulator = Simulator(speed=1000, http_client=outward, work_dir=tmp_path)
        async with simulator, client_of(simulator) as client:
            response = await export(client, video_url=f"{ELSEWHERE}{path}")
    assert (response.status_code, response.json()["code"]) == (400, 501016)
    assert says in response.json()["message"]
    assert simulator.ledger == ()
    assert names_in(tmp_path) == []


async def test_redirects_of_a_source_are_followed() -> None:
    async with transport_to(Web()) as outward:
        simulator = Simulator(http_client=outward)
        async with simulator, client_of(simulator) as client:
            await exported(client, video_url=f"{ELSEWHERE}/moved-to/moved-to/clip.mp4", resolution=[128, 128])


@pytest.mark.parametrize("name", ["nothing.mp4", "..%2fsecret", "%00", ""])
async def test_a_file_that_is_not_served_is_not_a_valid_url(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(VIDEO)
    simulator = Simulator(files=folder)
    async with simulator, client_of(simulator) as client:
        response = await export(client, video_url=f"{ORIGIN}/files/{name}")
    assert (response.status_code, response.json()["code"]) == (400, 501016)


async def test_a_refusal_after_the_fetch_leaves_no_file(tmp_path: Path) -> None:
    async with transport_to(Web()) as outward:
        simulator = Simulator(credits=0, http_client=outward, work_dir=tmp_path)
        async with simulator, client_of(simulator) as client:
            response = await export(client, video_url=f"{ELSEWHERE}/clip.mp4")
    assert response.json()["code"] == 501002
    assert names_in(tmp_path) == []


async def test_a_client_that_leaves_during_the_fetch_leaves_no_file_and_no_charge(tmp_path: Path) -> None:
    began = anyio.Event()

    async def silent(*_: object) -> None:
        began.set()
        await anyio.sleep_forever()

    async with transport_to(silent) as outward:
        simulator = Simulator(http_client=outward, work_dir=tmp_path)
        async with simulator, client_of(simulator) as client, anyio.create_task_group() as tasks:

            async def leave() -> None:
                await export(client, video_url=f"{ELSEWHERE}/clip.mp4")

            tasks.start_soon(leave)
            await began.wait()
            tasks.cancel_scope.cancel()
    assert simulator.ledger == ()
    assert names_in(tmp_path) == []


async def test_without_pyav_a_minute_is_charged_and_the_source_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("This", "media")

    monkeypatch.setattr(media, "probe_file", missing)
    monkeypatch.setattr(upscale, "upscale", missing)
    async with transport_to(Web()) as outward:
        simulator = Simulator(speed=1000, http_client=outward)
        async with simulator, client_of(simulator) as client:
            job_id = await exported(client, video_url=f"{ELSEWHERE}/clip.mp4")
            fields = await finished(client, job_id)
            assert (await client.get(fields["res_url"])).content == VIDEO
    assert [charge.credits for charge in simulator.ledger] == [4]  # of a minute of the largest size: it is not known


async def test_a_job_whose_scaling_fails_ends_in_error(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def failing(*_: object, **__: object) -> None:
        raise MediaError("no")

    monkeypatch.setattr(upscale, "upscale", failing)
    simulator = Simulator(speed=1000, files=folder)
    async with simulator, client_of(simulator) as client:
        job_id = await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4")
        fields = await finished(client, job_id)
    assert fields == {"job_id": job_id, "status": "ERROR", "res_url": ""}


async def test_a_result_that_is_not_made_yet_is_converting(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    began, may_end = anyio.Event(), anyio.Event()

    async def slow(self: Renderer, source: Path, *, name: str, resolution: Resolution) -> Path:
        began.set()
        await may_end.wait()
        return source

    monkeypatch.setattr(rendering.Renderer, "render", slow)
    simulator = Simulator(speed=1e6, files=folder)
    async with simulator, client_of(simulator) as client:
        job_id = await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4")
        await began.wait()
        await anyio.sleep(0.01)
        assert (await task(client, job_id))["status"] == "CONVERTING"
        may_end.set()
        assert (await finished(client, job_id))["status"] == "COMPLETED"


async def test_closing_stops_the_scaling_and_removes_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    simulator = Simulator(speed=1e6, files=folder)
    with anyio.fail_after(10):
        async with simulator, client_of(simulator) as client:
            # To 8K: minutes of work, given up within a frame or two.
            await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4", resolution=[7680, 4320])
            parts: list[Path] = []
            while not parts:
                await anyio.sleep(0.01)
                parts = list(tmp_path.glob("hitpaw-simulator-*/*.part"))  # noqa: ASYNC240 (one quick look)
    assert names_in(tmp_path) == ["served"]


async def test_an_exception_in_the_block_comes_out_as_itself() -> None:
    with pytest.raises(KeyError):
        async with Simulator():
            raise KeyError


async def test_opened_twice_it_belongs_to_the_first_and_it_may_be_opened_again(folder: Path) -> None:
    simulator = Simulator(speed=1000, files=folder)
    for _ in range(2):
        async with simulator, client_of(simulator) as client:
            async with simulator:
                job_id = await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4", resolution=[128, 128])
            assert (await finished(client, job_id))["status"] == "COMPLETED"


async def test_the_lifespan_opens_it(folder: Path) -> None:
    simulator = Simulator(speed=1000, files=folder)
    to_app_sender, to_app = anyio.create_memory_object_stream[dict[str, str]](2)
    from_app_sender, from_app = anyio.create_memory_object_stream[dict[str, str]](2)
    async with to_app_sender, to_app, from_app_sender, from_app, anyio.create_task_group() as tasks:
        tasks.start_soon(simulator.app, {"type": "lifespan"}, to_app.receive, from_app_sender.send)
        await to_app_sender.send({"type": "lifespan.startup"})
        assert (await from_app.receive())["type"] == "lifespan.startup.complete"
        async with client_of(simulator) as client:
            await exported(client, video_url=f"{ORIGIN}/files/a%20clip.mp4", resolution=[128, 128])
        await to_app_sender.send({"type": "lifespan.shutdown"})
        assert (await from_app.receive())["type"] == "lifespan.shutdown.complete"


async def test_a_work_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file"):
        async with Simulator(work_dir=tmp_path / "file" / "work"):
            pass


async def test_after_closing_nothing_is_fetched_any_more(folder: Path) -> None:
    simulator = Simulator(files=folder)
    async with simulator:
        pass
    async with client_of(simulator) as client:
        with pytest.raises(ConfigurationError):
            await client.post(
                V3.export_path,
                json={"video_url": f"{ORIGIN}/files/a%20clip.mp4", "model_id": 17, "resolution": [128, 128]},
            )
