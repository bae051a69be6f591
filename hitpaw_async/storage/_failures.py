"""What a store refuses, in words: who must do what. obstore has few classes of exceptions, so codes are looked for."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._redact import excerpt
from hitpaw_async.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["explained", "storage_error"]

_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_METADATA_HOSTS: Final = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")
_DETAIL_CHARS_MAX: Final = 160


@attrs.frozen
class _Advice:
    """What a code means."""

    words: str
    is_denied: bool = False
    is_missing: bool = False


_KEY: Final = "Check the access key and its secret."
_SESSION: Final = "The session that the credentials belong to has ended: log in again."
_ALLOW: Final = "Allow these credentials to read, write, list and delete there."
_NO_BUCKET: Final = "There is no such bucket. Make it, or correct its name."

_ADVICE: Final = {
    "SignatureDoesNotMatch": _Advice(f"The signature was not accepted. {_KEY}", is_denied=True),
    "InvalidAccessKeyId": _Advice(f"The access key is not known. {_KEY}", is_denied=True),
    "AuthenticationFailed": _Advice(f"The credentials were not accepted. {_KEY}", is_denied=True),
    "InvalidToken": _Advice(_SESSION, is_denied=True),
    "ExpiredToken": _Advice(_SESSION, is_denied=True),
    "RequestTimeTooSkewed": _Advice("This machine's clock is wrong. Set it.", is_denied=True),
    "RequestExpired": _Advice("This machine's clock is wrong. Set it.", is_denied=True),
    "AccessDenied": _Advice(_ALLOW, is_denied=True),
    "AllAccessDisabled": _Advice(_ALLOW, is_denied=True),
    "AuthorizationFailure": _Advice(_ALLOW, is_denied=True),
    "AuthorizationPermissionMismatch": _Advice(_ALLOW, is_denied=True),
    "PermanentRedirect": _Advice("The bucket is in another region. Set `region` or AWS_REGION."),
    "AuthorizationHeaderMalformed": _Advice("The bucket is in another region. Set `region` or AWS_REGION."),
    "NoSuchBucket": _Advice(_NO_BUCKET, is_missing=True),
    "ContainerNotFound": _Advice(_NO_BUCKET, is_missing=True),
    "EntityTooLarge": _Advice("The object is larger than the store takes in one piece."),
    "SlowDown": _Advice("The store is overloaded. It may pass."),
    "ServerBusy": _Advice("The store is overloaded. It may pass."),
}
_NO_CREDENTIALS: Final = _Advice(
    "No credentials were found. Set them where the cloud's own tools look: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
    "or a profile, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY.",
    is_denied=True,
)
_UNREACHED: Final = _Advice("It could not be reached. Check the network and the endpoint.")
_PLAIN_HTTP: Final = _Advice("It could not be reached: plain http needs an endpoint that begins with http://.")


@contextmanager
def explained(doing: str, location: str) -> Iterator[None]:
    """Turn whatever obstore raises into a `StorageError`, with no frame that holds a signature or a key.

    Args:
        doing: As in "cannot be ...", e.g. "written".
        location: Which object, without a signature.
    """
    failure = None
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not _is_stores(error):
            raise
        failure = storage_error(error, doing=doing, location=location)
    if failure is not None:
        raise failure


def _is_stores(error: Exception) -> bool:
    """Whether it comes from a store, and is no bug of ours. Looked at by name: obstore may not be loaded."""
    module = type(error).__module__
    return module.startswith("obstore") or isinstance(error, (OSError, UnicodeEncodeError)) or _is_bad_path(error)


def _is_bad_path(error: Exception) -> bool:
    return type(error) is ValueError and "parse path" in str(error)


def storage_error(error: Exception, *, doing: str, location: str) -> StorageError:
    """What an exception of obstore means. Pure."""
    kind, text = type(error).__name__, str(error)
    shown = excerpt(location)
    if kind == "AlreadyExistsError":
        return StorageError(
            f"{shown} exists already. Choose another name, or allow it to be replaced with overwrite=True.",
            location=location,
            is_taken=True,
        )
    if kind in ("InvalidPathError", "UnicodeEncodeError") or _is_bad_path(error):
        return StorageError(f"{shown} has a name with which objects can't be reached.", location=location)
    advice, detail = _advice(text), _detail(text)
    is_missing = kind in ("FileNotFoundError", "NotFoundError")
    if advice is None and is_missing:
        return StorageError(f"{shown} does not exist.{detail}", location=location, is_missing=True)
    is_denied = kind in ("PermissionDeniedError", "UnauthenticatedError") or _status(text) in (401, 403)
    words = advice.words if advice is not None else _ALLOW if is_denied else "It may pass: try again later."
    return StorageError(
        f"{shown} cannot be {doing}. {words}{detail}",
        location=location,
        is_denied=is_denied or (advice is not None and advice.is_denied),
        is_missing=is_missing or (advice is not None and advice.is_missing),
    )


def _advice(text: str) -> _Advice | None:
    code = _CODE.search(text)
    if code is not None and code[1] in _ADVICE:
        return _ADVICE[code[1]]
    if any(host in text for host in _METADATA_HOSTS) or "MissingAccount" in text or "credential" in text.lower():
        return _NO_CREDENTIALS
    if "builder error" in text:
        return _PLAIN_HTTP
    return _UNREACHED if "error sending request" in text or "HTTP error" in text else None


def _status(text: str) -> int | None:
    match = _STATUS.search(text)
    return None if match is None else int(match[1])


def _detail(text: str) -> str:
    """What the store answered, of which status and code are shown and nothing else."""
    status, code = _status(text), _CODE.search(text)
    said = " ".join(str(each) for each in (status, code and code[1]) if each)
    return f" (It answered {excerpt(said, chars_max=_DETAIL_CHARS_MAX)}.)" if said else ""
