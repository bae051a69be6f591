"""What goes wrong says who must act and how, and neither a key nor a signature is in it, nor in what hangs on it."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import random
import socket
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import pytest

from hitpaw_async.errors import ConfigurationError, HitPawError, MissingExtraError, StorageError
from hitpaw_async.storage import Bucket, local_video
from hitpaw_async.storage._failures import storage_error
from hitpaw_async.storage._profiles import profile_settings
from tests.storage.servers import KEY_ID, SECRET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hitpaw_async.storage import Staged
    from tests.storage.servers import ObjectServer

NEVER_SHOWN = (SECRET, KEY_ID, "WRONGCANARY", "X-Amz-Signature", "AWS4-HMAC", "TOKENCANARY")
SMALL = random.Random(4).randbytes(100_000)
LARGE = random.Random(4).randbytes(12_000_000)


def everything_of(error: BaseException) -> str:
    """All that a crash reporter might send: texts, attributes, and the local variables of each frame."""
    text = io.StringIO()
    seen: set[int] = set()
    left: list[BaseException] = [error]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        left += [each for each in (one.__cause__, one.__context__) if each is not None]
        traceback.print_exception(one, file=text)
        text.write(f"{one!r} {one.__dict__!r}")
        frame = one.__traceback__
        while frame is not None:
            if "hitpaw_async" in frame.tb_frame.f_code.co_filename:
                text.write(repr(frame.tb_frame.f_locals))
            frame = frame.tb_next
    return text.getvalue()


def require_no_secrets(text: str) -> None:
    assert [secret for secret in NEVER_SHOWN if secret in text] == []


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(SMALL)
    return path


@pytest.mark.anyio
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["one piece", "several pieces"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"secret_access_key": "WRONGCANARY"}, "Check the access key and its secret"),
        ({"access_key_id": "WRONGCANARY"}, "Check the access key and its secret"),
    ],
)
async def test_wrong_credentials_are_told_in_words_and_are_not_shown(
    s3_bucket: Callable[..., Bucket],
    clip: Path,
    wrong: dict[str, str],
    words: str,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await anyio.Path(clip).write_bytes(content)
    video = await local_video(clip)
    staging = s3_bucket(**wrong)
    for call in (partial(staging.link, video), staging.names):
        with pytest.raises(StorageError, match=words) as caught:
            await call()
        assert caught.value.is_denied
        require_no_secrets(everything_of(caught.value))
    require_no_secrets(caplog.text + repr(staging))


@pytest.mark.anyio
async def test_a_store_that_is_not_there_is_told_in_words(tmp_path: Path, clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    staging = Bucket(
        "s3://vids/a",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        region="us-east-1",
        retry_config={"max_retries": 0},
    )
    with pytest.raises(StorageError, match="Check the network and the endpoint") as caught:
        await staging.link(await local_video(clip))
    assert not caught.value.is_denied
    require_no_secrets(everything_of(caught.value))


@pytest.mark.anyio
async def test_a_link_is_in_no_text_but_its_own(s3_bucket: Callable[..., Bucket], clip: Path) -> None:
    staged: Staged = await s3_bucket().link(await local_video(clip))
    assert "X-Amz-Signature" in staged.url
    require_no_secrets(repr(staged) + str(staged))


@pytest.mark.anyio
async def test_a_link_is_not_in_an_exception_that_comes_after_it_was_signed(
    s3: ObjectServer, s3_bucket: Callable[..., Bucket], clip: Path
) -> None:
    async def refuse(made: object) -> None:
        raise HitPawError("No room in the journal.")

    with pytest.raises(HitPawError, match="No room") as caught:
        await s3_bucket().link(attrs.evolve(await local_video(clip), announce=refuse))
    require_no_secrets(everything_of(caught.value))


def test_a_bucket_leaves_no_process_and_shows_no_key() -> None:
    bucket = Bucket("s3://vids/a", access_key_id=KEY_ID, secret_access_key=SECRET, region="us-east-1")
    assert repr(bucket) == "Bucket('s3://vids/a/')"
    require_no_secrets(repr(bucket) + repr(vars(bucket)) + repr(vars(bucket._objects)))
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="keys would leave it"):
            leave(bucket)


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("work/a", {}, "is no URL"),
        ("https://work/a", {}, "not known"),
        ("s3:/work/a", {}, "two slashes"),
        (7, {}, "named by a text"),
        ("s3://work", {"nonsense": "WRONGCANARY"}, "no setting 'nonsense'"),
        ("s3://work", {"region": object()}, "wrong kind"),
        ("s3://work", {"link_s": 5}, "link_s"),
        ("s3://work", {"link_s": 10**7}, "link_s"),
        ("az://work", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("gs://work", {"service_account_key": "WRONGCANARY"}, "can't be opened"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(url: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        Bucket(url, **settings)
    require_no_secrets(everything_of(caught.value))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"hitpaw-async\[storage\]"):
        Bucket("s3://work")


class PermissionDeniedError(Exception):
    """As obstore's."""


@pytest.mark.parametrize(
    ("text", "words", "is_denied"),
    [
        ("status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "clock", True),
        ("status code: 400 Bad Request: <Code>ExpiredToken</Code>", "log in again", True),
        ("status code: 301: <Code>PermanentRedirect</Code>", "another region", False),
        ("status code: 404 Not Found: <Code>NoSuchBucket</Code>", "no such bucket", False),
        ("status code: 503: <Code>SlowDown</Code>", "overloaded", False),
        ("status code: 500", "try again later", False),
        ("status code: 403 Forbidden", "Allow these credentials", True),
        ("GET http://169.254.169.254/latest/api/token: error sending request", "No credentials were found", True),
        ("HTTP error: error sending request", "Check the network", False),
        ("HTTP error: builder error", "begins with http://", False),
    ],
)
def test_what_a_store_answers_is_told_in_words(text: str, words: str, is_denied: bool) -> None:
    error = storage_error(RuntimeError(f"{text} https://h/x?X-Amz-Signature=1"), doing="read", location="s3://work/a")
    assert words.lower() in str(error).lower()
    assert error.is_denied is is_denied
    assert error.location == "s3://work/a"
    require_no_secrets(str(error))


def aws_files(folder: Path, credentials: str, config: str = "") -> dict[str, str]:
    (folder / ".aws").mkdir()
    (folder / ".aws" / "credentials").write_text(credentials)
    (folder / ".aws" / "config").write_text(config)
    return {"HOME": str(folder)}


KEYS = """\
[default]
aws_access_key_id = A
aws_secret_access_key = B
[work]
aws_access_key_id = C
aws_session_token = T
"""


def test_profiles_of_the_aws_command_line_are_used_where_nothing_else_says(tmp_path: Path) -> None:
    environment = aws_files(tmp_path, KEYS, "[default]\nregion = eu-west-1\n[profile work]\nregion = us-east-2\n")
    assert profile_settings([], environment) == {"access_key_id": "A", "secret_access_key": "B", "region": "eu-west-1"}
    work = profile_settings([], {**environment, "AWS_PROFILE": "work"})
    assert work == {"access_key_id": "C", "session_token": "T", "region": "us-east-2"}
    assert profile_settings(["region"], environment) == {"access_key_id": "A", "secret_access_key": "B"}
    assert profile_settings(["access_key_id"], environment) == {}
    assert profile_settings(["aws_access_key_id"], environment) == {}
    assert profile_settings([], {**environment, "AWS_ACCESS_KEY_ID": "E"}) == {}
    assert "region" not in profile_settings([], {**environment, "AWS_REGION": "x"})


def test_a_profile_that_is_not_there_or_needs_more_is_refused_in_words(tmp_path: Path) -> None:
    environment = aws_files(tmp_path, KEYS, "[profile role]\nrole_arn = arn:x\n")
    with pytest.raises(ConfigurationError, match="AWS_PROFILE"):
        profile_settings([], {**environment, "AWS_PROFILE": "none"})
    with pytest.raises(ConfigurationError, match="pip install boto3"):
        profile_settings([], {**environment, "AWS_PROFILE": "role"})
    (tmp_path / ".aws" / "config").write_text("no section")
    with pytest.raises(ConfigurationError, match="Correct the file"):
        profile_settings([], environment)


def test_no_profile_is_none(tmp_path: Path) -> None:
    assert profile_settings([], {"HOME": str(tmp_path)}) == {}


@pytest.mark.anyio
async def test_a_profile_opens_a_bucket(
    s3: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    environment = aws_files(
        tmp_path, f"[default]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\nregion=us-east-1\n"
    )
    monkeypatch.setenv("HOME", environment["HOME"])
    assert await Bucket(f"{s3.url}/{prefix}", endpoint=s3.endpoint).names() == set()
