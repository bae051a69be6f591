"""The user's state directory: made where it is named, and said in words where there is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hitpaw_async.batch.journal.state_folder import state_folder, state_folder_from_environment


def test_the_folder_is_made_where_it_is_named_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HITPAW_STATE_DIR", str(tmp_path / "here"))
    folder = state_folder("journals")
    assert folder == tmp_path / "here" / "journals"
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert state_folder("journals") == folder


def test_a_relative_name_in_xdg_state_home_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    found = state_folder_from_environment()
    assert found is not None
    assert tmp_path in found.parents
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_folder_from_environment() == tmp_path / "state" / "hitpaw"


def test_a_user_without_a_home_is_told_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match="HITPAW_STATE_DIR"):
        state_folder("journals")


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HITPAW_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"Not a directory|exists"):
        state_folder("journals")
