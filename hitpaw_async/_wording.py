"""Counts and lengths of time as people read them. Pure."""

from __future__ import annotations

__all__ = ["at_most", "counted", "pace", "span"]


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it has to be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def at_most(credits_upper: int) -> str:
    """Credits that count as spent: the worst case, unless the vendor says what it charged, which v3 never does."""
    return "0 credits" if not credits_upper else f"at most {counted(credits_upper, 'credit')}"


def pace(per_second: float) -> str:
    """How many a second, a minute or an hour: `12/s`, `43/min`, `7.5/h`."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 10:
            return f"{per_second * seconds:.0f}/{unit}"
    per_minute = 60 * per_second
    return f"{per_minute:.1f}/min" if per_minute >= 1 else f"{60 * per_minute:.1f}/h"


def span(seconds: float) -> str:
    """A length of time: `42 s`, `3 min`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
