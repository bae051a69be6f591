"""The vendor that outlives every killed process: the simulator under uvicorn, in a thread of the driver."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import anyio

from hitpaw_async.simulator import Simulator, serve
from tests.crashes.worker import HALF_A_MINUTE

if TYPE_CHECKING:
    from collections import Counter
    from types import TracebackType

RESULT_BYTES = bytes(range(256)) * 800
"""A result that takes several writes."""

READY_WITHIN_S = 20.0


class LastingVendor:
    """Use it as `with LastingVendor() as vendor:`."""

    def __init__(self) -> None:
        self.base_url = ""
        self._simulator = Simulator(
            speed=1000.0, credits=10**9, sources=lambda _: HALF_A_MINUTE, result_bytes=RESULT_BYTES, seed=1
        )
        self._is_ready = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=anyio.run, args=(self._serve,), daemon=True)

    async def _serve(self) -> None:
        async with serve(self._simulator) as self.base_url:
            self._is_ready.set()
            await anyio.to_thread.run_sync(self._is_over.wait)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(READY_WITHIN_S), "the simulator did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join(READY_WITHIN_S)

    def charges(self) -> Counter[str]:
        """How often each video was charged."""
        return self._simulator.charges_by_url()
