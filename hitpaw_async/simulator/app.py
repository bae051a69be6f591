"""The ASGI application: v3's two calls, results, files, the ledger, and the scripted faults around them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import attrs
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, Router

from hitpaw_async._core.protocol.messages import NOBODYS_JOB
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async.models import JobStatus
from hitpaw_async.simulator import wire
from hitpaw_async.simulator.faults import ConnectionDroppedError, FaultAction, FaultCall, FaultRule, FaultTime
from hitpaw_async.simulator.sources import FILES_PATH
from hitpaw_async.simulator.vendor import ErrorCode, RefusedError, ResultState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from hitpaw_async.simulator.service import Simulator
    from hitpaw_async.simulator.vendor import SimulatedJob

__all__ = ["NOTICE", "SimulatorApp"]

NOTICE: Final = "lanczos, not AI"

GATEWAY_PAGE: Final = "<html><body><h1>Bad gateway</h1><p>simulated</p></body></html>"
GARBAGE: Final = b'\xff\xfe{"code": 200, "data": {"job_'
LEDGER_PATH: Final = "/simulator/ledger"
RESULTS_PATH: Final = "/results/"


class SimulatorApp:
    """An ASGI application over a `Simulator`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._vendor = simulator.vendor
        routes: list[Route | Mount] = [
            Route("/", self._root),
            Route(LEDGER_PATH, self._ledger),
            Route(V3.export_path, self._export, methods=["POST"]),
            Route(V3.task_path, self._task, methods=["POST"]),
            Route(f"{RESULTS_PATH}{{name}}", self._result),
        ]
        if simulator.static_files is not None:
            routes.append(Mount(FILES_PATH.rstrip("/"), simulator.static_files))
        # Not Starlette(): its outermost layer answers 500 before it lets an exception through, and a dropped connection
        # is one.
        self._app = ExceptionMiddleware(
            Router(routes, redirect_slashes=False, lifespan=self._lifespan),
            handlers={HTTPException: _http_error, ClientDisconnect: _disconnected, RefusedError: _refused},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event."""

        async def send_with_notice(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-simulator", NOTICE.encode())]}
            await send(message)

        # With an application in its scope, Starlette's router raises its 404 and 405, so that they can be worded.
        await self._app({**scope, "app": self}, receive, send_with_notice)

    @asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        async with self._simulator:
            yield

    async def _root(self, _: Request) -> Response:
        endpoints = [V3.export_path, V3.task_path, f"{RESULTS_PATH}{{job_id}}.{{extension}}", LEDGER_PATH]
        if self._simulator.static_files is not None:
            endpoints.append(f"{FILES_PATH}{{path}}")
        about = f"A simulator of HitPaw's Video Enhancer API v3. It spends nothing and enhances nothing: {NOTICE}."
        return wire.json_reply({"simulator": "hitpaw-async", "about": about, "endpoints": endpoints})

    async def _ledger(self, _: Request) -> Response:
        charges = [
            {**attrs.asdict(charge, recurse=False), "resolution": [*charge.resolution]}
            for charge in self._simulator.ledger
        ]
        return wire.json_reply(
            {
                "notice": NOTICE,
                "credits_left": self._simulator.credits_left,
                "charges": charges,
                "exports_received": self._simulator.exports_received,
                "polls_received": self._simulator.polls_received,
            }
        )

    async def _export(self, request: Request) -> Response:
        self._simulator.exports_received += 1
        body = await wire.read_body(request)
        video_url = _field(body, "video_url")
        fault = self._simulator.fault_run.next_fault(FaultCall.EXPORT, video_url)
        return await _with_fault(fault, lambda: self._accept(request, body, fault))

    async def _accept(self, request: Request, body: bytes, fault: FaultRule | None) -> Response:
        self._vendor.check_key(request.headers.get(V3.key_header))
        asked = wire.parse_export(wire.json_object(body))
        is_doomed = fault is not None and fault.do is FaultAction.JOB_ERROR
        job = await self._simulator.export(asked, origin=wire.origin_of(request), is_doomed=is_doomed)
        has_no_id = fault is not None and fault.do is FaultAction.NULL_JOB_ID
        return wire.success_reply({"job_id": None if has_no_id else job.job_id})

    async def _task(self, request: Request) -> Response:
        body = await wire.read_body(request)
        if _field(body, "job_id") == NOBODYS_JOB:
            # A client asks who is there: that is no poll, and no script is about it.
            return await self._report(request, body)
        self._simulator.polls_received += 1
        job = self._vendor.jobs.get(_field(body, "job_id"))
        fault = self._simulator.fault_run.next_fault(FaultCall.TASK, job.request.video_url if job else "")
        return await _with_fault(fault, lambda: self._report(request, body))

    async def _report(self, request: Request, body: bytes) -> Response:
        self._vendor.check_key(request.headers.get(V3.key_header))
        job = self._vendor.find(wire.parse_job_id(wire.json_object(body)))
        fields = self._simulator.describe(job, wire.origin_of(request))
        if self._simulator.task_reply is wire.TaskReply.ENVELOPED:
            return wire.success_reply(fields)
        return wire.json_reply(fields)

    async def _result(self, request: Request) -> Response:
        job_id, _, extension = request.path_params["name"].rpartition(".")
        job = self._vendor.jobs.get(job_id)
        fault = self._simulator.fault_run.next_fault(FaultCall.RESULT, job.request.video_url if job else "")
        if job is None or job.request.extension != f".{extension}":
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if not job.has_signature(request.query_params.get("sig", "")):
            raise HTTPException(HTTPStatus.FORBIDDEN)
        found = job
        response = await _with_fault(fault, lambda: self._content(request, found))
        if fault is not None and fault.do is FaultAction.TRUNCATE:
            return _TruncatedResponse(response, fault.keep_bytes)
        return response

    async def _content(self, request: Request, job: SimulatedJob) -> Response:
        if self._simulator.status(job) is not JobStatus.COMPLETED:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        assert job.result_state is ResultState.READY
        media_type = wire.MEDIA_TYPES[job.request.extension]
        if job.result_path is None:
            return wire.bytes_reply(self._simulator.result_bytes, request, media_type=media_type)
        try:
            status = await anyio.to_thread.run_sync(job.result_path.stat)
        except OSError:
            raise HTTPException(HTTPStatus.NOT_FOUND) from None
        return FileResponse(job.result_path, media_type=media_type, stat_result=status)


def _field(body: bytes, name: str) -> str:
    """A text field of a body that may be anything."""
    try:
        value = wire.json_object(body).get(name)
    except RefusedError:
        return ""
    return value if isinstance(value, str) else ""


async def _with_fault(fault: FaultRule | None, process: Callable[[], Awaitable[Response]]) -> Response:
    if fault is None:
        return await process()
    if fault.when is FaultTime.BEFORE:
        return await _inflict(fault) or await process()
    response = await process()
    return await _inflict(fault) or response


async def _inflict(fault: FaultRule) -> Response | None:
    """Do what a rule says. None where the call goes on all the same."""
    if fault.delay_s is not None:
        await anyio.sleep(fault.delay_s)
    if fault.do is FaultAction.DROP:
        raise ConnectionDroppedError("a scripted fault")
    if fault.do is FaultAction.RATE_LIMIT:
        refused = RefusedError(HTTPStatus.TOO_MANY_REQUESTS, ErrorCode.TOO_MANY_REQUESTS, "Too many requests")
        return wire.refusal_reply(refused, retry_after_s=fault.retry_after_s)
    if fault.do is FaultAction.GARBAGE:
        return Response(GARBAGE, media_type="application/json")
    if fault.do is FaultAction.REPLY:
        return _scripted_reply(fault)
    return None


def _scripted_reply(fault: FaultRule) -> Response:
    assert fault.status is not None
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    if isinstance(fault.body, dict):
        return wire.json_reply(fault.body, status_code=fault.status, headers=headers)
    text = GATEWAY_PAGE if fault.body is None else fault.body
    return Response(text.encode("utf-8", "replace"), fault.status, headers, "text/html")


class _TruncatedResponse(Response):
    """Another response, cut off in its body."""

    def __init__(self, whole: Response, keep_bytes: int | None) -> None:
        super().__init__()
        self._whole = whole
        self._keep_bytes = keep_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left_bytes = self._keep_bytes

        async def send_cut(message: Message) -> None:
            nonlocal left_bytes
            if message["type"] == "http.response.start":
                left_bytes = left_bytes if left_bytes is not None else _content_length(message) // 2
                await send(message)
                return
            assert left_bytes is not None
            kept = message.get("body", b"")[:left_bytes]
            left_bytes -= len(kept)
            if kept:
                await send({"type": "http.response.body", "body": kept, "more_body": True})

        await self._whole(scope, receive, send_cut)
        # It ends short of its Content-Length: a server has to break the connection then.
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _content_length(message: Message) -> int:
    headers: dict[bytes, bytes] = dict(message["headers"])
    return int(headers.get(b"content-length", b"0"))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    fields: dict[str, Any] = {"code": error.status_code, "message": HTTPStatus(error.status_code).phrase}
    return wire.json_reply(fields, status_code=error.status_code, headers=error.headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return wire.refusal_reply(error)


async def _disconnected(_: Request, __: Exception) -> Response:
    """The client left in the middle of its body: nothing was processed, and nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)
