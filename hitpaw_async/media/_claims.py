"""Lengths and rates of a video by each reading of its file: the likeliest, and the worst. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._core.pricing import V3_TARIFF
from hitpaw_async.media._boxes import SAMPLES_MAX
from hitpaw_async.media._rates import RATE_MAX, FrameTimes, average_rate, peak_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitpaw_async.media._boxes import Movie, Track
    from hitpaw_async.media._iso import FragmentedTrack, Fragments

__all__ = [
    "Rates",
    "Sighting",
    "hides_nearly_all",
    "of_fragments",
    "of_tables",
    "rates_of",
    "repeats_too_often",
    "start_offset_s",
]

SHOWN_SHARE_MIN: Final = Fraction(1, 100)
"""The share of a track that an edit list must show to be believed."""
SHORT_FRAMES_MIN: Final = 8
SHORT_FACTOR_MIN: Final = Fraction(11, 10)
CLOSE_S: Final = Fraction(1, 1000)


@attrs.frozen(kw_only=True)
class Sighting:
    """The claims of a file about one video track."""

    times: FrameTimes
    """The frames that are shown."""
    others: tuple[FrameTimes, ...] = ()
    """Frames that an edit list hides, and stretches of frames that are known apart from the rest."""
    header_rate: Fraction | None = None
    is_header_counted: bool = False
    """True if the header's rate is computed from all frames."""
    likely_s: Fraction | None = None
    """The length that is likeliest; None where it cannot be told."""
    lengths_s: tuple[Fraction, ...] = ()
    """Each length that something in the file says."""


@attrs.frozen(kw_only=True)
class Rates:
    """Frame rates of a video."""

    average: Fraction | None
    peak: Fraction | None
    highest: Fraction | None
    """The highest by any reading, where it is in a dearer band, or the others may be rounded."""


def rates_of(sighting: Sighting, others: Iterable[Sighting] = ()) -> Rates:
    """The rates of a video, and the highest of those of all tracks."""
    average, peak, raw = _rates(sighting)
    candidates = [rate for rate in (raw,) if rate is not None]
    for seen in others:
        candidates += [rate for rate in _rates(seen) if rate is not None]
    priced = max((rate for rate in (average, peak) if rate is not None), default=None)
    if priced is None:
        return Rates(average=average, peak=peak, highest=None)
    highest = max((priced, *candidates))
    likely = V3_TARIFF.likely_rate(priced)
    is_dearer = V3_TARIFF.band_index(highest) > V3_TARIFF.band_index(likely)
    return Rates(average=average, peak=peak, highest=highest if is_dearer else None)


def _rates(seen: Sighting) -> tuple[Fraction | None, Fraction | None, Fraction | None]:
    """Average, peak, and the highest as it stands in the file, not made exact."""
    average = average_rate(seen.header_rate, seen.times, is_header_counted=seen.is_header_counted)
    peak = peak_rate(seen.header_rate, seen.times, average)
    raw = [] if seen.header_rate is None or not 0 < seen.header_rate <= 1000 else [seen.header_rate]
    for times in seen.others:
        later = peak_rate(None, times, average) or _short_rate(times, average)
        if later is not None and seen.times.is_complete:
            raw.append(later)
        elif later is not None:
            peak = max(peak or later, later)
    return average, peak, max(raw, default=None)


def _short_rate(times: FrameTimes, average: Fraction | None) -> Fraction | None:
    """The rate of a stretch of less than a second, where it is clearly above the average."""
    counted = times.counted_rate if len(times.ticks) >= SHORT_FRAMES_MIN and times.span_s < 1 else None
    if counted is None or average is None or not average * SHORT_FACTOR_MIN < counted <= RATE_MAX:
        return None
    return average_rate(None, times, is_header_counted=False)


def start_offset_s(movie: Movie) -> Fraction:
    """Length of the empty beginning: a copied clock that starts anywhere."""
    leading = []
    for track in movie.tracks:
        first = track.edits[0] if track.edits else None
        leading.append(first.length_s if first is not None and first.start_s is None else Fraction(0))
    return min(leading, default=Fraction(0))


def repeats_too_often(movie: Movie) -> bool:
    """True if edit lists show more frames, one by one, than FFmpeg should list."""
    total = Fraction(0)
    for track in movie.tracks:
        length_s = track.listed_s
        if length_s and len(track.edits) > 1:
            shown_s = sum((min(edit.length_s or length_s, length_s) for edit in track.edits), Fraction(0))
            total += track.samples * shown_s / length_s + len(track.edits)
    return total > SAMPLES_MAX


def hides_nearly_all(track: Track) -> bool:
    """True if an edit list shows so little that it must be a mistake: players without support show it all."""
    spans = _shown_spans(track)
    shown_s = sum((end - start for start, end in spans), Fraction(0))
    return bool(track.edits) and shown_s < SHOWN_SHARE_MIN * track.listed_s


def of_tables(movie: Movie, track: Track) -> Sighting:
    """Return the claims of a track's tables."""
    tick_s = Fraction(1, track.timescale)
    is_complete = len(track.ticks) == track.samples
    everything = FrameTimes(
        ticks=track.ticks, tick_s=tick_s, last_frame_ticks=track.last_ticks, is_complete=is_complete
    )
    spans = _shown_spans(track)
    shown_s = sum((end - start for start, end in spans), Fraction(0))
    hidden_s = track.listed_s - shown_s
    shown = everything
    if spans and hidden_s > CLOSE_S + Fraction(2, movie.timescale):
        kept = [tick for tick in track.ticks if any(start <= tick * tick_s < end for start, end in spans)]
        if not hides_nearly_all(track):
            # The last that is shown lasts as long as the one before it.
            shown = attrs.evolve(everything, ticks=kept, last_frame_ticks=0)
        else:
            spans, shown_s = [], track.listed_s
    if not spans or abs(hidden_s) <= CLOSE_S + Fraction(2, movie.timescale):
        shown_s = track.listed_s
    return Sighting(
        times=shown,
        others=() if shown is everything else (everything,),
        header_rate=_counted(everything if shown is everything else shown, track),
        is_header_counted=is_complete,
        likely_s=shown_s or None,
        lengths_s=_lengths_s(movie),
    )


def _counted(times: FrameTimes, track: Track) -> Fraction | None:
    """Frames by the length that the table gives them."""
    if len(times.ticks) != track.samples:
        return times.counted_rate
    return Fraction(track.samples * track.timescale, track.listed_ticks) if track.listed_ticks else None


def _shown_spans(track: Track) -> list[tuple[Fraction, Fraction]]:
    """The stretches of a track that its edit list shows, as players do that know no other speed."""
    spans = []
    for edit in track.edits:
        if edit.start_s is not None:
            rest_s = max(Fraction(0), track.listed_s - edit.start_s)
            # The first frame is shown late where others are decoded before it: its track is that much longer.
            rest_s = track.listed_s if len(track.edits) == 1 and edit.length_s >= rest_s else rest_s
            length_s = min(edit.length_s or rest_s, rest_s)
            spans.append((edit.start_s, edit.start_s + length_s))
    return spans


def _lengths_s(movie: Movie) -> tuple[Fraction, ...]:
    """Each length that a header, an edit list or a table of any track says."""
    offset_s = start_offset_s(movie)
    lengths = [length - offset_s for length in movie.header_s]
    for track in movie.tracks:
        lengths += [length - offset_s for length in track.header_s[:1]]
        lengths += [*track.header_s[1:], track.listed_s]
        lengths.append(sum((edit.length_s for edit in track.edits), Fraction(0)) - offset_s)
    return tuple(length for length in lengths if length > 0)


def of_fragments(movie: Movie, fragments: Fragments, track: Track, header_rate: Fraction | None) -> Sighting:
    """Return the claims of a track's fragments, beside those of its tables and its header."""
    seen = fragments.tracks.get(track.track_id)
    if seen is None:
        return of_tables(movie, track)
    tick_s = Fraction(1, track.timescale)
    runs = [
        FrameTimes(ticks=ticks, tick_s=tick_s, last_frame_ticks=seen.last_ticks, is_complete=fragments.is_complete)
        for ticks in (list(track.ticks) + seen.runs[0], *seen.runs[1:])
        if ticks
    ]
    lengths = list(_lengths_s(movie))
    if fragments.knows_end:
        by_id = {each.track_id: each for each in movie.tracks}
        lengths += [
            _fragmented_s(by_id[track_id], each) for track_id, each in fragments.tracks.items() if track_id in by_id
        ]
    own_s = _fragmented_s(track, seen) if fragments.knows_end else max(lengths, default=None)
    first = runs[0] if runs else FrameTimes(ticks=(), tick_s=tick_s, is_complete=False)
    return Sighting(
        times=first,
        others=tuple(runs[1:]),
        header_rate=header_rate,
        likely_s=own_s or None,
        lengths_s=tuple(length for length in lengths if length > 0),
    )


def _fragmented_s(track: Track, seen: FragmentedTrack) -> Fraction:
    start = 0 if track.samples else (seen.start_ticks or 0)
    return Fraction(seen.end_ticks - start, track.timescale)
