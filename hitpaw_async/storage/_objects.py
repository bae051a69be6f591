"""Objects of one bucket, by obstore's blocking calls: each raises `StorageError`, and nothing else that the world does.

What was sent is verified by its size and by reading three samples of it back. Digests of all of it would more than
double what an upload costs in CPU, and S3 checks a SHA-256 of each piece already: its signature covers it.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async import errors
from hitpaw_async._lacks import unloadable
from hitpaw_async._redact import excerpt
from hitpaw_async._urls.sources import BucketSource
from hitpaw_async.errors import ConfigurationError, StorageError
from hitpaw_async.storage._failures import explained
from hitpaw_async.storage._files import SAMPLE_BYTES, content_digest, sample_offsets
from hitpaw_async.storage._profiles import profile_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["PIECE_BYTES", "ObjectMeta", "ObjectWriter", "Objects"]

PIECE_BYTES: Final = 8 << 20
PIECES_AT_ONCE: Final = 4
_PIECES_MAX: Final = 9_000
"""S3 takes 10,000 of one object."""
_LIST_COUNT: Final = 1_000
_SIGNED_ON_AZURE: Final = re.compile(r"[A-Za-z0-9._~+/-]*")

_ANSWER_MAX_S: Final = 30
_PIECE_MAX_S: Final = 300
"""Four pieces of 8 MiB at once, over a line of 1 Mbit/s, take 270 s."""
_RETRY: Final = {"max_retries": 5, "retry_timeout": datetime.timedelta(seconds=60)}


@attrs.frozen
class ObjectMeta:
    """What a listing or a HEAD says of an object."""

    key: str
    size_bytes: int
    etag: str | None
    modified_at: datetime.datetime


class ObjectWriter:
    """An object on its way: complete when it is closed, and nothing of it is there when it is aborted.

    Args:
        raw: obstore's writer.
        location: What is written, for errors.
    """

    def __init__(self, raw: Any, location: str) -> None:
        self._raw = raw
        self._location = location

    def write(self, data: bytes) -> None:
        """Append `data`, which nobody may change any more: it is sent later."""
        with explained("written", self._location):
            self._raw.write(data)

    def close(self) -> None:
        """Complete it."""
        with explained("written", self._location):
            self._raw.close()

    def abort(self) -> None:
        """End the upload, so that nothing is left of it."""
        # An exception that leaves obstore's writer aborts the upload; there is no other call for it.
        with explained("aborted", self._location):
            self._raw.__exit__(_AbortedError, _AbortedError(), None)


class _AbortedError(Exception):
    """Tells obstore's writer to abort."""


class Objects:
    """One bucket, opened when it is first used. Its settings hold secrets: nothing shows them.

    Args:
        root: Which bucket.
        settings: obstore's settings, over what the environment and profiles say.
    """

    def __init__(self, root: BucketSource, settings: Mapping[str, Any]) -> None:
        self.root = root
        kept = dict(settings)
        # In closures, not in attributes: what shows an object's attributes would show the keys.
        self._settings: Callable[[], dict[str, Any]] = lambda: kept
        self._lock = threading.Lock()
        self._opened: dict[float, Any] = {}
        _store(root, {**kept, **_timeouts(kept, _ANSWER_MAX_S)})  # refuses what can't be used

    def __repr__(self) -> str:
        return f"Objects({self.root.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an opened bucket can't be copied or pickled: its keys would leave it")

    def of(self, root: BucketSource) -> Objects:
        """Another bucket of the same account."""
        return self if root.bucket == self.root.bucket else Objects(attrs.evolve(root, key=""), self._settings())

    def location(self, key: str) -> str:
        """The URL of an object, without a signature."""
        return attrs.evolve(self.root, key=key).url

    def _store(self, timeout_s: float = _ANSWER_MAX_S) -> Any:
        with self._lock:
            if timeout_s not in self._opened:
                settings = self._settings()
                found = profile_settings(settings, os.environ) if self.root.scheme == "s3" else {}
                made = {**found, **settings}
                self._opened[timeout_s] = _store(self.root, {**made, **_timeouts(made, timeout_s)})
            return self._opened[timeout_s]

    def has_lasting_credentials(self) -> bool:
        """Whether what links are signed with doesn't end with a session, as far as can be told."""
        store = self._store()
        if self.root.scheme != "s3":
            return True
        names = {str(name).lower().removeprefix("aws_") for name in store.config}
        return "secret_access_key" in names and not names & {"token", "session_token"}

    def head(self, key: str) -> ObjectMeta:
        """What is there.

        Raises:
            StorageError: Nothing is (`is_missing`), or it can't be told.
        """
        import obstore  # noqa: PLC0415 (an extra)

        with explained("looked at", self.location(key)):
            return _meta(obstore.head(self._store(), key))
        raise AssertionError("it returns or raises")

    def digest(self, meta: ObjectMeta) -> str:
        """What an object's content is, as `content_digest` says of a file.

        Raises:
            StorageError: It can't be read.
        """
        samples = [self._sample(meta, start) for start in sample_offsets(meta.size_bytes)]
        return content_digest(meta.size_bytes, samples)

    def ends(self, meta: ObjectMeta) -> tuple[bytes, bytes]:
        """The first and the last 64 KiB of an object, or all of it twice.

        Raises:
            StorageError: It can't be read.
        """
        return self._sample(meta, 0), self._sample(meta, max(0, meta.size_bytes - SAMPLE_BYTES))

    def _sample(self, meta: ObjectMeta, start: int) -> bytes:
        import obstore  # noqa: PLC0415 (an extra)

        end = min(start + SAMPLE_BYTES, meta.size_bytes)
        if end <= start:
            return b""
        # One by one: obstore's `get_ranges` reads what lies between them as well.
        with explained("read", self.location(meta.key)):
            return bytes(obstore.get_range(self._store(), meta.key, start=start, end=end))
        raise AssertionError("it returns or raises")

    def list(self, prefix: str) -> Iterator[ObjectMeta]:
        """All objects under a prefix, in the store's order.

        Raises:
            StorageError: It can't be listed.
        """
        import obstore  # noqa: PLC0415 (an extra)

        with explained("listed", self.location(prefix)):
            pages = iter(obstore.list(self._store(), prefix.rstrip("/") or None, chunk_size=_LIST_COUNT))
        while True:
            with explained("listed", self.location(prefix)):
                page = next(pages, None)
            if page is None:
                return
            yield from map(_meta, page)

    def writer(self, key: str, *, content_type: str, size_bytes: int | None = None) -> ObjectWriter:
        """Begin an object. Nothing is sent before 8 MiB are written, or it is closed.

        Raises:
            StorageError: It can't be.
        """
        import obstore  # noqa: PLC0415 (an extra)

        piece_bytes = max(PIECE_BYTES, -(-(size_bytes or 0) // _PIECES_MAX))
        location = self.location(key)
        with explained("written", location):
            raw = obstore.open_writer(
                self._store(_PIECE_MAX_S),
                key,
                buffer_size=piece_bytes,
                max_concurrency=PIECES_AT_ONCE,
                attributes={"Content-Type": content_type},
            )
        return ObjectWriter(raw, location)

    def copy(self, source: str, target: str, *, overwrite: bool) -> None:
        """Copy an object within the bucket, in one step.

        Raises:
            StorageError: There is one of that name (`is_taken`), or the store fails.
        """
        import obstore  # noqa: PLC0415 (an extra)

        with explained("written", self.location(target)):
            obstore.copy(self._store(_PIECE_MAX_S), source, target, overwrite=overwrite)

    def delete(self, key: str) -> None:
        """Remove an object; nothing where there is none.

        Raises:
            StorageError: It can't be removed.
        """
        import obstore  # noqa: PLC0415 (an extra)

        try:
            with explained("removed", self.location(key)):
                obstore.delete(self._store(), key)
        except StorageError as error:
            if not error.is_missing or error.is_denied:
                raise

    def sign(self, key: str, lifetime_s: float) -> str:
        """A URL with which anybody can GET an object for so long. Nothing is asked, but perhaps for credentials.

        Raises:
            StorageError: The credentials can't sign.
        """
        import obstore  # noqa: PLC0415 (an extra)

        if self.root.scheme == "az" and not _SIGNED_ON_AZURE.fullmatch(key):
            # obstore 0.12 signs the name as the URL spells it, and Azure checks it as it is.
            raise StorageError(
                f"Links to {excerpt(self.location(key))} can't be signed: on Azure, names must have nothing but "
                "letters and digits of ASCII and - _ . ~ + / in them. Rename it, or give its own link.",
                location=self.location(key),
            )
        with explained("signed", self.location(key)):
            return str(obstore.sign(self._store(), "GET", key, datetime.timedelta(seconds=lifetime_s)))
        raise AssertionError("it returns or raises")


def _meta(found: Mapping[str, Any]) -> ObjectMeta:
    etag = found["e_tag"]
    return ObjectMeta(found["path"], found["size"], etag and etag.strip('"'), found["last_modified"])


def _timeouts(settings: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """How patient a store is, and whether it may speak plain http: where its endpoint says so."""
    is_plain = any(
        str(value).startswith("http://")
        for name, value in (*settings.items(), ("endpoint", os.environ.get("AWS_ENDPOINT_URL", "")))
        if name.lower().endswith(("endpoint", "endpoint_url", "base_url"))
    )
    options = {
        "connect_timeout": "10s",
        "timeout": f"{timeout_s}s",
        **({"allow_http": True} if is_plain else {}),
        **dict(settings.get("client_options") or {}),
    }
    return {"client_options": options, "retry_config": settings.get("retry_config", _RETRY)}


def _store(root: BucketSource, settings: dict[str, Any]) -> Any:
    """A store of obstore's.

    Raises:
        ConfigurationError: A setting is not known, or is missing.
        MissingExtraError: The extra `storage` is not installed.
        TransportError: No file handle, or no memory, is left to load it with.
    """
    failure: errors.HitPawError | None = None
    store: Any = None
    try:
        import_module("obstore")  # by itself: if it is absent, its own name is what is not found
        store = import_module("obstore.store")
    except (ImportError, OSError, MemoryError) as error:
        purpose = "A bucket (s3://, gs://, az://)"
        failure = unloadable(error, purpose=purpose, name="obstore", extra="storage", modules=("obstore",))
    if failure is not None:
        raise failure
    kinds = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    extra = {"copy_if_not_exists": "multipart"} if root.scheme == "s3" else {}
    problem = ""
    try:
        return kinds[root.scheme](root.bucket, **{**extra, **settings})
    except Exception as error:  # noqa: BLE001 (its text may quote a setting: only what is known of it is shown)
        problem = _problem(error)
    finally:
        del settings
    raise ConfigurationError(f"{root.scheme}://{root.bucket} can't be opened: {problem}")


def _problem(error: Exception) -> str:
    text = str(error)
    if type(error).__name__ == "UnknownConfigurationKeyError":
        name = text.partition("'")[2].partition("'")[0]
        return f"there is no setting {name!r}. See obstore's documentation for those that there are."
    if "Account must be specified" in text:
        return "its storage account is not known. Set AZURE_STORAGE_ACCOUNT_NAME, or pass account_name=..."
    return f"a setting is of the wrong kind or missing ({type(error).__name__}). Check the arguments beside the URL."
