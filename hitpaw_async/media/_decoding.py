"""Pictures out of packets, each with the moment at which it is shown. A damaged packet costs its picture alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from hitpaw_async.media._pyav import load_av

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PictureDecoder"]


@attrs.define
class PictureDecoder:
    """Decodes the packets of one video track, in their order.

    An AVI says when packets are decoded, not when pictures are shown: its pictures are shown at these times, one after
    the other. FFmpeg's times are wrong if pictures are decoded before others that are shown first.
    """

    has_decoding_times_only: bool
    """True if the file is an AVI."""
    failures: int = 0
    """Packets that could not be decoded."""
    _waiting: deque[int] = attrs.field(factory=deque)

    def pictures(self, packet: Any) -> Iterator[tuple[int | None, Any]]:
        """The pictures that a packet completes, each with its tick; the tick is None where nothing says it."""
        tick: int | None = packet.dts
        is_listed = tick is not None and packet.size > 0
        if tick is not None and is_listed:
            self._waiting.append(tick)
        try:
            frames = packet.decode()
        except load_av().error.EOFError:
            return
        except load_av().error.FFmpegError:
            self.failures += 1
            if is_listed:
                self._waiting.pop()
            return
        for frame in frames:
            tick = self._waiting.popleft() if self._waiting else None
            yield (tick if self.has_decoding_times_only else frame.pts), frame
