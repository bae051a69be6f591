"""Nothing is left open after everything went wrong at once."""

from __future__ import annotations

import sys

import pytest

from tests.hostile.churn import Census, churn


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.slow
def test_nothing_is_left_open_after_churn(backend: str) -> None:
    report = churn(2, backend=backend)
    assert report.after.leaks_since(report.before) == {}
    assert report.done["cancelled"] > 0
    assert len(report.done) > 5


def test_a_leak_is_noticed() -> None:
    before = Census(tasks=1, threads=2, descriptors=10, sockets=3, free_slots=8)
    after = Census(tasks=2, threads=1, descriptors=11, sockets=3, free_slots=7)
    assert after.leaks_since(before) == {"tasks": 1, "descriptors": 1, "free_slots": 1}
