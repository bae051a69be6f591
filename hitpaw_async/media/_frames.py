"""Samples a video's frames by PyAV: one picture, and presentation times."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async.media._kinds import Kind
from hitpaw_async.media._later import later_ticks
from hitpaw_async.media._orientation import UPRIGHT, Orientation, orientation_of_frame
from hitpaw_async.media._pyav import fraction, load_av
from hitpaw_async.media._sources import RefusedError

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from hitpaw_async.media._sources import SourceFile

__all__ = ["PROBED_PIXELS_MAX", "Sight", "look"]

PROBED_PIXELS_MAX: Final = 1 << 24
"""Larger pictures are not decoded for facts alone: their headers say enough, and a decoder takes 200 MB."""
PICTURE_BYTES_MAX: Final = 16 << 20
"""Bytes read for a first picture, if the sample has none. One of 8K may have several megabytes."""
FRAMES_MAX: Final = 300_000
"""Ten minutes at 240 frames per second have fewer."""
DOUBT_FACTOR: Final = 3
INDEX_SPAN_MIN: Final = Fraction(95, 100)
"""The share of a video that an index must span to be one of all frames."""


@attrs.define
class Sight:
    """Sample of a video's frames."""

    sample_bytes_max: int
    wants_picture: bool
    """True if a first picture is still to be decoded."""
    ticks: list[int] = attrs.field(factory=list)
    is_complete: bool = False
    """True if `ticks` has all frames."""
    last_tick: int = -(1 << 63)
    last_frame_ticks: int = 0
    bytes_read: int = 0
    has_ended: bool = False
    decoding_failed: bool = False
    packets: int = 0
    later: list[list[int]] = attrs.field(factory=list)
    """Times of frames further on, where not all were read."""
    orientation: Orientation = UPRIGHT

    @property
    def is_enough(self) -> bool:
        """True if reading on would tell nothing that is worth its bytes."""
        has_times = self.is_complete or self.bytes_read >= self.sample_bytes_max or self.packets >= FRAMES_MAX
        return has_times and (not self.wants_picture or self.bytes_read >= PICTURE_BYTES_MAX)

    def take(self, packet: Packet[VideoStream]) -> None:
        """Note a frame's time."""
        self.bytes_read += packet.size
        self.packets += 1
        tick = packet.pts if packet.pts is not None else packet.dts
        if tick is None or self.is_complete or not packet.size:
            return
        self.ticks.append(tick)
        if tick > self.last_tick:
            self.last_tick, self.last_frame_ticks = tick, packet.duration or 0

    def decode(self, packet: Packet[VideoStream]) -> None:
        """Try for a picture. A stream may begin amid a group of pictures: then its first packets fail."""
        try:
            for picture in packet.decode():
                if self.wants_picture:
                    self.orientation = orientation_of_frame(picture)
                self.wants_picture = False
        except load_av().error.FFmpegError:
            self.decoding_failed = True


def look(
    container: InputContainer, stream: VideoStream, kind: Kind, file: SourceFile, *, is_decodable: bool, has_times: bool
) -> Sight | None:
    """Decode one picture, and take the frames' times: from the table where there is one, else from packets.

    Args:
        container: The file.
        stream: Its video.
        kind: Its kind.
        file: Its bytes.
        is_decodable: True if a picture is to be decoded: one that is too large is not.
        has_times: True if the times are known already.

    Returns:
        The sample, or None if no picture can be decoded.
    """
    context = stream.codec_context
    # A header may claim less than the pictures have.
    context.options = {**context.options, "max_pixels": str(PROBED_PIXELS_MAX)}
    sight = Sight(file.sample_bytes_max, wants_picture=is_decodable, is_complete=has_times)
    if kind is Kind.AVI:
        _take_table(sight, stream, file.size_bytes)
    if sight.is_complete and not is_decodable:
        return sight
    for packet in container.demux(stream):
        # The last packet is empty, and asks the decoder for what it holds back.
        sight.has_ended = packet.size == 0 and packet.dts is None
        sight.take(packet)
        if sight.wants_picture:
            sight.decode(packet)
        if sight.has_ended or sight.is_enough:
            break
    sight.is_complete = sight.is_complete or sight.has_ended
    if not sight.is_complete:
        is_doubtful = _is_end_doubtful(container, stream, sight, file.size_bytes)
        sight.later = later_ticks(file, kind, stream.index, is_end_doubtful=is_doubtful)
    return None if sight.wants_picture and (sight.decoding_failed or sight.has_ended) else sight


def _is_end_doubtful(container: InputContainer, stream: VideoStream, sight: Sight, size_bytes: int | None) -> bool:
    """Tell if the file is far larger than its beginning and the length in its header suggest."""
    tick_s = fraction(stream.time_base)
    if not (container.duration and size_bytes and tick_s and sight.bytes_read and sight.ticks):
        return False
    seen_s = (max(sight.ticks) - min(sight.ticks)) * tick_s
    return seen_s * size_bytes / sight.bytes_read > DOUBT_FACTOR * Fraction(container.duration, 1_000_000)


def _take_table(sight: Sight, stream: VideoStream, size_bytes: int | None) -> None:
    """The index of an AVI lists every frame."""
    # PyAV has it since 17; before, frames are counted by reading them.
    entries: Any = getattr(stream, "index_entries", ())
    ticks = []
    for entry in entries[:FRAMES_MAX] if len(entries) else ():
        if size_bytes is not None and entry.pos + entry.size > size_bytes:
            raise RefusedError(
                "It is truncated: frames that it lists lie beyond its end. Upload or copy it again, whole."
            )
        ticks.append(entry.timestamp)
    duration = stream.duration or 0
    if len(ticks) > 1 and (max(ticks) - min(ticks)) * len(ticks) >= INDEX_SPAN_MIN * duration * (len(ticks) - 1):
        sight.ticks, sight.is_complete = ticks, True
