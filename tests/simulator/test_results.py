"""Results and files over HTTP: ranges, validators, secrets, and nothing outside the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitpaw_async import errors
from hitpaw_async.simulator import Simulator
from tests.simulator.conversation import ORIGIN, ManualClock, client_of, exported, result_url, task, virtual

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to serve, and a file beside it that must not be."""
    served = tmp_path / "served"
    (served / "deep").mkdir(parents=True)
    (served / "clip.mp4").write_bytes(CONTENT)
    (served / "deep" / "a b.mp4").write_bytes(CONTENT)
    (tmp_path / "secret.txt").write_text("secret")
    (served / "link.txt").symlink_to(tmp_path / "secret.txt")
    return served


async def test_a_result_comes_whole_with_its_length_and_validator() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock, result_bytes=CONTENT)
    async with client_of(simulator) as client:
        response = await client.get(await result_url(simulator, client, clock))
    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"].startswith('"')


RANGES = [
    ("bytes=0-0", 206, (0, 1)),
    ("bytes=100-199", 206, (100, 200)),
    ("bytes=100-", 206, (100, len(CONTENT))),
    ("bytes=10000-99999999", 206, (10_000, len(CONTENT))),
    ("bytes=-100", 206, (len(CONTENT) - 100, len(CONTENT))),
    ("bytes=10240-", 416, None),
    ("bytes=99999-100000", 416, None),
]


async def check_ranges(client: httpx.AsyncClient, url: str) -> None:
    for asked, status_code, bounds in RANGES:
        response = await client.get(url, headers={"Range": asked})
        assert response.status_code == status_code, asked
        if bounds is None:
            assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"
        else:
            first, end = bounds
            assert response.content == CONTENT[first:end], asked
            assert response.headers["content-range"] == f"bytes {first}-{end - 1}/{len(CONTENT)}"
            assert response.headers["content-length"] == str(end - first)
    etag = (await client.get(url)).headers["etag"]
    for validator, status_code in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
        response = await client.get(url, headers={"Range": "bytes=5-", "If-Range": validator})
        assert response.status_code == status_code, validator
        assert response.content == (CONTENT[5:] if status_code == 206 else CONTENT)
    head = await client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


async def test_a_virtual_result_is_served_in_ranges() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock, result_bytes=CONTENT)
    async with client_of(simulator) as client:
        url = await result_url(simulator, client, clock)
        await check_ranges(client, url)
        for odd in ("bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6"):
            assert (await client.get(url, headers={"Range": odd})).content == CONTENT, odd
        assert (await client.get(url, headers={"Range": "bytes=-0"})).status_code == 416


async def test_a_file_is_served_in_ranges(folder: Path) -> None:
    simulator = Simulator(files=folder)
    async with simulator, client_of(simulator) as client:
        await check_ranges(client, "/files/clip.mp4")
        response = await client.get("/files/deep/a%20b.mp4")
        assert response.content == CONTENT
        assert response.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    "path",
    [
        "/files/../secret.txt",
        "/files/..%2fsecret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/deep/../../secret.txt",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/link.txt",
        "/files/deep",
        "/files/",
        "/files/a%00b",
        "/files/" + "x" * 5000,
        "/files/nothing.mp4",
    ],
)
async def test_nothing_outside_the_folder_is_served(folder: Path, path: str) -> None:
    simulator = Simulator(files=folder)
    async with simulator, client_of(simulator) as client:
        response = await client.get(path)
    assert response.status_code == 404


async def test_a_folder_that_is_not_there_is_named_when_it_opens(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="nothing-here"):
        async with Simulator(files=tmp_path / "nothing-here"):
            pass


async def test_a_result_needs_its_signature() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock)
    async with client_of(simulator) as client:
        url = await result_url(simulator, client, clock)
        bare = url.partition("?")[0]
        for wrong in (bare, f"{bare}?sig=", f"{bare}?sig=0000", f"{bare}?sig=%ED%A0%80", url[:-1]):
            assert (await client.get(wrong)).status_code == 403, wrong
        assert (await client.get(url.replace(".mp4", ".mov"))).status_code == 404
        assert (await client.get(url.replace("/results/", "/results/x"))).status_code == 404


async def test_results_of_two_jobs_have_two_signatures() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock)
    async with client_of(simulator) as client:
        first, second = [await result_url(simulator, client, clock) for _ in range(2)]
        swapped = f"{first.partition('?')[0]}?{second.partition('?')[2]}"
        assert (await client.get(swapped)).status_code == 403


async def test_there_is_no_result_before_the_job_is_completed() -> None:
    clock = ManualClock()
    simulator = virtual(clock=clock, seed=1)
    async with client_of(simulator) as client:
        job_id = await exported(client)
        clock.now_s += 1000
        url = (await task(client, job_id))["res_url"]
        clock.now_s -= 1000
        assert url.startswith(ORIGIN)
        assert (await client.get(url)).status_code == 404
