"""Settings that are numbers of a kind, within bounds. What breaks them is a `ConfigurationError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    import attrs

__all__ = ["between", "checked_number"]


def checked_number(value: Any, low: float, high: float, *, name: str, whole: bool = False) -> Any:
    """The same number (a whole one), from `low` to `high`, both included; a bool is none.

    Args:
        value: What was given, whatever it is.
        low: The least that may be given.
        high: The most that may be given.
        name: What the setting is called, for the error.
        whole: Whether it must be an int.

    Raises:
        ConfigurationError: It is no such number.
    """
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ConfigurationError(f"{name} must be {kind} from {low:.15g} to {high:.15g}, not {ascii(value)[:60]}.")
    return value


def between(low: float, high: float, *, whole: bool = False) -> Any:
    """An attrs validator: `checked_number` of a field."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        checked_number(value, low, high, name=f"{type(instance).__name__}.{attribute.name}", whole=whole)

    return check
