"""The simulated world's frame: virtual time, chance, the log of all that happened, death, and broken promises."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import attrs
import trio

from tests.simulation.scenario import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.scenario import Faults, ProcessPlan

__all__ = ["Violation", "World"]

STEPS_MAX: Final = 400_000
"""Steps of tasks in one process. No honest one comes near."""

EPOCH_S: Final = 1_800_000_000.0


@attrs.frozen
class Violation:
    """A promise that was broken, and how."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


class World:
    """What all parts of one seed's simulation share."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"world {seed}")
        self.log: list[str] = []
        self.violations: list[Violation] = []
        self.faults: Faults | None = None
        self.is_dead = False
        self.is_cut_short = False
        """Whether something has happened that may end a run before its end: a refused key, a failed journal."""
        self.stop_requested_at_s: float | None = None
        self.disk_wait_s = 0.0
        """How long the disk has kept somebody waiting since a stop was asked for."""
        self.steps = 0
        self.watchers: list[Callable[[], None]] = []
        """Called after each step of each task."""
        self.clock_skew_s = 0.0
        self._base_s = 0.0
        self._scope: trio.CancelScope | None = None
        self._death_step = 0
        self._moment: tuple[str, int] = ("", 0)
        self._plan: ProcessPlan | None = None
        self._moments: Counter[str] = Counter()

    @property
    def now_s(self) -> float:
        """Seconds since the seed's beginning, over all processes."""
        return self._base_s + (0.0 if self._scope is None else trio.current_time())

    @property
    def has_end(self) -> bool:
        """Whether the process runs to an end, and follows no journal."""
        return self._plan is None or self._plan.retry_after_s is None

    def wall_clock(self) -> float:
        """What a process takes for the time of day."""
        return EPOCH_S + self.now_s + self.clock_skew_s

    def note(self, text: str) -> None:
        """Write down what happened."""
        self.log.append(f"{self.now_s:12.6f} {text}")

    @property
    def digest(self) -> str:
        """A digest of all that happened."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()

    def chance(self, name: str) -> bool:
        """Whether a fault happens now."""
        share = 0.0 if self.faults is None else self.faults.share(name)
        return share > 0 and self.rng.random() < share

    def begin(self, scope: trio.CancelScope, plan: ProcessPlan) -> None:
        """A process begins."""
        self._scope = scope
        self.faults = plan.faults
        self.is_dead = False
        self.is_cut_short = False
        self.stop_requested_at_s = None
        self.disk_wait_s = 0.0
        self.steps = 0
        self._death_step = plan.death_step
        self._plan = plan
        has_moment = plan.ending in (Ending.DEATH, Ending.CANCELLED, Ending.CTRL_C)
        self._moment = plan.moment if has_moment else ("", 0)
        self._moments.clear()

    def end(self, *, elapsed_s: float, pause_s: float) -> None:
        """The process has ended."""
        self._scope = None
        self._moment = ("", 0)
        self.faults = None
        self._base_s += elapsed_s + pause_s

    def end_faults(self) -> None:
        """From here on no fault happens in this process."""
        if self.faults is not None:
            self.note("the faults end")
            self.faults = None

    def die(self) -> None:
        """The process dies: from here on nothing it does has an effect."""
        if not self.is_dead:
            self.note("the process dies")
            self.is_dead = True
            assert self._scope is not None
            self._scope.cancel()

    def moment(self, name: str) -> None:
        """A moment at which a process may die, or be cancelled."""
        if self.is_dead:
            return
        self._moments[name] += 1
        if self._moment != (name, self._moments[name]):
            return
        self.note(f"at moment {name} number {self._moments[name]}")
        self.strike()

    def strike(self) -> None:
        """What ends the process comes: its death, a cancellation, or Ctrl-C."""
        assert self._plan is not None
        assert self._scope is not None
        if self._plan.ending is Ending.DEATH:
            self.die()
            return
        self.request_stop()
        if self._plan.ending is Ending.CANCELLED:
            self._scope.cancel()
            return
        _press_ctrl_c()
        if self._plan.second_ctrl_c_s is not None:
            trio.lowlevel.spawn_system_task(self._press_again, self._plan.second_ctrl_c_s)

    async def _press_again(self, in_s: float) -> None:
        await trio.sleep(in_s)
        self.note("Ctrl-C again")
        _press_ctrl_c()

    def step(self) -> None:
        """A task has made a step."""
        self.steps += 1
        if self.is_dead or self._scope is None:
            return
        if self.steps == self._death_step:
            self.note(f"at step {self.steps}")
            self.die()
            return
        for watch in self.watchers:
            watch()
        if self.steps > STEPS_MAX:
            self.violate("I11", f"the process made {STEPS_MAX} steps and found no end")

    def request_stop(self) -> None:
        """Somebody wants the batch to stop, in good order."""
        if self.stop_requested_at_s is None:
            self.note("a stop is asked for")
            self.stop_requested_at_s = self.now_s

    def violate(self, invariant: str, text: str) -> None:
        """A promise is broken. The first is what counts: the simulation ends with it."""
        if self.violations or self.is_dead:
            return
        self.violations.append(Violation(invariant, text))
        self.note(f"VIOLATION {invariant}: {text}")
        if self._scope is not None:
            self.die()

    def require(self, holds: bool, invariant: str, text: str) -> None:
        """Complain where something does not hold."""
        if not holds:
            self.violate(invariant, text)

    async def pass_time(self, seconds: float) -> None:
        """Let virtual time pass; none for the dead."""
        if not self.is_dead:
            await trio.sleep(seconds)


def _press_ctrl_c() -> None:
    """What trio does once a signal has come in: it interrupts the main task, past all shields."""
    runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner
    runner.ki_pending = True
    runner._deliver_ki_cb()


class StepWatch(trio.abc.Instrument):
    """Tells the world of each step of each task."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._world.step()
