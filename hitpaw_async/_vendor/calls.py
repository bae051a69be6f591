"""The vendor's calls, with retries, pauses and the guard around a sent export. One object a client."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._core.protocol.messages import NOBODYS_JOB
from hitpaw_async._core.retry import CallKind, RetryBudget, SendProgress, Verdict, decide
from hitpaw_async._errors import telling_bugs
from hitpaw_async._redact import sealed
from hitpaw_async._tasks import Guard, LoopLocal
from hitpaw_async._transport import Connection, SendWatch
from hitpaw_async._vendor.settings import EXPORT_GRACE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitpaw_async._core.protocol.dialect import Dialect
    from hitpaw_async._core.protocol.messages import Call, Reply
    from hitpaw_async._transport import HTTPPool
    from hitpaw_async._vendor.credentials import ApiKey
    from hitpaw_async.models import ExportRequest, Job
    from hitpaw_async.policies import RetryPolicy

__all__ = ["ExportObserver", "StrangeHostError", "VendorCalls"]

_LOG = logging.getLogger("hitpaw_async")

T = TypeVar("T")


class ExportObserver(Protocol):
    """Observer of an export, attempt by attempt, which records the outcome."""

    async def sending(self) -> None:
        """The connection stands, nothing has been written: the intent must be durable when this returns.

        Not cancelled while it runs.
        """
        ...

    async def not_accepted(self) -> None:
        """The attempt certainly was not accepted; another one may follow. Not cancelled while it runs."""
        ...

    async def accepted(self, job: Job) -> None:
        """The vendor answered with a job id. Not cancelled while it runs."""
        ...


class VendorCalls:
    """Sends the vendor's calls through a pool, under one retry budget and one pause for all of them."""

    def __init__(
        self,
        pool: HTTPPool,
        *,
        base_url: str,
        api_key: ApiKey,
        dialect: Dialect,
        timeout_s: float,
        export_timeout_s: float | None = None,
        retry: RetryPolicy,
        random_source: random.Random | None = None,
    ) -> None:
        self._pool = pool
        self._base_url = base_url
        self._api_key = api_key
        self._dialect = dialect
        self._timeouts_s = {CallKind.TASK: timeout_s, CallKind.EXPORT: export_timeout_s or timeout_s}
        self._retry = retry
        self._budget = RetryBudget(retry.budget_tokens, retry.budget_refill)
        self._random = random_source or random.Random()  # noqa: S311 (jitter, not secrecy)
        # Each event loop has a clock of its own.
        self._pauses = LoopLocal(_Pause)
        self._host_locks = LoopLocal(anyio.Lock)
        self._is_host_checked = False
        self.task_calls = 0
        self.throttled = 0
        """Number of HTTP 429 replies from the vendor."""

    @property
    def is_pausing(self) -> bool:
        """True if the whole client sends nothing now, because the vendor asked for it."""
        return anyio.current_time() < self._pauses.get().ends_at

    def draw(self) -> float:
        """A random number from [0, 1), for jitter."""
        return self._random.random()

    async def export(
        self,
        request: ExportRequest,
        *,
        observer: ExportObserver,
        web_hook_url: str | None = None,
        grace_s: float | Callable[[], float] = EXPORT_GRACE_S,
    ) -> Job:
        """Submit a video once. From `observer.sending` on, cancellation waits up to `grace_s` for the answer.

        Raises:
            SubmissionUnknownError: It may have been accepted. It is not sent again.
            TransportError: It certainly was not accepted, and the retries are used up.
            APIError: The vendor refused it.
            ConfigurationError: The address redirects.
        """
        guard = Guard(grace_s)
        attempt = _ExportAttempt(guard, observer)
        call = self._dialect.encode_export(request, web_hook_url=web_hook_url)

        async def submit() -> Job:
            try:
                job = await self._call(call, self._dialect.decode_export, attempt)
            except _UnknownError as unknown:
                reason = str(unknown.reason)
            else:
                with anyio.CancelScope(shield=True):
                    await attempt.observer.accepted(job)
                return job
            raise errors.SubmissionUnknownError(request, reason)

        return await guard.run(submit)

    async def require_vendor(self) -> None:
        """Find out, once and at no cost, whether the vendor is there at all. Call it before the first export of many.

        A host that is not the vendor would leave nobody knowing of each export whether it was accepted. Without an
        answer, or after a transient failure, nothing is known: then the export itself finds out.

        Raises:
            AuthenticationError: The key was refused.
            StrangeHostError: The answer is not the vendor's.
        """
        async with self._host_locks.get():
            if not self._is_host_checked:
                await self._check_host()
                self._is_host_checked = True

    async def _check_host(self) -> None:
        call = self._dialect.encode_task(NOBODYS_JOB)
        try:
            await self._call(call, self._dialect.require_vendor, None)
        except errors.ProtocolError as error:
            reason = str(error)
        except (errors.TransportError, errors.ServerError, errors.RateLimitError) as error:
            _LOG.info("Whether %s is the vendor could not be found out: %s", self._base_url, error)
            return
        else:
            return
        raise StrangeHostError(
            f"{self._base_url} does not answer as HitPaw's Video Enhancer does, so nothing was submitted. {reason} "
            "Set the right address (--base-url, HITPAW_API_BASE_URL); by default it is https://api.hitpaw.com."
        )

    async def task(self, job_id: str) -> Job:
        """Ask for a job.

        Raises:
            APIError: The vendor refused the question.
            TransportError: No answer, and the retries are used up.
            ProtocolError: No answer that can be understood, and the retries are used up.
        """
        call = self._dialect.encode_task(job_id)
        self.task_calls += 1
        return await self._call(call, lambda reply: self._dialect.decode_task(reply, job_id=job_id), None)

    async def ask(self, call: Call, decode: Callable[[Reply], T]) -> T:
        """Send another call that costs nothing, as often as it takes.

        Raises:
            APIError: The vendor refused it.
            TransportError: No answer, and the retries are used up.
            ProtocolError: No answer that can be understood, and the retries are used up.
        """
        return await self._call(call, decode, None)

    async def _call(self, call: Call, decode: Callable[[Reply], T], export: _ExportAttempt | None) -> T:
        turn = _Turn()
        connection = Connection.FRESH if call.kind is CallKind.EXPORT else Connection.REUSED
        attempt = 0
        while True:
            attempt += 1
            # A question costs nothing, so it does not matter how far it got.
            watch = None if export is None else SendWatch(export.sending)
            error: errors.HitPawError
            try:
                answer = await self._attempt(call, decode, connection, watch, turn)
            except errors.HitPawError as failure:
                # The frames below have the key among their variables, and some tools show those.
                error = failure.with_traceback(None)
            else:
                self._budget.credit_success()
                return answer
            self.throttled += isinstance(error, errors.RateLimitError)
            if isinstance(error, errors.TransportError):
                # The next kept connection may be as stale as this one was.
                connection = Connection.FRESH
            if isinstance(error, errors.ProtocolError):
                # A reply that was sent twice would answer the next question on its connection, and so on.
                connection = Connection.FRESH
                await self._pool.retire()
            if isinstance(error, errors.JournalError):
                raise error
            decision = decide(
                call.kind,
                error,
                progress=SendProgress.BODY_BEGUN if watch is None else watch.progress,
                attempt=attempt,
                elapsed_s=turn.own_s(anyio.current_time()),
                policy=self._retry,
                budget=self._budget,
                draw=self.draw(),
            )
            if decision.verdict is Verdict.UNKNOWN:
                raise _UnknownError(error)
            if export is not None:
                await export.not_accepted()
            if decision.verdict is Verdict.GIVE_UP:
                raise error
            _LOG.info("%s call failed, attempt %d: %s Trying again.", call.kind.value, attempt, error)
            await self._wait(decision.wait_s, is_for_all=decision.verdict is Verdict.PAUSE)
            turn.asks_again(anyio.current_time())

    @telling_bugs
    async def _attempt(
        self,
        call: Call,
        decode: Callable[[Reply], T],
        connection: Connection,
        watch: SendWatch | None,
        turn: _Turn,
    ) -> T:
        """Make one attempt. A bug is raised as such: an export that may have left is uncertain after it, too."""
        reply = await self._post(call, connection, watch, turn)
        if watch is not None:
            watch.note_answer()
        return decode(reply)

    # The frames below have the key among their variables, whatever ends them.
    @sealed
    async def _post(self, call: Call, connection: Connection, watch: SendWatch | None, turn: _Turn) -> Reply:
        secret = self._api_key.reveal()
        return await self._pool.post(
            self._base_url + call.path,
            body=call.body,
            headers={self._dialect.key_header: secret, "accept": "application/json"},
            timeout_s=self._timeouts_s[call.kind],
            connection=connection,
            watch=watch,
            secrets=(secret,),
            admission=lambda: self._wait_for_turn(turn),
        )

    async def _wait(self, wait_s: float, *, is_for_all: bool) -> None:
        if is_for_all:
            pause = self._pauses.get()
            pause.ends_at = max(pause.ends_at, anyio.current_time() + wait_s)
        else:
            await anyio.sleep(wait_s)

    async def _wait_for_turn(self, turn: _Turn) -> None:
        """A connection may be used: wait while the whole client pauses."""
        # A pause may grow while it is waited for.
        pause = self._pauses.get()
        while (now := anyio.current_time()) < pause.ends_at:  # noqa: ASYNC110 (what is waited for is time)
            await anyio.sleep(pause.ends_at - now)
        turn.begins(now)


class StrangeHostError(errors.ConfigurationError):
    """The first call was not answered by the vendor: the address is wrong, or a gateway answers in its place."""


@attrs.define(eq=False)
class _Pause:
    """Until when the whole client sends nothing."""

    ends_at: float = float("-inf")


@attrs.define(eq=False)
class _Turn:
    """Time spent on a call, without waits for connections and pauses."""

    _asked_at: float = 0.0
    _began_at: float | None = None
    _held_up_s: float = 0.0

    def asks_again(self, now: float) -> None:
        """An attempt after the first one asks for its turn."""
        self._asked_at = now

    def begins(self, now: float) -> None:
        """It is its turn: a connection may be used, and no pause is on."""
        if self._began_at is None:
            self._began_at = now
        else:
            # Also the wait for a connection: those that have one may be waiting through a pause with it.
            self._held_up_s += now - self._asked_at

    def own_s(self, now: float) -> float:
        """Seconds that it has been trying for. Neither other calls nor pauses count."""
        return 0.0 if self._began_at is None else now - self._began_at - self._held_up_s


@attrs.define(eq=False)
class _ExportAttempt:
    """Shuts the guard when bytes are about to leave, opens it when they certainly led to nothing."""

    guard: Guard
    observer: ExportObserver
    _is_announced: bool = False

    async def sending(self) -> None:
        await self.guard.shut()
        self._is_announced = True
        # Half an intent is none: neither the call's deadline nor a cancellation breaks it off.
        with anyio.CancelScope(shield=True):
            await self.observer.sending()

    async def not_accepted(self) -> None:
        if self._is_announced:
            self._is_announced = False
            with anyio.CancelScope(shield=True):
                await self.observer.not_accepted()
        self.guard.open()


class _UnknownError(Exception):
    """An export may have been accepted."""

    def __init__(self, reason: errors.HitPawError) -> None:
        super().__init__(str(reason))
        self.reason = reason
