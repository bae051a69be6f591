"""Certificate authorities that the environment names, as curl and OpenSSL read them."""

from __future__ import annotations

import os
import stat
from typing import Final

import attrs

from hitpaw_async.errors import ConfigurationError

__all__ = [
    "AUTHORITIES_BYTES_MAX",
    "AUTHORITIES_FILE_NAME",
    "AUTHORITIES_FOLDER_NAME",
    "Authorities",
    "authorities_from_environment",
    "unusable_authorities",
]

AUTHORITIES_FILE_NAME: Final = "SSL_CERT_FILE"

AUTHORITIES_FOLDER_NAME: Final = "SSL_CERT_DIR"

AUTHORITIES_BYTES_MAX: Final = 1 << 24


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
    """Tell if a file looks like one that has any."""
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
