"""Whose certificates are trusted: the shipped list, or what SSL_CERT_FILE and SSL_CERT_DIR name in its place."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitpaw_async import Job, TransportError
from hitpaw_async._transport import tls
from tests.client.callers import ONE_ATTEMPT, REQUEST, a_client
from tests.client.fault_server import JOB_ID, FaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PEM = Path(__file__).parent.parent / "tls" / "loopback.pem"
MARK = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_BUILT", [])
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    with FaultServer(tls=context) as server:
        yield server


def rehashed(folder: Path) -> Path:
    """A folder of authorities, as `openssl rehash` leaves it."""
    folder.mkdir()
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl here to name the files")
    named = [program, "x509", "-in", str(PEM), "-noout", "-subject_hash"]
    digest = subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(PEM, folder / f"{digest}.0")
    return folder


@pytest.mark.anyio
async def test_an_authority_that_nobody_named_is_not_trusted_and_the_error_says_how_to_name_it(
    server: FaultServer,
) -> None:
    async with a_client(server.url, retry=ONE_ATTEMPT) as hitpaw:
        with pytest.raises(TransportError, match=r"not trusted .* SSL_CERT_FILE"):
            await hitpaw.export(REQUEST)
    assert not server.received


@pytest.mark.anyio
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy over TLS"])
async def test_the_file_that_the_environment_names_is_trusted(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, *, proxied: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    base_url = "http://vendor.example.com" if proxied else server.url
    async with a_client(base_url, proxy=server.url if proxied else None) as hitpaw:
        assert await hitpaw.export(REQUEST) == Job(job_id=JOB_ID)


@pytest.mark.anyio
@pytest.mark.parametrize("other", ["", "/nowhere:"], ids=["one", "one of several"])
async def test_the_folder_that_the_environment_names_is_trusted(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"{other}{rehashed(tmp_path / 'certs')}")
    async with a_client(server.url) as hitpaw:
        assert await hitpaw.export(REQUEST) == Job(job_id=JOB_ID)


@pytest.mark.anyio
async def test_an_empty_name_is_none(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    async with a_client(server.url, retry=ONE_ATTEMPT) as hitpaw:
        with pytest.raises(TransportError, match="not trusted"):
            await hitpaw.task(JOB_ID)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("variable", "content"),
    [("SSL_CERT_FILE", None), ("SSL_CERT_FILE", "no certificate"), ("SSL_CERT_DIR", None), ("SSL_CERT_DIR", MARK)],
)
async def test_a_name_of_nothing_is_said_and_nothing_is_sent(
    server: FaultServer, variable: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "authorities"
    if content is not None:
        place.write_text(content)
    monkeypatch.setenv(variable, str(place))
    async with a_client(server.url, retry=ONE_ATTEMPT) as hitpaw:
        with pytest.raises(TransportError, match=f"{variable} must name .*authorities is none"):
            await hitpaw.export(REQUEST)
    assert not server.received


@pytest.mark.anyio
async def test_a_name_of_nothing_is_not_in_the_way_of_what_goes_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with FaultServer() as server:
        async with a_client(server.url) as hitpaw:
            assert await hitpaw.export(REQUEST) == Job(job_id=JOB_ID)


@pytest.mark.anyio
async def test_a_file_that_is_damaged_within_is_a_failed_connection_that_names_it(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.pem").write_text(f"{MARK}MIIB\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "half.pem"))
    async with a_client(server.url, retry=ONE_ATTEMPT) as hitpaw:
        with pytest.raises(TransportError, match=r"SSL_CERT_FILE must name .*half\.pem"):
            await hitpaw.export(REQUEST)
    assert not server.received
