"""A host with several addresses, of which one leads nowhere: the next is tried beside it, and nothing is left open."""

from __future__ import annotations

import ssl
from typing import Any

import anyio
import httpcore
import pytest

from hitpaw_async._transport import network as wire
from tests.client.fault_server import FaultServer
from tests.support.patience import soon

pytestmark = pytest.mark.anyio

DEAD, REFUSING, ALIVE = "2001:db8::dead", "192.0.2.1", "127.0.0.1"


class Network:
    """Connecting to DEAD takes for ever, REFUSING refuses, ALIVE is this machine."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened: list[Any] = []
        self._really = anyio.connect_tcp

    async def connect_tcp(self, host: str, port: int, **options: Any) -> Any:
        self.asked.append(host)
        if host == DEAD:
            await anyio.sleep_forever()
        if host == REFUSING:
            raise OSError("refused")
        self.opened.append(await self._really(host, port, **options))
        return self.opened[-1]

    @property
    def open_sockets(self) -> int:
        sockets = [stream.extra(anyio.abc.SocketAttribute.raw_socket) for stream in self.opened]
        return sum(one.fileno() >= 0 for one in sockets)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(anyio, "connect_tcp", network.connect_tcp)
    return network


async def connect(port: int, *addresses: str, timeout_s: float = 10) -> Any:
    first, *others = addresses
    return await wire.open_wire(first, port, tls=None, server_name="cdn.example", timeout_s=timeout_s, others=others)


@pytest.mark.parametrize(
    ("addresses", "waits"),
    [((DEAD, ALIVE), 1), ((DEAD, DEAD, ALIVE), 2), ((REFUSING, ALIVE), 0), ((ALIVE, DEAD), 0), ((ALIVE, ALIVE), 0)],
)
async def test_a_dead_address_costs_a_quarter_of_a_second(
    network: Network, addresses: tuple[str, ...], waits: int
) -> None:
    with FaultServer() as server:
        began = anyio.current_time()
        stream = await connect(server.port, *addresses)
        took_s = anyio.current_time() - began
        assert waits * wire.NEXT_ADDRESS_S <= took_s < (waits + 1) * wire.NEXT_ADDRESS_S + soon(1)
        assert network.open_sockets == 1
        await stream.aclose()
    assert network.open_sockets == 0


async def test_where_all_refuse_there_is_no_connection(network: Network) -> None:
    with pytest.raises(httpcore.ConnectError):
        await connect(1, REFUSING, REFUSING)
    assert network.asked == [REFUSING, REFUSING]


async def test_where_all_are_dead_the_time_is_bounded(network: Network) -> None:
    with pytest.raises(httpcore.ConnectTimeout):
        await connect(1, DEAD, DEAD, timeout_s=0.6)


@pytest.mark.parametrize("after_s", [0, 0.1, 0.3])
async def test_a_cancelled_race_leaves_nothing_open(network: Network, after_s: float) -> None:
    with anyio.move_on_after(after_s) as scope:
        await connect(1, DEAD, DEAD, DEAD)
    assert scope.cancelled_caught
    assert network.open_sockets == 0


async def test_tls_that_fails_after_the_race_leaves_nothing_open(network: Network) -> None:
    with FaultServer() as server, pytest.raises((httpcore.ConnectError, httpcore.ConnectTimeout)):
        await wire.open_wire(
            DEAD, server.port, tls=ssl.create_default_context(), server_name="x", timeout_s=5, others=[ALIVE]
        )
    assert network.open_sockets == 0
