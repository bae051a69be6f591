"""The simulator as one object: its settings, its life, and what happens to an export behind the reply."""

from __future__ import annotations

import logging
import mimetypes
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup
from starlette.staticfiles import StaticFiles

from hitpaw_async._transport import HTTPClient, HTTPPool
from hitpaw_async._validators import between
from hitpaw_async.errors import ConfigurationError, HitPawError, InternalError
from hitpaw_async.models import ExportRequest, JobStatus
from hitpaw_async.simulator import wire
from hitpaw_async.simulator.app import SimulatorApp
from hitpaw_async.simulator.faults import FaultRun, FaultScript
from hitpaw_async.simulator.rendering import Renderer
from hitpaw_async.simulator.sources import FactsSource, FetchedSources, Source, SourceMode, Sources, VirtualSources
from hitpaw_async.simulator.vendor import Charge, JobDuration, RefusedError, ResultState, SimulatedJob, Vendor
from hitpaw_async.simulator.webhook_sender import WebhookSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

__all__ = ["Simulator"]

_LOG: Final = logging.getLogger("hitpaw_async.simulator")

CREDITS_MAX: Final = 10**9
DURATION_MAX_S: Final = 366 * 86_400.0
CONNECTIONS_MAX: Final = 16
DOOM_MARK: Final = "vendor-error"

_FREE_TEXT: Final = b"made by the simulator: there is no video in here"
RESULT_BYTES: Final = b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom" + (
    (len(_FREE_TEXT) + 8).to_bytes(4, "big") + b"free" + _FREE_TEXT
)
"""The result of a virtual source: the shell of an MP4 file, and nothing in it."""


def _of_kind(*kinds: type) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigurationError(f"Simulator.{attribute.name} must be of the kind {names}.")

    return check


def _job_duration(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not callable(value):
        between(0, DURATION_MAX_S)(instance, attribute, value)


def _to_keys(value: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(value, str):
        raise ConfigurationError("Simulator.api_keys must be a collection of keys, not one string.")
    return None if value is None else frozenset(value)


def _to_sources(value: SourceMode | FactsSource | str) -> SourceMode | FactsSource:
    if isinstance(value, str):
        if value not in {*SourceMode}:
            raise ConfigurationError(
                f'Simulator.sources must be "fetch", a mapping or a callable, not {ascii(value)[:60]}.'
            )
        return SourceMode(value)
    return value


def _to_task_reply(value: str) -> wire.TaskReply:
    if value not in {*wire.TaskReply}:
        raise ConfigurationError(
            f"Simulator.task_reply must be one of {', '.join(wire.TaskReply)}, not {ascii(value)[:60]}."
        )
    return wire.TaskReply(value)


def _optional_path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


@attrs.define(kw_only=True, eq=False)
class Simulator:
    """The vendor, simulated. Serve `app`, or hand it to an in-process transport.

    With virtual `sources` nothing runs behind it. Real sources and webhooks are worked on in the background, and
    `async with simulator:` owns that work (so do `serve`, and the lifespan of `app`). One event loop; not for threads.

    Raises:
        ConfigurationError: A setting is not possible.
    """

    credits: int = attrs.field(default=1000, validator=between(0, CREDITS_MAX, whole=True))
    """The balance at the beginning; all keys share it."""
    speed: float = attrs.field(default=1.0, validator=between(1e-3, 1e6))
    """Factor by which jobs are faster than at the vendor."""
    faults: FaultScript | None = attrs.field(default=None, validator=_of_kind(FaultScript, type(None)))
    """Faults to inject; `FaultScript.load` reads them from a file."""
    api_keys: Collection[str] | None = attrs.field(default=None, converter=_to_keys, repr=False)
    """The keys that are accepted; None: any that is not empty."""
    files: Path | None = attrs.field(default=None, converter=_optional_path)
    """A folder to serve under `/files/`."""
    work_dir: Path | None = attrs.field(default=None, converter=_optional_path)
    """Folder of results; None: a temporary folder that goes with the simulator."""
    sources: SourceMode | FactsSource = attrs.field(default=SourceMode.FETCH, converter=_to_sources, repr=False)
    """Origin of sources: fetched, or as facts of URLs (a mapping or a callable), without any I/O."""
    clock: Callable[[], float] = attrs.field(default=anyio.current_time, repr=False)
    """Seconds from any beginning."""
    result_bytes: bytes = attrs.field(default=RESULT_BYTES, repr=False, validator=_of_kind(bytes))
    """Content of a virtual source's result."""
    task_reply: wire.TaskReply = attrs.field(default=wire.TaskReply.FLAT, converter=_to_task_reply)
    job_duration_s: JobDuration | None = attrs.field(default=None, validator=attrs.validators.optional(_job_duration))
    """Seconds that a job takes, or a function that tells them by its request; None: by the video's length."""
    seed: int | None = attrs.field(default=None, validator=_of_kind(int, type(None)))
    """Makes job ids and result URLs repeatable; None: nobody can guess them."""
    drops_webhooks_unopened: bool = attrs.field(default=False)
    """Accept exports with a webhook while the simulator is not open; then nothing is posted."""
    http_client: HTTPClient | None = attrs.field(default=None, repr=False)
    """Used to fetch sources and to send webhooks, and never closed; None: connections of its own."""

    vendor: Vendor = attrs.field(init=False, repr=False)
    fault_run: FaultRun = attrs.field(init=False, repr=False)
    static_files: StaticFiles | None = attrs.field(init=False, repr=False, default=None)
    app: SimulatorApp = attrs.field(init=False, repr=False)
    """The ASGI application."""
    exports_received: int = attrs.field(init=False, default=0)
    polls_received: int = attrs.field(init=False, default=0)
    _sources: Sources | None = attrs.field(init=False, repr=False, default=None)
    _renderer: Renderer | None = attrs.field(init=False, repr=False, default=None)
    _webhooks: WebhookSender | None = attrs.field(init=False, repr=False, default=None)
    _tasks: TaskGroup | None = attrs.field(init=False, repr=False, default=None)
    _bug: InternalError | None = attrs.field(init=False, repr=False, default=None)
    """The first that a job met."""
    _openings: list[AsyncExitStack] = attrs.field(init=False, repr=False, factory=list)

    def __attrs_post_init__(self) -> None:
        if self.files is not None:
            served = StaticFiles(directory=self.files, check_dir=False)
            # It is checked when the simulator opens; unchecked, what isn't there is a 404.
            served.config_checked = True
            self.static_files = served
        if not isinstance(self.sources, SourceMode):
            self._sources = VirtualSources(self.sources)
        self.vendor = Vendor(
            credits_left=self.credits,
            speed=self.speed,
            api_keys=self.api_keys,
            seed=self.seed,
            job_duration_s=self.job_duration_s,
        )
        self.fault_run = FaultRun(self.faults or FaultScript(()))
        self.app = SimulatorApp(self)

    @property
    def ledger(self) -> tuple[Charge, ...]:
        """Every charge, in its order."""
        return tuple(self.vendor.ledger)

    @property
    def credits_left(self) -> int:
        """The balance."""
        return self.vendor.credits_left

    def charges_by_url(self) -> Counter[str]:
        """Count the charges of each source: 1 is right, 2 was paid twice."""
        return self.vendor.charges_by_url()

    async def __aenter__(self) -> Self:
        stack = AsyncExitStack()
        # Opened twice (by its user and by the server's lifespan), it belongs to the first.
        if not self._openings:
            await stack.enter_async_context(self._open())
        self._openings.append(stack)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._openings.pop().__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        if self.files is not None:
            await _check_files(self.files)
        pool = HTTPPool(max_connections=CONNECTIONS_MAX, http_client=self.http_client)
        failure: Exception | None = None
        async with AsyncExitStack() as stack:
            stack.push_async_callback(pool.aclose)
            if isinstance(self.sources, SourceMode):
                folder = await stack.enter_async_context(_folder(self.work_dir))
                self._sources = FetchedSources(pool, folder, self.static_files)
                self._renderer = Renderer(folder)
            self._webhooks = WebhookSender(pool, self.speed)
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield
                except Exception as error:  # noqa: BLE001 (raised below: out of a task group it would come in a group)
                    failure = error
                tasks.cancel_scope.cancel()
            self._close()
        failure, self._bug = failure or self._bug, None
        if failure is not None:
            raise failure

    def _close(self) -> None:
        self._tasks = self._webhooks = self._renderer = None
        if isinstance(self.sources, SourceMode):
            self._sources = None

    async def export(self, request: ExportRequest, *, origin: str, is_doomed: bool = False) -> SimulatedJob:
        """Accept and charge a request, and begin its job.

        Args:
            request: The request.
            origin: The simulator's own scheme, host and port, as the caller knows them.
            is_doomed: True if the job is to end in ERROR.

        Raises:
            RefusedError: The vendor says no; nothing was charged.
            ConfigurationError: It needs work in the background, and the simulator is not open.
        """
        source = await self._require_sources(request).obtain(request.video_url, origin=origin)
        is_doomed = is_doomed or DOOM_MARK in request.video_url.partition("?")[0]
        try:
            # Again, for it may have been closed meanwhile: what is charged must have its work done.
            self._require_sources(request)
            job = self.vendor.accept(request, source.facts, now_s=self.clock(), is_doomed=is_doomed)
        except (RefusedError, ConfigurationError):
            await source.discard()
            raise
        self._begin(job, source, origin)
        return job

    def _require_sources(self, request: ExportRequest) -> Sources:
        posts = request.web_hook_url is not None and not self.drops_webhooks_unopened
        if self._sources is None or (posts and self._tasks is None):
            raise ConfigurationError(
                "Fetching sources and sending webhooks needs an open simulator: use `async with simulator:` around it."
            )
        return self._sources

    def _begin(self, job: SimulatedJob, source: Source, origin: str) -> None:
        """Charged: nothing may be awaited between the charge and this."""
        if source.path is None:
            job.result_state = ResultState.READY
        if self._tasks is not None and (source.path is not None or job.request.web_hook_url is not None):
            self._tasks.start_soon(self._follow, job, source, origin)

    async def _follow(self, job: SimulatedJob, source: Source, origin: str) -> None:
        """Go with a job to its end: make its result, send its webhook."""
        await self._sleep_until(job.waiting_until_s)
        if source.path is not None:
            await self._render(job, source)
        if job.request.web_hook_url is not None:
            await self._sleep_until(job.done_at_s)
            assert self._webhooks is not None
            await self._webhooks.send(job.request.web_hook_url, self.describe(job, origin))

    async def _render(self, job: SimulatedJob, source: Source) -> None:
        assert self._renderer is not None
        assert source.path is not None
        try:
            if not job.is_doomed:
                name = f"{job.job_id}{job.request.extension}"
                job.result_path = await self._renderer.render(source.path, name=name, resolution=job.request.resolution)
            job.result_state = ResultState.READY
        except InternalError as error:
            # Somebody may be waiting for the job. Whoever closes the simulator is told.
            _LOG.error("Job %s meets a bug, and ends in ERROR. It says nothing of the video. %s", job.job_id, error)
            self._bug = self._bug or error
            job.result_state = ResultState.FAILED
        except (HitPawError, OSError) as error:
            _LOG.warning("Job %s ends in ERROR: %s", job.job_id, error)
            job.result_state = ResultState.FAILED
        finally:
            with anyio.CancelScope(shield=True):
                await source.discard()

    async def _sleep_until(self, moment_s: float) -> None:
        # A loop, because timers may fire a little early.
        while (left_s := moment_s - self.clock()) > 0:  # noqa: ASYNC110
            await anyio.sleep(left_s)

    def describe(self, job: SimulatedJob, origin: str) -> dict[str, str]:
        """Return the fields of a task reply and of a webhook for a job now."""
        url = f"{origin}/results/{job.job_id}{job.request.extension}?sig={job.signature}"
        return wire.task_fields(job.job_id, self.status(job), url)

    def status(self, job: SimulatedJob) -> JobStatus:
        """Return the status of a job now."""
        return job.status(self.clock())


async def _check_files(folder: Path) -> None:
    if not await anyio.Path(folder).is_dir():
        raise ConfigurationError(f"Simulator.files must be a folder; {folder} is not one.")
    # It reads the system's tables, and would do so in the middle of a request.
    await anyio.to_thread.run_sync(mimetypes.init)


@asynccontextmanager
async def _folder(given: Path | None) -> AsyncIterator[Path]:
    """The given folder, made if it isn't there; or a temporary one that is removed afterwards."""
    if given is not None:
        try:
            await anyio.Path(given).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"Simulator.work_dir {given} can't be made: {error.strerror}.") from None
        yield given
        return
    made = await anyio.to_thread.run_sync(lambda: Path(tempfile.mkdtemp(prefix="hitpaw-simulator-")))
    try:
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(made, ignore_errors=True))
