"""The table: every row there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile.downloads import download_rows
from tests.hostile.hooks import hook_rows
from tests.hostile.replies import reply_rows
from tests.hostile.secrets import secret_rows
from tests.hostile.wire import wire_rows

if TYPE_CHECKING:
    from tests.hostile.rows import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = (*wire_rows(), *reply_rows(), *download_rows(), *hook_rows(), *secret_rows())
