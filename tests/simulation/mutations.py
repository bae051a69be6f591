"""Planted bugs: each is put into a copy of the package, and the simulation must catch it.

    python -m tests.simulation.mutations                  all of them, a table
    python -m tests.simulation.mutations --only resend    those whose name says so

A bug that survives is an invariant, or a scenario, that is missing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs

__all__ = ["MUTATIONS", "Finding", "Mutation", "patched", "try_out"]

ROOT: Final = Path(__file__).parents[2]
SEEDS_MAX: Final = 2000
WALL_MAX_S: Final = 240.0
"""A run that takes longer hangs, and that is found, too."""


@attrs.frozen
class Patch:
    """One text of a file of the package, and what stands there instead."""

    file: str
    old: str
    new: str


@attrs.frozen
class Mutation:
    """A bug, as somebody might write it."""

    name: str
    patches: tuple[Patch, ...]
    campaign: str = "tests.simulation"
    """The module whose seeds must catch it."""


@attrs.frozen
class Finding:
    """What became of a bug."""

    mutation: Mutation
    invariant: str | None
    """Which invariant caught it; None: it survived."""
    seeds: int
    """How many seeds that took."""
    wall_s: float


def _bug(name: str, file: str, old: str, new: str, *more: Patch) -> Mutation:
    return Mutation(name, (Patch(file, old, new), *more))


def _file_bug(name: str, file: str, old: str, new: str, *more: Patch) -> Mutation:
    return Mutation(name, (Patch(file, old, new), *more), campaign="tests.simulation.journal_files")


_WIRE: Final = (
    _bug(
        "the intent is written after the body has left",
        "_transport/send_progress.py",
        """            await self.announce()
            self.progress = max(self.progress, SendProgress.HEADERS_BEGUN)
""",
        """            self.progress = max(self.progress, SendProgress.HEADERS_BEGUN)
        elif event.endswith(".send_request_body.complete"):
            await self.announce()
""",
    ),
    _bug(
        "a body under way counts as headers",
        "_transport/send_progress.py",
        'elif event.endswith(".send_request_body.started"):\n            self.progress = SendProgress.BODY_BEGUN',
        'elif event.endswith(".send_request_body.complete"):\n            self.progress = SendProgress.BODY_BEGUN',
    ),
    _bug(
        "a proxy's CONNECT counts as the export",
        "_transport/send_progress.py",
        'if request is None or request.method == b"CONNECT":',
        "if request is None:",
    ),
    _bug(
        "on a caller's client a failure counts as not sent",
        "_transport/send_progress.py",
        "if not self._has_events and not proves_nothing_left(error):",
        "if not self._has_events and isinstance(error, AssertionError):",
    ),
    _bug(
        "on a caller's client a deadline counts as not sent",
        "_transport/send_progress.py",
        """        if not self._has_events:
            self.progress = SendProgress.BODY_BEGUN
""",
        """        if self._has_events:
            self.progress = SendProgress.BODY_BEGUN
""",
    ),
    _bug(
        "on a caller's client no intent is written",
        "_transport/pool.py",
        "        if outgoing.watch is not None and not self._sender.tells_progress:\n"
        "            await outgoing.watch.announce()\n",
        "",
    ),
)

_RETRIES: Final = (
    _bug(
        "a 5xx is sent again",
        "_core/retry.py",
        "    if isinstance(error, errors.RateLimitError):\n        return Verdict.PAUSE\n    if not isinstance",
        "    if isinstance(error, (errors.RateLimitError, errors.ServerError)):\n        return Verdict.PAUSE\n"
        "    if not isinstance",
    ),
    _bug(
        "a reply that cannot be understood is sent again",
        "_core/retry.py",
        "    if not isinstance(error, errors.APIError) or not error.is_from_vendor or _may_be_anybodys(error):\n"
        "        return Verdict.UNKNOWN\n",
        "    if isinstance(error, errors.ProtocolError):\n        return Verdict.RETRY\n"
        "    if not isinstance(error, errors.APIError) or not error.is_from_vendor or _may_be_anybodys(error):\n"
        "        return Verdict.UNKNOWN\n",
    ),
    _bug(
        "a gateway's page counts as the vendor's word",
        "_core/retry.py",
        "if not isinstance(error, errors.APIError) or not error.is_from_vendor or _may_be_anybodys(error):",
        "if not isinstance(error, errors.APIError):",
    ),
    _bug(
        "a broken connection is sent again, however far it got",
        "_core/retry.py",
        "return Verdict.UNKNOWN if progress is SendProgress.BODY_BEGUN else Verdict.RETRY",
        "return Verdict.RETRY",
    ),
    _bug(
        "an unknown code counts as a refusal",
        "_core/retry.py",
        "return Verdict.GIVE_UP if isinstance(error, refusals) else Verdict.UNKNOWN",
        "return Verdict.UNKNOWN if isinstance(error, errors.ServerError) else Verdict.GIVE_UP",
    ),
    _bug(
        "cancellation strikes a sent export",
        "_tasks.py",
        "        self.scope.shield = True\n",
        "        self.scope.shield = False\n",
    ),
    _bug(
        "a cancelled export is never let go",
        "_tasks.py",
        "                    tasks.start_soon(uninterrupted(self._end_after_grace))\n",
        "                    pass\n",
    ),
    _bug(
        "an attempt that was not accepted is not written down",
        "_vendor/calls.py",
        "                await self.observer.not_accepted()\n",
        "                pass\n",
    ),
    _bug(
        "an export that may be accepted is written down as not accepted",
        "_vendor/calls.py",
        "            if decision.verdict is Verdict.UNKNOWN:\n                raise _UnknownError(error)\n"
        "            if export is not None:\n                await export.not_accepted()\n",
        "            if export is not None:\n                await export.not_accepted()\n"
        "            if decision.verdict is Verdict.UNKNOWN:\n                raise _UnknownError(error)\n",
    ),
    _bug(
        "a deadline breaks the intent off",
        "_vendor/calls.py",
        "        with anyio.CancelScope(shield=True):\n            await self.observer.sending()\n",
        "        await self.observer.sending()\n",
    ),
    _bug(
        "the job id of another is believed",
        "_core/protocol/dialect.py",
        "        if wire.job_id is not None and not _is_same_id(wire.job_id, job_id):\n",
        "        if wire.job_id is None and job_id is None:\n",
    ),
    _bug(
        "an unknown status is final",
        "models.py",
        "return self in (JobStatus.COMPLETED, JobStatus.ERROR)",
        "return self not in (JobStatus.WAITING, JobStatus.CONVERTING)",
    ),
)

_STATES: Final = (
    _bug(
        "resume sends again what was under way",
        "_core/itemstate.py",
        "        _S.SUBMITTING: _S.UNCERTAIN,\n        _S.SUBMITTED: _S.SUBMITTED,",
        "        _S.SUBMITTING: _S.QUEUED,\n        _S.SUBMITTED: _S.SUBMITTED,",
    ),
    _bug(
        "a lost reply gives the reservation back",
        "_core/itemstate.py",
        "        return attrs.evolve(item, problem=self.problem, finished_at=self.at)\n\n\n@attrs.frozen\nclass Refused:",
        "        return attrs.evolve(item, problem=self.problem, finished_at=self.at, reserved_credits=0)\n\n\n"
        "@attrs.frozen\nclass Refused:",
    ),
    _bug(
        "what the vendor doesn't price costs nothing",
        "_core/itemstate.py",
        "charged = item.reserved_credits if self.credits_told is None else self.credits_told",
        "charged = self.credits_told or 0",
    ),
    _bug(
        "a failed job is always refunded",
        "_core/itemstate.py",
        "charged = item.charged_credits if self.is_charged else 0",
        "charged = 0",
    ),
    _bug(
        "paying again forgets the first payment",
        "_core/itemstate.py",
        "            _written_off(item),\n            job_id=None,",
        "            attrs.evolve(item, reserved_credits=0),\n            job_id=None,",
    ),
    _bug(
        "a refused item keeps its reservation",
        "_core/itemstate.py",
        """    \"""A limit, or the vendor, refused it: not charged.\"""

    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, reserved_credits=0, finished_at=self.at)
""",
        """    problem: Problem
    at: float

    def apply(self, item: Item) -> Item:
        return attrs.evolve(item, problem=self.problem, finished_at=self.at)
""",
    ),
    _bug(
        "the signature of a waiting video is forgotten",
        "batch/journal/rows.py",
        "return item.state in _NEEDS_URL or is_waiting(item)",
        "return item.state in _NEEDS_URL",
    ),
)

_MONEY: Final = (
    _bug(
        "an unknown export's reservation is released",
        "_core/ledger.py",
        "        credits_upper = self._open.pop(key)\n        self.held += credits_upper\n",
        "        self.release(key)\n",
    ),
    _bug(
        "a reservation is settled twice",
        "_core/ledger.py",
        "        self._close(key)\n        self.spent += credits_charged\n",
        "        self._close(key)\n        self.spent += 2 * credits_charged\n",
    ),
    _bug(
        "reservations don't count against the budget",
        "_core/ledger.py",
        "max(0, self.budget - self.spent - self.reserved)",
        "max(0, self.budget - self.spent)",
    ),
    _bug(
        "an exact fit doesn't fit",
        "_core/ledger.py",
        "credits_upper > self.left - promised_to_others:",
        "credits_upper >= self.left - promised_to_others:",
    ),
    _bug(
        "a released reservation stays",
        "_core/ledger.py",
        '        """Give the reservation of `key` back: it was certainly not charged."""\n        self._close(key)\n',
        '        """Give the reservation of `key` back: it was certainly not charged."""\n        self._open.pop(key)\n',
    ),
    _bug(
        "a refund is taken back twice",
        "_core/ledger.py",
        "        self.spent -= credits_charged\n",
        "        self.spent -= credits_charged\n        self.reserved -= credits_charged\n",
    ),
    _bug(
        "the budget is looked at before the turn comes, not when it is reserved",
        "batch/run/submission.py",
        "            await self.turnstile.wait(ticket)\n",
        "            left = self._bookkeeper.ledger.left\n"
        "            await self.turnstile.wait(ticket)\n"
        "            if left is not None and credits_upper > left:\n"
        "                return await self._skip(item, errors.BudgetExceededError(credits_upper, left))\n"
        "            await anyio.lowlevel.checkpoint()\n",
        Patch(
            "_core/ledger.py",
            "        if self.left is not None and credits_upper > self.left - promised_to_others:\n            return False\n",
            "",
        ),
        Patch(
            "batch/run/submission.py",
            "import anyio\nimport attrs\n",
            "import anyio\nimport anyio.lowlevel\nimport attrs\n",
        ),
    ),
    _bug(
        "a resumed batch forgets what was spent",
        "batch/scheduler.py",
        "            spent=books.spent_credits,\n",
        "            spent=0,\n",
    ),
    _bug(
        "what earlier runs reserved counts as free to come back",
        "batch/scheduler.py",
        "            held=books.reserved_credits,\n",
        "",
    ),
    _bug(
        "the ledger follows before the journal",
        "batch/books.py",
        "            await self.journal.put(after)\n            follow(self.ledger, item, event, after)\n",
        "            follow(self.ledger, item, event, after)\n            await self.journal.put(after)\n",
    ),
    _bug(
        "a second run believes the first one's ledger",
        "batch/scheduler.py",
        "            if self._open.is_rerun or self._bookkeeper.is_in_doubt:\n",
        "            if self._bookkeeper.is_in_doubt:\n",
    ),
    _bug(
        "a person and a webhook settle the same item",
        "batch/books.py",
        "    if item is None or item.state is not ItemState.UNCERTAIN:\n        return item, None\n"
        "    after = advance(item, event)\n",
        "    if item is None:\n        return item, None\n    after = advance(attrs.evolve(item, state=ItemState.UNCERTAIN), event)\n",
    ),
    _bug(
        "a source of unknown size is no larger than the target",
        "_core/pricing.py",
        " or [len(tariff.tiers) - 1]",
        " or [target_tier]",
    ),
    _bug(
        "minutes are rounded down",
        "_core/pricing.py",
        "math.ceil(worst.duration_s / 60)",
        "math.floor(worst.duration_s / 60)",
    ),
    _bug(
        "an item of the budget's end is skipped while room may come",
        "batch/run/submission.py",
        "if self._when_full is WhenFull.SKIP or not ledger.may_free_up:",
        "if True:",
    ),
    _bug(
        "the account's empty state rejects a video for good",
        "batch/run/submission.py",
        "            self._count_credit_refusal(item.reserved_credits, error)\n"
        "            return await self._skip(observer.item, error)\n",
        "            return await self._refuse(observer.item, error)\n",
    ),
    _bug(
        "the account's empty state stops nothing",
        "batch/run/submission.py",
        "            self._count_credit_refusal(item.reserved_credits, error)\n"
        "            return await self._skip(observer.item, error)\n",
        "            return await self._skip(observer.item, error)\n",
    ),
    _bug(
        "workers don't wait their turn",
        "batch/run/submission.py",
        "            await self.turnstile.wait(ticket)\n",
        "",
    ),
    _bug(
        "a worker that fails keeps its turn",
        "batch/run/submission.py",
        "        finally:\n            self.turnstile.leave(ticket)\n",
        "        else:\n            self.turnstile.leave(ticket)\n",
    ),
    _bug(
        "nobody is told of room in the budget",
        "batch/run/submission.py",
        "        finally:\n            self._announce_settled()\n",
        "        finally:\n            pass\n",
    ),
    _bug(
        "a job id that another item has ends the batch",
        "batch/run/export_record.py",
        "        except JobIdTakenError as error:\n"
        "            self.item = await bookkeeper.record(self.item, ReplyLost(problem_of(error), bookkeeper.clock()))\n"
        "            self.error = error\n",
        "",
    ),
)

_BATCH: Final = (
    _bug(
        "a known key is taken up twice in a run",
        "batch/run/intake.py",
        "        if item.run == self._run or item.request.fingerprint != request.fingerprint:\n",
        "        if item.request.fingerprint != request.fingerprint:\n",
    ),
    _bug(
        "a taken item is worked on in its old version",
        "batch/run/intake.py",
        "        store.put(taken)\n        return before, item, taken\n",
        "        store.put(taken)\n        return before, item, item\n",
    ),
    _bug(
        "another video under a known key passes",
        "batch/run/intake.py",
        "        if before is not None and item.request.fingerprint != request.fingerprint:\n            return Conflict(",
        "        if before is not None and item.key != request.key:\n            return Conflict(",
    ),
    _bug(
        "the place in the journal is kept from one stage to the next",
        "batch/run/intake.py",
        "                    self._stages.pop(0)\n                    self._cursor = Cursor()\n",
        "                    self._stages.pop(0)\n",
    ),
    _bug(
        "what is found uncertain is not reported",
        "batch/run/intake.py",
        "            (ItemState.UNCERTAIN,),\n",
        "",
    ),
    _bug(
        "what a webhook has settled is taken up twice",
        "batch/run/intake.py",
        "if self._was_given_out(item) or not self._is_anew(item):",
        "if not self._is_anew(item):",
    ),
    _bug(
        "what is settled before its turn is taken up twice",
        "batch/run/intake.py",
        "            if adopted is not None and not self._is_at_hand(adopted):\n",
        "            if adopted is not None:\n",
    ),
    _bug(
        "a queued item is not taken up again",
        "batch/run/intake.py",
        "            *([_LEFT] if follower is None else",
        "            *([(ItemState.SKIPPED,)] if follower is None else",
    ),
    _bug(
        "an opening has no number of its own",
        "batch/journal/opening.py",
        "    store.set_setting(RUN_SETTING, str(run))\n",
        "",
    ),
    _bug(
        "an opening overlooks what was under way",
        "batch/journal/opening.py",
        "    while rows := store.page((ItemState.SUBMITTING,), Cursor(), PAGE_ITEMS):\n",
        "    while rows := store.page((), Cursor(), PAGE_ITEMS):\n",
    ),
    _bug(
        "three pages of a gateway fail a paid job",
        "_core/patience.py",
        "    if isinstance(error, refusals) and is_own_word(error):\n",
        "    if isinstance(error, errors.APIError):\n",
        Patch(
            "_core/patience.py",
            "                if doubt.count >= REFUSALS_MIN and now - doubt.since >= self._patience_s:\n",
            "                if doubt.count >= REFUSALS_MIN:\n",
        ),
    ),
    _bug(
        "one refused poll fails a paid job",
        "_core/patience.py",
        "                if doubt.count >= REFUSALS_MIN and now - doubt.since >= self._patience_s:\n",
        "                if True:\n",
    ),
    _bug(
        "any failed download loses the result",
        "batch/run/results.py",
        "            elif error.is_gone:\n",
        "            elif not error.is_taken:\n",
    ),
    _bug(
        "a result that is not stored is nobody's warning",
        "batch/run/results.py",
        "                if error.is_unstored:\n",
        "                if error.is_taken:\n",
    ),
    _bug(
        "a result that is stored lifts no stop",
        "batch/run/results.py",
        "            self._submission.stored()\n",
        "",
    ),
    _bug(
        "a folder is not tried before it is paid for",
        "batch/run/submission.py",
        "        if not self._is_output_checked:\n",
        "        if self._is_output_checked:\n",
    ),
    _bug(
        "one refusal loses the result",
        "batch/run/results.py",
        "age_s=age_s) if error.is_refused else None\n",
        "age_s=age_s) if error.is_taken else None\n",
    ),
    _bug(
        "a result that was on disk already is fetched in vain",
        "batch/run/fetch.py",
        "                adopts=flight.kind.was_fetching,\n",
        "                adopts=False,\n",
    ),
    _bug(
        "DONE is written before the result is on disk",
        "batch/run/polling.py",
        "        if not self._has_output or not flight.kind.has_target:\n",
        "        if self._output is not None or not flight.kind.has_target:\n",
    ),
    _bug(
        "an outcome leaves before it is durable",
        "batch/run/polling.py",
        "        item = await self._bookkeeper.change(flight.key, self._vendor_failed(error))\n"
        "        self._jobs.land(flight, item, error)\n",
        "        self._jobs.land(flight, advance(await self._jobs.item_of(flight), self._vendor_failed(error)), error)\n"
        "        await self._bookkeeper.change(flight.key, self._vendor_failed(error))\n",
        Patch(
            "batch/run/polling.py",
            "from hitpaw_async._core.itemstate import Completed, Saved, VendorFailed\n",
            "from hitpaw_async._core.itemstate import Completed, Saved, VendorFailed, advance\n",
        ),
    ),
    _bug(
        "a run ends with the first that lands",
        "batch/run/jobs_in_flight.py",
        "        while self.flights:\n",
        "        if self.flights:\n",
    ),
    _bug(
        "a landing wakes nobody",
        "batch/run/jobs_in_flight.py",
        "        self._landed.set()\n",
        "",
    ),
    _bug(
        "a settled item is reported as it was",
        "batch/run/polling.py",
        "        self._jobs.land(flight, now)\n",
        "        self._jobs.land(flight, attrs.evolve(now, state=ItemState.UNCERTAIN))\n",
        Patch("batch/run/polling.py", "import anyio\n\n", "import anyio\nimport attrs\n\n"),
    ),
    _bug(
        "what a person has bound meanwhile is not gone on with",
        "batch/run/polling.py",
        "        if now.state in POLLED:\n            return await self._ask_for(flight)\n        if now.state is",
        "        if now.state is",
    ),
    _bug(
        "what is to be paid again is left to nobody",
        "batch/run/polling.py",
        "if now.state is ItemState.QUEUED and self._jobs.takes_up_again:",
        "if False:",
    ),
    _bug(
        "a vendor that took nothing is not tried again",
        "batch/run/follow.py",
        "        self._submission.resume()\n",
        "",
    ),
    _bug(
        "what a service has left is left for good",
        "batch/run/follow.py",
        "        return None if key is None else await self._find(key)\n",
        "        return None\n",
    ),
    _bug(
        "what a service leaves is told with each try",
        "_core/retry_queue.py",
        "        return is_news\n",
        "        return True\n",
    ),
    _bug(
        "the place of what is left again is not given back",
        "batch/run/jobs_in_flight.py",
        "            self._remove(flight)\n            self._outbox.give_back_place()\n\n    async def item_of",
        "            self._remove(flight)\n\n    async def item_of",
    ),
    _bug(
        "what is left waits longer and longer",
        "_core/retry_queue.py",
        "min(before.pause_s * GROWTH, self._pause_max_s)",
        "before.pause_s * GROWTH**4",
    ),
    _bug(
        "a webhook's job id is believed unasked",
        "batch/reconcile.py",
        "    await calls.task(job_id)\n",
        "",
    ),
    _bug(
        "a reader's place is not given back",
        "batch/run/outcome_stream.py",
        "        if self._outcomes:\n            self.give_back_place()\n",
        "        if self._outcomes:\n",
    ),
    _bug(
        "the place of the input's end is not given back",
        "batch/run/run.py",
        "                self._submission.turnstile.leave(ticket)\n                self._outbox.give_back_place()\n",
        "                self._submission.turnstile.leave(ticket)\n",
    ),
    _bug(
        "the turn of a video that was taken before is never given up",
        "batch/run/run.py",
        "                self._submission.turnstile.leave(ticket)\n                self._outbox.give_back_place()\n",
        "                self._outbox.give_back_place()\n",
    ),
    _bug(
        "a job that is asked for stays due",
        "batch/run/poller.py",
        "        job.due_at = NEVER\n        self._waiting -= 1\n",
        "        job.due_at += 0.1\n        self._place(job)\n",
    ),
)

_JOURNAL: Final = (
    _bug(
        "nobody waits for the journal",
        "batch/journal/group_commit.py",
        "        await self.do(lambda store: store.put(item))\n",
        "        self._queue.append(Pending(lambda store: store.put(item)))\n        self._wake.set()\n",
    ),
    _bug(
        "a failed commit is taken for a good one",
        "batch/journal/group_commit.py",
        "        for pending in group:\n            pending.error = error\n",
        "        del error\n",
    ),
    _bug(
        "the journal is closed before the run has ended",
        "batch/scheduler.py",
        "                    tasks.start_soon(uninterrupted(self._close_journal))\n",
        "                    journal.close()\n                    opened.hint_scope.cancel()\n",
    ),
    _bug(
        "whoever waits for a closed journal waits for ever",
        "batch/journal/group_commit.py",
        "        if self._has_ended:\n            raise _closed()\n",
        "",
        Patch(
            "batch/scheduler.py",
            "                await self._open.run_ended.wait()\n            self._open.hint_scope.cancel()\n",
            "                pass\n            self._open.hint_scope.cancel()\n",
        ),
    ),
    _bug(
        "a job id is bound to two items",
        "batch/journal/memory.py",
        "        if item.job_id is not None and self._keys_by_job.setdefault(item.job_id, item.key) != item.key:\n",
        "        if item.job_id is not None and self._keys_by_job.setdefault(item.job_id, item.key) is None:\n",
    ),
    _bug(
        "pages begin anew after each priority",
        "batch/journal/memory.py",
        "(-after.priority, after.sequence)",
        "(-after.priority - 1, after.sequence)",
    ),
)

_PARTS: Final = (
    _bug(
        "nobody asks who is there before the first export",
        "batch/run/submission.py",
        "            await self._require_vendor()\n            held_back_by",
        "            held_back_by",
    ),
    _bug(
        "a gateway's page answers the first question",
        "_core/protocol/dialect.py",
        "        if has_envelope(reply):\n            return\n        if isinstance(failure, _TRANSIENT):",
        "        if reply.body:\n            return\n        if isinstance(failure, _TRANSIENT):",
    ),
    _bug(
        "a reservation of an unknown price of a minute is given back whole",
        "_core/giveback.py",
        "    if minute_credits is None or result_s is None or not 0 < result_s < math.inf:\n        return charged\n",
        "    if minute_credits is None:\n        return 0\n"
        "    if result_s is None or not 0 < result_s < math.inf:\n        return charged\n",
    ),
    _bug(
        "what is given back is not taken off the books",
        "batch/books.py",
        "        case VendorFailed() | Saved():\n",
        "        case VendorFailed():\n",
    ),
    _bug(
        "a word that nobody knows ends a paid job",
        "_core/patience.py",
        "        return Ruling.LEAVE if now - doubt.troubled_since >= self._strange_max_s else Ruling.ASK_AGAIN",
        "        return Ruling.BELIEVE",
    ),
    _bug(
        "a single word for a failure ends a paid job",
        "_core/patience.py",
        "FAILED_WORDS_MIN: Final = 2",
        "FAILED_WORDS_MIN: Final = 0",
    ),
)

_JOURNAL_FILES: Final = (
    _file_bug(
        "an older copy from a backup is worked on",
        "batch/journal/watermark.py",
        "    if mark is None or found.commits >= mark.commits:\n        return\n",
        "    if last_path is not None or mark is None or found.commits >= mark.commits:\n        return\n",
    ),
    _file_bug(
        "the marks stay where they were at the opening",
        "batch/journal/claim.py",
        "        for lock in (self._lock, self._outside):\n",
        "        for lock in ():\n",
    ),
    _file_bug(
        "commits are kept beside the journal alone",
        "batch/journal/claim.py",
        "        for lock in (self._lock, self._outside):\n            if lock is not None:\n",
        "        for lock in (self._lock, self._outside):\n            if lock is self._lock:\n",
    ),
    _file_bug(
        "an intent that changed no row is sent",
        "batch/journal/sqlite.py",
        "        if changed.rowcount != 1:\n",
        "        if changed.rowcount != 1 and item.state is not ItemState.SUBMITTING:\n",
    ),
    _file_bug(
        "nobody but the names of a journal keeps a second process out",
        "batch/journal/claim.py",
        "            self._outside = FileLock(path)\n        except JournalBusyError:\n            raise\n",
        "            self._outside = FileLock(path)\n        except JournalBusyError:\n            return\n",
        Patch(
            "batch/journal/claim.py",
            "        if said == self._holder.to_text():\n            return\n",
            "        if said:\n            return\n",
        ),
        Patch(
            "batch/journal/claim.py",
            "        if not self._database.is_there():\n",
            "        if self._mark is None:\n",
        ),
    ),
    _file_bug(
        "an empty file in a journal's place is a new journal",
        "batch/journal/watermark.py",
        "    if mark is None:\n        return\n    if found is None:\n",
        "    if mark is None or found is None:\n        return\n    if found is None:\n",
    ),
)

MUTATIONS: Final = (*_WIRE, *_RETRIES, *_STATES, *_MONEY, *_BATCH, *_JOURNAL, *_PARTS, *_JOURNAL_FILES)


def try_out(mutation: Mutation, *, seeds_max: int = SEEDS_MAX) -> Finding:
    """Run the simulation on a copy of the package that has the bug, seed after seed, until one catches it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy(root)
        for file, text in patched(mutation).items():
            (root / "hitpaw_async" / file).write_text(text, encoding="utf-8")
        began_at_s = time.monotonic()
        invariant, seeds = _first_violation(root, seeds_max, campaign=mutation.campaign)
        return Finding(mutation, invariant, seeds, time.monotonic() - began_at_s)


def _copy(root: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "samples", "cli", "simulator")
    shutil.copytree(ROOT / "hitpaw_async", root / "hitpaw_async", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "simulation", root / "tests" / "simulation", ignore=ignored)
    (root / "tests" / "__init__.py").touch()


def patched(mutation: Mutation) -> dict[str, str]:
    """The files of the package that a bug changes, with the bug in them."""
    texts: dict[str, str] = {}
    for patch in mutation.patches:
        text = texts.get(patch.file) or (ROOT / "hitpaw_async" / patch.file).read_text(encoding="utf-8")
        found = text.count(patch.old)
        assert found == 1, f"{patch.file} has {found} times: {patch.old!r}. Bring the mutation up to date."
        texts[patch.file] = text.replace(patch.old, patch.new)
    return texts


def _first_violation(root: Path, seeds_max: int, *, campaign: str) -> tuple[str | None, int]:
    """The first invariant that breaks, and the seed at which it does."""
    command = [sys.executable, "-m", campaign, "--seeds", f"1..{seeds_max}", "--until-violation"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=WALL_MAX_S, check=False)
    except subprocess.TimeoutExpired:
        return "hangs", 1
    match = re.search(r"^seed (\d+) broke (\S+):", done.stdout, re.MULTILINE)
    if match is not None:
        return match[2], int(match[1])
    assert done.returncode == 0, f"the simulation itself failed:\n{done.stderr[-3000:]}"
    return None, seeds_max


def main() -> int:
    """Try all mutations out, print a table. Returns 1 where one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--seeds-max", type=int, default=SEEDS_MAX, help="seeds for each")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at once")
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if arguments.only in mutation.name]
    survivors = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for finding in pool.map(lambda mutation: try_out(mutation, seeds_max=arguments.seeds_max), chosen):
            survivors += finding.invariant is None
            sys.stdout.write(_row(finding))
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} caught\n")
    return 1 if survivors else 0


def _row(finding: Finding) -> str:
    caught = finding.invariant or "SURVIVED"
    return f"{finding.seeds:6d}  {caught:10}  {finding.wall_s:5.1f} s  {finding.mutation.name}\n"


if __name__ == "__main__":
    sys.exit(main())
