"""Runs seeds: each decides a world, and comes back with what it saw."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

import anyio.to_thread
import attrs
import trio

from hitpaw_async.batch import plan as planning
from hitpaw_async.batch import promise as promising
from hitpaw_async.batch import reconcile as reconciling
from hitpaw_async.batch import scheduler
from hitpaw_async.batch import webhooks as hooks
from hitpaw_async.batch.journal import opening
from hitpaw_async.batch.journal.memory import MemoryStore
from hitpaw_async.batch.journal.opening import RUN_SETTING, recover
from hitpaw_async.batch.run import intake, submission
from hitpaw_async.errors import MediaError
from hitpaw_async.models import ItemState, VideoFacts
from tests.simulation.disk import DurableLog, Results, Threads, replayed
from tests.simulation.invariants import CHARGEABLE, Invariants
from tests.simulation.process import Process, told
from tests.simulation.scenario import draw_scenario
from tests.simulation.vendor import Vendor
from tests.simulation.world import Violation, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitpaw_async import ExportRequest
    from hitpaw_async._core.itemstate import Item
    from tests.simulation.scenario import ProcessPlan, Scenario

__all__ = ["Report", "run_scenario", "run_seed"]


@attrs.frozen(kw_only=True)
class Report:
    """What a seed came to."""

    seed: int
    violation: Violation | None
    digest: str
    log: tuple[str, ...]
    processes: int
    deaths: int
    charges: int
    credits: int
    transactions: int
    steps: int
    virtual_s: float
    states: tuple[tuple[str, int], ...]
    """How many items ended in which state."""
    uncertain_charged: int
    """How many of those that ended UNCERTAIN had been charged."""

    def without_log(self) -> Report:
        """The figures alone."""
        return attrs.evolve(self, log=())


def run_seed(seed: int) -> Report:
    """Run a seed from its beginning to its end, or to the first promise that is broken."""
    return run_scenario(draw_scenario(seed))


def run_scenario(scenario: Scenario) -> Report:
    """Run what somebody has decided; the rest is drawn from its seed."""
    return _Run(scenario).report()


class _Run:
    """One seed under way."""

    def __init__(self, scenario: Scenario) -> None:
        self.world = World(scenario.seed)
        self.scenario = scenario
        self.log = DurableLog()
        self.invariants = Invariants(self.world, self.scenario, self.log)
        self.vendor = Vendor(self.world, self.scenario, on_charge=self.invariants.charged)
        self.results = Results(self.world, self.vendor, self.invariants, self.scenario.names_taken)
        self.invariants.vendor, self.invariants.results = self.vendor, self.results
        self.world.watchers += [self.vendor.catch_up, self.invariants.watch]
        self.processes = self.deaths = self.steps = 0

    def report(self) -> Report:
        world, log = self.world, self.log
        with _simulated(self):
            for plan in self.scenario.processes:
                self._process(plan)
                if world.violations:
                    break
            else:
                self._replay_prefixes()
        states = {state: len(log.keys(state)) for state in ItemState}
        return Report(
            seed=world.seed,
            violation=world.violations[0] if world.violations else None,
            digest=world.digest,
            log=tuple(world.log),
            processes=self.processes,
            deaths=self.deaths,
            charges=len(self.vendor.charges),
            credits=sum(charge.credits for charge in self.vendor.charges),
            transactions=len(self.invariants.boundaries),
            steps=self.steps,
            virtual_s=world.now_s,
            states=tuple((state.value, count) for state, count in states.items() if count),
            uncertain_charged=len(log.keys(ItemState.UNCERTAIN) & {charge.key for charge in self.vendor.charges}),
        )

    def _process(self, plan: ProcessPlan) -> None:
        world = self.world
        self.vendor.is_key_revoked = False
        world.clock_skew_s = plan.clock_skew_s
        self.vendor.catch_up()
        self.vendor.lose_posts()
        world.note(f"process {self.processes + 1}: {plan.ending.value}, budget {plan.budget}, {plan.wire.value}")
        self.processes += 1
        process = Process(
            world,
            self.scenario,
            plan,
            vendor=self.vendor,
            log=self.log,
            results=self.results,
            invariants=self.invariants,
        )
        try:
            process.run()
        except trio.TrioInternalError as error:
            world.end(elapsed_s=0.0, pause_s=0.0)
            world.is_dead = False
            world.violate("I11", f"the process hangs for ever, or breaks trio: {told(error)}")
        except Exception as error:  # noqa: BLE001 (a broken library may break anything)
            world.end(elapsed_s=0.0, pause_s=0.0)
            world.violate("I10", told(error))
        self.steps += world.steps
        has_died = world.is_dead
        self.deaths += has_died and not world.violations
        world.is_dead = False
        self.vendor.catch_up()
        self.invariants.money_is_accounted_for()
        self.invariants.process_ended(has_died=has_died)

    async def probe(self, request: ExportRequest, **_: object) -> VideoFacts:
        """Stands in for a look at a source: it takes its time, and may find no video."""
        if self.scenario.probes:
            await self.world.pass_time(self.world.rng.uniform(0, 20) if self.world.chance("slow probe") else 0.05)
            if self.vendor.videos[urlsplit(request.video_url).path].is_unreadable:
                raise MediaError("The source is no video.")
        return request.facts or VideoFacts()

    def _replay_prefixes(self) -> None:
        """Cut the journal after any of its transactions: it opens, twice the same, and no charge is lost."""
        boundaries = self.invariants.boundaries
        for changes, charges in self.world.rng.sample(boundaries, min(3, len(boundaries))):
            once, again = self._reopened(changes), self._reopened(changes)
            require = self.world.require
            require(once == again, "I6", f"the first {changes} changes replay to two different journals")
            for charge in self.vendor.charges[:charges]:
                item = once.get(charge.key)
                is_covered = item is not None and (item.resubmissions or item.state in CHARGEABLE)
                require(bool(is_covered), "I3", f"after {changes} changes {charge.key} is charged, and is {item}")
            left = [key for key, item in once.items() if item.state in (ItemState.SUBMITTING, ItemState.RESERVED)]
            require(not left, "I6", f"after {changes} changes and an opening, {left} are under way")

    def _reopened(self, changes: int) -> dict[str, Item]:
        store = MemoryStore()
        for item in replayed(self.log.changes[:changes]).values():
            store.add(item)
        store.set_setting(RUN_SETTING, "7")
        recover(store, now=0.0)
        return dict(store._items)


@contextmanager
def _simulated(run: _Run) -> Iterator[None]:
    """Threads, folders, secrets and the order of tasks are the simulation's for a while."""
    logger = logging.getLogger("hitpaw_async")
    level = logger.level
    tokens = SimpleNamespace(token_urlsafe=lambda _: f"token-{run.world.rng.getrandbits(64)}")
    with ExitStack() as stack:

        def replace(target: object, name: str, value: object) -> None:
            stack.enter_context(patch.object(target, name, value))

        replace(anyio.to_thread, "run_sync", Threads(run.world).run_sync)
        replace(opening, "_names_in", lambda _: run.results.names())
        replace(scheduler, "output_check", lambda _: run.results.check)
        replace(hooks, "secrets", tokens)
        replace(submission, "known_facts", run.probe)
        replace(promising, "known_facts", run.probe)
        replace(planning, "known_facts", run.probe)
        for module in (intake, opening, reconciling):
            replace(module, "PAGE_ITEMS", run.scenario.page_items)
        replace(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
