"""Locations of videos as people write them: a local file or folder, an object in a bucket, or a URL. Pure."""

from __future__ import annotations

import os
import re
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

import attrs

from hitpaw_async._errors import InvalidRequestError
from hitpaw_async._redact import excerpt

__all__ = ["BUCKET_SCHEMES", "BucketSource", "FileSource", "Source", "WebSource", "parse_bucket", "parse_source"]

BUCKET_SCHEMES: Final = ("s3", "gs", "az")
"""Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/{0,2})")
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,254}")
_OTHER_NAMES: Final = {
    **dict.fromkeys(("s3a", "s3n", "s3s"), "s3"),
    **dict.fromkeys(("gcs", "gcp"), "gs"),
    **dict.fromkeys(("azure", "abfs", "abfss", "adl", "wasb", "wasbs"), "az"),
}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile(r"/?([A-Za-z]:)(?=[/\\]|$)")
_SAFE_IN_FILE_URLS: Final = "/!$&'()*+,;=:@~"


@attrs.frozen
class FileSource:
    """A file or a folder of this machine, or several by a prefix."""

    path: str
    """As it was named. Bytes that are no text are surrogates, as `os.fsdecode` has them."""

    @property
    def url(self) -> str:
        """The `file://` URL of an absolute path. It leads back to the very same bytes."""
        path = self.path.replace("\\", "/") if _DRIVE.match(self.path) or self.path.startswith("\\\\") else self.path
        if path.startswith("//"):
            return f"file:{quote(os.fsencode(path), safe=_SAFE_IN_FILE_URLS)}"
        return f"file://{'' if path.startswith('/') else '/'}{quote(os.fsencode(path), safe=_SAFE_IN_FILE_URLS)}"

    @property
    def names_folder(self) -> bool:
        """True if it can only be a folder, as it is written."""
        return self.path.endswith(("/", os.sep))


@attrs.frozen
class BucketSource:
    """An object in a bucket, or all objects under a prefix."""

    scheme: str
    """One of `BUCKET_SCHEMES`."""
    bucket: str
    """The bucket's name, or the container's."""
    key: str = ""
    """The object's key as it is, nothing decoded; empty for the whole bucket."""

    @property
    def url(self) -> str:
        """As it was named."""
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def names_folder(self) -> bool:
        """True if it can only be a prefix, as it is written."""
        return not self.key or self.key.endswith("/")


@attrs.frozen
class WebSource:
    """A URL that the vendor fetches by itself."""

    url: str = attrs.field(repr=lambda url: repr(excerpt(url)))


Source: TypeAlias = FileSource | BucketSource | WebSource


def parse_source(given: str | os.PathLike[str], *, base: str | None = None, windows: bool = os.name == "nt") -> Source:
    r"""Parse a string or a path. The disk is not read.

    A text with `scheme:/` is a URL; a single letter before the colon is a drive of Windows. A file whose name looks
    like a URL is written `./s3:...`.

    Args:
        given: `films/a.mp4`, `C:\films`, `file:///films/a.mp4`, `s3://bucket/a.mp4`, `https://...`.
        base: The folder that a relative path starts from; None leaves it as it is.
        windows: True if paths are those of Windows.

    Raises:
        InvalidRequestError: It names nothing that videos can come from.
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise _refused(given, "is no text and no path") from None
    if not text or "\0" in text:
        raise _refused(text, "names no file" if not text else "has a character in it that no file name has")
    match = _URL.match(text)
    scheme = "" if match is None else match[1].lower()
    if match is None or not _is_url(scheme, match[2]):
        return FileSource(_joined(base, text, windows=windows))
    if isinstance(given, os.PathLike) and not isinstance(given, str):
        raise _refused(text, "is a URL within a path object, which makes one slash of two: pass it as a text")
    if scheme == "file":
        return FileSource(_path_of_url(text, windows=windows))
    if scheme in ("http", "https"):
        return WebSource(text)
    return parse_bucket(text)


def parse_bucket(text: str) -> BucketSource:
    """Parse a URL with `s3://`, `gs://` or `az://`.

    Raises:
        InvalidRequestError: It is none.
    """
    match = _URL.match(text)
    scheme = "" if match is None else match[1].lower()
    if scheme not in BUCKET_SCHEMES:
        meant = _OTHER_NAMES.get(scheme)
        known = f"write {meant}://" if meant else "s3://, gs://, az://, file://, http:// and https:// can be read"
        raise _refused(text, f"begins with {scheme!a}, which is not known: {known}" if scheme else "is no URL")
    if match is None or match[2] != "//":
        raise _refused(text, f"is written with two slashes: {scheme}://bucket/name")
    bucket, _, key = text[match.end() :].partition("/")
    if "@" in bucket:
        raise InvalidRequestError(
            [f"The {scheme}:// URL has a key in it. Keep keys where the cloud's own tools have them, and take it out."]
        )
    if not _BUCKET.fullmatch(bucket):
        raise _refused(text, f"names no bucket: {scheme}://bucket/name")
    if _CONTROL.search(key) or any("\ud800" <= character <= "\udfff" for character in key):
        raise _refused(text, "has an invisible character in it, with which objects can't be reached")
    parts = key.removesuffix("/").split("/")
    if key and any(part in ("", ".", "..") for part in parts):
        raise _refused(text, "has an empty part, `.` or `..` in its name, with which objects can't be reached")
    return BucketSource(scheme, bucket, key)


def _is_url(scheme: str, slashes: str) -> bool:
    """Tell if a string that begins so is meant as a URL. `s3:x` is a typing error; `take2: b.mp4` is a file."""
    return bool(slashes) or scheme in BUCKET_SCHEMES or scheme in _OTHER_NAMES


def _joined(base: str | None, path: str, *, windows: bool) -> str:
    is_absolute = path.startswith(("/", "\\")) or bool(_DRIVE.match(path)) if windows else path.startswith("/")
    if base is None or is_absolute:
        return path
    return f"{base.rstrip('/')}/{path}" if base != "/" else f"/{path}"


def _path_of_url(text: str, *, windows: bool) -> str:
    """The path in a file URL. Source: RFC 8089."""
    rest = text[len("file:") :]
    host = ""
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        rest = slash + path
    if "?" in rest or "#" in rest:
        raise _refused(text, "has `?` or `#` in it: in a file's URL write %3F or %23")
    path = os.fsdecode(unquote_to_bytes(rest))
    if host.lower() not in ("", "localhost"):
        if not windows:
            raise _refused(text, "names another machine: a file of this one is written file:///folder/name")
        path = f"//{host}{path}"
    if windows:
        path = _DRIVE.sub(r"\1", path, count=1)
    if not path or "\0" in path:
        raise _refused(text, "names no file")
    return path


def _refused(given: object, problem: str) -> InvalidRequestError:
    shown = excerpt(given, chars_max=120) if isinstance(given, str) else ascii(given)[:80]
    return InvalidRequestError([f"The source {shown!r} {problem}."])
