"""Checks the kinds of values in foreign JSON. A failure after this check is a bug of ours."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["NUMBER", "OPTIONAL_NUMBER", "OPTIONAL_TEXT", "Kinds", "figures_of", "object_of"]

Kinds: TypeAlias = "tuple[type, ...]"

NUMBER: Kinds = (int, float)
OPTIONAL_NUMBER: Kinds = (*NUMBER, NoneType)
OPTIONAL_TEXT: Kinds = (str, NoneType)


def object_of(value: object, kinds: Mapping[str, Kinds], *, required: Collection[str] = ()) -> dict[str, Any]:
    """The same JSON object. Names beside those that are known stay.

    Args:
        value: The parsed value.
        kinds: Of what kinds the values of the known names may be. A truth is no number.
        required: Names that must be there.

    Raises:
        ValueError: It is none, or has a value of another kind.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object is expected, not a {type(value).__name__}")  # noqa: TRY004 (foreign data)
    for name in required:
        if name not in value:
            raise ValueError(f"{name} is not there")
    for name, allowed in kinds.items():
        if name in value and type(value[name]) not in allowed:
            raise ValueError(f"{name} must not be a {type(value[name]).__name__}")
    return value


def figures_of(value: object) -> list[float]:
    """A JSON list of numbers.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, list) or not all(type(figure) in NUMBER for figure in value):
        raise ValueError("not a list of numbers")
    try:
        return [float(figure) for figure in value]
    except OverflowError:
        raise ValueError("a number is not within range") from None
