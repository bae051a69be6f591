"""Rotation and mirroring of a picture for display, by its file's matrix. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UPRIGHT", "Orientation", "orientation_of", "orientation_of_frame"]

_CELLS: Final = struct.Struct("=9i")

_TURNS: Final = {
    (True, True): "cclock_flip",
    (True, False): "clock",
    (False, True): "cclock",
    (False, False): "clock_flip",
}
"""Argument of `transpose` by the signs of the two cells that are not zero."""


@attrs.frozen
class Orientation:
    """Changes to a picture before it is shown."""

    filters: tuple[tuple[str, str | None], ...] = ()
    """FFmpeg's filters, each with its argument."""
    is_turned: bool = False
    """True if width and height are swapped."""


UPRIGHT: Final = Orientation()


def orientation_of(matrix: Sequence[int]) -> Orientation:
    """The orientation that a display matrix of nine cells says, to the nearest quarter turn; mirrored where it says so.

    The choice is that of the program ffmpeg. A matrix that maps all to a line or a point says nothing.
    """
    across_x, across_y, down_x, down_y = matrix[0], matrix[1], matrix[3], matrix[4]
    if across_x * down_y == across_y * down_x:
        return UPRIGHT
    if abs(across_y) + abs(down_x) > abs(across_x) + abs(down_y):
        turn = _TURNS[across_y > 0, down_x > 0]
        return Orientation((("transpose", turn),), is_turned=True)
    flips: tuple[tuple[str, str | None], ...] = (("hflip", None),) if across_x < 0 else ()
    return Orientation((*flips, ("vflip", None)) if down_y < 0 else flips)


def orientation_of_frame(frame: Any) -> Orientation:
    """The orientation that comes with a decoded picture."""
    for data in map(frame.side_data.__getitem__, range(len(frame.side_data))):  # PyAV 19 iterates over types.
        if data.type.name == "DISPLAYMATRIX" and len(cells := bytes(data)) >= _CELLS.size:
            return orientation_of(_CELLS.unpack(cells[: _CELLS.size]))
    return UPRIGHT
