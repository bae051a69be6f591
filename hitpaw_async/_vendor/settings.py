"""What a client is set up with: from arguments, else from the environment, checked. The environment is read here alone.

A key is never taken from a command line: other users of the machine can read that.
"""

from __future__ import annotations

import math
import os
import stat
import sys
from pathlib import Path
from typing import Final, TypeVar

import attrs

from hitpaw_async._bounds import checked_number
from hitpaw_async._urls.addresses import is_web_url
from hitpaw_async.errors import ConfigurationError
from hitpaw_async.policies import Transport

__all__ = [
    "AUTHORITIES_FILE_NAME",
    "AUTHORITIES_FOLDER_NAME",
    "DEFAULT_BASE_URL",
    "EXPORT_GRACE_S",
    "HOST_NAME",
    "KEY_FILE_NAME",
    "KEY_NAME",
    "Authorities",
    "authorities_from_environment",
    "checked_base_url",
    "checked_connections",
    "checked_grace_s",
    "checked_kind",
    "checked_timeout_s",
    "checked_transport",
    "checked_wait_s",
    "host_from_environment",
    "key_from_environment",
    "key_in_file",
    "require_no_connections",
    "state_folder_from_environment",
    "unusable_authorities",
]

DEFAULT_BASE_URL: Final = "https://api.hitpaw.com"
"""Source: v3 document, "API Endpoints"."""

EXPORT_GRACE_S: Final = 9.0
"""How long the answer to a sent export is waited for where its caller gives up: most come within that time, and a
container that is stopped is killed after 10 s."""

T = TypeVar("T")

KEY_NAME: Final = "HITPAW_API_KEY"
KEY_FILE_NAME: Final = "HITPAW_API_KEY_FILE"
HOST_NAME: Final = "HITPAW_API_BASE_URL"
AUTHORITIES_FILE_NAME: Final = "SSL_CERT_FILE"
AUTHORITIES_FOLDER_NAME: Final = "SSL_CERT_DIR"
STATE_FOLDER_NAME: Final = "HITPAW_STATE_DIR"
KEY_FILE_BYTES_MAX: Final = 4096
AUTHORITIES_BYTES_MAX: Final = 1 << 24
CONNECTIONS_MAX: Final = 10_000
TIMEOUT_MAX_S: Final = 366 * 24 * 3600.0


def key_from_environment() -> str:
    """The key in HITPAW_API_KEY, else the one line of the file that HITPAW_API_KEY_FILE names.

    A file is how Docker, Kubernetes and systemd hand secrets over.

    Raises:
        ConfigurationError: There is none, or the file has no key in it.
    """
    given = os.environ.get(KEY_NAME)
    if given:
        return given
    file_name = os.environ.get(KEY_FILE_NAME)
    if file_name:
        return key_in_file(file_name, named_by=KEY_FILE_NAME)
    raise ConfigurationError(
        f"There is no API key. Set {KEY_NAME} to the key that HitPaw gave you, or {KEY_FILE_NAME} to the name of a "
        "file that has it."
    )


def key_in_file(file_name: str, *, named_by: str) -> str:
    """The key in a file that has it in one line.

    Args:
        file_name: The file.
        named_by: Where the file is named, for whoever must correct it.

    Raises:
        ConfigurationError: There is no key in it.
    """
    key, problem = _read_key(file_name)
    if problem is not None:
        raise ConfigurationError(f"The file that {named_by} names, {ascii(file_name)[1:-1][:200]}, {problem}.")
    return key


def _read_key(file_name: str) -> tuple[str, str | None]:
    """The key, or what is wrong. It raises nothing: a traceback would hold what the file has."""
    try:
        with open(file_name, "rb") as file:  # noqa: PTH123 (a name with a null byte is a problem as any other)
            lines = file.read(KEY_FILE_BYTES_MAX + 1).decode("ascii", "replace").strip().splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        return "", f"cannot be read ({reason}). Correct its name or rights"
    if len(lines) == 1 and len(lines[0]) <= KEY_FILE_BYTES_MAX:
        return lines[0], None
    what = "has more than one line, or a very long one" if lines else "is empty"
    return "", f"{what}. Put the key into it, and nothing else"


def host_from_environment() -> str | None:
    """The vendor's address from HITPAW_API_BASE_URL."""
    return os.environ.get(HOST_NAME) or None


@attrs.frozen(kw_only=True)
class Authorities:
    """Certificate authorities that are named in place of the shipped list."""

    file: str | None = None
    """A PEM file."""
    folder: str | None = None
    """A folder, or several as in PATH, of PEM files under the names that `openssl rehash` makes."""

    def __bool__(self) -> bool:
        return self.file is not None or self.folder is not None


def authorities_from_environment() -> Authorities:
    """The authorities in SSL_CERT_FILE and SSL_CERT_DIR, which every program with OpenSSL takes.

    Raises:
        ConfigurationError: There is nothing under such a name.
    """
    file, folder = (os.environ.get(name) or None for name in (AUTHORITIES_FILE_NAME, AUTHORITIES_FOLDER_NAME))
    if file is not None and not _has_certificates(file):
        raise unusable_authorities(AUTHORITIES_FILE_NAME, file, "a file of certificates (PEM)")
    if folder is not None and not any(map(_is_folder, folder.split(os.pathsep))):
        raise unusable_authorities(AUTHORITIES_FOLDER_NAME, folder, "a folder of certificates (see `openssl rehash`)")
    return Authorities(file=file, folder=folder)


def unusable_authorities(variable: str, named: str, wanted: str) -> ConfigurationError:
    """The error that says which variable names nothing of use."""
    return ConfigurationError(
        f"{variable} must name {wanted} that can be read; {ascii(named)[1:-1][:200]} is none. Correct it or unset it."
    )


def _has_certificates(name: str) -> bool:
    """Whether a file looks like one that has any."""
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # noqa: PTH116 (a pipe would be waited for)
            return False
        with open(name, "rb") as file:  # noqa: PTH123 (a name with a null byte is a problem as any other)
            return b"-----BEGIN " in file.read(AUTHORITIES_BYTES_MAX)
    except (OSError, ValueError):
        return False


def _is_folder(name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name).st_mode)  # noqa: PTH116 (the same)
    except (OSError, ValueError):
        return False


def checked_base_url(url: object) -> str:
    """The vendor's address, without a final slash.

    Raises:
        ConfigurationError: It is no address that calls can go to.
    """
    text = url.strip().rstrip("/") if isinstance(url, str) else ""
    if not is_web_url(text) or not text.isprintable() or any(mark in text for mark in "@?# "):
        raise ConfigurationError(
            "base_url must be an http or https URL of a host, without query or password, such as "
            f"{DEFAULT_BASE_URL}. Set it by --base-url or HITPAW_API_BASE_URL."
        )
    return text


def checked_timeout_s(timeout: object, *, name: str = "timeout") -> float:
    """A deadline in seconds.

    Raises:
        ConfigurationError: It is none.
    """
    return float(checked_number(timeout, 0.001, TIMEOUT_MAX_S, name=name))


def checked_wait_s(timeout_s: object) -> float:
    """How long to wait in seconds; infinity stands for None.

    Raises:
        ConfigurationError: It can't be waited for.
    """
    return math.inf if timeout_s is None else float(checked_number(timeout_s, 0, math.inf, name="timeout_s"))


def checked_grace_s(grace_s: object) -> float:
    """How long the answer to a sent export is waited for, in seconds.

    Raises:
        ConfigurationError: It can't be waited for.
    """
    return float(checked_number(grace_s, 0, TIMEOUT_MAX_S, name="export_grace_s"))


def checked_connections(count: object) -> int:
    """A number of connections.

    Raises:
        ConfigurationError: It is none.
    """
    return int(checked_number(count, 1, CONNECTIONS_MAX, name="max_connections", whole=True))


def checked_kind(value: T | None, kind: type[T], *, name: str) -> T | None:
    """A setting that is a value of one kind, or None.

    Raises:
        ConfigurationError: It is of another kind.
    """
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of the kind {kind.__name__}, not {_shown(value)}.")
    return value


def checked_transport(name: object) -> Transport:
    """What carries the vendor's calls.

    Raises:
        ConfigurationError: There is no such transport.
    """
    if isinstance(name, str) and name in tuple(Transport):
        return Transport(name)
    shown = repr(name) if isinstance(name, str) else _shown(name)
    raise ConfigurationError(f"transport must be {' or '.join(map(repr, map(str, Transport)))}, not {shown}.")


def require_no_connections(*, has_proxy: bool, transport: Transport) -> None:
    """Refuse settings of connections beside a caller's client, which has its own.

    Raises:
        ConfigurationError: There are some.
    """
    if has_proxy:
        raise ConfigurationError("Give either http_client or proxy and trust_env: a client has its own.")
    if transport is not Transport.HTTPX:
        raise ConfigurationError("Give either http_client or transport: a client has its own.")


def _shown(value: object) -> str:
    return f"{value!r}" if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def state_folder_from_environment() -> Path | None:
    """The user's folder for what programs remember from one run to the next; None where the user has no home."""
    named = os.environ.get(STATE_FOLDER_NAME)
    if named:
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME", "")
    if Path(home).is_absolute():
        return Path(home, "hitpaw")
    try:
        user = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or user / "AppData" / "Local", "hitpaw", "state")
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "hitpaw" / "state"
    return user / ".local" / "state" / "hitpaw"
