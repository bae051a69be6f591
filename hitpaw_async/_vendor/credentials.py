"""The API key: where it is read from, and the header that it goes into."""

from __future__ import annotations

import codecs
import os
from typing import Final

from hitpaw_async import errors
from hitpaw_async.errors import ConfigurationError

__all__ = ["KEY_FILE_BYTES_MAX", "KEY_FILE_NAME", "KEY_NAME", "ApiKey", "key_from_environment", "key_in_file"]

KEY_NAME: Final = "HITPAW_API_KEY"

KEY_FILE_NAME: Final = "HITPAW_API_KEY_FILE"

KEY_FILE_BYTES_MAX: Final = 4096


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
        named_by: The setting that names the file, for the error.

    Raises:
        ConfigurationError: There is no key in it.
    """
    key, problem = _read_key(file_name)
    if problem is not None:
        raise ConfigurationError(f"The file that {named_by} names, {ascii(file_name)[1:-1][:200]}, {problem}.")
    return key


def _decoded(raw: bytes) -> str:
    """A key file's text. Notepad writes a mark before it, and PowerShell UTF-16."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    return raw.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace")


def _read_key(file_name: str) -> tuple[str, str | None]:
    """The key, or what is wrong. It raises nothing: a traceback would hold what the file has."""
    try:
        with open(file_name, "rb") as file:  # noqa: PTH123 (a name with a null byte is a problem as any other)
            lines = _decoded(file.read(KEY_FILE_BYTES_MAX + 1)).strip().splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        return "", f"cannot be read ({reason}). Correct its name or rights"
    if len(lines) == 1 and len(lines[0]) <= KEY_FILE_BYTES_MAX:
        return lines[0], None
    what = "has more than one line, or a very long one" if lines else "is empty"
    return "", f"{what}. Put the key into it, and nothing else"


class ApiKey:
    """A key that shows itself to nobody but the wire."""

    __slots__ = ("_text",)

    def __init__(self, text: object) -> None:
        stripped = text.strip() if isinstance(text, str) else ""
        if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
            del text, stripped  # Some tools show the local variables of a traceback.
            raise errors.ConfigurationError(
                "The API key is empty or has characters that no key has. Set HITPAW_API_KEY to the key "
                "as HitPaw shows it."
            )
        self._text = stripped

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an ApiKey cannot be pickled: it would leave the process")

    def reveal(self) -> str:
        """The key itself, for the header that carries it."""
        return self._text
