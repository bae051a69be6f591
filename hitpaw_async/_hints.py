"""Names of higher layers in annotations: they are loaded when somebody asks for the hints, and not before.

A client returns batches, and a batch is built on a client: a module can't import both ways. Type checkers read the
imports under `TYPE_CHECKING`; `typing.get_type_hints`, and what stands on it (FastAPI, pydantic, cattrs), finds these.
"""

from __future__ import annotations

from typing import ForwardRef

__all__ = ["public_name"]


def public_name(name: str) -> ForwardRef:
    """A reference to one of the package's public names, to be bound to that name where type checkers don't look."""
    return ForwardRef(f"__import__('hitpaw_async').{name}")
