"""One process of a seed: a client, a batch on the journal, a reader, until it ends, is stopped or dies."""

from __future__ import annotations

import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import httpx
import trio
import trio.testing

from hitpaw_async import AsyncHitPaw, CreditBudget, ExportRequest, PollPolicy, RetryPolicy, errors
from hitpaw_async._core.protocol.messages import Webhook
from hitpaw_async.batch.scheduler import BatchScheduler
from hitpaw_async.batch.webhooks import WebhookPolicy
from hitpaw_async.models import ItemState
from tests.simulation.disk import SimulatedStore
from tests.simulation.network import SimulatedTransport
from tests.simulation.person import settle, settle_one
from tests.simulation.scenario import Ask, Asks, Ending, Person, Wire
from tests.simulation.senders import TransportSender
from tests.simulation.service import Service
from tests.simulation.vendor import API_KEY
from tests.simulation.world import StepWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.batch.run.outcome_stream import Outbox
    from hitpaw_async.models import Outcome
    from tests.simulation.disk import DurableLog, Results
    from tests.simulation.invariants import Invariants
    from tests.simulation.scenario import ProcessPlan, Scenario
    from tests.simulation.vendor import Vendor
    from tests.simulation.world import World

__all__ = ["Process", "told"]

TIME_MAX_S = 20_000.0
"""No run lasts longer: no fault lasts for ever, and no job."""

CALM_TIME_MAX_S = 3_000.0
"""No run without faults lasts longer."""


class BrokenInputError(Exception):
    """The caller's own input fails."""


_ENDINGS = (errors.AuthenticationError, errors.ConfigurationError, errors.JournalError, BrokenInputError)


class HangingError(Exception):
    """Tasks wait for what never comes, and cannot be cancelled."""


class Process:
    """Runs one plan on what earlier processes have left."""

    def __init__(
        self,
        world: World,
        scenario: Scenario,
        plan: ProcessPlan,
        *,
        vendor: Vendor,
        log: DurableLog,
        results: Results,
        invariants: Invariants,
    ) -> None:
        self._world = world
        self._scenario = scenario
        self._plan = plan
        self._vendor = vendor
        self._log = log
        self._results = results
        self._invariants = invariants
        self._elapsed_s = 0.0

    def run(self) -> None:
        """Run it in virtual time, from its beginning to whatever end."""
        trio._core._run._r.seed(self._world.rng.getrandbits(32))  # type: ignore[attr-defined]
        clock = trio.testing.MockClock(autojump_threshold=0)
        is_interrupted = False
        try:
            trio.run(self._main, clock, clock=clock, instruments=[StepWatch(self._world)])
        except* KeyboardInterrupt:
            is_interrupted = True
        self._world.end(elapsed_s=self._elapsed_s, pause_s=self._plan.pause_s)
        is_due = self._plan.ending is Ending.CTRL_C or not is_interrupted
        self._world.require(is_due, "I10", "a KeyboardInterrupt of nobody's")

    async def _main(self, clock: trio.testing.MockClock) -> None:
        try:
            await self._live(clock)
        finally:
            self._elapsed_s = trio.current_time()
            self._require_quick_stop()

    async def _live(self, clock: trio.testing.MockClock) -> None:
        plan, world = self._plan, self._world
        trio.lowlevel.spawn_system_task(self._watch_for_hanging, clock)
        with trio.CancelScope() as scope:
            world.begin(scope, plan)
            self._invariants.process_begins(plan)
            async with trio.open_nursery() as nursery:
                if plan.ending in (Ending.CANCELLED, Ending.CTRL_C) and plan.cancelled_at_s < TIME_MAX_S:
                    nursery.start_soon(self._strike)
                nursery.start_soon(self._watch_time)
                await self._work()
                nursery.cancel_scope.cancel()

    async def _strike(self) -> None:
        await trio.sleep(self._plan.cancelled_at_s)
        self._world.strike()

    async def _watch_time(self) -> None:
        limit_s = CALM_TIME_MAX_S if self._plan.faults is None else TIME_MAX_S
        await trio.sleep(limit_s)
        self._world.violate("I11", f"no end after {limit_s:g} s")

    async def _watch_for_hanging(self, clock: trio.testing.MockClock) -> None:
        """What waits behind a shield for ever ends no other way than by breaking the clock."""
        await trio.sleep(2 * TIME_MAX_S)

        def stop(_: float) -> NoReturn:
            raise HangingError

        clock.deadline_to_sleep_time = stop  # type: ignore[method-assign]

    def _require_quick_stop(self) -> None:
        """Stopping takes the grace, and what the disk needs."""
        world = self._world
        if world.stop_requested_at_s is not None:
            took_s = world.now_s - world.stop_requested_at_s
            allowed_s = self._plan.limits.stop_grace_s + 1.0 + world.disk_wait_s
            world.require(took_s <= allowed_s, "I11", f"stopping took {took_s:.1f} s of {allowed_s:.1f} s")

    async def _work(self) -> None:
        world = self._world
        try:
            with self._tolerated():
                async with self._client() as hitpaw:
                    self._results.attach(hitpaw)
                    await self._with_client(hitpaw)
                    slots = hitpaw._session.pool._gate.value
                    world.require(slots == 3, "I8", f"{slots} of 3 connections are free at the end")
        except Exception as error:  # noqa: BLE001 (whatever escapes is the finding)
            world.violate("I10", told(error))

    def _client(self) -> AsyncHitPaw:
        plan, rng = self._plan, self._world.rng
        transport = SimulatedTransport(
            self._world, self._vendor, self._invariants, has_events=plan.wire is not Wire.CALLERS
        )
        is_own = plan.wire is Wire.WATCHED
        interval_min_s, interval_max_s = self._scenario.poll_s
        hitpaw = AsyncHitPaw(
            api_key=API_KEY,
            base_url="http://vendor.example",
            max_connections=3,
            export_timeout=30,  # with the default no deadline comes within a run
            poll=PollPolicy(interval_min_s=interval_min_s, interval_max_s=interval_max_s),
            retry=RetryPolicy(budget_tokens=rng.choice((3, 50))),
            http_client=None if is_own else httpx.AsyncClient(transport=transport, trust_env=False),
            random_source=random.Random(rng.getrandbits(32)),
        )
        if is_own:
            hitpaw._session.pool._sender = TransportSender(transport)
        return hitpaw

    async def _with_client(self, hitpaw: AsyncHitPaw) -> None:
        plan, scenario, world = self._plan, self._scenario, self._world
        found = self._log.keys(ItemState.SUBMITTING)
        budget = None
        if plan.budget is not None:
            budget = CreditBudget(
                plan.budget,
                when_full=scenario.when_full,
                failed_jobs_are_charged=scenario.failed_jobs_are_charged,
            )
        batch = BatchScheduler(
            hitpaw._session,
            journal=SimulatedStore(world, self._log, on_commit=self._invariants.committed),
            budget=budget,
            limits=plan.limits,
            output=Path("simulated") if scenario.downloads else None,
            webhooks=self._webhooks(),
            on_event=self._note_event,
            clock=world.wall_clock,
        )
        if plan.retry_after_s is not None:
            await self._serve(batch)
            return
        async with batch, trio.open_nursery() as nursery:
            self._invariants.batch_opened(batch)
            nursery.start_soon(self._listen, batch, nursery)
            with self._tolerated():
                await self._all_runs(batch, found, nursery)
            nursery.cancel_scope.cancel()

    async def _serve(self, batch: BatchScheduler) -> None:
        plan = self._plan
        service = Service(
            self._world,
            plan,
            vendor=self._vendor,
            log=self._log,
            invariants=self._invariants,
            watch_outcomes=self._watch_outcomes,
        )
        async with service.background(batch) as jobs, trio.open_nursery() as nursery:
            self._invariants.batch_opened(batch)
            nursery.start_soon(self._listen, batch, nursery)
            if plan.person is not Person.ABSENT:
                nursery.start_soon(self._settle_meanwhile, batch)
            await service.work(jobs, [request for asks in plan.asks for request in self._requests(asks)])
            nursery.cancel_scope.cancel()

    async def _all_runs(self, batch: BatchScheduler, found: set[str], nursery: trio.Nursery) -> None:
        await self._prepare(batch)
        if self._plan.person is Person.MEANWHILE:
            nursery.start_soon(self._settle_meanwhile, batch)
        for asks in self._plan.asks:
            if not await self._one_run(batch, asks, found):
                self._world.request_stop()
                break
            found = self._log.keys(ItemState.SUBMITTING)

    @contextmanager
    def _tolerated(self) -> Iterator[None]:
        """What may end a batch or a person's work, where something has happened that may."""
        world = self._world
        try:
            yield
        except _ENDINGS as error:
            world.note(f"ended by {type(error).__name__}")
            world.require(world.is_cut_short, "I10", f"ended for nothing: {error!r}")
            self._vendor.is_key_revoked = False

    def _webhooks(self) -> WebhookPolicy | None:
        wait_s = self._plan.hook_wait_s
        return None if wait_s is None else WebhookPolicy(base_url="https://hooks.example/h", wait_s=wait_s)

    async def _listen(self, batch: BatchScheduler, nursery: trio.Nursery) -> None:
        """Take the vendor's webhooks in."""
        world, vendor = self._world, self._vendor
        while not world.is_dead:
            for key, post in vendor.due_posts():
                world.note(f"webhook: {post.job_id} on the path of {key}")
                if key is not None:
                    self._invariants.hinted(key, post.job_id)
                    if world.chance("person at the same moment"):
                        nursery.start_soon(self._settle_one, batch, key)
                batch.notify(post.token, Webhook(post.job_id, post.status))
            await world.pass_time(min(30.0, max(0.001, vendor.next_post_at_s() - world.now_s)))

    async def _settle_meanwhile(self, batch: BatchScheduler) -> None:
        for longest_s in (5, 60, 60):
            await self._world.pass_time(self._world.rng.uniform(0, longest_s))
            await self._settle(batch)

    async def _settle(self, batch: BatchScheduler) -> None:
        with self._tolerated():
            await settle(batch, self._world, self._vendor, self._invariants)

    async def _settle_one(self, batch: BatchScheduler, key: str) -> None:
        with self._tolerated():
            await settle_one(batch, key, self._world, self._vendor, self._invariants)

    def _note_event(self, event: BatchEvent) -> None:
        self._world.note(f"event: {event.kind} {event.key} {event.state} {event.status} {event.detail or ''}")
        self._invariants.event(event)

    async def _prepare(self, batch: BatchScheduler) -> None:
        plan, world = self._plan, self._world
        if plan.plans:
            changes, charges = len(self._log.changes), len(self._vendor.charges)
            await batch.plan(self._requests(plan.asks[0]))
            is_unchanged = (changes, charges) == (len(self._log.changes), len(self._vendor.charges))
            world.require(is_unchanged or not self._invariants.is_alone(), "plan", "it changed something")
        if plan.person is Person.BEFORE:
            await self._settle(batch)
        if plan.enqueues:
            try:
                await batch.enqueue(self._requests(plan.asks[0]))
            except errors.InvalidRequestError:
                world.require(
                    any(ask.kind is Asks.IMPOSTOR for ask in plan.asks[0]), "I5", "enqueuing met a conflict of nobody's"
                )

    async def _one_run(self, batch: BatchScheduler, asks: tuple[Ask, ...], found: set[str]) -> bool:
        """Run and read to the end. False where the reader leaves before it."""
        world, plan, invariants = self._world, self._plan, self._invariants
        videos = [self._scenario.videos[ask.number] for ask in asks if ask.kind is not Asks.IMPOSTOR]
        impostors = sum(ask.kind is Asks.IMPOSTOR for ask in asks)
        invariants.run_begins({video.request().key for video in videos}, impostors, found=found)
        if plan.impostors_first:
            asks = self._reordered(asks)
        outbox = batch.run(self._input(asks))
        self._watch_outcomes(outbox)
        read = 0
        with self._tolerated():
            async for outcome in outbox:
                world.note(f"reader: {outcome.key} {outcome.state} {type(outcome.error).__name__}")
                invariants.outcome_read(outcome)
                world.moment("outcome read")
                read += 1
                if plan.ending is Ending.READER_LEAVES and read > plan.outcomes_read:
                    return False
                if world.chance("slow reader"):
                    await world.pass_time(world.rng.uniform(0, 60))
            invariants.run_completed(outbox)
        return True

    def _watch_outcomes(self, outbox: Outbox) -> None:
        put = outbox.put

        def watched(outcome: Outcome) -> None:
            self._invariants.outcome_made(outcome)
            put(outcome)

        outbox.put = watched  # type: ignore[method-assign]

    def _reordered(self, asks: tuple[Ask, ...]) -> tuple[Ask, ...]:
        """Impostors first, where the journal knows their keys already."""

        def rank(ask: Ask) -> bool:
            is_known = self._scenario.videos[ask.number].request().key in self._log.items
            return ask.kind is not Asks.IMPOSTOR or not is_known

        return tuple(sorted(asks, key=rank))

    def _requests(self, asks: Iterable[Ask]) -> list[ExportRequest]:
        found = []
        for ask in asks:
            video = self._scenario.videos[ask.number]
            if ask.kind is Asks.IMPOSTOR:
                found.append(video.impostor())
            else:
                found.append(video.request(signature=1 if ask.kind is Asks.AGAIN else 0))
        return found

    def _input(self, asks: tuple[Ask, ...]) -> Iterable[ExportRequest] | AsyncIterator[ExportRequest]:
        requests = self._requests(asks)
        return SlowInput(self._world, requests) if self._plan.is_input_async else self._quick_input(requests)

    def _quick_input(self, requests: list[ExportRequest]) -> Iterator[ExportRequest]:
        for request in requests:
            _break(self._world)
            yield request


class SlowInput:
    """An asynchronous input that takes its time."""

    def __init__(self, world: World, requests: list[ExportRequest]) -> None:
        self._world = world
        self._requests = requests[::-1]

    def __aiter__(self) -> SlowInput:
        return self

    async def __anext__(self) -> ExportRequest:
        world = self._world
        await world.pass_time(world.rng.uniform(0, 30) if world.chance("slow input") else 0)
        _break(world)
        if not self._requests:
            raise StopAsyncIteration
        return self._requests.pop()


def _break(world: World) -> None:
    world.moment("input pulled")
    if world.chance("broken input"):
        world.is_cut_short = True
        raise BrokenInputError


def told(error: BaseException) -> str:
    """An exception, those within it, and where each was raised."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(part) for part in error.exceptions)
    place, frame = "", error.__traceback__
    while frame is not None:
        place, frame = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}", frame.tb_next
    return f"{error!r} at {place}"
