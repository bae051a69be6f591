"""PyAV, an extra: loaded late, in versions that are known, with what differs between these made the same."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from hitpaw_async._lacks import unloadable
from hitpaw_async._redact import excerpt
from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["AV_MAJORS", "decoder_options", "fraction", "lenient_metadata", "load_av"]

AV_MAJORS: Final = range(15, 20)
"""Major versions of PyAV that are tested. Each has taken something away or changed a type."""


def load_av(purpose: str = "Reading a video's facts") -> ModuleType:
    """PyAV. Loading it takes some 100 ms.

    Raises:
        MissingExtraError: It is not installed.
        ConfigurationError: It cannot be loaded, or is of a version that nobody has tried.
        TransportError: No file handle, or no memory, is left to load it with.
    """
    try:
        import av  # noqa: PLC0415 (an extra)
        import av.filter  # noqa: PLC0415
    except (ImportError, OSError, MemoryError) as error:
        failure = unloadable(error, purpose=purpose, name="PyAV", extra="media", modules=("av",))
    else:
        _require_known(str(av.__version__))
        return av
    raise failure


def _require_known(version: str) -> None:
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) not in AV_MAJORS:
        raise ConfigurationError(
            f"PyAV {excerpt(version)} is installed; videos are read with PyAV {AV_MAJORS[0]} to {AV_MAJORS[-1]}. "
            "Install one of these: pip install --upgrade 'hitpaw-async[media]'"
        )


def _major() -> int:
    return int(load_av().__version__.partition(".")[0])


def lenient_metadata() -> dict[str, Any]:
    """Arguments of `av.open` that let a file's metadata be in any encoding. PyAV 19 does so without being told."""
    return {"metadata_errors": "replace"} if _major() < 19 else {}


def decoder_options(options: dict[str, str], *, lists_streams: bool) -> dict[str, Any]:
    """Arguments of `av.open` that reach the decoders, too, which FFmpeg tries while it opens.

    Args:
        options: The decoders' options.
        lists_streams: True if the header of such a file lists all of its streams. If it doesn't, PyAV before 17
            writes beyond the end of a table.
    """
    return {"options": options} if lists_streams or _major() >= 17 else {}


def fraction(value: Any) -> Fraction | None:
    """A rate, a time base or an aspect of PyAV's; None where it has none.

    Up to PyAV 18 it is a Fraction or None. From 19 on it is a number of its own, which cannot be rounded, and which has
    a denominator of 0 where it is none.
    """
    return Fraction(value.numerator, value.denominator) if value else None
