"""Rows of downloads and probed sources: what a result's server, its redirects and its names can do."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs
import httpcore
import pytest

from hitpaw_async import AsyncHitPaw, DownloadError, DownloadPolicy, TransportError, media
from tests.client.callers import a_client
from tests.client.fault_server import Fault, FaultServer, whole
from tests.client.flaky_network import FlakyNetwork
from tests.download.downloads import IMPATIENT, names, only
from tests.hostile.canary import API_KEY, RESULT_URL_QUERY, SOURCE_URL, hits, said_by
from tests.hostile.rows import Area, Row
from tests.support.http_server import (
    CLIP,
    VIDEO,
    Act,
    Origin,
    Seen,
    cut_off,
    file,
    head,
    redirects,
    reset_connection,
    says,
    sends,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["download_rows"]

ALLOWED_HEADERS: Final = {"host", "accept", "accept-encoding", "user-agent", "connection", "range", "if-range"}
PUBLIC: Final = "93.184.216.34"
NAME: Final = "clip.mp4"


@attrs.frozen
class Reply:
    """What a server does, attempt by attempt; the last for ever. Whether the file comes of it, and in how many."""

    fault: str
    acts: tuple[Act, ...]
    is_fetched: bool
    requests: int | None = None
    says: str = ""
    settings: dict[str, Any] = attrs.field(factory=dict)


def resets(after: int) -> Act:
    def act(connection: socket.socket, seen: Seen) -> None:
        cut_off(VIDEO, after)(connection, seen)
        reset_connection(connection)

    return act


def falls_silent(connection: socket.socket, _: Seen) -> None:
    connection.sendall(head("200 OK", content_length=len(CLIP)) + CLIP[:100])
    connection.recv(1)


def drips(connection: socket.socket, _: Seen) -> None:
    """A byte each 10 ms, for ever: no single read waits long."""
    drip_after(head("200 OK", content_length=len(VIDEO)), connection)


def drips_its_head(connection: socket.socket, _: Seen) -> None:
    """The same before the body begins."""
    drip_after(b"HTTP/1.1 200 OK\r\nX-Pad: ", connection)


def drip_after(begun: bytes, connection: socket.socket) -> None:
    """A byte each 10 ms after `begun`, until the client goes away."""
    connection.sendall(begun)
    connection.settimeout(0.01)
    while True:
        connection.sendall(b"x")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


def endless(connection: socket.socket, _: Seen) -> None:
    connection.sendall(head("200 OK", transfer_encoding="chunked"))
    while True:
        connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


def another_version(connection: socket.socket, seen: Seen) -> None:
    """Answers a range with a part of another version, as if nothing had happened."""
    if "range" not in seen.headers:
        file(CLIP, etag='"v2"')(connection, seen)
        return
    named = f"bytes 20000-{len(CLIP) - 1}/{len(CLIP)}"
    says("206 Partial Content", bytes(len(CLIP) - 20_000), etag='"v2"', content_range=named)(connection, seen)


WHOLE: Final = file(CLIP)
SHORT: Final = cut_off(CLIP, 20_000)

REPLIES: Final = (
    Reply("a short body", (SHORT, WHOLE), True, 2),
    Reply("a short body, always", (cut_off(CLIP, len(CLIP) - 1, etag=None),), False, 3, "attempts: 3"),
    Reply("a reset in the middle", (resets(1_500_000), file(VIDEO)), True, 2),
    Reply("a silent server", (falls_silent, WHOLE), True, 2, settings={"read_timeout_s": 0.1}),
    Reply(
        "a server that drips",
        (drips,),
        False,
        1,
        "bytes a second",
        {"bytes_per_s_min": 1 << 23, "attempts_max": 1},
    ),
    Reply("a head that drips", (drips_its_head,), False, 2, "did not come in time", {"read_timeout_s": 0.2}),
    Reply("a head that drips at first", (drips_its_head, WHOLE), True, 2, settings={"read_timeout_s": 0.5}),
    Reply("one word for a video", (says("200 OK", b"AccessDenied", content_type="video/mp4"),), False, 3, "a text"),
    Reply("an unframed body", (sends(head("200 OK") + CLIP),), False, 3, "where the result ends"),
    Reply("an over-long body", (sends(head("200 OK", content_length=len(CLIP)) + CLIP + b"evil"),), True, 1),
    Reply(
        "two lengths",
        (sends(head("200 OK", transfer_encoding="chunked", content_length=7) + b"6\r\n123456\r\n0\r\n\r\n"),),
        False,
        3,
    ),
    Reply("a broken chunk", (sends(head("200 OK", transfer_encoding="chunked") + b"zz\r\n"),), False, 3),
    Reply("a text for a video", (says("200 OK", b"AccessDenied" * 9, content_type="video/mp4"),), False, 3, "a text"),
    Reply("XML for a video, then the video", (says("200 OK", b"<Error>AccessDenied</Error>"), WHOLE), True, 2),
    Reply("a picture for a video", (says("200 OK", b"\x89PNG\r\n\x1a\n" + CLIP),), False, 3, "a picture"),
    Reply("404 at first", (says("404 Not Found"), WHOLE), True, 2, settings={"refused_wait_s": 9}),
    Reply("403 at first", (says("403 Forbidden"), WHOLE), True, 2, settings={"refused_wait_s": 9}),
    Reply("an empty result", (says("200 OK"),), False, 3, "empty"),
    Reply("a page for a video", (says("200 OK", b"<html>", content_type="text/html"),), False, 3, "page"),
    Reply(
        "gzip, though identity was asked for", (says("200 OK", CLIP, content_encoding="gzip"),), False, 3, "compressed"
    ),
    Reply("not HTTP", (sends(b"\x16\x03\x01 not HTTP\r\n\r\n"), WHOLE), True, 2),
    Reply("closed at once", (sends(b""), WHOLE), True, 2),
    Reply("a giant header", (sends(head("200 OK", X="x" * 300_000)),), False, 3),
    Reply("503 and Retry-After", (says("503 Busy", retry_after=0), WHOLE), True, 2),
    Reply("503 for a day", (says("503 Busy", retry_after=86400),), False, 1),
    Reply("429", (says("429 Slow Down"), WHOLE), True, 2),
    Reply("a changed ETag", (SHORT, file(CLIP, etag='"v2"')), True, 2),
    Reply("a range of another version", (SHORT, another_version), True, 3),
    Reply("200 for a range", (SHORT, says("200 OK", CLIP)), True, 2),
    Reply("416", (SHORT, says("416 Range Not Satisfiable"), WHOLE), True, 3),
    Reply("a weak ETag", (cut_off(CLIP, 20_000, etag='W/"v1"'), WHOLE), True, 2),
    Reply(
        "a range that nobody asked for", (says("206 Partial Content", CLIP, content_range="bytes 0-9/10"),), False, 3
    ),
    Reply("larger than allowed, announced", (WHOLE,), False, 1, "size_bytes_max", {"size_bytes_max": 1000}),
    Reply("larger than allowed, endless", (endless,), False, 1, "size_bytes_max", {"size_bytes_max": 1 << 20}),
    Reply("a redirect without a target", (says("302 Found"),), False, 3),
    Reply("a redirect to itself", (redirects("/again"),), False, 6, "redirects more than 5 times"),
    Reply("a redirect to file:", (redirects("file:///etc/passwd"),), False, 1, "cannot be used"),
    Reply("a redirect to a private address", (redirects("https://10.0.0.1/x"),), False, 1, "private network"),
    Reply(
        "a redirect to the cloud's metadata",
        (redirects("https://169.254.169.254/latest"),),
        False,
        1,
        "private network",
    ),
    Reply("a redirect to plain http elsewhere", (redirects("http://localhost:1/x"),), False, 1, "not https"),
    Reply("403", (says("403 Forbidden"),), False, 1, "was refused"),
    Reply("404", (says("404 Not Found"),), False, 1, "no longer exists"),
)


async def fetch(url: str, target: Path, *, settings: dict[str, Any] | None = None) -> Path:
    """One download by a client, bounded in time."""
    given = {"trusted_hosts": {"127.0.0.1"}, **IMPATIENT, **(settings or {})}
    async with AsyncHitPaw(
        api_key=API_KEY, base_url="https://vendor.example", download=DownloadPolicy(**given)
    ) as hitpaw:
        with anyio.fail_after(15):
            return await hitpaw.download(url, target)


async def refusal_of(url: str, target: Path, **options: Any) -> str:
    """What is said of a download that must fail: no secret, and nothing on disk."""
    with pytest.raises(DownloadError) as caught:
        await fetch(url, target, **options)
    assert hits(said_by(caught.value)) == []
    assert names(target.parent) == []
    return str(caught.value)


async def result_is_whole_or_absent(folder: Path, *, case: Reply) -> None:
    with Origin(*case.acts) as origin:
        url = f"{origin.url.partition('?')[0]}?{RESULT_URL_QUERY}"
        if case.is_fetched:
            await fetch(url, folder / NAME, settings=case.settings)
            [name] = names(folder)
            assert (folder / name).read_bytes() in (CLIP, VIDEO)
        else:
            assert case.says in await refusal_of(url, folder / NAME, settings=case.settings)
        assert case.requests in (None, len(origin.seen))
        for seen in origin.seen:
            assert set(seen.headers) <= ALLOWED_HEADERS
            assert seen.headers["accept-encoding"] == "identity"


async def address_is_refused(folder: Path, *, host: str, reason: str) -> None:
    assert reason in await refusal_of(
        f"https://{host}/r.mp4?{RESULT_URL_QUERY}", folder / NAME, settings={"trusted_hosts": []}
    )


def resolving_to(patch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names resolve to `answers`, in turn; the last for ever."""
    asked: list[str] = []

    async def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

    patch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return asked


async def name_is_private(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        resolving_to(patch, [PUBLIC, "192.168.0.1"])
        assert "private network" in await refusal_of("https://cdn.example/x?a", folder / NAME)


class Unreachable(FlakyNetwork):
    """A network that notes whom it is asked to connect to, and reaches nobody but this machine."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__([], patch)
        self.hosts: list[str] = []

    async def open_wire(self, host: str, port: int, **settings: Any) -> Any:
        self.hosts.append(host)
        if host == "127.0.0.1":
            return await super().open_wire(host, port, **settings)
        raise httpcore.ConnectError


async def name_is_rebound(folder: Path) -> None:
    """A name is public when it is vetted and leads to this machine when it is resolved again."""
    with pytest.MonkeyPatch.context() as patch, Origin(WHOLE) as origin:
        asked = resolving_to(patch, [PUBLIC], ["127.0.0.1"])
        network = Unreachable(patch)
        url = f"https://cdn.example:{origin.port}/x"
        assert "private network" in await refusal_of(url, folder / NAME)
    assert network.hosts == [PUBLIC], "the address that was vetted, and after the second look none"
    assert len(asked) == 2
    assert origin.seen == []


async def url_has_expired(folder: Path) -> None:
    """403 in the middle: the task call is asked for a fresh URL, and the download goes on where it was."""
    with Origin(SHORT, says("403 Forbidden"), WHOLE) as origin:
        fresh = whole(
            "200 OK", b'{"code":200,"data":{"job_id":"j","status":"COMPLETED","res_url":"%s"}}' % origin.url.encode()
        )
        with FaultServer(Fault.SCRIPTED, reply=fresh) as server:
            policy = DownloadPolicy(trusted_hosts={f"127.0.0.1:{origin.port}"}, backoff_first_s=0)
            async with a_client(server.url, download=policy) as hitpaw:
                await hitpaw.download(await hitpaw.task("j"), folder / NAME)
    only(folder, NAME, CLIP)
    assert origin.ranges == [None, "bytes=20000-", "bytes=20000-"]
    assert len(server.received) == 2


async def target_exists(folder: Path) -> None:
    (folder / NAME).write_bytes(b"mine")
    with Origin(WHOLE) as origin, pytest.raises(DownloadError):
        await fetch(origin.url, folder / NAME)
    only(folder, NAME, b"mine")
    assert origin.seen == []


async def target_appears_meanwhile(folder: Path) -> None:
    def act(connection: socket.socket, seen: Seen) -> None:
        (folder / NAME).write_bytes(b"mine")
        WHOLE(connection, seen)

    with Origin(act) as origin, pytest.raises(DownloadError):
        await fetch(origin.url, folder / NAME)
    only(folder, NAME, b"mine")


async def is_cancelled(folder: Path) -> None:
    with Origin(falls_silent) as origin:
        with anyio.move_on_after(0.1):
            await fetch(origin.url, folder / NAME)
    assert names(folder) == []


async def name_is_hostile(folder: Path, *, name: str) -> None:
    (folder / "results").mkdir()
    with Origin(WHOLE) as origin:
        async with a_client(f"http://127.0.0.1:{origin.port}") as hitpaw:
            path = await hitpaw.download(f"http://127.0.0.1:{origin.port}/{name}", folder / "results")
    assert names(folder) == ["results"]
    assert path.parent == folder / "results"
    only(folder / "results", path.name, CLIP)
    assert len(path.name.encode()) <= 255


async def carries_no_secret(folder: Path) -> None:
    """The vendor's host redirects to another origin: no key, cookie or referrer goes along, to either."""
    with Origin(WHOLE) as other:
        hop = says("302 Found", location=other.url, set_cookie="session=1; Path=/")
        with Origin(hop) as origin:
            policy = DownloadPolicy(trusted_hosts={"127.0.0.1"})
            async with a_client(f"http://127.0.0.1:{origin.port}", api_key=API_KEY, download=policy) as hitpaw:
                await hitpaw.download(origin.url, folder / NAME)
    for seen in (*origin.seen, *other.seen):
        assert set(seen.headers) <= ALLOWED_HEADERS
        assert hits(str(seen)) == []
    only(folder, NAME, CLIP)


async def source_is_private(_: Path, *, url: str) -> None:
    async with AsyncHitPaw(api_key=API_KEY, base_url="https://vendor.example") as hitpaw:
        for probe in (hitpaw.probe, media.probe):
            with anyio.fail_after(10), pytest.raises(TransportError, match=r"private network|in disguise") as caught:
                await probe(f"{url}?{SOURCE_URL.partition('?')[2]}")
            assert hits(said_by(caught.value)) == []


async def source_redirects_inside(_: Path) -> None:
    with Origin(WHOLE) as inside:
        with Origin(redirects(f"http://localhost:{inside.port}/")) as origin:
            with pytest.raises(TransportError, match="private network"):
                await media.probe(origin.url, trusted_hosts=[f"127.0.0.1:{origin.port}"])
    assert inside.seen == []
    assert len(origin.seen) == 1


async def source_is_rebound(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        resolving_to(patch, [PUBLIC], ["127.0.0.1"])
        network = Unreachable(patch)
        with pytest.raises(TransportError):
            await media.probe("http://videos.example/x.mp4")
    assert network.hosts == [PUBLIC]


ADDRESSES: Final = {
    "127.0.0.1": "private network",
    "10.1.2.3": "private network",
    "100.64.0.1": "private network",
    "0.0.0.0": "private network",
    "[::1]": "private network",
    "[fe80::1]": "private network",
    "[fd00::1]": "private network",
    "[::ffff:127.0.0.1]": "private network",
    "[::127.0.0.1]": "private network",
    "[64:ff9b::7f00:1]": "private network",
    "[2002:7f00:1::]": "private network",
    "localhost": "private network",
    "2130706433": "in disguise",
    "0177.0.0.1": "in disguise",
    "0x7f.1": "in disguise",
    "127.1": "in disguise",
}

SOURCES: Final = (
    "http://127.0.0.1:1/x.mp4",
    "https://[::ffff:10.0.0.1]/x",
    "http://169.254.169.254/x",
    "http://2130706433/x",
)

HOSTILE_NAMES: Final = {
    "..": "%2e%2e",
    "an absolute path": "%2Fetc%2Fpasswd",
    "a way up": "..%2f..%2fevil.mp4",
    "a null byte": "a%00b.mp4",
    "a reserved Windows name": "NUL.mp4",
    "a name of 4,000 characters": "x" * 4000 + ".mp4",
    "backslashes": "..%5c..%5cevil.mp4",
    "control characters": "a%0a%1b[2Jb.mp4",
}


def download_rows() -> Iterator[Row]:
    """All of them."""

    def row(
        fault: str, injection: str, expected: str, invariant: str, play: Callable[..., Any], area: Area = Area.DOWNLOAD
    ) -> Row:
        return Row(area=area, fault=fault, injection=injection, expected=expected, invariant=invariant, play=play)

    for case in REPLIES:
        expected = "the whole file" if case.is_fetched else "DownloadError, no file"
        play: Callable[..., Any] = partial(result_is_whole_or_absent, case=case)
        yield row(case.fault, "a server of raw bytes", expected, "I7, I9, I10", play)
    for host, reason in ADDRESSES.items():
        play = partial(address_is_refused, host=host, reason=reason)
        yield row(f"a result at {host}", "the result's URL", f"DownloadError: {reason}", "I7, I9", play)
    yield row(
        "a name of a public and a private address", "DNS", "DownloadError: private network", "I7", name_is_private
    )
    yield row(
        "DNS rebinding",
        "public at the first look, then loopback",
        "connects to what was vetted only",
        "I7",
        name_is_rebound,
    )
    yield row(
        "a URL that expires midway", "403 to a range", "a fresh URL, goes on by Range", "I9, I11", url_has_expired
    )
    yield row("a file of that name", "before", "DownloadError, untouched, nothing fetched", "I9", target_exists)
    yield row(
        "a file of that name, later", "while it is fetched", "DownloadError, untouched", "I9", target_appears_meanwhile
    )
    yield row("cancelled midway", "a deadline", "nothing left", "I8, I9", is_cancelled)
    yield row(
        "a redirect to another origin", "302 with a cookie", "no key, cookie or referrer sent", "I7", carries_no_secret
    )
    for what, name in HOSTILE_NAMES.items():
        play = partial(name_is_hostile, name=name)
        yield row(f"a name: {what}", "the result's URL", "one harmless name in the folder", "I9", play)
    for url in SOURCES:
        play = partial(source_is_private, url=url)
        yield row(f"a source at {url}", "probe", "TransportError, nothing connected", "I7", play, Area.SOURCE)
    yield row(
        "a source that redirects inside",
        "302 to localhost",
        "TransportError, not followed",
        "I7",
        source_redirects_inside,
        Area.SOURCE,
    )
    yield row(
        "a source whose name is rebound",
        "DNS",
        "connects to what was vetted only",
        "I7",
        source_is_rebound,
        Area.SOURCE,
    )
