"""Fetching the results of a run, and what becomes of each that can't be fetched."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hitpaw_async import errors
from hitpaw_async._core.itemstate import ResultLost, Saved
from hitpaw_async._core.patience import Ruling, Word
from hitpaw_async.batch.events.event import EventKind
from hitpaw_async.batch.outcomes import problem_of
from hitpaw_async.batch.run.fetch import bring_to_disk, longest_s
from hitpaw_async.batch.run.polling import FATAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hitpaw_async._session import Session
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.run.in_flight import Flight
    from hitpaw_async.batch.run.jobs_in_flight import JobsInFlight
    from hitpaw_async.batch.run.polling import Polling
    from hitpaw_async.batch.run.submission import Submission

__all__ = ["Results"]

_LOG = logging.getLogger("hitpaw_async")


class Results:
    """Brings the results of finished jobs to a folder.

    Args:
        session: Downloads.
        bookkeeper: Journal, ledger and events.
        jobs: The jobs in flight.
        polling: Asks again for a job whose result is said to be gone.
        submission: Told whether results can be stored: where they can't, nothing more is paid for.
        output: The folder.
    """

    def __init__(
        self,
        session: Session,
        bookkeeper: Bookkeeper,
        jobs: JobsInFlight,
        polling: Polling,
        submission: Submission,
        output: Path,
    ) -> None:
        self._session = session
        self._bookkeeper = bookkeeper
        self._jobs = jobs
        self._polling = polling
        self._submission = submission
        self._output = output

    async def fetch(self, flight: Flight) -> None:
        """Fetch one result; what can't be fetched now lands as it is, or is looked for again."""
        try:
            path = await bring_to_disk(self._session, flight, self._output, self._tell_progress(flight))
        except FATAL:
            raise
        except errors.JobFailedError as error:
            await self._miss(flight, error)
        except errors.DownloadError as error:
            age_s = self._polling.age_s(flight)
            wait_s = self._jobs.looks.again_in_s(flight, error, age_s=age_s) if error.is_refused else None
            if wait_s is not None:
                flight.asked_age_s = None  # When it was finished is known: the plan must not learn from the next poll.
                self._polling.ask_in(flight, wait_s)
            elif error.is_gone:
                event = ResultLost(problem_of(error), self._bookkeeper.clock())
                self._jobs.land(flight, await self._bookkeeper.change(flight.key, event), error)
            else:
                if error.is_unstored:
                    self._submission.not_stored(error)
                # It stays FETCHING: it is paid for, and will be fetched.
                await self._jobs.land_as_it_is(flight, error)
        except errors.HitPawError as error:
            await self._jobs.land_as_it_is(flight, error)
        else:
            self._submission.stored()
            result_s = await longest_s(self._session, flight, path)
            item = await self._bookkeeper.change(flight.key, Saved(str(path), self._bookkeeper.clock(), result_s))
            if result_s is not None:
                self._submission.look_for_room()
            self._jobs.land(flight, item)

    async def _miss(self, flight: Flight, error: errors.JobFailedError) -> None:
        """A finished job is said to have failed. One word is none: the polls say whether it is so."""
        ruling = self._polling.hear(flight, Word.GONE)
        if ruling is Ruling.BELIEVE:
            await self._polling.give_up_on(flight, error)
        elif ruling is Ruling.LEAVE:
            await self._jobs.land_as_it_is(flight, error)
        else:
            _LOG.warning("%s: %s It will be asked for again.", flight.key, error)
            self._polling.ask_in(flight, self._session.poll.interval_min_s)

    def _tell_progress(self, flight: Flight) -> Callable[[int, int | None], None]:
        def tell(received_bytes: int, total_bytes: int | None) -> None:
            self._jobs.tell(EventKind.DOWNLOADING, flight, received_bytes=received_bytes, total_bytes=total_bytes)

        return tell
