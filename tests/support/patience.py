"""How long is soon on a machine that is busy."""

from __future__ import annotations

import os

__all__ = ["soon"]


def soon(seconds: float) -> float:
    """A bound of so many seconds, and more by as much as the machine has to do beside this."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return seconds * (1 + load / (os.cpu_count() or 1))
