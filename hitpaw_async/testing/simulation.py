"""The simulated vendor around a test: whatever client the code under test opens, it ends here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Self
from unittest import mock
from weakref import WeakSet

import anyio.lowlevel
import attrs

from hitpaw_async._redact import redact_url
from hitpaw_async._session import Session
from hitpaw_async._transport import HTTPClient
from hitpaw_async._transport.in_process import ASGIApp, app_client
from hitpaw_async._vendor.calls import VendorCalls
from hitpaw_async.batch.journal import sqlite
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.errors import MediaError
from hitpaw_async.models import Job
from hitpaw_async.simulator import FaultCall, Simulator
from hitpaw_async.testing.vendor import ScriptedVendor
from hitpaw_async.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from hitpaw_async.models import VideoFacts

__all__ = ["API_KEY", "BASE_URL", "HitPawSimulator"]

API_KEY: Final = "key-of-a-test"
CREDITS: Final = 10_000
BASE_URL: Final = "http://hitpaw.test"
"""No host has this name: the top-level domain is reserved (RFC 2606)."""


@attrs.define(kw_only=True, eq=False)
class HitPawSimulator:
    """A client and a vendor for one test: `with HitPawSimulator() as simulator:`. The fixture does it for you.

    Within the block `AsyncHitPaw()` needs no key, and reaches this vendor unless an `http_client` is given to it.

    Raises:
        ConfigurationError: Virtual time is not to be had on the event loop that runs.
    """

    virtual_time: bool = True
    """False: time is real. For event loops whose clock can't jump; give `job_duration_s` and `poll` small figures."""

    vendor: ScriptedVendor = attrs.field(init=False)
    http_client: HTTPClient = attrs.field(init=False, repr=False)
    """An `httpx.AsyncClient` that reaches the vendor: for code that takes one."""
    _simulator: Simulator = attrs.field(init=False, repr=False)
    _time: VirtualTime = attrs.field(init=False, repr=False, factory=VirtualTime)
    _client: AsyncHitPaw | None = attrs.field(init=False, repr=False, default=None)
    _sessions: WeakSet[Session] = attrs.field(init=False, repr=False, factory=WeakSet)
    """Those of the clients that end here."""
    _calls: WeakSet[VendorCalls] = attrs.field(init=False, repr=False, factory=WeakSet)
    """Their calls."""
    _block: ExitStack = attrs.field(init=False, repr=False, factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        self._simulator = Simulator(credits=CREDITS, sources=self._facts_of, drops_webhooks_unopened=True)
        self.vendor = ScriptedVendor(self._simulator)
        self.http_client = app_client(self._answer)

    def __enter__(self) -> Self:
        if self.virtual_time:
            self._block.enter_context(self._time)
            # No test cuts the power, and a disk takes real time.
            self._block.enter_context(mock.patch.object(sqlite, "SYNCHRONOUS", "OFF"))
        environment = {"HITPAW_API_KEY": API_KEY, "HITPAW_API_BASE_URL": BASE_URL}
        self._block.enter_context(mock.patch.dict(os.environ, environment))
        self._block.enter_context(mock.patch.object(AsyncHitPaw, "__init__", self._init(AsyncHitPaw.__init__)))
        self._block.enter_context(mock.patch.object(Session, "probe", self._probe(Session.probe)))
        self._block.enter_context(mock.patch.object(VendorCalls, "task", self._task(VendorCalls.task)))
        return self

    def _init(self, own: Callable[..., None]) -> Callable[..., None]:
        """`AsyncHitPaw.__init__`, with this vendor for who names no connection of their own."""

        @wraps(own)
        def init(client: AsyncHitPaw, **settings: Any) -> None:
            if settings.get("http_client") is None:
                self._start_time()
                settings["http_client"] = self.http_client
            own(client, **settings)
            if settings["http_client"] is self.http_client:
                session = client._session  # noqa: SLF001 (of the same package)
                self._sessions.add(session)
                self._calls.add(session.calls)

        return init

    def _probe(self, own: Callable[..., Awaitable[VideoFacts]]) -> Callable[..., Awaitable[VideoFacts]]:
        """`Session.probe`, by this vendor. In a thread, time would not be virtual; no host has a test's URLs."""

        @wraps(own)
        async def probe(session: Session, source: str | os.PathLike[str], **settings: Any) -> VideoFacts:
            if session not in self._sessions or not isinstance(source, str):
                return await own(session, source, **settings)
            facts = self._facts_of(source)
            if facts is None:
                raise MediaError(f"{redact_url(source)} cannot be used as a video. The test's vendor finds none there.")
            return facts

        return probe

    def _task(self, own: Callable[..., Awaitable[Job]]) -> Callable[..., Awaitable[Job]]:
        """`VendorCalls.task`, without HTTP if the answer is "not yet": an hour has hundreds of those for each job."""

        @wraps(own)
        async def task(calls: VendorCalls, job_id: str) -> Job:
            job = self._unfinished_job(job_id) if calls in self._calls and not calls.is_pausing else None
            if job is None:
                return await own(calls, job_id)
            await anyio.lowlevel.checkpoint()
            calls.task_calls += 1
            self._simulator.polls_received += 1
            return job

        return task

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._block.close()

    @property
    def client(self) -> AsyncHitPaw:
        """A client of this vendor, ready to be used; it needn't be closed. For other settings, make your own."""
        self._start_time()
        if self._client is None:
            self._client = AsyncHitPaw(api_key=API_KEY, base_url=BASE_URL, http_client=self.http_client)
        return self._client

    @asynccontextmanager
    async def webhooks_to(self, app: ASGIApp) -> AsyncIterator[None]:
        """While open, the vendor posts webhooks, and `app` takes them, whatever host their URLs name.

        Args:
            app: An ASGI application: your service, or a `WebhookReceiver`.
        """
        self._start_time()
        self._simulator.http_client = app_client(app)
        async with self._simulator:
            yield

    def _unfinished_job(self, job_id: str) -> Job | None:
        """The job as the vendor would report it, if the answer is "not yet" and nothing is to go wrong."""
        job = self._simulator.vendor.jobs.get(job_id)
        if job is None or not self.vendor.is_reachable or self._simulator.fault_run.has_rules_for(FaultCall.TASK):
            return None
        if any(self.http_client.event_hooks.values()):
            return None
        status = self._simulator.status(job)
        return None if status.is_final else Job(job_id=job_id, status=status, status_text=status.value)

    def _facts_of(self, video_url: str) -> VideoFacts | None:
        return self.vendor.facts_of(video_url)

    def _start_time(self) -> None:
        if self.virtual_time:
            self._time.start()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self._start_time()
        if not self.vendor.is_reachable:
            raise ConnectionRefusedError("the test's vendor is not reachable")
        await self._simulator.app(scope, receive, send)
