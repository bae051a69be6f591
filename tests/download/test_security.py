"""Where a download may lead, and what it takes along: no key, no cookie, no referrer."""

from __future__ import annotations

import socket
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from hitpaw_async import AsyncHitPaw
from hitpaw_async._fetch.vetting import AddressVetting
from hitpaw_async.errors import ConfigurationError, DownloadError, MediaError, TransportError
from hitpaw_async.policies import DownloadPolicy
from tests.download.downloads import fetch, names, only
from tests.support.http_server import CLIP, Origin, cut_off, file, redirects, says
from tests.support.patience import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    Serve = Callable[..., Origin]

pytestmark = pytest.mark.anyio

PUBLIC = "1.1.1.1"
URL = "https://cdn.example/clip.mp4?signature=s3cret"


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Name resolution gives these answers, one after the other; the last one for ever."""

    def resolves(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        async def getaddrinfo(host: str, port: int, **options: object) -> list[Any]:
            asked.append(host)
            addresses = answers[min(len(asked), len(answers)) - 1]
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "unknown name")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr("anyio.getaddrinfo", getaddrinfo)
        return asked

    return resolves


class Web:
    """The whole web, through a client of the caller's: one reply a request, in turn."""

    def __init__(self, *replies: httpx.Response) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.replies.pop(0)


async def refused(url: str, target: Path, **options: Any) -> str:
    """The text of the refusal, which shows no secret and leaves nothing on disk."""
    with pytest.raises(DownloadError) as caught:
        await fetch(url, target, **options)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert not caught.value.is_gone
    assert names(target.parent) == []
    return str(caught.value)


async def _in_pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(CLIP), 10_000):
        yield CLIP[start : start + 10_000]


def clip(announced_bytes: int = len(CLIP)) -> httpx.Response:
    return httpx.Response(200, content=_in_pieces(), headers={"content-length": str(announced_bytes)})


def leads_to(location: str) -> httpx.Response:
    return httpx.Response(302, headers={"location": location})


async def test_the_connection_goes_to_the_address_that_was_vetted(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    asked = resolves([PUBLIC])
    web = Web(clip())
    await fetch(URL, tmp_path / "clip.mp4", http_client=web.client)
    assert asked == ["cdn.example"]
    assert web.requests[0].url.host == PUBLIC
    assert web.requests[0].headers["host"] == "cdn.example"
    assert web.requests[0].extensions["sni_hostname"] == "cdn.example"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        [PUBLIC, "192.168.0.1"],
        ["fe80::1%2"],
    ],
)
async def test_a_name_of_a_private_address_is_refused(
    resolves: Callable[..., list[str]], tmp_path: Path, addresses: list[str]
) -> None:
    resolves(addresses)
    web = Web()
    assert "private network" in await refused(URL, tmp_path / "clip.mp4", http_client=web.client)
    assert web.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "0.0.0.0",
    ],
)
async def test_a_private_address_is_refused(tmp_path: Path, host: str) -> None:
    text = await refused(f"https://{host}/?s3cret", tmp_path / "clip.mp4", settings={"trusted_hosts": ["api.example"]})
    assert "private network" in text
    assert "trusted_hosts" in text


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.0.0.1.1"])
async def test_a_number_in_disguise_is_refused(tmp_path: Path, host: str) -> None:
    assert "in disguise" in await refused(f"https://{host}/", tmp_path / "clip.mp4")


async def test_a_name_that_really_resolves_to_the_loopback_is_refused(tmp_path: Path) -> None:
    assert "private network" in await refused("https://localhost/", tmp_path / "clip.mp4")


async def test_a_name_that_moves_to_a_private_address_is_refused_at_the_next_attempt(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    asked = resolves([PUBLIC], ["127.0.0.1"])
    web = Web(httpx.Response(503))
    assert "private network" in await refused(URL, tmp_path / "clip.mp4", http_client=web.client)
    assert len(asked) == 2


async def test_another_address_is_used_where_the_first_one_fails(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    resolves(["2606:4700::1", "2606:4700::2", PUBLIC])
    web = Web(httpx.Response(503), httpx.Response(503), clip())
    await fetch(URL, tmp_path / "clip.mp4", http_client=web.client)
    assert [request.url.host for request in web.requests] == ["2606:4700::1", PUBLIC, "2606:4700::2"]


async def test_a_name_that_cannot_be_resolved_is_tried_again(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    asked = resolves([], [PUBLIC])
    await fetch(URL, tmp_path / "clip.mp4", http_client=Web(clip()).client)
    assert len(asked) == 2
    (tmp_path / "clip.mp4").unlink()
    resolves([])
    assert "cannot be resolved" in await refused(URL, tmp_path / "clip.mp4", http_client=Web().client)


@pytest.mark.parametrize(
    "location",
    ["https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data", "https://inside.example/"],
)
async def test_a_redirect_into_a_private_network_is_refused(
    resolves: Callable[..., list[str]], tmp_path: Path, location: str
) -> None:
    resolves([PUBLIC], ["10.0.0.1"])
    web = Web(leads_to(location))
    assert "private network" in await refused(URL, tmp_path / "clip.mp4", http_client=web.client)
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "https://user:s3cret@cdn.example/", "https://a\\b.example/"]
)
async def test_a_redirect_to_what_is_no_plain_url_is_refused(
    resolves: Callable[..., list[str]], tmp_path: Path, location: str
) -> None:
    resolves([PUBLIC])
    await refused(URL, tmp_path / "clip.mp4", http_client=Web(leads_to(location), clip()).client)


async def test_a_redirect_of_a_trusted_host_into_a_private_network_is_refused(serve: Serve, tmp_path: Path) -> None:
    inside = serve(file(CLIP))
    settings: dict[str, Any]
    for location in (f"http://localhost:{inside.port}/", f"https://localhost:{inside.port}/"):
        origin = serve(redirects(location))
        settings = {"trusted_hosts": [f"127.0.0.1:{origin.port}"]}
        await refused(origin.url, tmp_path / "clip.mp4", settings=settings)
    assert inside.seen == []


@pytest.mark.parametrize("host", ["cdn.example", "127.0.0.1"])
async def test_a_redirect_from_https_to_http_is_refused_even_to_a_trusted_host(
    resolves: Callable[..., list[str]], tmp_path: Path, host: str
) -> None:
    resolves([PUBLIC])
    web = Web(leads_to(f"http://{host}/"))
    assert "from https to http" in await refused(URL, tmp_path / "clip.mp4", http_client=web.client)


async def test_http_is_refused_unless_the_host_is_trusted(serve: Serve, tmp_path: Path) -> None:
    origin = serve(file(CLIP))
    for trusted in ([], ["localhost"], ["127.0.0.1:1"]):
        settings: dict[str, Any] = {"trusted_hosts": trusted}
        assert "not https" in await refused(origin.url, tmp_path / "clip.mp4", settings=settings)
    assert origin.seen == []
    await fetch(origin.url, tmp_path / "clip.mp4", settings={"trusted_hosts": [f"127.0.0.1:{origin.port}"]})


async def test_an_address_that_a_fresh_url_leads_to_is_vetted(serve: Serve, tmp_path: Path) -> None:
    async def refresh() -> str:
        return "https://10.0.0.1/?s3cret"

    origin = serve(says("403 Forbidden"))
    assert "private network" in await refused(origin.url, tmp_path / "clip.mp4", refresh=refresh)


@pytest.mark.parametrize("url", ["https://user:s3cret@cdn.example/", "ftp://cdn.example/?s3cret", "s3cret", ""])
async def test_what_is_no_plain_url_is_refused(tmp_path: Path, url: str) -> None:
    assert "cannot be used" in await refused(url, tmp_path / "clip.mp4")


async def test_behind_a_proxy_the_name_is_left_to_it(resolves: Callable[..., list[str]], tmp_path: Path) -> None:
    resolves([])
    web = Web(clip())
    await fetch(URL, tmp_path / "clip.mp4", http_client=web.client, pin_addresses=False)
    assert web.requests[0].url.host == "cdn.example"


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        (URL, ["10.0.0.1"]),
        ("https://10.0.0.1/", []),
        ("https://127.1/", []),
        ("https://metadata.google.internal/", []),
        ("https://database/", []),
    ],
)
async def test_behind_a_proxy_what_can_be_seen_to_be_private_is_refused(
    resolves: Callable[..., list[str]], tmp_path: Path, url: str, addresses: list[str]
) -> None:
    resolves(addresses)
    web = Web()
    await refused(url, tmp_path / "clip.mp4", http_client=web.client, pin_addresses=False)
    assert web.requests == []


async def test_no_key_cookie_or_referrer_is_sent(serve: Serve, tmp_path: Path) -> None:
    other = serve(cut_off(CLIP, 20_000), file(CLIP))
    origin = serve(says("302 Found", location=other.url, set_cookie="session=1; Path=/"))
    headers = {"ApiKey": "key", "Referer": "https://secret.example", "Authorization": "Bearer key"}
    async with httpx.AsyncClient(headers=headers, cookies={"session": "0"}) as client:
        await fetch(origin.url, tmp_path / "clip.mp4", http_client=client, pin_addresses=False)
    (tmp_path / "clip.mp4").unlink()
    await fetch(origin.url, tmp_path / "clip.mp4")
    allowed = {"host", "accept", "accept-encoding", "user-agent", "connection", "range", "if-range"}
    for seen in origin.seen + other.seen:
        assert set(seen.headers) <= allowed
        assert seen.headers["accept-encoding"] == "identity"
    assert len(other.seen) == 3


async def test_a_body_longer_than_announced_is_not_published(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    """HTTP/1.1 hides such a surplus; other transports hand it over."""
    resolves([PUBLIC])
    replies = [clip(len(CLIP) - 1) for _ in range(3)]
    text = await refused(URL, tmp_path / "clip.mp4", http_client=Web(*replies).client)
    assert "more than it said" in text


async def test_a_body_shorter_than_announced_is_not_published(
    resolves: Callable[..., list[str]], tmp_path: Path
) -> None:
    resolves([PUBLIC])
    replies = [clip(len(CLIP) + 1) for _ in range(3)]
    text = await refused(URL, tmp_path / "clip.mp4", http_client=Web(*replies).client)
    assert "less than it said" in text


async def test_a_result_over_the_size_cap_is_refused_before_it_is_fetched(serve: Serve, tmp_path: Path) -> None:
    origin = serve(cut_off(CLIP, 0))
    settings = {"size_bytes_max": len(CLIP) - 1}
    assert "size_bytes_max" in await refused(origin.url, tmp_path / "clip.mp4", settings=settings)
    assert len(origin.seen) == 1


async def test_a_result_as_large_as_the_size_cap_is_fetched(serve: Serve, tmp_path: Path) -> None:
    await fetch(serve(file(CLIP)).url, tmp_path / "clip.mp4", settings={"size_bytes_max": len(CLIP)})


async def test_a_body_without_a_length_is_left_at_the_size_cap(serve: Serve, tmp_path: Path) -> None:
    def endless(connection: socket.socket, _: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not origin.released.is_set():
            connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")

    origin = serve(endless)
    text = await refused(origin.url, tmp_path / "clip.mp4", settings={"size_bytes_max": 3 << 20})
    assert "size_bytes_max" in text
    assert len(origin.seen) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"size_bytes_max": 0},
        {"size_bytes_max": 1.5},
        {"attempts_max": True},
        {"attempts_max": 0},
        {"redirects_max": 6},
        {"read_timeout_s": 0},
        {"read_timeout_s": float("nan")},
        {"backoff_max_s": "1"},
        {"bytes_per_s_min": 0},
        {"trusted_hosts": "localhost"},
        {"trusted_hosts": ["http://localhost"]},
        {"trusted_hosts": [None]},
        {"trusted_hosts": 7},
    ],
)
def test_a_policy_is_checked_when_it_is_built(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"DownloadPolicy\."):
        DownloadPolicy(**settings)


async def test_the_vendors_address_is_trusted_and_no_other_port_of_its_host(serve: Serve, tmp_path: Path) -> None:
    vendor, neighbour = serve(file(CLIP)), serve(file(CLIP))
    async with AsyncHitPaw(api_key="key", base_url=f"http://127.0.0.1:{vendor.port}") as hitpaw:
        await hitpaw.download(vendor.url, tmp_path / "clip.mp4")
        for port in (neighbour.port, 80):
            with pytest.raises(DownloadError, match="not https"):
                await hitpaw.download(f"http://127.0.0.1:{port}/x.mp4", tmp_path / "other.mp4")
    assert names(tmp_path) == ["clip.mp4"]
    assert neighbour.seen == []


async def test_a_vendor_with_tls_is_not_trusted_without(tmp_path: Path) -> None:
    async with AsyncHitPaw(api_key="key", base_url="https://127.0.0.1") as hitpaw:
        for url in ("http://127.0.0.1/x.mp4", "http://127.0.0.1:443/x.mp4"):
            with pytest.raises(DownloadError, match="not https"):
                await hitpaw.download(url, tmp_path / "clip.mp4")


async def test_a_source_at_another_port_of_the_vendors_host_is_not_read(serve: Serve) -> None:
    vendor, neighbour = serve(file(CLIP)), serve(file(CLIP))
    async with AsyncHitPaw(api_key="key", base_url=f"http://127.0.0.1:{vendor.port}") as hitpaw:
        with pytest.raises(MediaError):
            await hitpaw.probe(vendor.url)
        with pytest.raises(TransportError, match="private network"):
            await hitpaw.probe(neighbour.url)
    assert vendor.seen
    assert neighbour.seen == []


async def test_a_dead_address_does_not_hold_a_download_up(
    serve: Serve, tmp_path: Path, resolves: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = anyio.connect_tcp

    async def connect_tcp(host: str, port: int, **options: Any) -> Any:
        if host != "127.0.0.1":
            await anyio.sleep_forever()
        return await connect(host, port, **options)

    origin = serve(file(CLIP))
    resolves(["2606:4700::1", "127.0.0.1"])
    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)
    monkeypatch.setattr("hitpaw_async._fetch.vetting.is_public", lambda _: True)
    monkeypatch.setattr(
        "hitpaw_async.download.downloader.AddressVetting", partial(AddressVetting, requires_https=False)
    )
    began = anyio.current_time()
    url = f"http://cdn.example:{origin.port}/clip.mp4"
    await fetch(url, tmp_path / "clip.mp4", settings={"trusted_hosts": [], "read_timeout_s": 10})
    assert anyio.current_time() - began < soon(3)
    only(tmp_path, "clip.mp4", CLIP)
