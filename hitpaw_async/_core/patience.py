"""Decides when a bad answer about a paid job is believed: only after several in a row, or some time.

Replicas lag, gateways answer in the vendor's place, workers are started anew: none of that may end what is paid for. So
a bad word counts once it was said several times in a row, and where lag is likely, for some time as well. What is never
believed, words and answers that nobody knows, has a bound, too: it holds a place while it lasts.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.dialect import is_own_word
from hitpaw_async.models import JobStatus

if TYPE_CHECKING:
    from hitpaw_async.models import Job

__all__ = ["UNKNOWN_STATUS_MAX_S", "Doubt", "Patience", "Ruling", "Word", "word_of_error", "word_of_job"]

FAILED_WORDS_MIN: Final = 2
"""So many polls in a row must say that a job failed: one ERROR may be followed by COMPLETED."""

UNKNOWN_STATUS_MAX_S: Final = 3600.0
"""Longest time that one job is polled without an answer that can be understood."""

REFUSALS_MIN: Final = 3
"""So many answers in a row must say that there is no such job, or no such result."""

STRANGERS_MIN: Final = 3
"""So many jobs that all are unknown are a wrong key, or a wrong host."""

STRANGERS_AFTER_S: Final = 45.0
"""For so long: a journal that is opened again within seconds may meet a replica that lags."""


class Word(Enum):
    """A bad answer about a paid job, by kind."""

    FAILED = auto()
    """A status that is a failure."""
    NOT_KNOWN = auto()
    """The vendor itself says that there is no such job."""
    GONE = auto()
    """The host of the results says that there is no such file."""
    BUG = auto()
    """The answer met a bug of ours: it says nothing of the job."""
    STRANGE = auto()
    """An answer, or a status, that nobody understands: it says nothing of the job."""


class Ruling(Enum):
    """Decision about a job after a bad answer."""

    ASK_AGAIN = auto()
    ASK_SOON = auto()
    """Ask again at the shortest interval: the next word decides."""
    BELIEVE = auto()
    """It is so, and final."""
    LEAVE = auto()
    """Nobody can say what is so: a later run asks again."""
    STOP = auto()
    """Key or host are wrong: nobody is to be asked for anything."""


@attrs.frozen
class Doubt:
    """The bad words about one job since the last good one."""

    word: Word
    since: float
    """Time this answer first came."""
    troubled_since: float
    """Time the first bad answer of any kind came."""
    count: int = 1
    """Number of times this answer came in a row."""

    @classmethod
    def heard(cls, before: Doubt | None, word: Word, *, now: float) -> Doubt:
        """The doubt after another bad word.

        Args:
            before: The doubt before, None after a good answer.
            word: The answer.
            now: Seconds of a clock that never goes back.
        """
        if before is None:
            return cls(word, now, now)
        if before.word is not word:
            return cls(word, now, before.troubled_since)
        return attrs.evolve(before, count=before.count + 1)

    def outlasts(self, job: Job) -> bool:
        """True if a good answer leaves the doubt: COMPLETED says nothing of a result that is not there."""
        return self.word is Word.GONE and job.status is JobStatus.COMPLETED


def word_of_job(job: Job) -> Word | None:
    """The bad word that a status is, if it is one."""
    match job.status:
        case JobStatus.ERROR:
            return Word.FAILED
        case JobStatus.UNRECOGNIZED:
            return Word.STRANGE
        case _:
            return None


def word_of_error(error: errors.HitPawError) -> Word | None:
    """The bad word that a failed task call is. None: an outage, or "later", which are waited out.

    An outage, a gateway's answer, an empty account or an unknown code says nothing about a job that was paid for.
    """
    if isinstance(error, (errors.TransportError, errors.ServerError, errors.RateLimitError)):
        return None
    if isinstance(error, errors.InternalError):
        return Word.BUG
    refusals = (errors.JobNotFoundError, errors.BadRequestError, errors.InvalidVideoURLError)
    if isinstance(error, refusals) and is_own_word(error):
        return Word.NOT_KNOWN
    return Word.STRANGE


class Patience:
    """Rules on doubts, of one job or of all jobs of a run.

    Args:
        patience_s: How long "no such job", or "no such result", must have been said.
        strange_max_s: How long a job is asked for without a word that is understood.
    """

    def __init__(self, *, patience_s: float, strange_max_s: float) -> None:
        self._patience_s = patience_s
        self._strange_max_s = strange_max_s
        self._is_at_home = False
        self._strangers: set[str] = set()
        self._strangers_since = 0.0

    def knows_earlier(self) -> None:
        """The vendor knows a job that an earlier run paid for: key and host are right."""
        self._is_at_home = True
        self._strangers.clear()

    def ruling(self, doubt: Doubt, *, now: float, earlier_job: str | None = None) -> Ruling:
        """Decide about a job.

        Args:
            doubt: The bad words about a job.
            now: As in `Doubt.heard`.
            earlier_job: The job's id, where an earlier run paid for it. Of such a job, "no such job" may also mean that
                the key or the host is another one, unless others of its kind are known.
        """
        if earlier_job is not None and doubt.word is Word.NOT_KNOWN and self._are_strangers(earlier_job, now):
            return Ruling.STOP
        match doubt.word:
            case Word.FAILED:
                return Ruling.BELIEVE if doubt.count >= FAILED_WORDS_MIN else Ruling.ASK_SOON
            case Word.NOT_KNOWN | Word.GONE:
                if doubt.count >= REFUSALS_MIN and now - doubt.since >= self._patience_s:
                    is_doubtful = doubt.word is Word.NOT_KNOWN and earlier_job is not None and not self._is_at_home
                    return Ruling.LEAVE if is_doubtful else Ruling.BELIEVE
            case Word.BUG:
                if doubt.count >= REFUSALS_MIN:
                    return Ruling.LEAVE
            case Word.STRANGE:
                pass
            case _:
                assert_never(doubt.word)
        return Ruling.LEAVE if now - doubt.troubled_since >= self._strange_max_s else Ruling.ASK_AGAIN

    def _are_strangers(self, job_id: str, now: float) -> bool:
        """True if so many jobs of earlier runs are unknown, and none known, that key or host must be wrong."""
        if self._is_at_home:
            return False
        if not self._strangers:
            self._strangers_since = now
        self._strangers.add(job_id)
        is_long = now - self._strangers_since >= min(STRANGERS_AFTER_S, self._patience_s)
        return len(self._strangers) >= STRANGERS_MIN and is_long
