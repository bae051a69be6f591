from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._fetch.response import ExpectedBody, Remedy, UnusableReplyError, expected_body


def read(
    status_code: int, *, start: int = 0, validator: str | None = None, total: int | None = None, **headers: str
) -> ExpectedBody:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return expected_body(status_code, named, start=start, validator=validator, total=total, now=0.0)


PART = {"content_range": "bytes 10-99/100", "content_length": "90", "etag": '"v1"'}


def rest_of(**changes: str) -> ExpectedBody:
    named = {name.replace("_", "-"): value for name, value in {**PART, **changes}.items() if value}
    return expected_body(206, named, start=10, validator='"v1"', total=100, now=0.0)


def test_a_whole_file_of_known_length() -> None:
    headers = {"content-length": "100", "etag": '"v1"', "content-type": "video/mp4"}
    promise = expected_body(200, headers, start=0, validator=None, total=None, now=0.0)
    assert promise == ExpectedBody(start=0, end=100, total=100, validator='"v1"')


def test_a_chunked_file_of_unknown_length() -> None:
    assert read(200, transfer_encoding="chunked") == ExpectedBody(start=0, end=None, total=None, validator=None)


def test_the_rest_of_a_file() -> None:
    assert rest_of() == ExpectedBody(start=10, end=100, total=100, validator='"v1"')
    assert rest_of(content_length="", transfer_encoding="chunked").end == 100


def test_a_whole_file_in_place_of_its_rest() -> None:
    assert read(200, start=10, validator='"v1"', total=100, content_length="70").start == 0


@pytest.mark.parametrize("tag", ['W/"v1"', "v1", '"v1', '"v\n1"', '"a", "b"', ""])
def test_a_tag_that_proves_nothing_is_no_tag(tag: str) -> None:
    headers = {"content-length": "1", "etag": tag}
    assert expected_body(200, headers, start=0, validator=None, total=None, now=0.0).validator is None


EARLIER, A_SECOND_LATER = "Mon, 06 Apr 2026 10:00:00 GMT", "Mon, 06 Apr 2026 10:00:01 GMT"


@pytest.mark.parametrize(
    ("modified", "date", "validator"),
    [
        (EARLIER, A_SECOND_LATER, EARLIER),
        (EARLIER, "Tue, 07 Apr 2026 10:00:00 GMT", EARLIER),
        (f" {EARLIER} ", f"{A_SECOND_LATER}, {A_SECOND_LATER}", EARLIER),
        (EARLIER, EARLIER, None),
        (EARLIER, f"{A_SECOND_LATER}, {EARLIER}", None),
        (A_SECOND_LATER, EARLIER, None),
        (EARLIER, "", None),
        ("", A_SECOND_LATER, None),
        (f"{EARLIER}, {EARLIER}", A_SECOND_LATER, None),
        ("Mon, 31 Feb 2026 10:00:00 GMT", A_SECOND_LATER, None),
        ("yesterday", A_SECOND_LATER, None),
    ],
)
def test_a_date_that_is_old_enough_tells_versions_apart(modified: str, date: str, validator: str | None) -> None:
    headers = {"content-length": "5", "last-modified": modified, "date": date}
    for tag in ("", 'W/"v1"'):
        assert read(200, **{**headers, "etag": tag}).validator == validator
    assert read(200, **{**headers, "etag": '"v1"'}).validator == '"v1"'


def rest_by_date(**headers: str) -> ExpectedBody:
    return read(206, start=10, validator=EARLIER, total=100, **{**PART, "etag": "", **headers})


def test_the_rest_of_a_file_whose_date_is_known() -> None:
    assert rest_by_date() == rest_by_date(last_modified=EARLIER)
    assert rest_by_date() == ExpectedBody(start=10, end=100, total=100, validator=EARLIER)
    with pytest.raises(UnusableReplyError, match="another version") as caught:
        rest_by_date(last_modified=A_SECOND_LATER)
    assert caught.value.remedy is Remedy.ANEW


@pytest.mark.parametrize(
    "changes",
    [
        {"content_range": ""},
        {"content_range": "bytes 10-99/*"},
        {"content_range": "bytes 9-99/100", "content_length": "91"},
        {"content_range": "bytes 11-99/100", "content_length": "89"},
        {"content_range": "bytes 10-100/100", "content_length": "91"},
        {"content_range": "bytes 10-9/100", "content_length": "0"},
        {"content_range": "items 10-99/100"},
        {"content_range": "bytes 10-99/101"},
        {"content_length": "91"},
        {"content_length": "89"},
        {"etag": '"v2"'},
        {"etag": 'W/"v1"'},
        {"etag": ""},
    ],
)
def test_a_part_that_does_not_fit_is_thrown_away(changes: dict[str, str]) -> None:
    with pytest.raises(UnusableReplyError) as caught:
        rest_of(**changes)
    assert caught.value.remedy is Remedy.ANEW


def test_a_part_that_nobody_asked_for_is_thrown_away() -> None:
    headers = {"content-range": "bytes 0-99/100", "content-length": "100"}
    with pytest.raises(UnusableReplyError, match="another range"):
        expected_body(206, headers, start=0, validator=None, total=None, now=0.0)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "where the result ends"),
        ({"transfer-encoding": "gzip, chunked"}, "where the result ends"),
        ({"transfer-encoding": "gzip"}, "where the result ends"),
        ({"content-length": "0"}, "empty"),
        ({"content-length": "-1"}, "not a number"),
        ({"content-length": "1, 1"}, "not a number"),
        ({"content-length": "1e3"}, "not a number"),
        ({"content-length": "\u0661"}, "not a number"),
        ({"content-length": "9" * 19}, "not a number"),
        ({"content-length": "5", "content-encoding": "gzip"}, "compressed"),
        ({"content-length": "5", "content-encoding": "identity, br"}, "compressed"),
        ({"content-length": "5", "content-type": "Text/HTML; charset=utf-8"}, "page"),
        ({"content-length": "5", "content-type": "application/json"}, "page"),
        ({"content-length": "5", "content-type": "application/xml"}, "page"),
    ],
)
def test_a_body_that_cannot_be_trusted_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(UnusableReplyError, match=reason) as caught:
        expected_body(200, headers, start=0, validator=None, total=None, now=0.0)
    assert caught.value.remedy is Remedy.AGAIN


@pytest.mark.parametrize(
    ("status_code", "remedy"),
    [
        *((status_code, Remedy.FRESH_URL) for status_code in (400, 401, 403, 404, 405, 410, 412, 451)),
        *(
            (status_code, Remedy.AGAIN)
            for status_code in (100, 202, 203, 204, 300, 304, 408, 416, 425, 429, 500, 503, 599)
        ),
    ],
)
def test_a_status_tells_what_may_help(status_code: int, remedy: Remedy) -> None:
    with pytest.raises(UnusableReplyError) as caught:
        read(status_code, content_length="5")
    assert caught.value.remedy is remedy
    assert caught.value.status_code == status_code


def test_a_range_beyond_the_end_means_another_version() -> None:
    with pytest.raises(UnusableReplyError) as caught:
        read(416, start=10, validator='"v1"')
    assert caught.value.remedy is Remedy.ANEW


@pytest.mark.parametrize("status_code", [429, 503])
def test_a_server_may_say_when_to_come_again(status_code: int) -> None:
    with pytest.raises(UnusableReplyError) as caught:
        read(status_code, retry_after="7")
    assert caught.value.retry_after_s == 7


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(
            [
                "content-length",
                "content-range",
                "etag",
                "transfer-encoding",
                "content-type",
                "retry-after",
                "last-modified",
                "date",
            ]
        ),
        st.text() | st.sampled_from(["chunked", '"v1"', "100", "90", "bytes 10-99/100", EARLIER, "Mon, 99 Feb 2026 0"]),
    ),
    st.sampled_from([0, 10]),
)
def test_any_reply_is_understood_or_refused(status_code: int, headers: dict[str, str], start: int) -> None:
    try:
        promise = expected_body(
            status_code, headers, start=start, validator='"v1"' if start else None, total=None, now=0.0
        )
    except UnusableReplyError:
        return
    assert status_code in (200, 206)
    assert promise.start == (start if status_code == 206 else 0)
    assert promise.end is None or promise.end > promise.start
