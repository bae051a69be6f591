"""File names of results, decided when an item is taken in: before a credit is spent."""

from __future__ import annotations

import hashlib
import itertools
import string
from array import array
from bisect import bisect_left
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async.download.file_names import name_in_url, safe_name
from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hitpaw_async.models import ExportRequest

__all__ = ["NAME_FIELDS", "NameTemplate", "NamesTaken"]

NAME_FIELDS: Final = ("stem", "ext", "model", "width", "height", "key")
"""What a template may name: the source's name without its ending, the result's ending with its dot, the model, the
target's sides in pixels, the item's key."""


def _valid_template(_: object, __: object, text: str) -> None:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        parts = [("", "?", "", None)]
    fields = [name for _, name, _, _ in parts if name is not None]
    has_extras = any(spec or conversion for _, _, spec, conversion in parts)
    if not fields or has_extras or any(name not in NAME_FIELDS for name in fields) or "/" in text or "\\" in text:
        known = " ".join(f"{{{name}}}" for name in NAME_FIELDS)
        raise ConfigurationError(f"The name template {ascii(text)[:80]} is not usable. It is a file name with: {known}")


@attrs.frozen
class NameTemplate:
    """How a result's file name is made, e.g. `{stem}_{model}_{width}x{height}{ext}`.

    Raises:
        ConfigurationError: It has a field that doesn't exist, none at all, or a folder.
    """

    text: str = attrs.field(default="{stem}{ext}", validator=_valid_template)

    def candidates(self, request: ExportRequest) -> Iterator[str]:
        """Names for a result, the best first, each safe on every system: plain, then with the key's digest."""
        source = PurePosixPath(name_in_url(request.video_url))
        plain = self.text.format(
            stem=source.stem or "video",
            ext=request.extension,
            model=request.model_name if request.model is None else request.model.slug,
            width=request.resolution.width,
            height=request.resolution.height,
            key=request.key,
        )
        first = PurePosixPath(safe_name(plain))
        yield first.name
        digest = hashlib.sha256(request.key.encode()).hexdigest()[:8]
        yield safe_name(f"{first.stem}-{digest}{first.suffix}")
        for number in itertools.count(2):
            yield safe_name(f"{first.stem}-{digest}-{number}{first.suffix}")


class NamesTaken:
    """Names of files, in any case. It holds 8 bytes of each: a folder may have the results of a million videos.

    Not the disk itself: a look at it, where it is a network's that hangs, must not hold up what writes job ids down.

    Args:
        names: The names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._hashes = array("q", sorted(hash(name.casefold()) for name in names))

    def __contains__(self, name: str) -> bool:
        """Whether there is such a name, or one of the same 64-bit hash: that item gets its second-best name."""
        sought = hash(name.casefold())
        place = bisect_left(self._hashes, sought)
        return place < len(self._hashes) and self._hashes[place] == sought
