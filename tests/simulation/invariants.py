"""What must hold at every step: who watches, and what is compared with what.

I1 at most one charge per item, unless a person chose to pay again        I2 spent + reserved never exceed the budget
I3 every charge maps to a row that says so                                I4 a durable intent before the first byte
I5 one outcome per item and run, and it says what the journal says        I6 only legal changes; any prefix replays
I11 the batch ends          truth: what a row says is so          grace: a sent export is waited for
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from hitpaw_async import errors
from hitpaw_async._core.itemstate import Problem, may_pass
from hitpaw_async.batch.events.event import BatchEvent, EventKind
from hitpaw_async.models import ItemState, Outcome
from tests.simulation.disk import shown
from tests.simulation.scenario import Person, Wire
from tests.simulation.videos import worst_price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitpaw_async import BatchScheduler, ExportRequest
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async.batch.run.outcome_stream import Outbox
    from tests.simulation.disk import DurableLog, Results
    from tests.simulation.scenario import ProcessPlan, Scenario
    from tests.simulation.vendor import Charge, Vendor
    from tests.simulation.videos import Video
    from tests.simulation.world import World

__all__ = ["CHARGEABLE", "Invariants"]

_S = ItemState

CHARGEABLE: Final = frozenset({_S.SUBMITTING, _S.SUBMITTED, _S.FETCHING, _S.DONE, _S.FAILED, _S.UNCERTAIN})
"""States whose item may have been charged once."""

_ALWAYS: Final = {
    None: {_S.QUEUED},
    _S.QUEUED: {_S.QUEUED, _S.SUBMITTING, _S.REJECTED, _S.SKIPPED},
    _S.RESERVED: {_S.QUEUED, _S.SUBMITTING, _S.REJECTED, _S.SKIPPED},
    _S.SUBMITTING: {_S.RESERVED, _S.SUBMITTED, _S.UNCERTAIN, _S.REJECTED, _S.SKIPPED},
    _S.SUBMITTED: {_S.SUBMITTED, _S.FETCHING, _S.DONE, _S.FAILED},
    _S.FETCHING: {_S.FETCHING, _S.DONE, _S.FAILED},
    _S.DONE: {_S.DONE},
    _S.REJECTED: {_S.REJECTED},
    _S.FAILED: {_S.FAILED},
    _S.SKIPPED: {_S.SKIPPED, _S.QUEUED},
    _S.UNCERTAIN: {_S.UNCERTAIN},
}
"""Which durable state may follow which. RESERVED is durable only after an attempt that was not accepted."""

_BY_A_PERSON: Final = {_S.UNCERTAIN: {_S.SUBMITTED, _S.FAILED, _S.QUEUED}}

_BY_A_WEBHOOK: Final = {_S.UNCERTAIN: {_S.SUBMITTED}}

_RESERVING: Final = (_S.RESERVED, _S.SUBMITTING, _S.UNCERTAIN)
_ACCEPTED: Final = (_S.SUBMITTED, _S.FETCHING, _S.DONE)
_REPORTABLE: Final = (_S.SUBMITTED, _S.FETCHING, _S.DONE, _S.REJECTED, _S.SKIPPED, _S.FAILED, _S.UNCERTAIN)

_LEFT_FOR: Final = {_S.SUBMITTED: errors.JobTimeoutError, _S.FETCHING: errors.HitPawError}
"""Why a run may leave a job to the next one."""

CALL_TIMEOUT_S: Final = 30.0


def _is_looked_at_again(item: Item) -> bool:
    """Whether an item was refused for what may have passed by the next run."""
    return item.state is _S.REJECTED and may_pass(item.problem)


class Invariants:
    """Looks at everything, after every step."""

    vendor: Vendor
    results: Results

    def __init__(self, world: World, scenario: Scenario, log: DurableLog) -> None:
        self._world = world
        self._scenario = scenario
        self._log = log
        self._videos: dict[str, Video] = {video.request().key: video for video in scenario.videos}
        self._plan: ProcessPlan | None = None
        self._batch: BatchScheduler | None = None
        self._allowed: float = float("inf")
        self._calls: set[tuple[bool, str]] = set()
        self._downloads: set[str] = set()
        self._sent: Counter[str] = Counter()
        self._begun: set[tuple[str, int]] = set()
        self._places: dict[str, int] = {}
        self._queued = 0
        self._last_place = 0
        self._too_dear = math.inf
        """The lowest price that the vendor has refused for want of credits in this run."""
        self._announced: dict[str, str] = {}
        self._reported: Counter[str] = Counter()
        self._impostors_reported = 0
        self._asked: set[str] = set()
        self._expected: set[str] = set()
        self._impostors_expected = 0
        self._is_following = False
        self._last_read: dict[str, tuple[ItemState, str]] = {}
        """How an item was reported last, and for what."""
        self._settled: dict[str, float] = {}
        """When somebody settled an uncertain item in this run."""
        self._hinted: set[tuple[str, str]] = set()
        self.decided: set[str] = set()
        """The keys that a person has decided about in this process."""
        self.boundaries: list[tuple[int, int]] = []
        """After each transaction: how many changes there were, and how many charges."""

    # The process and its runs

    def process_begins(self, plan: ProcessPlan) -> None:
        self._plan = plan
        self._batch = None
        self._calls.clear()
        self._downloads.clear()
        self._announced.clear()
        self.decided.clear()
        total = self._log.spent_credits + self._log.reserved_credits
        self._allowed = float("inf") if plan.budget is None else max(plan.budget, total)

    def batch_opened(self, batch: BatchScheduler) -> None:
        self._batch = batch
        self._opened = batch._open
        left = self._log.keys(_S.SUBMITTING, _S.RESERVED)
        self._world.require(not left, "I5", f"after opening, nothing is under way, yet {sorted(left)} are")

    def run_begins(self, asked: set[str], impostors: int, *, found: set[str]) -> None:
        """A run begins; `found` are the items that the opening has found in the middle of a send."""
        self._reported.clear()
        self._settled.clear()
        self._places.clear()
        self._last_place = 0
        self._too_dear = math.inf
        self._impostors_reported = 0
        unfinished = self._log.keys(_S.QUEUED, _S.RESERVED, _S.SKIPPED, _S.SUBMITTING, _S.SUBMITTED, _S.FETCHING)
        unfinished |= {key for key, item in self._log.items.items() if _is_looked_at_again(item)}
        self._asked = asked
        self._expected = asked | unfinished | (found & self._log.keys(_S.UNCERTAIN))
        self._impostors_expected = impostors
        self._is_following = False

    def following_begins(self, *, found: set[str]) -> None:
        """A run begins that follows the journal, and has no end."""
        self.run_begins(set(), 0, found=found)
        self._is_following = True

    def is_impostor(self, request: ExportRequest) -> bool:
        """Whether a request is another video under a key of the scenario's."""
        return request.fingerprint != self._videos[request.key].request().fingerprint

    def taken_in(self, key: str) -> None:
        """A service has said that it has taken a video in."""
        self._expected.add(key)

    def has_been_reported(self) -> bool:
        """Whether everything has that a run which follows the journal has taken up."""
        return self._expected <= set(self._reported)

    def run_completed(self, outbox: Outbox) -> None:
        """A run has come to its end by itself: everything was reported, and the books agree."""
        assert self._plan is not None
        require = self._world.require
        # What a person gives up before the run comes to it is that person's own news, unless the caller asks for it.
        given_up = {key for key in self._settled if self._log.items[key].run == 0} - self._asked
        missing = self._expected - set(self._reported) - given_up - self._finished_before()
        require(not missing, "I5", f"never reported: {sorted(missing)}")
        # What somebody settles while a run is at it may be taken up by that run, or left to the next.
        surplus = set(self._reported) - self._expected - set(self._settled)
        require(not surplus, "I5", f"nobody asked for {sorted(surplus)}")
        require(
            self._impostors_reported == self._impostors_expected,
            "I5",
            f"{self._impostors_reported} of {self._impostors_expected} conflicts were reported",
        )
        left = self._log.keys(_S.QUEUED, _S.RESERVED, _S.SUBMITTING) - set(self._settled)
        require(not left, "I5", f"after a whole run these are still under way: {sorted(left)}")
        if self._plan.faults is None:
            left = self._log.keys(_S.SUBMITTED, _S.FETCHING) - set(self._settled)
            require(not left, "I11", f"without faults these never came to their end: {sorted(left)}")
        places = outbox._places.value
        require(places == self._plan.limits.jobs_in_flight, "I8", f"{places} places are free after the run")
        calls = {subject for is_export, subject in self._calls if is_export or self.is_alone()}
        require(not calls and not self._downloads, "I8", f"{calls} or {self._downloads} are still under way")
        self._books_agree()

    def _finished_before(self) -> set[str]:
        """What the last transaction of a run that broke off has brought to its end, with nobody left to report it."""
        assert self._batch is not None
        run = self._opened.run_number
        finished = self._log.keys(_S.DONE, _S.FAILED)
        return {key for key in finished if self._log.items[key].run != run} - self._asked

    def is_alone(self) -> bool:
        """Whether nobody but the run asks the vendor: webhooks and people ask too, and no run waits for them."""
        assert self._plan is not None
        return self._plan.hook_wait_s is None and self._plan.person is Person.ABSENT

    def process_ended(self, *, has_died: bool) -> None:
        """Called for each process, however it ended."""
        if not has_died and not self._world.is_cut_short:
            for key, job_id in sorted(self._announced.items()):
                owners = [other.key for other in self._log.items.values() if other.job_id == job_id]
                self._world.require(
                    bool(owners), "I3", f"{job_id} was announced for {key}, and lost: {shown(self._log.items[key])}"
                )
        self._batch = None
        self._plan = None

    def _books_agree(self) -> None:
        assert self._batch is not None
        bookkeeper, log, require = self._opened.bookkeeper, self._log, self._world.require
        if bookkeeper.is_in_doubt or bookkeeper._changes_begun != bookkeeper._changes_ended:
            return
        ledger = bookkeeper.ledger
        require(
            (ledger.spent, ledger.reserved, ledger.held) == (log.spent_credits, log.reserved_credits, ledger.reserved),
            "I2",
            f"{ledger} and the journal ({log.spent_credits} spent, {log.reserved_credits} reserved) differ",
        )
        require(not ledger._open, "I2", f"reservations are open after the run: {sorted(ledger._open)}")
        statistics = self._batch.statistics()
        named = (_S.DONE, _S.FAILED, _S.REJECTED, _S.SKIPPED, _S.UNCERTAIN)
        told = {state: getattr(statistics, state.value) for state in named}
        true = {state: len(log.keys(state)) for state in named}
        require(told == true, "statistics", f"they say {told}, the journal says {true}")
        require(statistics.total == len(log.items), "statistics", f"{statistics.total} of {len(log.items)} items")

    # The ledger

    def watch(self) -> None:
        """After each step of each task."""
        if self._batch is None:
            return
        bookkeeper, log = self._opened.bookkeeper, self._log
        ledger = bookkeeper.ledger
        total = ledger.spent + ledger.reserved
        if total > self._allowed:
            self._world.violate("I2", f"{ledger}: more than the {self._allowed} allowed")
        if total < log.spent_credits + log.reserved_credits:
            self._world.violate("I2", f"{ledger} is more generous than the journal")
        if min(ledger.spent, ledger.held, ledger.reserved - ledger.held) < 0:
            self._world.violate("I2", f"{ledger} has a negative figure")
        if min(bookkeeper._counts.values()) < 0 and not bookkeeper.is_in_doubt:
            self._world.violate("statistics", f"negative: {bookkeeper._counts}")

    # The journal

    def committed(self, changes: Sequence[tuple[Item | None, Item]]) -> None:
        """After each transaction."""
        for before, after in changes:
            if before is not None and before.state is _S.UNCERTAIN and after.state is not _S.UNCERTAIN:
                self._settled[after.key] = self._world.now_s
            if after.state is _S.QUEUED:
                self._queued += 1
                self._places[after.key] = self._queued
            self._legal(before, after)
            self._booked(before, after)
            self._true(before, after)
            self._covered(after.key)
        self._within_budget()
        self.boundaries.append((len(self._log.changes), len(self.vendor.charges)))

    def _legal(self, before: Item | None, after: Item) -> None:
        require = self._world.require
        state = None if before is None else before.state
        allowed = _ALWAYS[state]
        if before is not None and _is_looked_at_again(before):
            allowed = allowed | {_S.QUEUED}
        if state is not None and after.key in self.decided:
            allowed = allowed | _BY_A_PERSON.get(state, set())
        if state is not None and (after.key, after.job_id) in self._hinted:
            allowed = allowed | _BY_A_WEBHOOK.get(state, set())
        require(after.state in allowed, "I6", f"{after.key} went from {state} to {shown(after)}")
        if before is None:
            return
        require(after.version > before.version, "I6", f"an older version won: {shown(after)}")
        require(before.job_id in (None, after.job_id), "I6", f"{after.key} lost its job {before.job_id}")
        is_sent = after.state is _S.SUBMITTING
        require(after.attempts == before.attempts + is_sent, "I6", f"{after.key}: {after.attempts} attempts")
        if before.state.is_terminal and after.state is before.state:
            touched = (before.charged_credits, before.written_off_credits, before.path, before.problem)
            same = (after.charged_credits, after.written_off_credits, after.path, after.problem)
            require(touched == same, "I6", f"{after.key} was final and changed: {shown(after)}")

    def _booked(self, before: Item | None, after: Item) -> None:
        """An item's money is where its state says."""
        require, video = self._world.require, self._videos[after.key]
        worst = worst_price(video)
        expected = worst if after.state in _RESERVING else 0
        require(after.reserved_credits == expected, "I2", f"{expected} must be reserved: {shown(after)}")
        written_off = 0 if before is None else before.written_off_credits
        resubmissions = 0 if before is None else before.resubmissions
        if before is not None and before.state is _S.UNCERTAIN and after.state in (_S.FAILED, _S.QUEUED):
            written_off += worst
            resubmissions += after.state is _S.QUEUED
        require(after.written_off_credits == written_off, "I2", f"{written_off} is written off: {shown(after)}")
        require(after.resubmissions == resubmissions, "I1", f"resubmitted by nobody: {shown(after)}")
        if after.state in _ACCEPTED:
            require(0 < after.charged_credits <= worst, "I2", f"it costs up to {worst}: {shown(after)}")
            others = [key for key, item in self._log.items.items() if item.job_id == after.job_id and key != after.key]
            require(after.job_id is not None, "I3", f"accepted without a job id: {shown(after)}")
            require(not others, "I3", f"{after.job_id} is bound to {after.key} and {others}")
        elif after.state is not _S.FAILED:
            require(after.charged_credits == 0, "I2", f"nothing was charged: {shown(after)}")

    def _true(self, before: Item | None, after: Item) -> None:
        """What the row says is so at the vendor and in the output folder."""
        if before is None or before.state is after.state or (before.state, after.state) == (_S.UNCERTAIN, _S.FAILED):
            return
        require, video = self._world.require, self._videos[after.key]
        if after.state is _S.SUBMITTED:
            jobs = [charge.job.job_id for charge in self.vendor.charges_of(after.key)]
            require(after.job_id in jobs, "truth", f"another's job: {shown(after)}")
        elif after.state is _S.UNCERTAIN:
            self._really_sent(before, after)
        elif after.state is _S.REJECTED:
            is_unreadable = self._scenario.probes and video.is_unreadable
            is_refused = video.breaks_limit or video.is_unusable or is_unreadable
            require(is_refused, "truth", f"nobody refused it: {shown(after)}")
        elif after.state is _S.SKIPPED:
            self._rightly_skipped(after)
        elif after.state in (_S.FETCHING, _S.DONE, _S.FAILED):
            job = self.vendor.jobs[str(after.job_id)]
            status = job.status(self._world.now_s)
            expected = "ERROR" if after.state is _S.FAILED else "COMPLETED"
            is_gone = after.state is _S.FAILED and job.is_gone
            require(status == expected or is_gone, "truth", f"the vendor says {status}: {shown(after)}")
        if after.state is _S.DONE and self._scenario.downloads:
            name = (after.path or "").rpartition("/")[2]
            require(self.results.files.get(name) == after.job_id, "I9", f"no result at {name!r}: {shown(after)}")

    def _really_sent(self, before: Item, after: Item) -> None:
        """What has never left is not uncertain; only after a restart nobody can tell."""
        is_restarted = before.run != after.run or self._batch is None
        if self._plan is None or is_restarted or self._plan.wire is Wire.CALLERS:
            return
        is_sent = (after.key, after.attempts) in self._begun
        self._world.require(is_sent, "truth", f"nothing was sent: {shown(after)}")

    def _rightly_skipped(self, item: Item) -> None:
        """With WAIT, an item is skipped for want of budget only when no room can come any more."""
        if item.problem is None or item.problem.kind != "BudgetExceededError" or self._batch is None:
            return
        assert self._plan is not None
        require, ledger = self._world.require, self._opened.bookkeeper.ledger
        require(self._plan.budget is not None, "I2", f"skipped without a budget: {shown(item)}")
        if self._scenario.when_full == "wait" and self._scenario.failed_jobs_are_charged:
            # Who comes after it may have reserved by now: even what is open to come back must not be enough.
            needed = ledger.spent + ledger.held + ledger.promised + worst_price(self._videos[item.key])
            require(needed > (self._plan.budget or 0), "I2", f"skipped while room may come: {shown(item)}, {ledger}")

    # The money at the vendor

    def charged(self, charge: Charge) -> None:
        """After each charge."""
        self._covered(charge.key)
        self._within_budget()

    def money_is_accounted_for(self) -> None:
        """All charges at once."""
        for key in sorted({charge.key for charge in self.vendor.charges}):
            self._covered(key)
        self._within_budget()

    def _covered(self, key: str) -> None:
        charges = self.vendor.charges_of(key)
        if not charges:
            return
        require, item = self._world.require, self._log.items.get(key)
        if item is None:
            self._world.violate("I3", f"{key} is charged and has no row")
            return
        require(len(charges) <= 1 + item.resubmissions, "I1", f"charged {len(charges)} times: {shown(item)}")
        count = item.resubmissions + (item.state in CHARGEABLE)
        require(len(charges) <= count, "I3", f"charged, and the row doesn't say so: {shown(item)}")
        booked = item.charged_credits + item.written_off_credits + item.reserved_credits
        net = sum(self.vendor.net_credits(charge) for charge in charges)
        require(net <= booked, "I2", f"{net} were charged, {booked} are booked: {shown(item)}")

    def _within_budget(self) -> None:
        require, log = self._world.require, self._log
        total = log.spent_credits + log.reserved_credits
        require(total <= self._allowed, "I2", f"the journal has {total} of {self._allowed} credits")
        real = sum(self.vendor.net_credits(charge) for charge in self.vendor.charges)
        require(real <= self._allowed, "I2", f"the vendor has charged {real} of {self._allowed} credits")

    # The wire

    def call_begins(self, is_export: bool, subject: str) -> None:
        is_once = (is_export, subject) not in self._calls or not (is_export or self.is_alone())
        self._world.require(is_once, "I1", f"{subject} is under way twice")
        self._calls.add((is_export, subject))

    def call_ends(self, is_export: bool, subject: str) -> None:
        self._calls.discard((is_export, subject))

    def body_begins(self, key: str) -> None:
        """The first byte of an export's body leaves."""
        item = self._log.items.get(key)
        if item is None or item.state is not _S.SUBMITTING:
            self._world.violate("I4", f"a body leaves without an intent: {item and shown(item)}")
            return
        self._begun.add((key, item.attempts))
        self._sent[key] += 1
        self._world.require(
            self._sent[key] <= 1 + item.resubmissions, "I1", f"sent again, after nobody knew: {shown(item)}"
        )

    def body_was_refused(self, key: str) -> None:
        """The vendor itself refused an export, and the client has been told so."""
        self._sent[key] -= 1

    def job_announced(self, key: str, job_id: str) -> None:
        """The client has read a reply with a job id."""
        if not self._world.is_dead:
            self._announced[key] = job_id

    def sender_left(self, began_at_s: float) -> None:
        """A client gave up on an export that it had sent."""
        world = self._world
        if world.is_dead or world.is_cut_short or self._plan is None:
            return
        if world.now_s - began_at_s >= CALL_TIMEOUT_S - 5:
            return
        grace_s = self._plan.limits.stop_grace_s
        waited_s = -1.0 if world.stop_requested_at_s is None else world.now_s - world.stop_requested_at_s
        world.require(waited_s >= grace_s - 0.001, "grace", f"a sent export was left after {waited_s} of {grace_s} s")

    # The order of things

    def event(self, event: BatchEvent) -> None:
        """The budget goes to items in the order in which they were taken up."""
        if event.key is None or event.key in self._settled or self._is_following:
            return
        if event.kind is EventKind.FINISHED and event.state is _S.SKIPPED:
            problem = self._log.items[event.key].problem
            if problem is not None and problem.kind == "InsufficientCreditsError":
                self._too_dear = min(self._too_dear, worst_price(self._videos[event.key]))
        elif event.kind is EventKind.RESERVED and event.key in self._places:
            price = worst_price(self._videos[event.key])
            self._world.require(
                price < self._too_dear, "stop", f"{event.key} for {price} after the vendor refused {self._too_dear}"
            )
            place = self._places.pop(event.key)
            self._world.require(place > self._last_place, "order", f"{event.key} reserved out of turn")
            self._last_place = place

    # Results and outcomes

    def download_begins(self, name: str, job_id: str) -> None:
        self._world.require(name not in self._downloads, "I9", f"{name} is written twice at once")
        self._downloads.add(name)
        bound = [item for item in self._log.items.values() if item.job_id == job_id]
        self._world.require(
            len(bound) == 1 and bound[0].state is _S.FETCHING, "I6", f"{job_id} is fetched, and is {bound}"
        )

    def download_ends(self, name: str) -> None:
        self._downloads.discard(name)

    def hinted(self, key: str, job_id: str) -> None:
        """A webhook has come in on the path of an item."""
        self._hinted.add((key, job_id))

    def outcome_made(self, outcome: Outcome) -> None:
        """A run has put an outcome into its stream."""
        item = self._log.items[outcome.key]
        if outcome.state in _LEFT_FOR:
            # A job that is known is polled to its end, also one that was found out in the course of the run.
            is_left = isinstance(outcome.error, _LEFT_FOR[outcome.state])
            self._world.require(is_left, "I5", f"left for {outcome.error!r}: {shown(item)}")
        # Whoever has just read the journal need not know of what the same commit has settled.
        is_new = self._world.now_s - self._settled.get(outcome.key, -math.inf) < 0.02
        if outcome.request.fingerprint == item.request.fingerprint and not is_new:
            self._world.require(outcome.state is item.state, "I5", f"reported as {outcome.state}: {shown(item)}")

    def outcome_read(self, outcome: Outcome) -> None:
        """The reader has taken an outcome."""
        require, key = self._world.require, outcome.key
        item = self._log.items[key]
        if self.is_impostor(outcome.request):
            self._impostors_reported += 1
            require(outcome.state is _S.REJECTED, "I5", f"another video under the key {key} is {outcome.state}")
            return
        self._reported[key] += 1
        # What a person has given up meanwhile is news, to whoever asks for it.
        is_given_up = key in self._settled and outcome.state is _S.FAILED and outcome.job is None
        is_once = self._reported[key] == 1 or (self._reported[key] == 2 and is_given_up)
        is_once |= self._is_following and self._is_tried_again(outcome)
        self._last_read[key] = outcome.state, type(outcome.error).__name__
        require(is_once, "I5", f"{key} was reported {self._reported[key]} times in one run")
        # A client may bring again what was refused for a reason that may have passed.
        is_brought_again = outcome.state is _S.REJECTED and item.state is not _S.REJECTED and self._is_following
        if (
            key in self._settled
            or is_brought_again
            or (self._is_following and outcome.state in (_S.SKIPPED, *_LEFT_FOR))
        ):
            # It may be on its way again by the time it is read.
            return
        require((outcome.state is _S.DONE) == (outcome.error is None), "I5", f"{outcome.error!r}: {shown(item)}")
        require(outcome.state is item.state, "I5", f"read as {outcome.state}: {shown(item)}")
        require(outcome.state in _REPORTABLE, "I5", f"reported in the middle: {shown(item)}")
        require(outcome.credits in (None, item.spent_credits), "I5", f"{outcome.credits} credits: {shown(item)}")
        told = None if outcome.job is None else outcome.job.job_id
        require(told == item.job_id, "I5", f"reported with the job {told}: {shown(item)}")

    def _is_tried_again(self, outcome: Outcome) -> bool:
        """Who follows the journal tries again, takes up what was settled, and tells each reason to leave a job once."""
        state, reason = self._last_read.get(outcome.key, (None, ""))
        is_news = (outcome.state, type(outcome.error).__name__) != (state, reason)
        # What was refused for a passing reason and is handed in again is looked at again.
        may_have_passed = state is _S.REJECTED and may_pass(Problem(reason, ""))
        return state in (_S.SKIPPED, _S.UNCERTAIN) or may_have_passed or (state in _LEFT_FOR and is_news)
