"""Where the server does not run, it says so."""

from __future__ import annotations

import pytest

from hitpaw_async import errors
from hitpaw_async.simulator import serve
from tests.simulator.conversation import virtual

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_the_server_refuses_trio() -> None:
    with pytest.raises(errors.ConfigurationError, match="asyncio"):
        async with serve(virtual()):
            pass
