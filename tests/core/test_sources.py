"""What a person writes names one video, whatever the system and however it is spelt; slips are refused with words."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitpaw_async._urls.sources import BucketSource, FileSource, Source, WebSource, parse_bucket, parse_source
from hitpaw_async.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("clip.mp4", FileSource("clip.mp4")),
        ("films/", FileSource("films/")),
        ("/films/a b.mp4", FileSource("/films/a b.mp4")),
        ("./s3:/odd.mp4", FileSource("./s3:/odd.mp4")),
        ("12:30 take.mp4", FileSource("12:30 take.mp4")),
        ("take2: b.mp4", FileSource("take2: b.mp4")),
        ("a#b?c.mp4", FileSource("a#b?c.mp4")),
        ("file:///films/a%20b%3F.mp4", FileSource("/films/a b?.mp4")),
        ("FILE:///films/a.mp4", FileSource("/films/a.mp4")),
        ("file:/films/a.mp4", FileSource("/films/a.mp4")),
        ("file://localhost/films/a.mp4", FileSource("/films/a.mp4")),
        ("s3://work/raw/a b%20c?.mp4", BucketSource("s3", "work", "raw/a b%20c?.mp4")),
        ("S3://work", BucketSource("s3", "work", "")),
        ("gs://work/raw/", BucketSource("gs", "work", "raw/")),
        ("az://container/ü.mp4", BucketSource("az", "container", "ü.mp4")),
        ("https://example.com/a.mp4?X-Amz-Signature=1", WebSource("https://example.com/a.mp4?X-Amz-Signature=1")),
        ("HTTP://example.com/a.mp4", WebSource("HTTP://example.com/a.mp4")),
    ],
)
def test_a_text_names_a_file_an_object_or_a_url(text: str, source: Source) -> None:
    assert parse_source(text, windows=False) == source


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("C:\\films\\a.mp4", "C:\\films\\a.mp4"),
        ("c:/films/a.mp4", "c:/films/a.mp4"),
        ("\\\\server\\share\\a.mp4", "\\\\server\\share\\a.mp4"),
        ("file:///C:/films/a%20b.mp4", "C:/films/a b.mp4"),
        ("file://server/share/a.mp4", "//server/share/a.mp4"),
    ],
)
def test_a_path_of_windows_is_a_path(text: str, path: str) -> None:
    assert parse_source(text, windows=True) == FileSource(path)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/films/a b#c?d%e.mp4", "file:///films/a%20b%23c%3Fd%25e.mp4"),
        ("C:\\films\\a.mp4", "file:///C:/films/a.mp4"),
        ("\\\\server\\share\\a.mp4", "file://server/share/a.mp4"),
        ("/ü.mp4", "file:///%C3%BC.mp4"),
        ("/odd\udcff.mp4", "file:///odd%FF.mp4"),
    ],
)
def test_a_path_has_one_url(path: str, url: str) -> None:
    assert FileSource(path).url == url


@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_a_url_leads_back_to_the_very_bytes_of_a_name(name: bytes) -> None:
    path = os.fsdecode(b"/films/" + name)
    assert parse_source(FileSource(path).url, windows=False) == FileSource(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no file"),
        ("a\0b", "no file name has"),
        ("s3:/work/a.mp4", "two slashes"),
        ("s3:work", "two slashes"),
        ("gs:/work", "two slashes"),
        ("s3://", "no bucket"),
        ("s3:///a.mp4", "no bucket"),
        ("s3://wo rk/a.mp4", "no bucket"),
        ("s3://work//a.mp4", "empty part"),
        ("s3://work/a/../b.mp4", "empty part"),
        ("s3://work/a\nb.mp4", "invisible"),
        ("s3a://work/a.mp4", "write s3://"),
        ("gcs://work/a.mp4", "write gs://"),
        ("abfss://work/a.mp4", "write az://"),
        ("ftp://example.com/a.mp4", "not known"),
        ("w3://work/a.mp4", "not known"),
        ("file://other/films/a.mp4", "another machine"),
        ("file:///films/a.mp4?x", "%3F"),
        ("file:///a%00b", "no file"),
    ],
)
def test_a_slip_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        parse_source(text, windows=False)


@pytest.mark.parametrize("given_source", [7, None, object()])
def test_what_is_no_text_is_refused(given_source: object) -> None:
    with pytest.raises(InvalidRequestError, match="no text and no path"):
        parse_source(given_source)  # type: ignore[arg-type]


def test_a_key_within_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_source("s3://AKIACANARY:s3cr3t@work/a.mp4")
    assert "AKIACANARY" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_url_that_went_through_a_path_is_told_from_a_file() -> None:
    with pytest.raises(InvalidRequestError, match="pass it as a text"):
        parse_source(PurePosixPath("s3://work/a.mp4"))


def test_a_relative_path_of_a_list_starts_at_the_list() -> None:
    assert parse_source("a.mp4", base="/films", windows=False) == FileSource("/films/a.mp4")
    assert parse_source(Path("b/a.mp4"), base="/", windows=False) == FileSource("/b/a.mp4")
    assert parse_source("/x/a.mp4", base="/films", windows=False) == FileSource("/x/a.mp4")
    assert parse_source("C:/x/a.mp4", base="D:/films", windows=True) == FileSource("C:/x/a.mp4")
    assert parse_source("s3://work/a.mp4", base="/films") == BucketSource("s3", "work", "a.mp4")


def test_a_trailing_slash_names_a_folder() -> None:
    assert FileSource("films/").names_folder
    assert not FileSource("films").names_folder
    assert parse_bucket("s3://work/raw/").names_folder
    assert parse_bucket("s3://work").names_folder
    assert not parse_bucket("s3://work/raw").names_folder


def test_a_signature_of_a_url_is_not_shown() -> None:
    assert "s1gn" not in repr(parse_source("https://example.com/a.mp4?Signature=s1gn"))
