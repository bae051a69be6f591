"""What a batch is run with: from flags and the environment, and kept in its journal for `hitpaw resume`."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
import cattrs

from hitpaw_async import errors
from hitpaw_async._core.foreign_json import NUMBER, OPTIONAL_NUMBER, Kinds, object_of
from hitpaw_async._errors import bug_in
from hitpaw_async._vendor.credentials import KEY_FILE_NAME, KEY_NAME, key_from_environment, key_in_file
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.settings.files import key_file_of_user
from hitpaw_async.download.file_names import is_elsewhere
from hitpaw_async.policies import BatchLimits, CreditBudget, PollPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "JOURNAL_NAME",
    "NOTE_NAME",
    "BatchSettings",
    "api_key",
    "checked_journal",
    "checked_place",
    "has_media",
    "kept_settings",
    "media_problem",
    "scratch_copy",
]

JOURNAL_NAME: Final = "hitpaw-journal.db"
NOTE_NAME: Final = "command_line"
"""Under this name a journal keeps what its batch was run with, as JSON."""


@attrs.frozen(kw_only=True)
class BatchSettings:
    """What a batch is run with."""

    base_url: str
    output: str
    """The folder for results, absolute."""
    budget: int | None = None
    jobs_in_flight: int = 16
    is_adaptive: bool = False
    """Whether the vendor's pace decides how many, in place of `jobs_in_flight`."""
    is_probing: bool = False
    name: str = "{stem}{ext}"
    timeout_s: float | None = None
    poll_interval_s: float = 5.0
    stop_grace_s: float | None = None
    """How long a stop waits for the answers to sent exports; None leaves it to the signal."""
    seal: str = ""
    """By which the owner of a key knows host and folder as his own; see `hitpaw_async.cli.settings.trust`."""
    export_timeout_s: float = 120.0

    @staticmethod
    def of_places(jobs_in_flight: int | str) -> dict[str, Any]:
        """The settings that `-j` stands for."""
        if isinstance(jobs_in_flight, str):
            return {"is_adaptive": True}
        return {"jobs_in_flight": jobs_in_flight, "is_adaptive": False}

    @property
    def limits(self) -> BatchLimits:
        """How much happens at once."""
        return BatchLimits(
            jobs_in_flight="auto" if self.is_adaptive else self.jobs_in_flight, job_timeout_s=self.timeout_s
        )

    @property
    def poll(self) -> PollPolicy:
        """How often a job is asked for."""
        return PollPolicy(
            interval_min_s=self.poll_interval_s,
            interval_mean_s=2.4 * self.poll_interval_s,
            interval_max_s=12 * self.poll_interval_s,
        )

    @property
    def credit_budget(self) -> CreditBudget | None:
        """The most that may be spent."""
        return None if self.budget is None else CreditBudget(self.budget)

    def to_json(self) -> str:
        """The settings as a text that a journal keeps."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings that a journal kept.

        Raises:
            JournalError: They can't be understood.
            InternalError: A bug is in the way.
        """
        try:
            told = object_of(json.loads(text), _KINDS, required=("base_url", "output"))
            return cattrs.structure(told, cls)
        except (ValueError, RecursionError, cattrs.BaseValidationError) as error:
            failure = bug_in(error)
        raise failure or errors.JournalError(
            "The journal's settings can't be understood. Give them again: hitpaw enhance with --journal."
        )


_KINDS: Final[dict[str, Kinds]] = {
    **dict.fromkeys(("base_url", "output", "name", "seal"), (str,)),
    **dict.fromkeys(("is_adaptive", "is_probing"), (bool,)),
    **dict.fromkeys(("timeout_s", "stop_grace_s"), OPTIONAL_NUMBER),
    **dict.fromkeys(("poll_interval_s", "export_timeout_s"), NUMBER),
    "budget": (int, NoneType),
    "jobs_in_flight": (int,),
}
"""Of what kinds the settings in a journal are."""


def api_key() -> str:
    """The key: from the environment, else from the file that the user's settings name.

    Raises:
        ConfigurationError: There is none.
    """
    try:
        kept = None if os.environ.get(KEY_NAME) or os.environ.get(KEY_FILE_NAME) else key_file_of_user()
        return (
            key_from_environment()
            if kept is None
            else key_in_file(kept.value, named_by=f"api_key_file in {kept.place}")
        )
    except errors.ConfigurationError as error:
        raise UsageError(str(error)) from None


def has_media() -> bool:
    """Whether PyAV is installed, which reads facts from videos."""
    return find_spec("av") is not None


def media_problem() -> errors.ConfigurationError | None:
    """Why videos can't be read here, or None. Finding it out loads PyAV."""
    from hitpaw_async.media._pyav import load_av  # noqa: PLC0415 (start-up stays light)

    try:
        load_av()
    except errors.ConfigurationError as error:
        return error
    return None


def checked_place(path: Path) -> Path:
    """A folder or file of this machine that is to be written, as it is.

    Raises:
        UsageError: It is a URL: of a bucket, say.
    """
    if is_elsewhere(str(path)):
        # `Path` has made one slash of two.
        shown = str(path).replace(":/", "://", 1)
        raise UsageError(
            f"{shown} is not on this machine: results and journals go into folders and files, not into buckets or to "
            "URLs. Nothing was sent or spent. Name a folder with -o, and copy the results from there."
        )
    return path


def checked_journal(path: Path) -> Path:
    """A journal that must be there already.

    Raises:
        UsageError: It isn't.
    """
    if path.is_dir() and (path / JOURNAL_NAME).is_file():
        return path / JOURNAL_NAME
    if not checked_place(path).is_file():
        raise UsageError(f"There is no journal {path}. Name the file that `hitpaw enhance` wrote ({JOURNAL_NAME}).")
    return path


def kept_settings(journal: Path) -> BatchSettings | None:
    """The settings that a journal keeps; None where there is no journal, or it wasn't made by the command line."""
    from hitpaw_async.batch.journal.sqlite import SqliteStore  # noqa: PLC0415 (start-up stays light)
    from hitpaw_async.batch.scheduler import NOTE_PREFIX  # noqa: PLC0415

    if not journal.is_file():
        return None
    with closing(SqliteStore(journal, is_readonly=True)) as store:
        text = store.setting(NOTE_PREFIX + NOTE_NAME)
    return None if text is None else BatchSettings.from_json(text)


@contextmanager
def scratch_copy(journal: Path) -> Iterator[Path | None]:
    """A copy of a journal to plan on, so that nothing is changed, even while a batch runs; None where there is none.

    Raises:
        JournalError: It can't be read.
    """
    from hitpaw_async.batch.journal.claim import SCRATCH_SETTING  # noqa: PLC0415 (start-up stays light)
    from hitpaw_async.batch.journal.sqlite import SqliteStore  # noqa: PLC0415

    if not journal.is_file():
        yield None
        return
    SqliteStore(journal, is_readonly=True).close()
    with _scratch_folder() as folder:
        target = Path(folder) / JOURNAL_NAME
        try:
            address = f"{journal.absolute().as_uri()}?mode=ro"
            with (
                closing(sqlite3.connect(address, uri=True, timeout=10)) as source,
                closing(sqlite3.connect(target)) as copy,
            ):
                source.backup(copy)
                copy.execute("INSERT OR REPLACE INTO settings VALUES (?, '1')", (SCRATCH_SETTING,))
                copy.commit()
        except sqlite3.Error as error:
            raise errors.JournalError(f"The journal {journal} can't be read ({error}). Try again in a while.") from None
        yield target


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="hitpaw-plan-")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"A plan needs a temporary folder ({reason}). Name one that can be written: TMPDIR.") from None
