"""Validators and converters of the values' fields: what kinds and ranges they take, and what is said of others."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hitpaw_async._errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    import attrs

__all__ = [
    "between",
    "checked_number",
    "is_integer",
    "optional_text",
    "positive",
    "positive_integer",
    "shown",
    "text",
    "to_metadata",
    "to_peak_rate",
    "to_rate",
    "to_rate_max",
    "valid_key",
    "valid_priority",
]


FIGURE_MAX: Final = 10**15
"""Upper bound of any length, rate or size; smaller figures convert to floats and fit a journal's columns."""
KEY_CHARS_MAX: Final = 512
PRIORITY_MAX: Final = 10**9
METADATA_CHARS_MAX: Final = 16_384
"""Of all names and texts of one item together."""


def shown(value: object) -> str:
    """A value as an error shows it: ASCII, and never long."""
    return ascii(value)[:80]


def is_integer(value: object) -> bool:
    """Tell if it is a whole number; a bool is not one."""
    return isinstance(value, int) and not isinstance(value, bool)


def to_rate(value: Fraction | float | str | None, name: str = "frame_rate") -> Fraction | None:
    """Frames per second, exact. `InvalidRequestError` where it is no number."""
    if value is None or isinstance(value, Fraction):
        return value
    try:
        rate = None if isinstance(value, bool) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = None
    return _bad_number(name, value) if rate is None else rate


def to_peak_rate(value: Fraction | float | str | None) -> Fraction | None:
    """The same, under the name `peak_frame_rate`."""
    return to_rate(value, "peak_frame_rate")


def to_rate_max(value: Fraction | float | str | None) -> Fraction | None:
    """The same, under the name `frame_rate_max`."""
    return to_rate(value, "frame_rate_max")


def _bad_number(name: str, value: object) -> NoReturn:
    raise InvalidRequestError([f"{name} must be a positive number below 10^15 or None, not {shown(value)}."])


def positive(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A positive number, or None."""
    if value is None:
        return
    is_number = isinstance(value, (int, float, Fraction)) and not isinstance(value, bool)
    if not is_number or not 0 < value < FIGURE_MAX:  # type: ignore[operator]
        _bad_number(attribute.name, value)


def positive_integer(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A positive whole number, or None."""
    if value is not None and not (is_integer(value) and 0 < value < FIGURE_MAX):  # type: ignore[operator]
        _bad_number(attribute.name, value)


def text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A text."""
    if not isinstance(value, str):
        raise InvalidRequestError([f"{attribute.name} must be a string, not {shown(value)}."])


def optional_text(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A text, or None."""
    if value is not None:
        text(instance, attribute, value)


def valid_key(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    """An item's key: something that a journal, a log and a terminal show as it is."""
    if value is None:
        return
    text(instance, attribute, value)
    if not 0 < len(value) <= KEY_CHARS_MAX or not value.isprintable():
        raise InvalidRequestError([f"key must be 1 to {KEY_CHARS_MAX} printable characters, not {shown(value)}."])


def to_metadata(value: object) -> dict[str, str]:
    """A copy of texts by name. Numbers, truths and None become texts: a list of videos has them in its cells."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError([f"metadata must be texts by name, not {shown(value)}."])
    made: dict[str, str] = {}
    for name, each in value.items():
        if not isinstance(name, str) or not (each is None or isinstance(each, (str, int, float))):
            raise InvalidRequestError([f"metadata must be texts by name, not {shown(each)} by {shown(name)}."])
        made[name] = "" if each is None else str(each)
    if sum(len(name) + len(each) for name, each in made.items()) > METADATA_CHARS_MAX:
        raise InvalidRequestError([f"metadata has more than {METADATA_CHARS_MAX} characters."])
    return made


def valid_priority(_: object, __: attrs.Attribute[Any], value: object) -> None:
    """A priority: a whole number that fits a journal's column."""
    if not is_integer(value) or not -PRIORITY_MAX <= value <= PRIORITY_MAX:  # type: ignore[operator]
        raise InvalidRequestError([f"priority must be a whole number within ±10^9, not {shown(value)}."])


def checked_number(value: Any, low: float, high: float, *, name: str, whole: bool = False) -> Any:
    """The same number (a whole one), from `low` to `high`, both included; a bool is none.

    Args:
        value: Any value.
        low: The least that may be given.
        high: The most that may be given.
        name: Name of the setting, for the error.
        whole: True if it must be an int.

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
