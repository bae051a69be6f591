"""Each of the vendor's limits, on both sides of its edge, and all of them at once."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.limits import broken_limits, require_valid
from hitpaw_async.errors import InvalidRequestError
from hitpaw_async.models import ExportRequest, VideoFacts
from tests.core.values import VIDEO_URL, a_request

WITHIN: dict[str, dict[str, Any]] = {
    "as documented": {},
    "http": {"video_url": "http://example.com/a"},
    "a port and a signature": {"video_url": "https://example.com:8443/a.mp4?X-Amz-Signature=abc%20d&b=c#t"},
    "an address": {"video_url": "https://[2001:db8::1]/a"},
    "the longest URL": {"video_url": VIDEO_URL + "?" + "x" * (8192 - len(VIDEO_URL) - 1)},
    "the smallest": {"resolution": (128, 128)},
    "8K": {"resolution": (7680, 4320)},
    "8K portrait": {"resolution": (4320, 7680)},
    "square": {"resolution": (4320, 4320)},
    "extension": {"extension": ".webm"},
    "web hook": {"web_hook_url": "https://your-server.com/webhook"},
    "by name": {"model": None, "model_name": "x", "original_resolution": (640, 360)},
    "by id with the source's size": {"original_resolution": (128, 7680 // 2)},
    "ten minutes": {"facts": VideoFacts(duration_s=600)},
    "200 MB": {"facts": VideoFacts(size_bytes=200_000_000)},
    "an 8K source": {"facts": VideoFacts(width=4320, height=7680)},
    "half a size": {"facts": VideoFacts(width=10)},
    **{kind: {"facts": VideoFacts(container=kind)} for kind in ("mp4", "avi", "mov", "mkv", "webm", "MP4", ".mkv")},
}

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no URL": ({"video_url": ""}, "video_url"),
    "a path": ({"video_url": "/home/me/a.mp4"}, "video_url"),
    "a file URL": ({"video_url": "file:///a.mp4"}, "video_url"),
    "ftp": ({"video_url": "ftp://example.com/a.mp4"}, "video_url"),
    "no host": ({"video_url": "https:///a.mp4"}, "video_url"),
    "no port": ({"video_url": "https://example.com:http/a"}, "video_url"),
    "port 0": ({"video_url": "https://example.com:0/a"}, "video_url"),
    "port 65536": ({"video_url": "https://example.com:65536/a"}, "video_url"),
    "half an address": ({"video_url": "https://[::1/a"}, "video_url"),
    "a space": ({"video_url": "https://example.com/a b"}, "video_url"),
    "a newline": ({"video_url": "https://example.com/a\nb"}, "video_url"),
    "a surrogate": ({"video_url": "https://example.com/\udc80"}, "video_url"),
    "a long URL": ({"video_url": "https://example.com/" + "x" * 8192}, "video_url is longer than 8192"),
    "a web hook's URL": ({"web_hook_url": "localhost:80"}, "web_hook_url"),
    "an empty web hook": ({"web_hook_url": ""}, "web_hook_url"),
    "narrow": ({"resolution": (127, 4320)}, "The target is 127x4320; the smallest"),
    "low": ({"resolution": (4320, 127)}, "The target is 4320x127; the smallest"),
    "wide": ({"resolution": (7681, 4320)}, "The target is 7681x4320; the largest"),
    "high": ({"resolution": (7680, 4321)}, "The target is 7680x4321; the largest"),
    "a high portrait": ({"resolution": (4321, 7680)}, "The target is 4321x7680; the largest"),
    "no dot": ({"extension": "mp4"}, "extension"),
    "no extension": ({"extension": ""}, "extension"),
    "a dot": ({"extension": "."}, "extension"),
    "a path as extension": ({"extension": ".mp4/../x"}, "extension"),
    "a newline as extension": ({"extension": ".mp4\n"}, "extension"),
    "a long extension": ({"extension": ".matroskas"}, "extension"),
    "no model": ({"model": None}, "exactly one of model and model_name"),
    "two models": ({"model_name": "x", "original_resolution": (640, 360)}, "exactly one of model and model_name"),
    "an empty name": ({"model": None, "model_name": " ", "original_resolution": (640, 360)}, "must not be empty"),
    "a name alone": ({"model": None, "model_name": "x"}, "needs original_resolution"),
    "a small original": ({"original_resolution": (64, 640)}, "original_resolution is 64x640; the smallest"),
    "a large original": ({"original_resolution": (9000, 640)}, "original_resolution is 9000x640; the largest"),
    "a long source": ({"facts": VideoFacts(duration_s=600.01)}, "600.01 s long; at most 600 s"),
    "a very long source": ({"facts": VideoFacts(duration_s=10**15 - 1)}, "long; at most 600 s"),
    "a big file": ({"facts": VideoFacts(size_bytes=200_000_001)}, "at most 200 MB"),
    "a very big file": ({"facts": VideoFacts(size_bytes=10**15 - 1)}, "at most 200 MB"),
    "a container": ({"facts": VideoFacts(container="flv")}, "is flv; mp4, avi, mov, mkv, webm"),
    "a small source": ({"facts": VideoFacts(width=127, height=128)}, "The source is 127x128; the smallest"),
    "a large source": ({"facts": VideoFacts(width=4321, height=7680)}, "The source is 4321x7680; the largest"),
}


@pytest.mark.parametrize("changes", WITHIN.values(), ids=WITHIN)
def test_a_request_within_the_limits_is_taken(changes: dict[str, Any]) -> None:
    assert broken_limits(a_request(**changes)) == ()
    require_valid(a_request(**changes))


@pytest.mark.parametrize(("changes", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_limit_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        require_valid(a_request(**changes))
    assert len(caught.value.problems) == 1
    assert sentence in caught.value.problems[0]
    assert "Nothing was sent or spent" in str(caught.value)


def test_all_broken_limits_are_named_at_once() -> None:
    request = a_request(
        "ftp://example.com/a",
        web_hook_url="nowhere",
        resolution=(100, 9000),
        extension="mp4",
        model=None,
        original_resolution=(9000, 100),
        facts=VideoFacts(duration_s=601, size_bytes=10**9, container="flv", width=10, height=8000),
    )
    problems = broken_limits(request)
    assert [problem.split()[0] for problem in problems] == [
        "video_url", "web_hook_url", "The", "The", "extension", "Give",
        "original_resolution", "original_resolution", "The", "The", "The", "The", "The",
    ]  # fmt: skip
    with pytest.raises(InvalidRequestError) as caught:
        require_valid(request)
    assert caught.value.problems == problems
    assert all(problem in str(caught.value) for problem in problems)


def test_facts_that_are_found_out_stand_in_for_the_requests() -> None:
    request = a_request(facts=VideoFacts(duration_s=601))
    assert len(broken_limits(request)) == 1
    assert broken_limits(request, VideoFacts(duration_s=599)) == ()
    assert len(broken_limits(a_request(), VideoFacts(duration_s=601))) == 1


@given(
    url=st.text(max_size=60) | st.builds("https://{}".format, st.text(max_size=60)),
    extension=st.text(max_size=12),
    size=st.tuples(st.integers(1, 10**6 - 1), st.integers(1, 10**6 - 1)),
    name=st.none() | st.text(max_size=5),
)
def test_any_request_is_judged(url: str, extension: str, size: tuple[int, int], name: str | None) -> None:
    request = ExportRequest(url, model_name=name, resolution=size, extension=extension, web_hook_url=url)
    problems = broken_limits(request)
    assert all(problem.endswith(".") and problem.isprintable() for problem in problems)
    assert (not problems) == (not broken_limits(request, VideoFacts()))


class _Container(StrEnum):
    FLV = "flv"


def test_a_container_that_is_an_enums_member_is_named_by_its_value() -> None:
    problems = broken_limits(a_request(facts=VideoFacts(container=_Container.FLV)))
    assert problems == ("The source is flv; mp4, avi, mov, mkv, webm are accepted.",)


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [(601, "601.0"), (600.01, "600.01"), (600.001, "600.001"), (600.0004, "600.000400"), (600.0000001, "600.0000001")],
)
def test_a_length_is_shown_with_the_digits_that_it_takes(duration_s: float, shown: str) -> None:
    [sentence] = broken_limits(a_request(), VideoFacts(duration_s=duration_s))
    assert sentence.startswith(f"The source is {shown} s long")
