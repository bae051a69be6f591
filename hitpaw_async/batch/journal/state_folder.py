"""The folder in which this user's programs keep what must outlive a journal's own folder."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["STATE_FOLDER_NAME", "state_folder", "state_folder_from_environment"]

STATE_FOLDER_NAME: Final = "HITPAW_STATE_DIR"


def state_folder(name: str) -> Path:
    """A folder of the user's state directory, made where there is none, for its owner alone.

    The state directory is the one that `HITPAW_STATE_DIR` names, else `hitpaw` in `XDG_STATE_HOME`, else the one that
    the system has for this. It blocks: call it in a thread.

    Args:
        name: What is kept in it, e.g. "journals".

    Raises:
        OSError: There is none: no home, or it can't be written. Go on without it, and say what is lost by that.
    """
    folder = state_folder_from_environment()
    if folder is None:
        raise OSError(errno.ENOENT, "there is no home folder; name one in HITPAW_STATE_DIR")
    folder = Path(os.path.abspath(folder)) / name  # noqa: PTH100 (a loop of links must not raise here)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f"{folder} cannot be written to; name another one in HITPAW_STATE_DIR")
    return folder


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
