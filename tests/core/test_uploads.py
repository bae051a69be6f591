"""Presigned uploads: what is asked for, and what an answer must have before anything is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._core.uploads import decode_presign, encode_presign, expire_seconds, upload_type
from hitpaw_async.errors import APIError, ConfigurationError, ProtocolError

DATA = {
    "upload_url": "https://oss.example.com/u?sig=s1gn4ture",
    "access_url": "https://oss.example.com/a?sig=s1gn4ture",
    "object_key": "uploads/a.mp4",
    "content_type": "video/mp4",
    "expire_at": 1_790_000_000,
}


def reply(status_code: int = 200, **fields: Any) -> Reply:
    return Reply(status_code=status_code, body=json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("size_bytes", "seconds"), [(1, 60), (7_500_000, 60), (7_500_001, 61), (200_000_000, 1600), (10**10, 7200)]
)
def test_a_link_lives_for_a_slow_line_within_the_vendors_bounds(size_bytes: int, seconds: int) -> None:
    assert expire_seconds(size_bytes) == seconds


def test_the_call_has_the_documents_fields() -> None:
    call = encode_presign("a.mp4", "video/mp4", size_bytes=1)
    assert call.path == "/api/oss/presign-put"
    assert json.loads(call.body) == {"filename": "a.mp4", "content_type": "video/mp4", "expire_seconds": 60}


@pytest.mark.parametrize("code", [0, 200])
def test_an_answer_gives_where_the_file_goes_and_shows_no_signature(code: int) -> None:
    put = decode_presign(V3, reply(code=code, data=DATA))
    assert put.upload_url == DATA["upload_url"]
    assert put.object_key == "uploads/a.mp4"
    assert "s1gn4ture" not in repr(put)


@pytest.mark.parametrize("name", ["upload_url", "access_url", "object_key", "content_type"])
@pytest.mark.parametrize("value", [None, 7, "", "a\nb", "x" * 9000, []])
def test_an_answer_without_a_field_is_refused(name: str, value: object) -> None:
    with pytest.raises(ProtocolError, match=name):
        decode_presign(V3, reply(code=0, data={**DATA, name: value}))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(code=0, data=None), ProtocolError),
        (reply(code=0, data=[]), ProtocolError),
        (reply(code=0, data={**DATA, "upload_url": "ftp://x"}), ProtocolError),
        (reply(code=0, data={**DATA, "content_type": "vidéo/mp4"}), ProtocolError),
        (reply(400, error_code=110400000, message="key not valid"), APIError),
        (reply(code=100403000, message="no"), APIError),
        (reply(302), ConfigurationError),
        (Reply(status_code=200, body=b"<html>"), ProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error(answer: Reply, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        decode_presign(V3, answer)


def test_five_endings_are_taken() -> None:
    assert upload_type(".MKV") == "video/x-matroska"
    assert upload_type(".ts") is None
    assert upload_type("") is None
