"""What requests, resolutions, models and facts can be built from, and what is refused when they are built."""

from __future__ import annotations

import pickle
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import (
    ExportRequest,
    ItemState,
    Job,
    JobStatus,
    Outcome,
    Resolution,
    VideoFacts,
    VideoModel,
)

VIDEO = "https://example.com/video.mp4"
SIGNED = "https://user:pw@example.com/video.mp4?Signature=s1gn4ture"


def a_request(video_url: Any = VIDEO, **fields: Any) -> ExportRequest:
    return ExportRequest(video_url, **{"model": 17, "resolution": (1920, 1080), **fields})


@pytest.mark.parametrize(
    "spelling",
    [17, "17", " 17 ", "general-denoise-balance", "GENERAL_DENOISE_BALANCE", "General Denoise  Balance", "017"],
)
def test_a_model_has_many_spellings(spelling: int | str) -> None:
    assert VideoModel.parse(spelling) is VideoModel.GENERAL_DENOISE_BALANCE


@pytest.mark.parametrize("value", [0, 1, -17, 170, 17.0, True, None, "", "denoise", "٣", "17.0", "0017", [17], b"17"])
def test_an_unknown_model_is_refused_with_those_that_exist(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"17 \(general-denoise-balance\)"):
        VideoModel.parse(value)


@given(value=st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_any_value_is_a_model_or_refused(value: Any) -> None:
    try:
        assert VideoModel.parse(value) in VideoModel
    except InvalidRequestError as error:
        assert str(error).isprintable()  # noqa: PT017 (both ways are right)


@pytest.mark.parametrize(
    "spelling",
    [
        (1920, 1080),
        [1920, 1080],
        "1920x1080",
        " 1920 X 1080 ",
        "1920\N{MULTIPLICATION SIGN}1080",
        "1920*1080",
        Resolution(1920, 1080),
    ],
)
def test_a_resolution_has_many_spellings(spelling: Any) -> None:
    assert Resolution.parse(spelling) == Resolution.FULL_HD


@pytest.mark.parametrize(
    "value",
    [
        "1920", "1920x", "x1080", "1920x1080x2", "-1920x1080", "1920.0x1080", "0x0", "1920x0", "9999999x1", "٣x٣", "",
        (1920,), (1920, 1080, 2), (1920.0, 1080), ("1920", "1080"), (True, True), (0, 1), (-1, 1), (10**6, 1),
        (None, None), None, 1920, {1920, 1080},
    ],
)  # fmt: skip
def test_what_is_no_resolution_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        Resolution.parse(value)


def test_the_named_resolutions() -> None:
    named = (Resolution.HD, Resolution.FULL_HD, Resolution.UHD_4K, Resolution.UHD_8K)
    assert [str(size) for size in named] == ["1280x720", "1920x1080", "3840x2160", "7680x4320"]


def test_a_resolution_has_a_long_and_a_short_side_whichever_way_round() -> None:
    for size in (Resolution(1080, 1920), Resolution(1920, 1080)):
        assert (size.long_side, size.short_side) == (1920, 1080)
    assert [*Resolution(1, 2)] == [1, 2]


def test_the_statuses_that_are_final() -> None:
    assert [status for status in JobStatus if status.is_final] == [JobStatus.COMPLETED, JobStatus.ERROR]


def test_the_states_that_never_change() -> None:
    assert {state.value for state in ItemState if state.is_terminal} == {"done", "rejected", "failed"}
    assert [state.value for state in ItemState] == [state.name.lower() for state in ItemState]


@pytest.mark.parametrize(
    ("spelling", "rate"),
    [
        (30, Fraction(30)),
        (29.97, Fraction(2997, 100)),
        ("30000/1001", Fraction(30000, 1001)),
        ("59.94", Fraction(2997, 50)),
        (Fraction(25), Fraction(25)),
        (None, None),
    ],
)
def test_a_frame_rate_is_exact(spelling: Any, rate: Fraction | None) -> None:
    assert VideoFacts(frame_rate=spelling).frame_rate == rate
    assert VideoFacts(peak_frame_rate=spelling).priced_frame_rate == rate


FIGURES = ("duration_s", "frame_rate", "peak_frame_rate", "width", "height", "size_bytes")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "value", [0, -1, True, "", "abc", [], float("nan"), float("inf"), "1/0", 10**15, 10**400, {}, "nan"], ids=repr
)
def test_a_figure_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        VideoFacts(**{name: value})


@pytest.mark.parametrize("name", ["width", "height", "size_bytes"])
@pytest.mark.parametrize("value", [1.5, 1920.0, Fraction(1, 2), "1920"])
def test_a_count_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        VideoFacts(**{name: value})


@pytest.mark.parametrize("name", ["container", "codec"])
def test_a_name_is_a_text(name: str) -> None:
    fields: dict[str, Any] = {name: "mp4"}
    assert getattr(VideoFacts(**fields), name) == "mp4"
    fields[name] = 4
    with pytest.raises(InvalidRequestError, match=name):
        VideoFacts(**fields)


def test_a_size_is_known_when_both_sides_are() -> None:
    assert VideoFacts(width=1920, height=1080).resolution == Resolution.FULL_HD
    assert VideoFacts(width=1920).resolution is None
    assert VideoFacts(height=1080).resolution is None


@pytest.mark.parametrize(
    "fields",
    [
        {"video_url": None},
        {"video_url": b"https://example.com"},
        {"model": 99},
        {"model": "x"},
        {"resolution": None},
        {"resolution": "big"},
        {"extension": None},
        {"extension": 4},
        {"web_hook_url": 4},
        {"model_name": 4},
        {"original_resolution": "big"},
        {"facts": {"duration_s": 1}},
        {"priority": None},
        {"priority": 1.5},
        {"priority": True},
        {"priority": 10**9 + 1},
        {"priority": -(10**9) - 1},
        {"key": ""},
        {"key": 4},
        {"key": "a\nb"},
        {"key": "\ud800"},
        {"key": "x" * 513},
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_when_the_request_is_built(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        a_request(**fields)


def test_values_are_not_judged_when_the_request_is_built() -> None:
    request = a_request("nonsense", model=None, resolution=(1, 1), extension="", model_name="", priority=-(10**9))
    assert request.video_url == "nonsense"
    assert a_request(key="x" * 512).key == "x" * 512


def test_requests_are_frozen_and_comparable() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        a_request().model = 18  # type: ignore[assignment,misc]
    assert a_request(model="17", resolution="1920x1080") == a_request()
    assert hash(a_request()) == hash(a_request())
    assert pickle.loads(pickle.dumps(a_request(key="k"))) == a_request(key="k")


def test_other_facts_make_another_request_of_the_same_key() -> None:
    known = a_request(key="k").with_facts(VideoFacts(duration_s=9))
    assert known.facts == VideoFacts(duration_s=9)
    assert known.key == "k"
    assert a_request().with_facts(VideoFacts(duration_s=9)).key == a_request().key


def test_nothing_shows_a_signature_or_a_password() -> None:
    request = a_request(SIGNED, web_hook_url=SIGNED)
    job = Job(job_id="j", status=JobStatus.COMPLETED, res_url=SIGNED)
    outcome = Outcome(key="k", request=request, state=ItemState.DONE, job=job)
    for value in (request, job, outcome):
        assert "s1gn4ture" not in f"{value!r} {value}"
        assert "pw" not in f"{value!r} {value}"
    assert "example.com/video.mp4" in repr(request)
    assert repr(Job(job_id="j")) == repr(Job(job_id="j", res_url=None))
