"""Tells what this process has run out of from what is wrong with a file, a library or an installation."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from typing import TYPE_CHECKING, Final

from hitpaw_async._redact import excerpt
from hitpaw_async.errors import ConfigurationError, HitPawError, MissingExtraError, TransportError

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

__all__ = ["lack_of", "loaded", "unloadable"]

_HANDLES: Final = "no file handle is left: let this process have more open files (ulimit -n), or close some"
_MEMORY: Final = "no memory is left: let this process have more, or do less at once"
_LACKS: Final = {errno.EMFILE: _HANDLES, errno.ENFILE: _HANDLES, errno.ENOMEM: _MEMORY}


def lack_of(error: BaseException) -> str | None:
    """Name the resource that the process has run out of; None if the exception says something else.

    Loaders of shared libraries say so in their words alone.
    """
    if isinstance(error, OSError):
        return _LACKS.get(error.errno or 0)
    if isinstance(error, ImportError):
        return next((lack for number, lack in _LACKS.items() if os.strerror(number) in str(error)), None)
    return _MEMORY if type(error) is MemoryError else None


def loaded(name: str) -> ModuleType:
    """A module of this package that is loaded late.

    Raises:
        TransportError: No file handle, or no memory, is left to load it with.
    """
    try:
        return import_module(name)
    except (ImportError, OSError, MemoryError) as error:
        lack = lack_of(error)
        if lack is None:
            raise
    raise TransportError(f"A part of hitpaw-async could not be loaded just now: {lack}.")


def unloadable(
    error: ImportError | OSError | MemoryError, *, purpose: str, name: str, extra: str, modules: Collection[str]
) -> HitPawError:
    """Explain why an optional dependency could not be loaded: absent, broken, or no resources left.

    Args:
        error: The import's exception.
        purpose: The purpose of loading it.
        name: Its common name.
        extra: The extra that brings it.
        modules: The names of the modules that it consists of: where one of them is not found, it is absent.
    """
    lack = lack_of(error)
    if lack is not None:
        return TransportError(f"{name} could not be loaded just now: {lack}.")
    if isinstance(error, ModuleNotFoundError) and error.name in modules:
        return MissingExtraError(purpose, extra)
    problem = excerpt(str(error)).rstrip(". ")
    return ConfigurationError(
        f"{name} is installed and cannot be loaded ({problem}). Install it anew: "
        f"pip install --force-reinstall 'hitpaw-async[{extra}]'"
    )
