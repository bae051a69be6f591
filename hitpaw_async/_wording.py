"""Counts and lengths of time as people read them. Pure."""

from __future__ import annotations

__all__ = ["counted", "span"]


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it has to be."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def span(seconds: float) -> str:
    """A length of time: `42 s`, `3 min`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
