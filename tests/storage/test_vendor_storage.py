"""The vendor's own storage: one PUT to a vetted host, without the key, verified, and anew where it fails."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import anyio
import attrs
import pytest

from hitpaw_async.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ProtocolError,
    StorageError,
    TransportError,
)
from hitpaw_async.policies import RetryPolicy
from hitpaw_async.storage import StagedObject, Staging, VendorStorage, local_video
from tests.storage.test_secrets import everything_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

KEY = "k3y-canary"
IMPATIENT = RetryPolicy(attempts_max=1)
CONTENT = random.Random(5).randbytes(5_000_001)


class Platform:
    """The platform's presign call and its storage, on the loopback."""

    def __init__(self) -> None:
        self.presigned: list[dict[str, Any]] = []
        self.puts: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        """Statuses of the next PUTs; 0 cuts the connection; then all succeed."""
        self.fields: dict[str, Any] = {}
        """What the answer to the presign call has in place of what is right."""
        self.reply: tuple[int, dict[str, Any]] | None = None
        self.etag: str | None = "md5"
        self.paused = threading.Event()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                platform.presigned.append({**body, "key": self.headers.get("apikey"), "path": self.path})
                status, reply = platform.reply or (200, platform.presign(body))
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_PUT(self) -> None:
                status = platform.answers.pop(0) if platform.answers else 200
                length = int(self.headers["content-length"])
                if status == 0:
                    self.rfile.read(length // 2)
                    platform.paused.set()
                    self.close_connection = True
                    return
                received = self.rfile.read(length)
                platform.puts.append((self.path, {n.lower(): v for n, v in self.headers.items()}, received))
                self.send_response(status)
                if platform.etag is not None:
                    md5 = hashlib.md5(received).hexdigest()
                    self.send_header("etag", f'"{md5 if platform.etag == "md5" else platform.etag}"')
                self.send_header("content-length", "0")
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def presign(self, body: dict[str, Any]) -> dict[str, Any]:
        count = len(self.presigned)
        data = {
            "upload_url": f"http://{self.host}/put/{count}?sig=s1gn4ture",
            "access_url": f"http://{self.host}/get/{count}?sig=s1gn4ture",
            "object_key": f"uploads/{count}/{body['filename']}",
            "content_type": body["content_type"],
            "expire_at": 1,
        }
        return {"code": 0, "data": {**data, **self.fields}}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as made:
        yield made


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "my höliday.MOV"
    path.write_bytes(CONTENT)
    return path


def storage(platform: Platform, **settings: Any) -> VendorStorage:
    given = {"api_key": KEY, "base_url": f"http://{platform.host}", "trusted_hosts": {platform.host}, **settings}
    return VendorStorage(**given)


async def test_a_file_is_put_once_and_the_key_stays_with_the_vendor(platform: Platform, clip: Path) -> None:
    made: list[StagedObject] = []
    puts_then: list[int] = []
    told: list[tuple[int, int]] = []

    async def announce(each: StagedObject) -> None:
        made.append(each)
        puts_then.append(len(platform.puts))

    video = attrs.evolve(
        await local_video(clip), announce=announce, on_progress=lambda sent, total: told.append((sent, total))
    )
    staging = storage(platform)
    assert isinstance(staging, Staging)
    staged = await staging.link(video)
    ((path, headers, received),) = platform.puts
    (asked,) = platform.presigned
    assert asked["path"] == "/api/oss/presign-put"
    assert asked["key"] == KEY
    assert asked["filename"] == f"{video.digest}.mov"
    assert asked["content_type"] == headers["content-type"] == "video/quicktime"
    assert asked["expire_seconds"] == 60
    assert received == CONTENT
    assert headers["content-length"] == str(len(CONTENT))
    assert KEY not in str(headers)
    assert path == "/put/1?sig=s1gn4ture"
    assert staged.url.endswith("/get/1?sig=s1gn4ture")
    assert [each.is_whole for each in made] == [False, True]
    assert puts_then == [0, 1]
    assert {each.object_key for each in made} == {staged.object_key}
    assert "s1gn4ture" not in repr(staged) + made[1].to_json()
    assert told[-1] == (len(CONTENT), len(CONTENT))
    again = await staging.link(attrs.evolve(video, earlier=made[1]))
    assert again.url == staged.url
    assert len(platform.puts) == 1
    assert staged.object_key is not None
    await staging.remove(staged.object_key)
    await staging.link(attrs.evolve(video, earlier=made[1]))
    assert len(platform.puts) == 2


@pytest.mark.parametrize("answers", [[403], [500, 503], [0], [0, 403]])
async def test_what_may_pass_is_tried_anew_with_a_fresh_url(platform: Platform, clip: Path, answers: list[int]) -> None:
    platform.answers = list(answers)
    staged = await storage(platform).link(await local_video(clip))
    assert len(platform.presigned) == len(answers) + 1
    assert platform.puts[-1][2] == CONTENT
    assert staged.url.endswith(f"/get/{len(answers) + 1}?sig=s1gn4ture")


@pytest.mark.parametrize(
    ("answers", "kind", "is_denied"),
    [
        ([403] * 3, StorageError, True),
        ([500] * 3, StorageError, False),
        ([400], StorageError, False),
        ([302], StorageError, False),
        ([0] * 3, TransportError, False),
    ],
)
async def test_what_stays_so_is_an_error_without_the_signature(
    platform: Platform, clip: Path, answers: list[int], kind: type[Exception], is_denied: bool
) -> None:
    platform.answers = list(answers)
    with pytest.raises(kind) as caught:
        await storage(platform).link(await local_video(clip))
    assert len(platform.presigned) == len(answers)
    assert getattr(caught.value, "is_denied", False) is is_denied
    assert "s1gn4ture" not in everything_of(caught.value)
    assert KEY not in everything_of(caught.value)


async def test_another_content_than_was_sent_is_not_used(platform: Platform, clip: Path) -> None:
    platform.etag = "0" * 32
    with pytest.raises(StorageError, match="something else than was sent"):
        await storage(platform).link(await local_video(clip))


@pytest.mark.parametrize("etag", [None, "another-kind-2"])
async def test_an_etag_of_another_kind_says_nothing(platform: Platform, clip: Path, etag: str | None) -> None:
    platform.etag = etag
    staged = await storage(platform).link(await local_video(clip))
    assert staged.etag == etag


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/put?sig=s1gn4ture",
        "https://localhost/put?sig=s1gn4ture",
        "https://169.254.169.254/put?sig=s1gn4ture",
        "http://example.com/put?sig=s1gn4ture",
    ],
)
async def test_nothing_is_sent_to_a_host_that_is_not_public(platform: Platform, clip: Path, url: str) -> None:
    platform.fields = {"upload_url": url.format(port=platform.host.partition(":")[2])}
    with pytest.raises(StorageError, match="Nothing was sent") as caught:
        await storage(platform, trusted_hosts=()).link(await local_video(clip))
    assert platform.puts == []
    assert "s1gn4ture" not in everything_of(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"upload_url": None},
        {"upload_url": "ftp://x/y"},
        {"access_url": ""},
        {"object_key": 7},
        {"content_type": "a\r\nb: c"},
    ],
)
async def test_an_answer_that_can_not_be_used_is_refused(
    platform: Platform, clip: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitpaw_async.storage._vendor.RetryPolicy", lambda: IMPATIENT)
    platform.fields = fields
    with pytest.raises(ProtocolError, match=r"no usable|no URL"):
        await storage(platform).link(await local_video(clip))
    assert platform.puts == []


async def test_a_key_that_is_refused_is_told(platform: Platform, clip: Path) -> None:
    platform.reply = (401, {"error_code": 501001, "message": f"bad key {KEY}"})
    with pytest.raises(AuthenticationError) as caught:
        await storage(platform).link(await local_video(clip))
    assert KEY not in everything_of(caught.value)
    platform.reply = (404, {"code": 404, "message": "no such call"})
    with pytest.raises(APIError):
        await storage(platform).link(await local_video(clip))


async def test_other_endings_are_refused_before_anything_is_asked(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "a.mts"
    await anyio.Path(path).write_bytes(b"x")
    with pytest.raises(StorageError, match="Stage it in a bucket"):
        await storage(platform).link(await local_video(path))
    assert platform.presigned == []


async def test_a_file_that_was_changed_is_refused(platform: Platform, clip: Path) -> None:
    video = await local_video(clip)
    await anyio.Path(clip).write_bytes(CONTENT + b"x")
    with pytest.raises(StorageError) as caught:
        await storage(platform).link(video)
    assert caught.value.is_changed
    assert platform.puts == []


async def test_a_cancelled_upload_ends_at_once(platform: Platform, clip: Path) -> None:
    with anyio.fail_after(10), anyio.CancelScope() as scope:

        def cancel(sent: int, total: int) -> None:
            scope.cancel()

        await storage(platform).link(attrs.evolve(await local_video(clip), on_progress=cancel))
    assert scope.cancelled_caught
    assert platform.puts == []


async def test_the_key_is_the_environments_where_none_was_given(
    platform: Platform, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="There is no API key"):
        await storage(platform, api_key=None).link(await local_video(clip))
    monkeypatch.setenv("HITPAW_API_KEY", "another")
    await storage(platform, api_key=None).link(await local_video(clip))
    assert platform.presigned[-1]["key"] == "another"


async def test_the_key_is_not_shown() -> None:
    made = VendorStorage(api_key=KEY)
    assert repr(made) == "VendorStorage(base_url='https://api-base.hitpaw.com')"
    assert KEY not in repr(vars(made))
    with pytest.raises(ConfigurationError) as caught:
        VendorStorage(api_key=KEY, timeout_s=0)
    assert KEY not in everything_of(caught.value)
