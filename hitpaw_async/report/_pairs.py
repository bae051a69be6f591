"""Pictures of the first results, each beside the same moment of its source where that can be had."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio.to_thread
import attrs

from hitpaw_async import errors, media
from hitpaw_async.models import ItemState
from hitpaw_async.report._figures import video_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.models import ExportRequest

__all__ = ["TRIED_MAX", "Pair", "Shot", "take_pairs"]

_LOG: Final = logging.getLogger("hitpaw_async")

PICTURES_BYTES_MAX: Final = 1_000_000
"""All pictures together, as they stand in the page."""
SIDE_MAX_PX: Final = 960
MOMENT_SHARE: Final = 0.4
"""Share of the result at which the picture is taken: beginnings are black or titles."""
SOURCE_TIMEOUT_S: Final = 20.0
TRIED_MAX: Final = 4
"""Results that are tried for each picture that is wanted: files may be gone."""


@attrs.frozen(kw_only=True)
class Shot:
    """A picture as it stands in the page."""

    data: str = attrs.field(repr=False)
    """Base64 of a JPEG."""
    width: int
    height: int

    @classmethod
    def of(cls, picture: media.Picture) -> Shot:
        """A picture as it stands in the page."""
        data = base64.b64encode(picture.jpeg).decode("ascii")
        return cls(data=data, width=picture.width, height=picture.height)


@attrs.frozen(kw_only=True)
class Pair:
    """A result's picture, and its source's where there is one."""

    name: str
    model: str
    resolution: str
    at_s: float
    after: Shot
    before: Shot | None = None
    why_no_before: str = ""

    @property
    def page_bytes(self) -> int:
        """Its size in the page."""
        return len(self.after.data) + (0 if self.before is None else len(self.before.data))


async def take_pairs(
    items: Iterable[Item],
    *,
    pairs_max: int,
    local_source: Callable[[ExportRequest], Path | None],
    is_fetching: bool,
) -> list[Pair]:
    """Pictures of the first results that are still there. A picture that can't be had is left out.

    Args:
        items: The journal's items, those that finished first at the front.
        pairs_max: How many results are shown.
        local_source: The source of a request as a file of this machine, where it is one.
        is_fetching: True if sources may be fetched from their URLs.
    """
    pairs: list[Pair] = []
    bytes_left = PICTURES_BYTES_MAX
    for tried, item in enumerate(items):
        if len(pairs) == pairs_max or tried == TRIED_MAX * pairs_max:
            break
        pair = await _pair_of(item, local_source, is_fetching=is_fetching)
        if pair is not None and pair.page_bytes <= bytes_left:
            pairs.append(pair)
            bytes_left -= pair.page_bytes
    return pairs


async def _pair_of(
    item: Item, local_source: Callable[[ExportRequest], Path | None], *, is_fetching: bool
) -> Pair | None:
    assert item.state is ItemState.DONE
    if item.path is None:
        return None
    result = Path(item.path)
    try:
        facts = await media.probe(result)
        after = await media.take_picture(result, at_s=MOMENT_SHARE * (facts.duration_s or 0.0), side_max=SIDE_MAX_PX)
    except (errors.InternalError, errors.TransportError) as error:
        _LOG.warning("%s has no pictures in the report. %s", result.name, error)
        return None
    except errors.MediaError:
        # Moved, deleted or cut short since. The others may be there.
        return None
    local = await anyio.to_thread.run_sync(local_source, item.request)
    before, why = await _before(item.request, local, after.at_s, is_fetching=is_fetching)
    shown = video_of(item)
    return Pair(
        name=shown.name,
        model=shown.model,
        resolution=shown.resolution,
        at_s=after.at_s,
        after=Shot.of(after),
        before=before,
        why_no_before=why,
    )


async def _before(
    request: ExportRequest, local: Path | None, at_s: float, *, is_fetching: bool
) -> tuple[Shot | None, str]:
    """The source's picture, or why there is none."""
    if local is None and "?***" in request.video_url:
        return None, "Its source can't be fetched again: a journal forgets what a signed URL is signed with."
    if local is None and not is_fetching:
        return None, "Its source was not fetched."
    try:
        picture = await media.take_picture(
            request.video_url if local is None else local, at_s=at_s, side_max=SIDE_MAX_PX, timeout_s=SOURCE_TIMEOUT_S
        )
    except errors.InternalError as error:
        return None, str(error)
    except errors.HitPawError as error:
        return None, f"Its source could not be read. {error}"
    return Shot.of(picture), ""
