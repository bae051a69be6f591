"""`Bucket.check` tries what a batch does, leaves nothing behind, and says in words what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from hitpaw_async import AsyncHitPaw
from hitpaw_async.errors import TransportError
from hitpaw_async.storage import Bucket, CheckStep, Finding, VendorStorage
from tests.storage.servers import READER_ID, READER_SECRET
from tests.storage.test_vendor_storage import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.storage.servers import ObjectServer

pytestmark = pytest.mark.anyio


async def fetch(method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, url, headers=dict(headers))
        return answer.status_code, answer.content


def steps(findings: list[Finding], *, good: bool) -> list[CheckStep]:
    return [finding.step for finding in findings if finding.is_good is good]


async def test_a_bucket_that_does_everything_is_good_and_is_left_as_it_was(
    server: ObjectServer, bucket: Callable[..., Bucket], prefix: str
) -> None:
    findings = await bucket().check(fetch)
    bad = steps(findings, good=False)
    # A link of S3 is signed for GET alone.
    assert bad == ([CheckStep.HEAD] if server.url.startswith("s3:") else [])
    assert all(finding.is_warning for finding in findings if not finding.is_good)
    assert set(CheckStep) == {finding.step for finding in findings}
    assert server.names(prefix) == []


async def test_a_bucket_that_may_only_be_read_is_told_at_the_first_step(s3: ObjectServer, prefix: str) -> None:
    client = {**s3.client, "access_key_id": READER_ID, "secret_access_key": READER_SECRET}
    (finding,) = await Bucket(f"{s3.url}/{prefix}", **client).check(fetch)
    assert (finding.step, finding.is_good, finding.is_warning) == (CheckStep.WRITE, False, False)
    assert "Allow these credentials" in finding.words


async def test_a_link_that_is_refused_or_leads_nowhere_is_told(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    async def refused(method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        return await fetch(method, url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), headers)

    async def lost(method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        raise TransportError("No connection.")

    async def whole(method: str, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        return await fetch(method, url, {})

    for how, words in ((refused, "clock"), (lost, "No connection"), (whole, "could not be fetched")):
        findings = await s3_bucket().check(how)
        (bad,) = [finding for finding in findings if finding.step is CheckStep.FETCH]
        assert not bad.is_good
        assert words in bad.words
        assert "X-Amz" not in repr(findings)
        assert CheckStep.TAKEN in steps(findings, good=True)
    assert s3.names(prefix) == []


async def test_credentials_of_a_session_are_warned_of(
    s3_bucket: Callable[..., Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3_bucket()._objects.has_lasting_credentials()
    assert not s3_bucket(session_token="t")._objects.has_lasting_credentials()
    monkeypatch.setattr("hitpaw_async.storage._objects.Objects.has_lasting_credentials", lambda self: False)
    (warning,) = [each for each in await s3_bucket().check(fetch) if "session" in each.words]
    assert warning.is_warning


async def test_a_client_tries_a_bucket_and_leaves_nothing(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], prefix: str
) -> None:
    async with AsyncHitPaw(api_key="any", base_url="http://127.0.0.1:9") as hitpaw:
        findings = await hitpaw._session.check_storage(s3_bucket())
    assert steps(findings, good=False) == [CheckStep.HEAD]
    assert "answered 403" in next(each.words for each in findings if each.step is CheckStep.HEAD)
    assert s3.names(prefix) == []


async def test_a_client_tries_the_vendors_storage_with_its_own_key() -> None:
    with Platform() as platform:
        place = VendorStorage(base_url=f"http://{platform.host}", trusted_hosts={platform.host})
        async with AsyncHitPaw(api_key="of-the-client", base_url="http://127.0.0.1:9") as hitpaw:
            findings = await hitpaw._session.check_storage(place)
            assert steps(findings, good=True) == [CheckStep.WRITE]
            assert platform.presigned[0]["key"] == "of-the-client"
            (bad,) = [each for each in findings if not each.is_good]
            assert (bad.step, "s1gn4ture" in bad.words) == (CheckStep.FETCH, False)  # It serves no GET.
            platform.reply = (401, {"error_code": 501001, "message": "no"})
            (refused,) = await hitpaw._session.check_storage(place)
    assert (refused.step, refused.is_good) == (CheckStep.WRITE, False)
    assert "key" in refused.words


@pytest.mark.parametrize(
    ("url", "settings", "swept"),
    [
        ("s3://work/temp/", {"region": "us-east-1"}, '"Prefix": "temp/"'),
        ("gs://work/temp", {"skip_signature": True}, '"matchesPrefix": ["temp/"]'),
        ("az://work/temp", {"account_name": "a", "access_key": "YQ=="}, '"prefixMatch": ["work/temp/"]'),
    ],
)
def test_the_lifecycle_rule_is_told_in_the_clouds_own_language(url: str, settings: dict[str, str], swept: str) -> None:
    bucket = Bucket(url, **settings)
    words = bucket.lifecycle_rule(is_staging=True)
    assert swept in words
    json.loads(words.partition("\n")[2])
    assert "temp/.hitpaw/" in bucket.lifecycle_rule(is_staging=False)
