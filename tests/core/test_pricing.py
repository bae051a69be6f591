"""The vendor's price table, cell by cell, and that a reservation is never too small."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.pricing import V3_TARIFF, estimate
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import CreditQuote, Resolution, VideoFacts
from tests.core.values import a_request, facts

# As the v3 document prints it, "Credit Consumption Rules".
TABLES = """
Frame Rate ≤ 30 fps
Resolution Credits Per Minute Maximum Minutes
720P (1280 x 720) and below 1 600
1080P (1920 x 1080) and below 2 300
4K (2160 x 3840) and below 3 200
8K (4320 x 7680) and below 4 150
30 fps < Frame Rate ≤ 60 fps
Resolution Credits Per Minute Maximum Minutes
720P (1280 x 720) and below 2 300
1080P (1920 x 1080) and below 4 150
4K (2160 x 3840) and below 6 100
8K (4320 x 7680) and below 8 75
Frame Rate > 60 fps
Resolution Credits Per Minute Maximum Minutes
720P (1280 x 720) and below 4 150
1080P (1920 x 1080) and below 8 75
4K (2160 x 3840) and below 12 50
8K (4320 x 7680) and below 16 37.5
"""

RATES_OF = {
    "Frame Rate ≤ 30 fps": ("1", "24", "24000/1001", "25", "29.97", "30000/1001", "30"),
    "30 fps < Frame Rate ≤ 60 fps": ("30.001", "30000/999", "48", "50", "59.94", "60000/1001", "60"),
    "Frame Rate > 60 fps": ("60.001", "60000/999", "120000/1001", "120", "240"),
}

SMALLEST = (128, 128)

CELL = re.compile(r"(\w+) \((\d+) x (\d+)\) and below (\d+) ([\d.]+)")


def cells() -> list[tuple[str, Resolution, int, Fraction]]:
    band, found = "", []
    for line in TABLES.strip().splitlines():
        match = CELL.fullmatch(line)
        if match:
            size = Resolution(int(match[2]), int(match[3]))
            found.append((band, size, int(match[4]), Fraction(match[5])))
        elif line in RATES_OF:
            band = line
    return found


def price(size: tuple[int, int] | Resolution, duration_s: float | None = 60, frame_rate: object = 30) -> CreditQuote:
    return estimate(facts(duration_s, frame_rate, size=SMALLEST), resolution=Resolution(*size))


def test_the_table_has_twelve_cells() -> None:
    assert len(cells()) == 12


@pytest.mark.parametrize(("band", "size", "price_credits", "_minutes"), cells())
def test_a_cell_of_the_table(band: str, size: Resolution, price_credits: int, _minutes: Fraction) -> None:
    for frame_rate in RATES_OF[band]:
        for shown in (size, Resolution(size.height, size.width)):
            assert price(shown, 60, Fraction(frame_rate)) == CreditQuote(Fraction(price_credits), price_credits)
            assert price(shown, 600, Fraction(frame_rate)) == CreditQuote(
                Fraction(10 * price_credits), 10 * price_credits
            )


@pytest.mark.parametrize(("_band", "_size", "price_credits", "minutes"), cells())
def test_maximum_minutes_is_how_far_600_credits_reach(
    _band: str, _size: Resolution, price_credits: int, minutes: Fraction
) -> None:
    assert price_credits * minutes == 600


@pytest.mark.parametrize(
    ("size", "price_credits"),
    [
        ((128, 128), 1),
        ((640, 360), 1),
        ((1280, 720), 1),
        ((720, 1280), 1),
        ((1281, 720), 2),
        ((1280, 721), 2),
        ((960, 960), 2),  # fewer pixels than 720P, yet its short side is longer
        ((1920, 1080), 2),
        ((1080, 1920), 2),
        ((1921, 1080), 3),
        ((1081, 1920), 3),
        ((2560, 1080), 3),
        ((3840, 2160), 3),
        ((2160, 3840), 3),
        ((4096, 2160), 4),
        ((3840, 2161), 4),
        ((7680, 4320), 4),
        ((4320, 7680), 4),
    ],
)
def test_a_size_belongs_to_the_first_tier_that_holds_both_sides(size: tuple[int, int], price_credits: int) -> None:
    assert price(size).upper == price_credits


@pytest.mark.parametrize("size", [(7681, 4320), (7680, 4321), (4321, 7680), (8000, 8000), (1, 7681)])
def test_a_size_beyond_8k_has_no_price(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequestError, match="7680x4320"):
        price(size)
    with pytest.raises(InvalidRequestError, match="7680x4320"):
        estimate(a_request(facts=facts(size=size)))


@pytest.mark.parametrize(
    ("frame_rate", "price_credits"),
    [
        (29.97, 1),
        ("30000/1001", 1),
        (30, 1),
        (30.0, 1),
        (Fraction(30) + Fraction(1, 10**18), 2),
        (59.94, 2),
        ("60000/1001", 2),
        (60, 2),
        (Fraction(60) + Fraction(1, 10**18), 4),
        (1000, 4),
    ],
)
def test_the_edges_of_the_frame_rate_bands_are_exact(frame_rate: object, price_credits: int) -> None:
    assert price(Resolution.HD, 60, frame_rate) == CreditQuote(Fraction(price_credits), price_credits)


@pytest.mark.parametrize(
    ("duration_s", "exact", "upper"),
    [
        (0.04, Fraction(2, 1500), 2),
        (1, Fraction(1, 30), 2),
        (59.99, Fraction(5999, 3000), 2),
        (60, Fraction(2), 2),
        (60.001, Fraction(60001, 30000), 4),
        (61, Fraction(61, 30), 4),
        (90.1, Fraction(901, 300), 4),
        (120, Fraction(4), 4),
        (599.5, Fraction(1199, 60), 20),
        (600, Fraction(20), 20),
        (601, Fraction(601, 30), 22),
        (Fraction(1, 3), Fraction(1, 90), 2),
    ],
)
def test_minutes_are_rounded_up_for_the_budget_and_exact_beside_it(
    duration_s: float, exact: Fraction, upper: int
) -> None:
    assert price(Resolution.FULL_HD, duration_s) == CreditQuote(exact, upper)


@pytest.mark.parametrize(
    ("duration_s", "frame_rate", "upper", "assumptions"),
    [
        (None, None, 80, ["10 minutes", "1080P"]),
        (None, 25, 20, ["10 minutes"]),
        (60, None, 8, ["highest rate"]),
        (60, 25, 2, []),
    ],
)
def test_what_is_unknown_is_taken_at_its_worst(
    duration_s: float | None, frame_rate: object, upper: int, assumptions: list[str]
) -> None:
    quote = estimate(a_request(facts=facts(duration_s, frame_rate, size=SMALLEST)))
    assert quote.upper == upper
    assert (quote.exact is None) == bool(assumptions)
    assert len(quote.assumptions) == len(assumptions)
    assert all(part in text for part, text in zip(assumptions, quote.assumptions, strict=True))


def test_nothing_known_is_the_worst_case() -> None:
    for resolution in ("128x128", "1280x720", "1920x1080", "2160x3840", "7680x4320"):
        assert estimate(a_request(resolution=resolution)).upper == 160
        assert estimate(a_request(resolution=resolution), facts=VideoFacts()).upper == 160
        assert estimate(VideoFacts(), resolution=resolution).upper == 160


@pytest.mark.parametrize("known", [VideoFacts(), VideoFacts(width=1280), VideoFacts(height=720)])
def test_a_source_of_unknown_size_is_the_largest_that_is_accepted(known: VideoFacts) -> None:
    """Half a size is none: a strip of 1280 by 4320 is accepted, and it is priced as 8K."""
    told = attrs.evolve(known, duration_s=60, frame_rate=30)
    quote = estimate(a_request(resolution="1280x720", facts=told))
    assert (quote.exact, quote.upper) == (1, 4), "the target's size is the likeliest that is priced"
    assert quote.assumptions == ("The source's size is unknown: 8K, the largest that is accepted.",)


def test_the_sources_size_makes_no_difference_to_the_largest_target() -> None:
    assert estimate(a_request(resolution="4320x7680", facts=facts())) == CreditQuote(Fraction(4), 4)


@pytest.mark.parametrize(
    ("source", "target", "exact", "upper"),
    [
        ((640, 360), (1920, 1080), 2, 2),
        ((1920, 1080), (1920, 1080), 2, 2),
        ((3840, 2160), (1920, 1080), 2, 3),
        ((2160, 3840), (1280, 720), 1, 3),
        ((7680, 4320), (128, 128), 1, 4),
    ],
)
def test_the_dearer_of_source_and_target_is_reserved(
    source: tuple[int, int], target: tuple[int, int], exact: int, upper: int
) -> None:
    quote = estimate(a_request(resolution=target, facts=facts(size=source)))
    assert quote == CreditQuote(Fraction(exact), upper)


def test_a_source_size_that_the_request_names_is_known() -> None:
    request = a_request(resolution="1280x720", original_resolution="3840x2160", facts=facts())
    assert estimate(request) == CreditQuote(Fraction(1), 3)
    assert estimate(request, facts=facts(size=(1920, 1080))).upper == 3


def test_the_higher_of_average_and_peak_rate_is_priced() -> None:
    varying = VideoFacts(duration_s=60, frame_rate=Fraction(24), peak_frame_rate=Fraction(61))
    varying = attrs.evolve(varying, width=640, height=360)
    assert estimate(varying, resolution="1280x720").upper == 4
    assert estimate(attrs.evolve(varying, frame_rate=None), resolution="1280x720").upper == 4
    slower = attrs.evolve(varying, frame_rate=Fraction(120), peak_frame_rate=Fraction(24))
    assert estimate(slower, resolution="1280x720").upper == 4


@pytest.mark.parametrize(
    ("other", "exact", "upper", "said"),
    [
        ({"duration_max_s": 59.0}, 1, 1, ""),
        ({"duration_max_s": 62.0}, 1, 2, "62 s is the longest"),
        ({"duration_max_s": 3605.0}, 1, 10, "3605 s is the longest"),
        ({"frame_rate_max": "30.001"}, 1, 2, "counted as 30.001, which is above 30; 30 is likely"),
        ({"frame_rate_max": "60.001"}, 1, 4, "above 60"),
        ({"frame_rate": "30.02", "frame_rate_max": "30.02"}, 1, 2, "counted as 30.02, which is above 30; 30 is likely"),
        ({"frame_rate": "60.2", "frame_rate_max": "60.2"}, 2, 4, "60 is likely"),
        ({"frame_rate": "30.2", "frame_rate_max": "30.2"}, 2, 2, ""),
        ({"frame_rate": "29.97", "frame_rate_max": "29.97"}, 1, 1, ""),
        ({"width_max": 1920, "height_max": 1080}, 1, 2, "pictures of 1920x1080"),
        ({"width_max": 16000, "height_max": 16000}, 1, 4, "pictures of 16000x16000"),
        ({"width_max": 640, "height_max": 480}, 1, 1, ""),
    ],
)
def test_the_worst_reading_of_a_file_is_reserved_and_said_and_the_likeliest_is_exact(
    other: dict[str, Any], exact: int, upper: int, said: str
) -> None:
    known = VideoFacts(**{"duration_s": 60, "frame_rate": 30, "width": 640, "height": 360} | other)
    quote = estimate(known, resolution="1280x720")
    assert (quote.exact, quote.upper) == (exact, upper)
    assert said in " ".join(quote.assumptions)
    assert bool(said) == bool(quote.assumptions)


def test_facts_alone_are_priced_at_the_sources_size_or_the_one_given() -> None:
    known = facts(size=(3840, 2160))
    assert estimate(known) == CreditQuote(Fraction(3), 3)
    assert estimate(known, resolution=(7680, 4320)) == CreditQuote(Fraction(4), 4)
    assert estimate(known, facts=facts(120, size=(1280, 720))) == CreditQuote(Fraction(2), 2)


def test_facts_without_a_size_need_a_target() -> None:
    with pytest.raises(InvalidRequestError, match="target resolution"):
        estimate(facts())


def test_the_arguments_win_over_the_requests_own() -> None:
    request = a_request(facts=facts(600, 120, size=SMALLEST))
    assert estimate(request, facts=facts(60, 30, size=SMALLEST)).upper == 2
    assert estimate(request, resolution="1280x720").upper == 40


def test_the_tariff_says_where_it_is_from() -> None:
    assert V3_TARIFF.read_on.year >= 2024
    assert "v3 document" in V3_TARIFF.source
    assert V3_TARIFF.duration_max_s == 600


SIDES = st.integers(128, 4320)
SIZES = st.builds(Resolution, SIDES, SIDES) | st.sampled_from([Resolution.HD, Resolution.FULL_HD, Resolution.UHD_8K])
DURATIONS = st.floats(0.01, 700) | st.integers(1, 700)
RATES = st.fractions(1, 240) | st.sampled_from(
    [Fraction(30), Fraction(30000, 1001), Fraction(60), Fraction(60000, 1001)]
)
FACTS = st.builds(
    VideoFacts,
    duration_s=st.none() | DURATIONS,
    frame_rate=st.none() | RATES,
    peak_frame_rate=st.none() | RATES,
    width=st.none() | SIDES,
    height=st.none() | SIDES,
)


@given(target=SIZES, known=FACTS)
def test_the_exact_price_never_exceeds_what_is_reserved(target: Resolution, known: VideoFacts) -> None:
    quote = estimate(known, resolution=target)
    assert quote.upper >= 1
    assert quote.exact is None or 0 < quote.exact <= quote.upper
    assert quote.exact is not None or quote.assumptions


SOURCES = st.builds(
    VideoFacts,
    duration_s=st.floats(0.01, 600),
    frame_rate=RATES,
    width=st.sampled_from([128, 1280, 1281, 1920, 3840, 4320, 7680]),
    height=st.sampled_from([128, 720, 721, 1080, 2160, 4320]),
)


@given(target=SIZES, source=SOURCES, told=st.sets(st.sampled_from(["duration_s", "frame_rate", "width", "height"])))
def test_no_source_that_is_accepted_costs_more_than_is_reserved_before_it_is_known(
    target: Resolution, source: VideoFacts, told: set[str]
) -> None:
    """The budget holds whichever of the two sizes the vendor prices."""
    known = VideoFacts(**{name: getattr(source, name) for name in told})
    assert estimate(source, resolution=target).upper <= estimate(known, resolution=target).upper


@given(target=SIZES, known=FACTS, duration_s=DURATIONS, frame_rate=RATES)
def test_learning_a_fact_within_the_limits_never_raises_the_reservation(
    target: Resolution, known: VideoFacts, duration_s: float, frame_rate: Fraction
) -> None:
    unknown = attrs.evolve(known, duration_s=None, frame_rate=None, peak_frame_rate=None)
    learnt = attrs.evolve(unknown, duration_s=min(duration_s, 600), frame_rate=frame_rate)
    assert estimate(learnt, resolution=target).upper <= estimate(unknown, resolution=target).upper


@given(
    size=st.tuples(SIDES, SIDES),
    duration_s=st.fractions(Fraction(1, 100), 600),
    frame_rate=RATES,
    longer=st.fractions(0, 100),
    faster=st.fractions(0, 100),
    larger=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
)
def test_more_never_costs_less(
    size: tuple[int, int],
    duration_s: Fraction,
    frame_rate: Fraction,
    longer: Fraction,
    faster: Fraction,
    larger: tuple[int, int],
) -> None:
    width, height = (min(side + more, 4320) for side, more in zip(size, larger, strict=True))
    less = price(size, float(duration_s), frame_rate)
    more = price((width, height), float(duration_s + longer), frame_rate + faster)
    assert more.upper >= less.upper
    assert more.exact is not None
    assert less.exact is not None
    assert more.exact >= less.exact


@given(size=SIZES, duration_s=DURATIONS, frame_rate=RATES)
def test_a_portrait_costs_what_the_landscape_costs(size: Resolution, duration_s: float, frame_rate: Fraction) -> None:
    assert price(size, duration_s, frame_rate) == price((size.height, size.width), duration_s, frame_rate)


@pytest.mark.parametrize(
    ("rate", "likely"),
    [("30", 30), ("3003/100", 30), ("3015/100", 30), ("30151/1000", Fraction("30.151")), ("603/10", 60), ("29", 29)],
)
def test_what_exceeds_a_band_by_rounding_is_taken_for_its_highest_rate(rate: str, likely: Fraction) -> None:
    assert V3_TARIFF.likely_rate(Fraction(rate)) == likely
