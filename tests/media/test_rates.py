from __future__ import annotations

import random
from fractions import Fraction

import pytest

from hitpaw_async.media._rates import FrameTimes, average_rate, peak_rate

MILLISECOND = Fraction(1, 1000)
RATES = [Fraction(r) for r in (10, 15, 24, 25, 30, 48, 50, 60, 120)] + [
    Fraction(1000 * r, 1001) for r in (15, 24, 30, 60)
]


def times(ticks: list[int], tick_s: Fraction = MILLISECOND, *, is_complete: bool = True) -> FrameTimes:
    return FrameTimes(ticks=ticks, tick_s=tick_s, is_complete=is_complete)


def at_rate(rate: Fraction, frames: int, *, start: Fraction = Fraction(0)) -> list[int]:
    return [round((start + number / rate) * 1000) for number in range(frames)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_constant_rate_in_milliseconds_is_exact_and_does_not_vary(rate: Fraction) -> None:
    for seed in range(20):
        start = Fraction(random.Random(seed).randrange(1000), 1000 * 7)
        seen = times(at_rate(rate, 600, start=start))
        assert average_rate(None, seen, is_header_counted=False) == rate
        assert peak_rate(None, seen, rate) is None


def test_a_header_that_rounds_the_rate_is_made_exact() -> None:
    # What FFmpeg makes of the whole nanoseconds that a Matroska header has for 59.94.
    header = Fraction(19001, 317)
    seen = times(at_rate(Fraction(60000, 1001), 90))
    assert average_rate(header, seen, is_header_counted=False) == Fraction(60000, 1001)


def test_a_table_in_milliseconds_does_not_lift_30_into_the_next_price_band() -> None:
    seen = times(at_rate(Fraction(30), 60))
    assert average_rate(Fraction(60_000, 1999), seen, is_header_counted=True) == 30


@pytest.mark.parametrize("absurd", [Fraction(90_000), Fraction(1_000_000), Fraction(0), None])
def test_a_clocks_rate_is_not_believed(absurd: Fraction | None) -> None:
    seen = times(at_rate(Fraction(25), 50))
    assert average_rate(absurd, seen, is_header_counted=True) == 25
    assert peak_rate(absurd, times(at_rate(Fraction(25), 50), is_complete=False), Fraction(25)) is None


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    for ticks in ([], [0], [7, 7]):
        assert average_rate(Fraction(90_000), times(ticks), is_header_counted=True) is None
        assert peak_rate(None, times(ticks), None) is None


@pytest.mark.parametrize("fast", [range(90), range(75, 165), range(150, 240)], ids=["first", "amid", "last"])
def test_the_busiest_second_is_the_peak_wherever_it_lies(fast: range) -> None:
    kept = [i for i in range(240) if i in fast or i % 4 == 0]
    seen = times([round(Fraction(i * 1000, 60)) for i in kept])
    average = average_rate(Fraction(60), seen, is_header_counted=False)
    assert average is not None
    assert abs(average - Fraction(len(kept), 4)) < Fraction(1, 10)
    assert peak_rate(None, seen, average) == 60


def test_a_camera_that_trembles_is_constant() -> None:
    jitter = random.Random(3)
    ticks = [3000 * number + jitter.randrange(-300, 300) for number in range(900)]
    seen = times(ticks, Fraction(1, 90_000))
    average = average_rate(None, seen, is_header_counted=False)
    assert average is not None
    assert abs(average - 30) < Fraction(1, 50)
    assert peak_rate(None, seen, average) is None


def test_a_burst_shorter_than_a_second_counts_by_the_second() -> None:
    burst = [*range(0, 1000, 100), *range(1000, 1500, 10), *range(1500, 4000, 100)]
    assert peak_rate(None, times(burst), Fraction(10)) == 55


def test_a_part_of_the_frames_never_lowers_what_the_header_claims() -> None:
    seen = times(at_rate(Fraction(15), 60), is_complete=False)
    average = average_rate(Fraction(60), seen, is_header_counted=False)
    assert average == 15
    assert peak_rate(Fraction(60), seen, average) == 60


def test_times_of_whole_seconds_are_no_harm() -> None:
    assert peak_rate(None, times([0, 1, 2, 3], Fraction(2)), Fraction(1, 2)) is None
