"""Figures as people and their spreadsheets write them: decimal commas, separated thousands, h:m:s, units."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["UnclearError", "decimal_of", "rate_text", "seconds_of", "whole_number_of"]

_GROUPS: Final = "['\u2019 \u00a0\u2009\u202f]"
"""Between thousands, beside comma and point: apostrophes, and spaces of several kinds."""
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_CLOCK: Final = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-9]{2}(?:[.,][0-9]+)?)")
_SPANS: Final = re.compile(r"(?:[0-9]+(?:[.,][0-9]+)? ?(?:ms|sec|s|min|m|h) ?)+", re.IGNORECASE)
_SPAN: Final = re.compile(r"([0-9]+(?:[.,][0-9]+)?) ?(ms|sec|s|min|m|h)", re.IGNORECASE)


class UnclearError(ValueError):
    """A figure that could be two different ones. Its text says how to write it."""


def decimal_of(text: str) -> float:
    """The number that a text stands for.

    Raises:
        UnclearError: It could be two: `1,234` may be a little more than one, or a thousand and more.
        ValueError: It is none.
    """
    return float(_plain(text))


def whole_number_of(text: str) -> int:
    """The whole number that a text stands for; `1280.0` and `12,345,678` will do.

    Raises:
        ValueError: It is none.
    """
    plain = _without_groups(text)
    if re.fullmatch(r"[0-9]{1,3}(?:[.,][0-9]{3})+", plain):
        plain = plain.replace(",", "").replace(".", "")
    match = re.fullmatch(r"([+-]?[0-9]{1,18})(?:[.,]0{1,9})?", plain)
    if match is None:
        raise ValueError("not a whole number")
    return int(match[1])


def rate_text(text: str) -> str:
    """A frame rate without its unit and with a decimal point: `23,976 fps` is `23.976`. No rate has thousands."""
    bare = re.sub(r"\s*fps$", "", text.strip(), flags=re.IGNORECASE)
    return bare.replace(",", ".") if re.fullmatch(r"[0-9]+,[0-9]+", bare) else bare


def seconds_of(text: str) -> float:
    """The seconds that a text stands for: a number, `h:mm:ss` or `m:ss`, or with units, as `5m` and `1h 30m`.

    Raises:
        ValueError: It stands for none.
    """
    bare = text.strip()
    if match := _CLOCK.fullmatch(bare):
        hours, minutes, seconds = match[1], int(match[2]), float(match[3].replace(",", "."))
        if seconds >= 60 or (hours is not None and minutes >= 60):
            raise ValueError("no time has 60 seconds or 60 minutes beside hours")
        return 3600.0 * int(hours or 0) + 60.0 * minutes + seconds
    if _SPANS.fullmatch(bare):
        return sum(float(number.replace(",", ".")) * _UNITS_S[unit.lower()] for number, unit in _SPAN.findall(bare))
    return decimal_of(bare)


def _without_groups(text: str) -> str:
    """The text without the spaces and apostrophes that part its thousands."""
    bare = text.strip()
    if re.fullmatch(rf"[0-9]{{1,3}}(?:{_GROUPS}[0-9]{{3}})+(?:[.,][0-9]+)?", bare):
        return re.sub(_GROUPS, "", bare)
    return bare


def _plain(text: str) -> str:
    bare = _without_groups(text)
    if re.fullmatch(r"[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+|[0-9]{1,3}(?:,[0-9]{3}){2,}", bare):
        return bare.replace(",", "")
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}", bare):
        return bare.replace(".", "").replace(",", ".")
    if re.fullmatch(r"[1-9][0-9]{0,2},[0-9]{3}", bare):
        raise UnclearError(
            "a comma before three digits may be a decimal comma or part thousands; write a point, or none"
        )
    return bare.replace(",", ".") if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", bare) else bare
