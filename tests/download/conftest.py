from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.download.origin import Act, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def serve() -> Iterator[Callable[..., Origin]]:
    with ExitStack() as stack:

        def start(*acts: Act) -> Origin:
            return stack.enter_context(Origin(*acts))

        yield start
