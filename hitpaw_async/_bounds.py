"""Validators of settings: numbers of a kind, within bounds. What breaks them is a `ConfigurationError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    import attrs

__all__ = ["between"]


def between(low: float, high: float, *, whole: bool = False) -> Any:
    """An attrs validator: a number (a whole one) from `low` to `high`, both included; a bool is none."""
    kinds = (int,) if whole else (int, float)

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(
                f"{type(instance).__name__}.{attribute.name} must be {kind} from {low:.15g} to {high:.15g}, "
                f"not {ascii(value)[:60]}."
            )

    return check
