"""One video has one key, however its URL is spelt and whenever it was signed; and two videos have two."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._urls.identity import canonical_url, is_signed
from hitpaw_async.models import ExportRequest
from tests.core.values import a_request

PLAIN = "https://films.example.com/a/b.mp4"
HEX_32, HEX_64 = "0123456789abcdef" * 2, "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("spelt", "canonical"),
    [
        (PLAIN, PLAIN),
        ("HTTPS://films.example.com/a/b.mp4", PLAIN),
        ("https://Films.EXAMPLE.com/a/b.mp4", PLAIN),
        ("https://films.example.com:443/a/b.mp4", PLAIN),
        ("https://films.example.com:0443/a/b.mp4", PLAIN),
        ("https://films.example.com:/a/b.mp4", PLAIN),
        ("https://films.example.com./a/b.mp4", PLAIN),
        ("https://f%69lms.example.com/a/b.mp4", PLAIN),
        ("https://films.example.com/a/b.mp4#t=10", PLAIN),
        ("https://films.example.com/a/b.mp4?", PLAIN),
        ("https://films.example.com/a/b.mp4?#", PLAIN),
        ("https://films.example.com/%61/b%2Emp4", PLAIN),
        ("https://films.example.com/a/b%2emp4", PLAIN),
        ("https://films.example.com/./a/x/../b.mp4", PLAIN),
        ("https://films.example.com/a/%2E%2e/a/b.mp4", PLAIN),
        ("https://films.example.com/../../a/b.mp4", PLAIN),
        ("http://h.example:80/a", "http://h.example/a"),
        ("http://h.example:443/a", "http://h.example:443/a"),
        ("http://h.example", "http://h.example/"),
        ("http://h.example?a=1", "http://h.example/?a=1"),
        ("http://h.example/a/..", "http://h.example/"),
        ("http://h.example/a/b/..", "http://h.example/a/"),
        ("http://h.example/a/b/.", "http://h.example/a/b/"),
        ("http://h.example/a%2fb?x=%2f%7e", "http://h.example/a%2Fb?x=%2F~"),
        ("http://h.example/ä b", "http://h.example/%C3%A4%20b"),
        ("http://h.example/%c3%a4%20b", "http://h.example/%C3%A4%20b"),
        ("http://MÜLLER.example/a", "http://xn--mller-kva.example/a"),
        ("http://m%C3%BCller.example/a", "http://xn--mller-kva.example/a"),
        ("http://xn--mller-kva.example/a", "http://xn--mller-kva.example/a"),
        ("http://films。example/a", "http://films.example/a"),
        ("http://straße.example/a", "http://xn--strae-oqa.example/a"),
        ("http://[0:0::1]:80/a", "http://[::1]/a"),
        ("http://u:p@H.example/a", "http://u:p@h.example/a"),
        ("http://@h.example/a", "http://h.example/a"),
    ],
)
def test_spellings_of_one_url(spelt: str, canonical: str) -> None:
    assert canonical_url(spelt) == canonical
    assert canonical_url(canonical) == canonical
    assert not is_signed(spelt)


@pytest.mark.parametrize(
    "other",
    [
        "http://films.example.com/a/b.mp4",
        "https://films.example.com:8443/a/b.mp4",
        "https://www.films.example.com/a/b.mp4",
        "https://films.example.com/A/b.mp4",
        "https://films.example.com/a//b.mp4",
        "https://films.example.com/a/b.mp4/",
        "https://films.example.com/a%2Fb.mp4",
        "https://films.example.com/a/b%252Emp4",
        "https://films.example.com/a/b.mp4?id=5",
        "https://films.example.com/a/b.mp4?id=6",
        "https://films.example.com/a/b.mp4?ID=6",
        "https://films.example.com/a/b.mp4?id=+",
        "https://films.example.com/a/b.mp4?id=%20",
        "https://films.example.com/a/b.mp4?sig=x",
        "https://films.example.com/a/b.mp4?expires=1700000000",
        "https://films.example.com/a/b.mp4?token=abc",
        "https://films.example.com/a/b.mp4?Signature=abc",
        "https://films.example.com/a/b.mp4?X-Amz-Date=20260101T000000Z",
        "https://films.example.com/a/b.mp4?sv=2024-01-01&sp=r",
        "https://films.example.com/a/b.mp4?sig=x&se=3",
        "https://films.example.com/play?token=a&expires=1700000000",
        "https://films.example.com/play?token=b&expires=1700000000",
        "https://user@films.example.com/a/b.mp4",
    ],
)
def test_other_videos_stay_others(other: str) -> None:
    assert canonical_url(other) not in {canonical_url(each) for each in (PLAIN, PLAIN + "?id=7")}
    assert canonical_url(other) == other


SIGNATURES = [
    (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F{n}&X-Amz-Date=2026010{n}T000000Z&X-Amz-Expires=3600"
        "&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t{n}&x-id=GetObject&X-Amz-Signature={n}"
    ),
    "x-amz-signature={n}&x-amz-date={n}",
    "AWSAccessKeyId=k&Signature=a%2B{n}%3D&Expires=170000000{n}",
    "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=c{n}&X-Goog-Date={n}&X-Goog-Expires=60&X-Goog-Signature={n}",
    "GoogleAccessId=me%40p.iam&Expires=170000000{n}&Signature={n}",
    "Expires=170000000{n}&KeyName=k&Signature={n}",
    "Expires={n}&Signature={n}&Key-Pair-Id=K",
    "Policy=p{n}&Signature={n}&Key-Pair-Id=K&Hash-Algorithm=SHA256",
    "sv=2024-11-04&st=2026-01-0{n}T00%3A00Z&se=2026-01-0{n}T01%3A00Z&sr=b&sp=r&spr=https&sig={n}%3D",
    "sv=2024-11-04&skoid=o&sktid=t&skt={n}&ske={n}&sks=b&skv=2024-11-04&sr=b&sp=r&sig={n}",
    "Expires={n}&OSSAccessKeyId=k&Signature={n}&security-token=t{n}",
    "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-credential=c&x-oss-date={n}&x-oss-expires=9&x-oss-signature={n}",
    "X-Tos-Algorithm=TOS4&X-Tos-Date={n}&X-Tos-Signature={n}",
    (
        "q-sign-algorithm=sha1&q-ak=a&q-sign-time={n}%3B9&q-key-time={n}%3B9&q-header-list=host&q-url-param-list="
        "&q-signature={n}&x-cos-security-token=t"
    ),
    "AccessKeyId=k&Expires={n}&Signature={n}",
    "authorization=bce-auth-v1%2Fk%2F2026-01-0{n}T00%3A00%3A00Z%2F1800%2F%2F{n}",
    "e=170000000{n}&token=k:{n}=",
    "hdnts=exp=170000000{n}~acl=/*~hmac={n}",
    "__token__=exp=170000000{n}~hmac={n}",
    f"auth_key=170000000{{n}}-0-0-{HEX_32}",
    f"sign={HEX_32}&t=6549840{{n}}&us={{n}}",
    "wsSecret=a{n}&wsTime=6549840{n}",
    "verify=170000000{n}-abcdefghijklmnopqrstuvwxyz",
    "tempauth=v1.{n}",
    f"ex=6549840{{n}}&is=6549840{{n}}&hm={HEX_64}",
    "token=a{n}&expires=170000000{n}",
    "md5=a{n}&expires=170000000{n}",
    "expires=170000000{n}&signature={n}",
]


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("id=5&", ""), ("", "&id=5"), ("versionId=3&", "&part=2")])
def test_a_signature_is_left_out_and_nothing_else(signature: str, before: str, after: str) -> None:
    first, second = (f"{PLAIN}?{before}{signature.format(n=n)}{after}" for n in (1, 2))
    rest = (before + after.lstrip("&")).rstrip("&")
    assert canonical_url(first) == canonical_url(second) == (f"{PLAIN}?{rest}" if rest else PLAIN)
    assert is_signed(first)
    assert a_request(first).key == a_request(second).key


@pytest.mark.parametrize(
    "kept", ["x-oss-process=video/snapshot,t_1000", "response-content-type=video/mp4", "versionId=9"]
)
def test_what_decides_the_content_stays_beside_a_signature(kept: str) -> None:
    signed = f"{PLAIN}?x-oss-signature=1&x-oss-date=2&{kept}"
    assert canonical_url(signed) == f"{PLAIN}?{kept}"


@pytest.mark.parametrize(
    "text", ["", "a.mp4", "ftp://H/a", "s3://B/a", "https://", "https://[/a", "https://h:x/a", "?"]
)
def test_what_is_no_web_url_stays_as_it_is(text: str) -> None:
    assert canonical_url(text) == text


def test_links_of_one_site_with_the_same_words_are_not_taken_for_signatures() -> None:
    series = [f"https://tv.example.com/clip?sig=x&se={season}&sp={episode}" for season in (1, 2) for episode in (1, 2)]
    assert len({a_request(url).key for url in series}) == 4


@given(url=st.text() | st.from_regex(r"https?://[A-Za-z.:%@]{1,9}[/?#&=%.A-Za-z0-9]{0,30}", fullmatch=True))
def test_a_canonical_url_is_its_own(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once


def test_keys_of_a_hundred_thousand_signed_requests_take_seconds() -> None:
    query = SIGNATURES[0].format(n=7)
    requests = [
        ExportRequest(f"https://b.s3.amazonaws.com/films/{number}.mp4?{query}", model=17, resolution="1920x1080")
        for number in range(2000)
    ]
    began_at = time.process_time()
    assert len({request.key for request in requests}) == 2000
    assert time.process_time() - began_at < 1.0  # some 0.1 s; 50 times that would be 250 s for 100,000
