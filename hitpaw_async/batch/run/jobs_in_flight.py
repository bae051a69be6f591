"""The jobs in flight: which items are at the vendor or on their way to disk, and how each of them leaves.

An item is here from `Polling.take_off` until it has landed: its outcome is put on the stream, or it is left for another
try. It holds one slot of the outcome stream all that time, and `Submission` counts it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from hitpaw_async.batch.outcomes import outcome_of
from hitpaw_async.batch.run.fetch import Looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hitpaw_async import errors
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async._core.retry_queue import RetryQueue
    from hitpaw_async.batch.books import Bookkeeper
    from hitpaw_async.batch.events.event import BatchEvent, EventKind
    from hitpaw_async.batch.run.in_flight import Flight
    from hitpaw_async.batch.run.outcome_stream import Outbox
    from hitpaw_async.batch.run.submission import Submission

__all__ = ["JobsInFlight"]

_LOG = logging.getLogger("hitpaw_async")


class JobsInFlight:
    """The registry of a run's jobs in flight.

    Args:
        bookkeeper: Journal, ledger and events.
        submission: Told of each job that is added and removed.
        outbox: Where outcomes go.
        gone_after_s: How long a result that its host refuses is looked for.
        retries: Keeps what is left for another try; None where a later run has to take it up.
        take_up_again: Takes an item that a person chose to pay for again; None where only a later run does.
    """

    def __init__(
        self,
        bookkeeper: Bookkeeper,
        submission: Submission,
        outbox: Outbox,
        *,
        gone_after_s: float,
        retries: RetryQueue | None,
        take_up_again: Callable[[Item], None] | None,
    ) -> None:
        self._bookkeeper = bookkeeper
        self._submission = submission
        self._outbox = outbox
        self._retries = retries
        self._take_up_again = take_up_again
        self.flights: dict[str, Flight] = {}
        """By key."""
        self.named_jobs: dict[str, str] = {}
        """Job ids that webhooks named, by item, for items in flight whose own reply is not in or was lost."""
        self.uncertain_until: dict[str, float] = {}
        """How long items in flight whose answer was lost wait for a webhook (the loop's clock)."""
        self.looks = Looks(gone_after_s)
        """When results that their hosts refuse are looked for again."""
        self._landed = anyio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self.flights

    @property
    def takes_up_again(self) -> bool:
        """Whether this run submits what a person chose to pay for again."""
        return self._take_up_again is not None

    def add(self, flight: Flight) -> None:
        """A job is in flight from here on."""
        self.flights[flight.key] = flight
        self._submission.took_off()
        self._bookkeeper.events.took_off(flight.key)

    async def wait_until_none(self) -> None:
        """Wait until all have landed."""
        while self.flights:
            self._landed = anyio.Event()
            await self._landed.wait()

    def under_way(self, snapshot: BatchEvent) -> Iterator[BatchEvent]:
        """Events that say how each job in flight stands, for a reader who begins with this snapshot."""
        return (flight.told(snapshot) for flight in self.flights.values())

    def land(self, flight: Flight, item: Item, error: errors.HitPawError | None = None) -> None:
        """Report how an item ended."""
        self._remove(flight)
        if self._retries is not None and item.state.is_terminal:
            self._retries.forget(item.key)
        self._outbox.put(outcome_of(item, request=flight.request_of(item), job=flight.job, error=error))

    def _remove(self, flight: Flight) -> None:
        del self.flights[flight.key]
        self._submission.landed()
        self.named_jobs.pop(flight.key, None)
        self.uncertain_until.pop(flight.key, None)
        self.looks.forget(flight.key)
        self._landed.set()

    def tell(self, kind: EventKind, flight: Flight, **fields: Any) -> None:
        """Tell an event of a job in flight."""
        self._bookkeeper.emit(
            kind, key=flight.key, state=flight.state, label=flight.label, job_id=flight.job_id, **fields
        )

    async def land_as_it_is(self, flight: Flight, error: errors.HitPawError) -> None:
        """Report an item that goes on in a later run; or after a pause in this one, which reports a reason once."""
        item = await self.item_of(flight)
        if self._retries is None or self._retries.put(item.key, (item.state, type(error)), now=anyio.current_time()):
            self.land(flight, item, error)
        else:
            _LOG.warning("%s: %s It will be tried again.", item.key, error)
            self._remove(flight)
            self._outbox.give_back_place()

    async def item_of(self, flight: Flight) -> Item:
        """The journal's row of a job in flight."""
        item = await self._bookkeeper.journal.do(lambda store: store.get(flight.key))
        assert item is not None
        return item

    def leave_to_intake(self, flight: Flight, item: Item) -> None:
        """Somebody chose to pay again: in a run that follows the journal, it is submitted as if it had just come in."""
        assert self._take_up_again is not None
        self._remove(flight)
        self._outbox.give_back_place()
        self._take_up_again(item)

    def accepted_at(self, item: Item) -> float:
        """When an item was accepted, by the event loop's clock, from which on no wall clock that is set counts.

        What an earlier process wrote down can't be in the future.
        """
        return anyio.current_time() - max(0.0, self._bookkeeper.clock() - (item.submitted_at or 0.0))
