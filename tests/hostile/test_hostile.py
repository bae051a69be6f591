"""Each row of the table of faults, on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.hostile.table import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.rows import Row

ROWS_MIN = 64


HERE = [row for row in ROWS if row.needs_backend]
ELSEWHERE = [row for row in ROWS if not row.needs_backend]


@pytest.mark.anyio
@pytest.mark.parametrize("row", HERE, ids=[row.name for row in HERE])
async def test_what_must_come_of_a_fault_comes_of_it(row: Row, tmp_path: Path) -> None:
    await row.play(tmp_path)


@pytest.mark.parametrize("row", ELSEWHERE, ids=[row.name for row in ELSEWHERE])
def test_what_must_come_of_a_fault_comes_of_it_in_another_process(row: Row, tmp_path: Path) -> None:
    anyio.run(row.play, tmp_path)


def test_the_table_is_long_and_no_fault_is_in_it_twice() -> None:
    names = [row.name for row in ROWS]
    assert len(names) >= ROWS_MIN
    assert len(set(names)) == len(names)
