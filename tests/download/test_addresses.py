from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._urls.addresses import (
    Endpoint,
    in_turn,
    is_local_name,
    is_public,
    is_unusual_number,
    normalized_host,
)

if TYPE_CHECKING:
    import ipaddress

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::192.168.1.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "127.1",
    "0177.0.0.1",
    "010.8.8.8",
    "2130706433",
    "",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.17",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_anybody_may_not_lead_to_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_no_wrapping_makes_an_ipv4_address_more_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for wrapped in (f"::ffff:{address}", f"::{address}", f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1"):
        assert not is_public(wrapped)
    assert is_public(f"64:ff9b::{address}") is is_public(str(address))


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://cdn.example/a.mp4?x=1", Endpoint(is_secure=True, host="cdn.example", port=443)),
        ("http://CDN.Example.:8080", Endpoint(is_secure=False, host="cdn.example", port=8080)),
        ("https://[2606:4700:0::1]:444/a", Endpoint(is_secure=True, host="2606:4700::1", port=444)),
        ("https://a_b.s3.example/ä.mp4", Endpoint(is_secure=True, host="a_b.s3.example", port=443)),
        ("HTTPS://8.8.8.8/", Endpoint(is_secure=True, host="8.8.8.8", port=443)),
    ],
)
def test_an_endpoint_is_read_from_a_url(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cdn.example/a.mp4",
        "/a.mp4",
        "//cdn.example/a.mp4",
        "https:/cdn.example",
        "https://",
        "https://:443/",
        "https://./",
        "ftp://cdn.example/a",
        "file:///etc/passwd",
        "gopher://cdn.example/",
        "https://user@cdn.example/",
        "https://user:pass@cdn.example/",
        "https://@cdn.example/",
        "https://cdn.example\\@evil.example/",
        "https://cdn.example /",
        " https://cdn.example/",
        "https://cdn.example/\n",
        "https://cdn.example/\x00",
        "https://cdn.\texample/",
        "https://cdn.example:0/",
        "https://cdn.example:65536/",
        "https://cdn.example:99999999999/",
        "https://cdn.example:x/",
        "https://cdn.example:/",
        "https://cdn.example:-1/",
        "https://[::1/",
        "https://[::g]/",
        "https://[1.2.3.4]/",
        "https://[fe80::1%25eth0]/",
        "https://%31%32%37.0.0.1/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://127\u30020.0.1/",
        "https://caf\u00e9.example/",
        "https://cdn.example/" + "a" * 8192,
        "https://cdn.example/\ud800",
    ],
)
def test_a_url_that_two_parsers_could_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its) ") as caught:
        Endpoint.parse(url)
    assert "example" not in str(caught.value)


def test_a_password_in_a_url_is_called_by_its_name() -> None:
    with pytest.raises(ValueError, match="user name or password"):
        Endpoint.parse("https://user:pass@cdn.example/")


def test_what_is_no_text_is_no_url() -> None:
    with pytest.raises(ValueError, match="not a URL"):
        Endpoint.parse(None)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://cdn.example/{text}"):
        try:
            endpoint = Endpoint.parse(url)
        except ValueError as error:
            assert str(error).startswith(("it ", "its "))  # noqa: PT017 (either is right)
        else:
            assert endpoint.host.isascii()


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "1.2.3.4.5",
        "256.1.1.1",
        "0",
        "0x",
        "cdn.1",
        "10.0x0.1",
    ],
)
def test_a_number_in_an_unusual_form_is_found(host: str) -> None:
    assert is_unusual_number(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "::1", "cdn.example", "1.cdn.example", "0x7f.example", "1x"])
def test_a_plain_host_is_no_is_unusual_number(host: str) -> None:
    assert not is_unusual_number(host)


@pytest.mark.parametrize("host", ["localhost", "db", "a.localhost", "printer.local", "metadata.google.internal"])
def test_a_name_that_is_local_by_convention_is_found(host: str) -> None:
    assert is_local_name(host)
    assert not is_local_name("cdn.example")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LocalHost", "localhost"),
        ("127.0.0.1:8787", "127.0.0.1:8787"),
        ("::1", "[::1]"),
        ("[0:0::1]:8080", "[::1]:8080"),
        ("cdn.example.", "cdn.example"),
    ],
)
def test_a_trusted_host_is_normalized(text: str, name: str) -> None:
    assert normalized_host(text) == name


@pytest.mark.parametrize("text", ["", "http://localhost", "localhost/", "a b", "localhost:0", "[::1", "*", ":80"])
def test_what_is_no_host_is_no_trusted_host(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        normalized_host(text)


def test_addresses_are_used_by_turns_of_their_families() -> None:
    assert in_turn(["::1", "::2", "::3", "1.1.1.1", "::1"]) == ["::1", "1.1.1.1", "::2", "::3"]
    assert in_turn(["1.1.1.1", "::1"]) == ["1.1.1.1", "::1"]
    assert in_turn([]) == []
