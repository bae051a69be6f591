"""When a bad word about a paid job is believed, and when nobody can say."""

from __future__ import annotations

import pytest

from hitpaw_async import errors
from hitpaw_async._core.patience import Doubt, Patience, Ruling, Word, word_of_error, word_of_job
from hitpaw_async.models import Job, JobStatus

PATIENCE_S, STRANGE_S = 300.0, 3600.0


def a_patience() -> Patience:
    return Patience(patience_s=PATIENCE_S, strange_max_s=STRANGE_S)


def rulings(*heard: tuple[float, Word], earlier_job: str | None = None) -> list[Ruling]:
    patience, doubt, found = a_patience(), None, []
    for at_s, word in heard:
        doubt = Doubt.heard(doubt, word, now=at_s)
        found.append(patience.ruling(doubt, now=at_s, earlier_job=earlier_job))
    return found


def test_a_failure_is_believed_at_the_second_word_in_a_row() -> None:
    assert rulings((0, Word.FAILED), (5, Word.FAILED)) == [Ruling.ASK_SOON, Ruling.BELIEVE]
    assert rulings((0, Word.FAILED), (5, Word.STRANGE), (9, Word.FAILED))[-1] is Ruling.ASK_SOON


@pytest.mark.parametrize("word", [Word.NOT_KNOWN, Word.GONE])
def test_an_absence_is_believed_only_when_it_was_said_often_and_for_long(word: Word) -> None:
    assert rulings((0, word), (PATIENCE_S, word))[-1] is Ruling.ASK_AGAIN
    assert rulings(*[(second, word) for second in range(int(PATIENCE_S))])[-1] is Ruling.ASK_AGAIN
    assert rulings((0, word), (5, word), (PATIENCE_S, word))[-1] is Ruling.BELIEVE


def test_what_nobody_understands_is_never_believed_and_left_after_an_hour() -> None:
    assert rulings((0, Word.STRANGE), (STRANGE_S - 1, Word.STRANGE))[-1] is Ruling.ASK_AGAIN
    assert rulings((0, Word.STRANGE), (STRANGE_S, Word.STRANGE))[-1] is Ruling.LEAVE
    assert rulings((0, Word.NOT_KNOWN), (1800, Word.STRANGE), (STRANGE_S, Word.NOT_KNOWN))[-1] is Ruling.LEAVE


def test_a_bug_of_ours_is_never_believed() -> None:
    assert rulings(*[(0, Word.BUG)] * 3) == [Ruling.ASK_AGAIN, Ruling.ASK_AGAIN, Ruling.LEAVE]


def test_a_job_of_an_earlier_run_that_is_unknown_may_be_anothers_and_is_left() -> None:
    heard = [(0.0, Word.NOT_KNOWN), (5.0, Word.NOT_KNOWN), (PATIENCE_S, Word.NOT_KNOWN)]
    assert rulings(*heard, earlier_job="a")[-1] is Ruling.LEAVE


def test_many_jobs_of_earlier_runs_that_are_unknown_stop_the_run() -> None:
    def told(patience: Patience, at_s: float) -> list[Ruling]:
        doubt = Doubt.heard(None, Word.NOT_KNOWN, now=at_s)
        return [patience.ruling(doubt, now=at_s, earlier_job=job) for job in "abc"]

    patience = a_patience()
    assert told(patience, 0) == [Ruling.ASK_AGAIN] * 3, "a replica may lag"
    assert told(patience, 44) == [Ruling.ASK_AGAIN] * 3
    assert told(patience, 45) == [Ruling.STOP] * 3
    patience = a_patience()
    assert told(patience, 0) == [Ruling.ASK_AGAIN] * 3
    patience.knows_earlier()
    assert told(patience, 1000) == [Ruling.ASK_AGAIN] * 3


def test_a_finished_job_leaves_the_doubt_about_its_result() -> None:
    completed = Job(job_id="a", status=JobStatus.COMPLETED)
    assert Doubt.heard(None, Word.GONE, now=0).outlasts(completed)
    assert not Doubt.heard(None, Word.FAILED, now=0).outlasts(completed)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (JobStatus.WAITING, None),
        (JobStatus.CONVERTING, None),
        (JobStatus.COMPLETED, None),
        (JobStatus.ERROR, Word.FAILED),
        (JobStatus.UNRECOGNIZED, Word.STRANGE),
    ],
)
def test_what_a_status_says_against_a_job(status: JobStatus, word: Word | None) -> None:
    assert word_of_job(Job(job_id="a", status=status)) is word


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.TransportError("no"), None),
        (errors.ServerError(503, 503, "no"), None),
        (errors.RateLimitError(429, 429, "no"), None),
        (errors.JobNotFoundError(404, 501404, "no"), Word.NOT_KNOWN),
        (errors.JobNotFoundError(400, 110400002, "no"), Word.NOT_KNOWN),
        (errors.JobNotFoundError(404, 404, "no Route matched"), Word.STRANGE),
        (errors.BadRequestError(403, 403, "no"), Word.STRANGE),
        (errors.JobNotFoundError(404, None, "page", is_from_vendor=False), Word.STRANGE),
        (errors.InsufficientCreditsError(402, 501002, "no"), Word.STRANGE),
        (errors.ProtocolError("no"), Word.STRANGE),
        (errors.InternalError("KeyError"), Word.BUG),
    ],
    ids=repr,
)
def test_what_a_failed_question_says_against_a_job(error: errors.HitPawError, word: Word | None) -> None:
    assert word_of_error(error) is word
