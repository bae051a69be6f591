from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from hitpaw_async._transport import bulk
from tests.support.http_server import Act, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(params=["by a thread", "on the loop"])
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Origin]]:
    """What holds of a download holds on both ways."""
    if request.param == "on the loop":
        monkeypatch.setattr(bulk, "is_possible", lambda: False)
    with ExitStack() as stack:

        def start(*acts: Act) -> Origin:
            return stack.enter_context(Origin(*acts))

        yield start
