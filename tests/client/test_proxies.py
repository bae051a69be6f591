"""Which proxy a URL is reached through, and that nobody sees its password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from hitpaw_async import ConfigurationError, Job, TransportError
from hitpaw_async._transport.proxies import Proxies
from tests.client.callers import API_KEY, REQUEST, a_client
from tests.client.fault_server import JOB_ID, FaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "pr0xy-pa55"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://a.example", None),
        ({"https_proxy": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://a.example", None),
        ({"https_proxy": "p:1"}, "https://a.example", "http://p:1"),
        ({"all_proxy": "http://p:1"}, "http://a.example", "http://p:1"),
        ({"all_proxy": "http://p:1", "http_proxy": "http://q:1"}, "http://a.example", "http://q:1"),
        ({"all_proxy": "http://p:1", "no_proxy": "a.example"}, "https://a.example/x", None),
        ({"all_proxy": "http://p:1", "no_proxy": ".example"}, "https://a.example/x", None),
        ({"all_proxy": "http://p:1", "no_proxy": "*"}, "https://a.example/x", None),
        ({"all_proxy": "http://p:1", "no_proxy": "b.example"}, "https://a.example/x", "http://p:1"),
    ],
)
def test_the_environment_names_proxies_only_where_it_is_trusted(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Proxies.chosen(None, trust_env=True).for_url(url) == proxy
    assert Proxies.chosen(None, trust_env=False).for_url(url) is None


def test_a_given_proxy_is_for_everything_and_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://another:1")
    monkeypatch.setenv("no_proxy", "*")
    proxies = Proxies.chosen(f"http://user:{SECRET}@p:3128", trust_env=True)
    for url in ("https://a.example", "http://b.example"):
        assert proxies.for_url(url) == f"http://user:{SECRET}@p:3128"
    assert SECRET not in repr(proxies)


def test_a_proxy_of_the_environment_that_is_unusable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", f"socks5://user:{SECRET}@p:1080")
    with pytest.raises(ConfigurationError, match="ALL_PROXY") as caught:
        a_client("https://vendor.example", trust_env=True)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"all_proxy": "socks://p:1080/", "https_proxy": "http://p:3128"},
        {"http_proxy": "socks5h://p:1080", "https_proxy": "http://p:3128"},
        {"all_proxy": "socks5://p:1080", "no_proxy": "*"},
        {"https_proxy": "socks5://p:1080", "no_proxy": "vendor.example"},
    ],
)
def test_a_proxy_that_cannot_be_used_and_is_not_needed_is_in_nobodys_way(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    a_client("https://vendor.example", trust_env=True)


def test_nothing_goes_past_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://p:3128")
    monkeypatch.setenv("all_proxy", f"socks5://user:{SECRET}@p:1080")
    proxies = Proxies.chosen(None, trust_env=True)
    assert proxies.for_url("https://a.example") == "http://p:3128"
    with pytest.raises(TransportError, match="ALL_PROXY must be the http or https URL") as caught:
        proxies.for_url("http://a.example")
    assert SECRET not in f"{caught.value}{proxies!r}"


def test_a_callers_client_has_proxies_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="http_client"):
        a_client("https://vendor.example", http_client=httpx.AsyncClient(), proxy="http://p:1")


@pytest.mark.anyio
async def test_calls_go_through_the_proxy_with_its_password_and_nowhere_else() -> None:
    with FaultServer() as proxy:
        address = proxy.url.replace("http://", f"http://user:{SECRET}@")
        async with a_client("http://vendor.example.com", proxy=address) as hitpaw:
            assert await hitpaw.export(REQUEST) == Job(job_id=JOB_ID)
            assert (await hitpaw.task(JOB_ID)).job_id == JOB_ID
    assert [request.path for request in proxy.received] == [
        "http://vendor.example.com/api/v3/video-enhancer/export",
        "http://vendor.example.com/api/v3/video-enhancer-api/task",
    ]
    for request in proxy.received:
        assert request.headers["proxy-authorization"].startswith("Basic ")
        assert request.headers["apikey"] == API_KEY
