from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._redact import EXCERPT_CHARS_MAX, excerpt, redact_url
from tests.core.values import API_KEY

SIGNED = "https://cdn.example.com/a.mp4?X-Amz-Signature=s1gn4ture&Expires=9"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a.mp4", "https://example.com/a.mp4"),
        (SIGNED, "https://cdn.example.com/a.mp4?***"),
        ("https://example.com/a.mp4?", "https://example.com/a.mp4"),
        ("https://example.com/a.mp4#token=s1gn4ture", "https://example.com/a.mp4"),
        ("https://user:s1gn4ture@example.com:8443/a", "https://example.com:8443/a"),
        ("https://a@b:s1gn4ture@example.com/a", "https://example.com/a"),
        ("https://[2001:db8::1]:8443/a?s1gn4ture", "https://[2001:db8::1]:8443/a?***"),
        ("https://[::1/a?s1gn4ture", "<not a URL>"),
        ("//user:s1gn4ture@example.com/a", "//example.com/a"),
        ("a.mp4?s1gn4ture", "a.mp4?***"),
        ("", ""),
        ("https://example.com/\x1b[31m\x85\u2028red", "https://example.com/ [31m red"),
        ("https://example.com/\ud800", "https://example.com/ "),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(head=st.text(max_size=40), query=st.text(max_size=40))
def test_no_query_is_ever_shown(head: str, query: str) -> None:
    assert "s1gn4ture" not in redact_url(f"{head}?{query}s1gn4ture")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("  padded\r\n", "padded"),
        ("two\nlines\x00\x1b[31m", "two lines [31m"),
        (f"the key {API_KEY} is bad", "the key *** is bad"),
        (API_KEY * 2, "******"),
        (
            f"see <{SIGNED}> or '{SIGNED}'",
            "see <https://cdn.example.com/a.mp4?***> or 'https://cdn.example.com/a.mp4?***'",
        ),
        (f'{{"res_url":"{SIGNED}"}}', '{"res_url":"https://cdn.example.com/a.mp4?***"}'),
        ("s3://user:pw@bucket/a?b", "s3://bucket/a?***"),
        ("lone \ud800 surrogate", "lone   surrogate"),
        ("", ""),
    ],
)
def test_a_foreign_text_is_shown_on_one_line_without_secrets(text: str, shown: str) -> None:
    assert excerpt(text, secrets=(API_KEY,)) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert excerpt("x" * 301) == "x" * 299 + "…"
    assert excerpt("x" * 300) == "x" * 300
    assert excerpt("x" * 10**6, chars_max=60) == "x" * 59 + "…"


@pytest.mark.parametrize("before", range(EXCERPT_CHARS_MAX - 30, EXCERPT_CHARS_MAX + 5))
def test_a_key_at_the_cut_is_not_shown_in_part(before: int) -> None:
    assert API_KEY[:4] not in excerpt("x" * before + API_KEY, secrets=(API_KEY,))


@pytest.mark.parametrize("before", [1160, 1165, 1170])
def test_a_key_behind_a_long_query_is_not_shown_in_part(before: int) -> None:
    text = f"https://example.com/?{'q' * before} {API_KEY}"
    assert API_KEY[:4] not in excerpt(text, secrets=(API_KEY,))


@pytest.mark.parametrize(
    "url",
    [
        SIGNED.replace("/", r"\/"),
        SIGNED.replace("?", r"?Expires=9\u0026"),
        SIGNED.replace("&", r"\u0026").replace("Expires", "s1gn4ture"),
        SIGNED.replace("/", r"\/").replace("&", r"\u0026"),
        SIGNED.replace("?", r"\u003f"),
    ],
    ids=["escaped slashes", "escaped ampersand before", "escaped ampersand after", "both", "escaped question mark"],
)
def test_a_signed_url_is_not_shown_as_json_escapes_it(url: str) -> None:
    body = f'{{"job_id":"another","status":"COMPLETED","res_url":"{url}"}}'.encode()
    assert "s1gn4ture" not in Reply(status_code=200, body=body).excerpt()


@pytest.mark.parametrize("slash", ["/", r"\/", r"\\/"])
@pytest.mark.parametrize("ampersand", ["&", r"\u0026", r"\\u0026"])
def test_a_signed_url_in_json_within_json_is_not_shown(slash: str, ampersand: str) -> None:
    url = "https://cdn.example.com/r.mp4?a=1&Signature=s1gn4ture".replace("/", slash).replace("&", ampersand)
    body = rf'{{"error":"{{\"res_url\":\"{url}\"}}"}}'.encode()
    assert "s1gn4ture" not in Reply(status_code=502, body=body).excerpt()


@given(text=st.text(max_size=500), at=st.integers(0, 500), chars_max=st.integers(10, 300))
def test_an_excerpt_is_bounded_printable_and_keeps_the_key(text: str, at: int, chars_max: int) -> None:
    shown = excerpt(text[:at] + API_KEY + text[at:], chars_max=chars_max, secrets=(API_KEY,))
    assert len(shown) <= chars_max
    assert API_KEY[:12] not in shown
    assert "\n" not in shown
    shown.encode()


def test_a_key_at_the_end_of_what_is_looked_at_is_not_shown_in_part() -> None:
    # Four bytes a character: what is decoded must not end before what is looked at does.
    for before in range(990, 1030):
        query = "\N{CLAPPER BOARD}" * before
        body = f"https://example.com/?{query} {API_KEY}".encode()
        assert API_KEY[:4] not in Reply(status_code=200, body=body, secrets=(API_KEY,)).excerpt()


def test_a_reply_is_shown_without_its_secrets() -> None:
    reply = Reply(status_code=200, body=b"\xff" + f"{API_KEY} {SIGNED}".encode() + b"y" * 9000, secrets=(API_KEY,))
    assert reply.excerpt().startswith("�*** https://cdn.example.com/a.mp4?***")
    assert API_KEY not in repr(reply)
    assert "s1gn4ture" not in repr(reply)
