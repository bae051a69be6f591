"""A service of a seed: a batch in the background, which clients bring work at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hitpaw_async import BackgroundBatch, errors
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitpaw_async import BatchScheduler, ExportRequest
    from hitpaw_async.batch.run.outcome_stream import Outbox
    from hitpaw_async.models import Outcome
    from tests.simulation.disk import DurableLog
    from tests.simulation.invariants import Invariants
    from tests.simulation.scenario import ProcessPlan
    from tests.simulation.vendor import Vendor
    from tests.simulation.world import World

__all__ = ["Service"]

LOOKS_EVERY_S = 5.0

SETTLES_MAX_S = 3_000.0
"""When the faults have ended, all comes to its end in this time: the longest pause is 16 times a minute, and a vendor's
and a result's may follow one another."""


class Service:
    """What a process of the scenario's does where it is a service.

    Args:
        world: Time, chance and the log.
        plan: What the process is to do.
        vendor: Whose key is made good again when the service has noticed that it is refused.
        log: What is durable.
        invariants: Told of each run and outcome.
        watch_outcomes: Has the outcomes looked at that a run puts into its stream.
    """

    def __init__(
        self,
        world: World,
        plan: ProcessPlan,
        *,
        vendor: Vendor,
        log: DurableLog,
        invariants: Invariants,
        watch_outcomes: Callable[[Outbox], None],
    ) -> None:
        self._world = world
        self._plan = plan
        self._vendor = vendor
        self._log = log
        self._invariants = invariants
        self._watch_outcomes = watch_outcomes
        self._read = 0

    def background(self, batch: BatchScheduler) -> BackgroundBatch:
        """The batch in the background, not opened yet."""
        assert self._plan.retry_after_s is not None
        follow = batch.follow

        def watched(*, retry_after_s: float) -> Outbox:
            self._invariants.following_begins(found=self._log.keys(ItemState.SUBMITTING))
            outbox = follow(retry_after_s=retry_after_s)
            self._watch_outcomes(outbox)
            return outbox

        batch.follow = watched  # type: ignore[method-assign]
        return BackgroundBatch(batch, retry_after_s=self._plan.retry_after_s, on_outcome=self._take)

    async def work(self, jobs: BackgroundBatch, requests: Sequence[ExportRequest]) -> None:
        """Bring it all the work, and stay for a while; without faults, or to outlast them, until all is done."""
        async with trio.open_nursery() as clients:
            for request in requests:
                clients.start_soon(self._bring, jobs, request)
        world, plan = self._world, self._plan
        leaves_at_s = world.now_s + plan.stays_s
        while not self._has_left(jobs, leaves_at_s):
            world.require(jobs.failure is None or world.is_cut_short, "I10", f"it failed for nothing: {jobs.failure!r}")
            if jobs.failure is not None:
                self._vendor.is_key_revoked = False
            await world.pass_time(LOOKS_EVERY_S)
        world.request_stop()

    def _has_left(self, jobs: BackgroundBatch, leaves_at_s: float) -> bool:
        if self._world.is_dead:
            return True
        if self._plan.faults is None:
            return self._is_settled(jobs)
        if self._plan.outlasts_faults:
            return self._world.now_s >= leaves_at_s and self._has_outlasted_faults(jobs, leaves_at_s)
        has_read_enough = self._plan.is_left_by_reader and self._read > self._plan.outcomes_read
        return has_read_enough or self._world.now_s >= leaves_at_s

    def _has_outlasted_faults(self, jobs: BackgroundBatch, ended_at_s: float) -> bool:
        world = self._world
        world.end_faults()
        self._vendor.is_key_revoked = False
        is_late = world.now_s > ended_at_s + SETTLES_MAX_S
        world.require(not is_late, "I11", f"not settled {SETTLES_MAX_S:g} s after the faults: {jobs.statistics()}")
        return self._is_settled(jobs)

    def _is_settled(self, jobs: BackgroundBatch) -> bool:
        """Whether all has come to its end that doesn't wait for a person or a larger budget, and has been reported."""
        skipped = [self._log.items[key].problem for key in self._log.keys(ItemState.SKIPPED)]
        is_waiting = any(problem is None or problem.kind != errors.BudgetExceededError.__name__ for problem in skipped)
        return not is_waiting and jobs.statistics().unfinished == 0 and self._invariants.has_been_reported()

    async def _bring(self, jobs: BackgroundBatch, request: ExportRequest) -> None:
        world = self._world
        await world.pass_time(world.rng.uniform(0, self._plan.stays_s))
        known = self._log.items.get(request.key)
        if known is None and self._invariants.is_impostor(request):
            # The first to bring a key decides what it stands for.
            return
        try:
            key = await jobs.submit(request)
        except (errors.InvalidRequestError, errors.MediaError):
            # It breaks a limit, is no video, or is another video under a known key.
            world.note(f"client: {request.key} is refused")
        except errors.BudgetExceededError as error:
            world.note(f"client: {request.key} can't be afforded: {error}")
            world.require(error.needed_credits > error.left_credits, "I2", f"refused while there is room: {error}")
            row = self._log.items.get(request.key)
            # What was refused by then stays so: the budget has no room for it.
            is_as_it_was = row is None or row.state is ItemState.REJECTED
            world.require(is_as_it_was, "I3", f"{request.key} was refused, and has a row")
        except errors.JournalError as error:
            world.note(f"client: {request.key} may be taken in or not")
            world.require(world.is_cut_short, "I10", f"not taken in for nothing: {error!r}")
        else:
            world.note(f"client: {key} is taken in")
            world.require(world.is_dead or key in self._log.items, "I3", f"{key} was taken in, and has no row")
            if known is None:
                self._invariants.taken_in(key)

    async def _take(self, outcome: Outcome) -> None:
        world = self._world
        world.note(f"reader: {outcome.key} {outcome.state} {type(outcome.error).__name__}")
        self._invariants.outcome_read(outcome)
        world.moment("outcome read")
        self._read += 1
        if world.chance("slow reader"):
            await world.pass_time(world.rng.uniform(0, 60))
