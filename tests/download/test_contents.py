"""What is recognised as something else than a video, and above all what isn't."""

from __future__ import annotations

import gzip
import hashlib
import json
import random

import pytest

from hitpaw_async.download.contents import HEAD_BYTES, foreign_content

DENIED = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Denied</Message></Error>'
PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head></html>"
PROSE = "Schöne Grüße aus dem Rechenzentrum. " * 300


@pytest.mark.parametrize(
    "body",
    [
        DENIED.encode(),
        b"\xef\xbb\xbf" + DENIED.encode(),
        b"\r\n\r\n" + PAGE.encode(),
        PAGE.upper().encode(),
        PAGE.encode("utf-16"),
        b"\xff\xfe" + PAGE.encode("utf-16-le"),
        (PAGE + PROSE).encode("latin-1"),
        b"<!-- cached --><html>" + "ä".encode("latin-1"),
        b"<html>" + bytes(5000),
        json.dumps({"code": 404, "message": "no such file"}).encode(),
        b"AccessDenied",
        b"404 page not found\n",
        b"#EXTM3U\n#EXT-X-VERSION:3\nhttp://cdn.example/1.ts\n",
        PROSE.encode(),
        ("x" + PROSE).encode()[:HEAD_BYTES],
        "签名已过期".encode() * 2000,
        b"\xff\xd8\xff\xe0" + bytes(5000),
        b"\x89PNG\r\n\x1a\n" + bytes(5000),
        b"RIFF\x00\x00\x01\x00WEBPVP8 " + bytes(5000),
        b"\x00\x00\x00\x1cftypavif" + bytes(5000),
        gzip.compress(PAGE.encode() * 100),
        b"PK\x03\x04" + bytes(5000),
        b"%PDF-1.7\n" + bytes(5000),
        b"expired" * 30,
        ("x" * 3000 + "\n").encode(),
        ("x" * 1000 + "\n").encode("utf-16"),
        b"x" * 3000 + b"{",
        b"\x00",
        b"\x00\x01\x02\x03" * 7,
    ],
)
def test_what_is_no_video_is_named(body: bytes) -> None:
    assert foreign_content(body[:HEAD_BYTES], len(body))


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41",
        b"\x00\x00\x00\x14ftypqt  \x20\x05\x03\x00qt  ",
        b"\x00\x00\x00\x1cftypM4V \x00\x00\x00\x01M4V mp42isom",
        b"\x00\x00\x00\x08wide\x00\x01\x02\x03mdat",
        b"\x00\x00\x00\x18ftypheic_not_really"[:4] + b"mdat",
        b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f\x42\x86\x81\x01webm",
        b"RIFF\x24\x10\x00\x00AVI LIST\x00\x00",
        b"GIF89a\x01\x00\x01\x00",
        b"\x00\x00\x01\xba\x44\x00\x04",
        b"G\x40\x11\x10\x00\x42\xf0" + b"\xff" * 181 + b"G",
        b"FLV\x01\x05\x00\x00\x00\x09",
        b"OggS\x00\x02",
        b"",
    ],
)
@pytest.mark.parametrize("fill", [bytes(5000), b"\xff" * 5000, b"\x00\x01\xfe" * 2000])
def test_a_container_is_let_through(head: bytes, fill: bytes) -> None:
    assert foreign_content((head + fill)[:HEAD_BYTES], 5000) is None


@pytest.mark.parametrize("seed", range(200))
def test_what_is_not_known_is_let_through(seed: int) -> None:
    draw = random.Random(seed)
    noise = draw.randbytes(draw.choice((200, 1000, HEAD_BYTES)))
    repeated = (hashlib.sha256(noise).digest() * 200)[:HEAD_BYTES]
    assert foreign_content(noise, len(noise)) is None
    assert foreign_content(repeated, 16_000) is None


@pytest.mark.parametrize("body", [b"v" * 50_000, b"v" * 256, b"0123456789abcdef" * 100, b"frame-1;" * 1000])
def test_letters_that_say_nothing_are_let_through(body: bytes) -> None:
    """They stand in for videos in the tests of those who use this library."""
    assert foreign_content(body[:HEAD_BYTES], len(body)) is None
