"""What is known of a source before it is priced: what the request says, and what the source itself says beside it.

Where nobody said whether sources are to be read, they are read as far as that goes: what can't be read, for whatever
reason, is unknown and priced at its worst, and the vendor decides. Where somebody asked for it, a source that is no
video is refused.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import attrs

from hitpaw_async import errors
from hitpaw_async._core.limits import broken_limits
from hitpaw_async.models import Resolution, VideoFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitpaw_async.models import ExportRequest

__all__ = ["Probe", "TolerantProbe", "joined", "known_facts", "needs_probe"]

_LOG = logging.getLogger("hitpaw_async")

_Figure = TypeVar("_Figure", float, Fraction)

Probe: TypeAlias = "Callable[[str], Awaitable[VideoFacts]]"
"""Reads the facts of a source; `AsyncHitPaw.probe` is one."""


@attrs.define(eq=False)
class TolerantProbe:
    """A probe that nobody asked for: it tells what it can, and refuses nothing."""

    _probe: Probe
    _is_missing: bool = attrs.field(default=False, init=False)
    """Whether PyAV is not there."""

    async def __call__(self, source: str) -> VideoFacts:
        """The facts of a source, as far as they can be read.

        Raises:
            TransportError: The network or its server failed.
        """
        if self._is_missing:
            return VideoFacts()
        try:
            return await self._probe(source)
        except errors.MissingExtraError as error:
            self._is_missing = True
            _LOG.info("Sources are not read, and what is unknown of them is priced at its worst: %s", error)
        except errors.MediaError as error:
            _LOG.warning("A source can't be read, and is priced at its worst: %s", error)
        return VideoFacts()


def needs_probe(told: VideoFacts) -> bool:
    """Whether a price depends on what is not told."""
    return None in (told.duration_s, told.frame_rate, told.width, told.height)


def joined(told: VideoFacts, read: VideoFacts) -> VideoFacts:
    """What is told of a source, completed by what was read from it. Where they contradict each other, the worst counts.

    The likely figures are those that were told; `duration_max_s`, `frame_rate_max`, `width_max` and `height_max`, which
    a price's `upper` is made of, are the highest of both.
    """
    given = attrs.asdict(told, filter=lambda _, value: value is not None)
    facts = attrs.evolve(read, **given)
    longest_s = _highest(told.duration_s, told.duration_max_s, read.duration_s, read.duration_max_s)
    rates = (told.priced_frame_rate, told.frame_rate_max, read.priced_frame_rate, read.frame_rate_max)
    fastest = _highest(*rates)
    largest = _holding(told.resolution, told.resolution_max, read.resolution, read.resolution_max)
    if longest_s is not None and longest_s > (facts.duration_s or 0):
        facts = attrs.evolve(facts, duration_max_s=longest_s)
    if fastest is not None and fastest > (facts.priced_frame_rate or 0):
        facts = attrs.evolve(facts, frame_rate_max=fastest)
    if largest is not None and largest != _holding(facts.resolution):
        facts = attrs.evolve(facts, width_max=largest.width, height_max=largest.height)
    return facts


def _highest(*figures: _Figure | None) -> _Figure | None:
    return max((figure for figure in figures if figure is not None), default=None)


def _holding(*sizes: Resolution | None) -> Resolution | None:
    """The smallest size, lying, that holds all of these, whichever way round each lies."""
    known = [size for size in sizes if size is not None]
    if not known:
        return None
    return Resolution(max(size.long_side for size in known), max(size.short_side for size in known))


async def known_facts(request: ExportRequest, *, probe: Probe, is_probing: bool) -> VideoFacts:
    """What is known of a source: what the request says, and where asked, what the source itself says beside it.

    Raises:
        MediaError: The source is not a video that can be read.
    """
    told = request.facts or VideoFacts()
    if not is_probing or not needs_probe(told) or broken_limits(request):
        # What breaks a limit is refused for that; nothing of it is read, least of all a path of this machine.
        return told
    try:
        return joined(told, await probe(request.video_url))
    except errors.TransportError as error:
        # Out of our reach need not be out of the vendor's: the worst case is reserved.
        _LOG.warning("The source of %s can't be read: %s", request.key, error)
        return told
