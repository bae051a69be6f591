"""Settings from where they are kept: the environment, the project's file, the user's file, in this order.

A flag goes before all of them. A project's file comes with a folder, which may be anybody's: it can't say where the key
lies or goes.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
import stat
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async._vendor.settings import HOST_NAME
from hitpaw_async.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

__all__ = [
    "SETTINGS",
    "Origin",
    "Setting",
    "configure",
    "key_file_of_user",
    "setting_files",
    "settings_in_force",
    "user_file",
]

USER_FILE_NAME: Final = "HITPAW_CONFIG"
"""This environment variable names another user file; an empty or absent file is no settings."""
PROJECT_FILE: Final = "hitpaw.toml"
FILE_BYTES_MAX: Final = 1 << 20

SETTINGS: Final = (
    "base_url",
    "budget",
    "export_timeout_s",
    "extension",
    "jobs_in_flight",
    "model",
    "name",
    "order",
    "output",
    "poll_interval_s",
    "probe",
    "proxy",
    "resolution",
    "stop_grace_s",
    "timeout_s",
    "trust_env",
    "trusted_host",
    "web_hook_url",
)
"""The flags of `enhance` and `plan` that may stand in a file, or in the environment as HITPAW_NAME."""
_NETWORK: Final = ("proxy", "trust_env", "trusted_host")
_USER_ONLY: Final = ("api_key_file", "base_url", "web_hook_url", *_NETWORK)
"""What only the user's own file may say: where the key lies, where and which way it goes, and who is told."""
_BY_COMMAND: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("enhance",): SETTINGS,
    ("plan",): SETTINGS,
    ("task",): ("base_url", *_NETWORK),
    ("reconcile",): _NETWORK,
    ("resume",): _NETWORK,
    ("doctor",): _NETWORK,
}
_OWN_NAME: Final = re.compile(rb"hitpaw(?![-_]async)")
"""In a broken `pyproject.toml`, what may be a table of ours: a budget in it must not be lost."""
_KEY_NAMES: Final = ("api_key", "apikey", "key")


class Origin(StrEnum):
    """Where a setting comes from."""

    ENVIRONMENT = "environment"
    PROJECT = "project file"
    USER = "user file"


@attrs.frozen(kw_only=True)
class Setting:
    """A setting that is kept somewhere."""

    name: str
    value: str
    origin: Origin
    place: str
    """The variable or the file."""


def configure(_: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in what was not typed. Called by cyclopts once a command line is parsed.

    Raises:
        UsageError: A file has a setting that can't be used.
    """
    from cyclopts import Token  # noqa: PLC0415 (loaded by then)

    names = _BY_COMMAND.get(commands, ())
    if not names:
        return
    kept = settings_in_force()
    for argument in arguments:
        setting = kept.get(argument.name.removeprefix("--").replace("-", "_"))
        if setting is not None and setting.name in names and not argument.tokens:
            place = f"{setting.origin} {setting.place}"
            argument.append(Token(keyword=argument.name, value=setting.value, source=place))


def settings_in_force() -> dict[str, Setting]:
    """What is kept, by name; of two places the nearer one.

    Raises:
        UsageError: A file has a setting that can't be used.
    """
    files = setting_files()
    found: dict[str, Setting] = {}
    for setting in (*_of_file(Origin.USER, files), *_of_file(Origin.PROJECT, files), *_of_environment()):
        found[setting.name] = setting
    return found


def key_file_of_user() -> Setting | None:
    """The file that has the key, where the user's file names one."""
    return settings_in_force().get("api_key_file")


def setting_files() -> dict[Origin, Path]:
    """The files that are there.

    Raises:
        UsageError: Whether the user's file is there can't be seen: a budget may be in it.
    """
    candidates = {Origin.PROJECT: _project_file(), Origin.USER: user_file()}
    return {origin: path for origin, path in candidates.items() if path is not None and _is_file(path)}


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(
            f"The settings in {path} can't be read: {error.strerror}. Correct its rights, or HOME, or name a file of "
            f"yours with {USER_FILE_NAME}."
        ) from None


def _project_file() -> Path | None:
    """In the current folder, and in no other: what is above may be somebody else's."""
    if Path(PROJECT_FILE).is_file():
        return Path(PROJECT_FILE)
    project = Path("pyproject.toml")
    return project if project.is_file() and _table_of(project) else None


def user_file() -> Path:
    """Where the user's file is, or would be."""
    named = os.environ.get(USER_FILE_NAME)
    if named is not None:
        return Path(named)
    from platformdirs import user_config_path  # noqa: PLC0415 (needed only without the variable)

    try:
        return user_config_path("hitpaw", appauthor=False, roaming=True) / "config.toml"
    except RuntimeError:
        return Path(os.devnull)  # a user without a home has no file


def _of_environment() -> Iterator[Setting]:
    for name in SETTINGS:
        variable = HOST_NAME if name == "base_url" else f"HITPAW_{name.upper()}"
        value = os.environ.get(variable)
        if value:
            yield Setting(name=name, value=value, origin=Origin.ENVIRONMENT, place=variable)


def _of_file(origin: Origin, files: Mapping[Origin, Path]) -> Iterator[Setting]:
    path = files.get(origin)
    if path is None:
        return
    for name, value in _table_of(path).items():
        known = name.replace("-", "_")
        _require_usable(known, value, origin, path)
        text = ",".join(value) if isinstance(value, list) else str(value)
        text = text.lower() if isinstance(value, bool) else text
        if known in ("output", "api_key_file"):
            # From its own place, wherever the program is started.
            text = str(path.absolute().parent / _with_home(text, known, path))
        yield Setting(name=known, value=text, origin=origin, place=str(path))


def _with_home(text: str, name: str, path: Path) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: {name} begins with ~, and there is no home folder. Set HOME, or name it.") from None


def _decoded(raw: bytes) -> str:
    """A file of settings as text. Notepad and PowerShell write a mark first, or UTF-16.

    Raises:
        ValueError: It is neither UTF-8 nor UTF-16.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16").replace("\r\n", "\n")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8. Save it as UTF-8") from None


def _table_of(path: Path) -> dict[str, Any]:
    raw = b""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX)
        content = tomllib.loads(_decoded(raw))
    except (OSError, ValueError) as error:
        if path.name == "pyproject.toml" and _OWN_NAME.search(raw.replace(b"\0", b"")) is None:
            return {}  # another tool's, which may be broken or another encoding: none of ours
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"The settings in {path} can't be read: {reason}. Correct the file or remove it.") from None
    if path.name != "pyproject.toml":
        return content
    tools = content.get("tool")
    table = tools.get("hitpaw") if isinstance(tools, dict) else None
    return table if isinstance(table, dict) else {}


def _require_usable(name: str, value: object, origin: Origin, path: Path) -> None:
    if name in _KEY_NAMES:
        raise UsageError(
            f"{path} has a key in it. A key belongs in a file of its own: name that one with api_key_file in the user "
            "file, or with HITPAW_API_KEY_FILE."
        )
    known = (*SETTINGS, "api_key_file")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
        raise UsageError(f"{path} has a setting {ascii(name)[:60]}, which doesn't exist. {advice}")
    if name == "trusted_host" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ",".join(value)
    if not isinstance(value, (str, int, float)):
        raise UsageError(f"{path}: {name} must be a text, a number, true or false.")
    if origin is Origin.PROJECT and name in _USER_ONLY:
        raise UsageError(
            f"{path} sets {name}. Files of a folder may be anybody's, and this says where your key is or goes: set it "
            "by flag, in the environment or in the user file (`hitpaw doctor` shows which that is)."
        )
