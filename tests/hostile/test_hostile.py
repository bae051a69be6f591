"""Each row of the table of faults, on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hostile.table import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.rows import Row

ROWS_MIN = 64


@pytest.mark.anyio
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_what_must_come_of_a_fault_comes_of_it(row: Row, tmp_path: Path) -> None:
    await row.play(tmp_path)


def test_the_table_is_long_and_no_fault_is_in_it_twice() -> None:
    names = [row.name for row in ROWS]
    assert len(names) >= ROWS_MIN
    assert len(set(names)) == len(names)
