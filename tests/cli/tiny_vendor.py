"""A server that speaks v3 and nothing else of ours: what the command line must get on with."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from types import TracebackType

KEY = "tiny-key-8d1f"
RESULT = b"\x00\x00\x00\x14ftypisom" + b"enhanced " * 500
EXPORT_PATH = "/api/v3/video-enhancer/export"
TASK_PATH = "/api/v3/video-enhancer-api/task"


@attrs.define(eq=False)
class TinyVendor:
    """Settings may be changed at any time; `charges` is the vendor's own ledger, by URL without its query."""

    is_enveloped: bool = False
    account_credits: int = 10**6
    polls_needed: int = 2
    """A job is COMPLETED at this poll."""
    loses_replies: bool = False
    """Exports are charged, and the connection breaks without a reply."""
    charges: Counter[str] = attrs.field(factory=Counter)
    urls_by_job: dict[str, str] = attrs.field(factory=dict)
    polls: Counter[str] = attrs.field(factory=Counter)
    may_answer: threading.Event = attrs.field(factory=threading.Event)
    """While it is not set, exports are charged and not answered yet."""
    may_complete: threading.Event = attrs.field(factory=threading.Event)
    """While it is not set, no job completes."""
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    def __attrs_post_init__(self) -> None:
        self.may_answer.set()
        self.may_complete.set()

    @property
    def base_url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"vendor": self}))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def accept(self, url: str) -> str | None:
        """Charge a video; the job's id, or None where the account is empty."""
        with self._lock:
            if sum(self.charges.values()) >= self.account_credits:
                return None
            name = url.partition("?")[0]
            self.charges[name] += 1
            job_id = f"job-{name.rpartition('/')[2]}-{self.charges[name]}"
            self.urls_by_job[job_id] = name
            return job_id

    def describe(self, job_id: str) -> dict[str, str] | None:
        with self._lock:
            if job_id not in self.urls_by_job:
                return None
            self.polls[job_id] += 1
            if "fails" in job_id:
                status = "ERROR"
            elif self.polls[job_id] >= self.polls_needed and self.may_complete.is_set():
                status = "COMPLETED"
            else:
                status = "CONVERTING"
        res_url = f"{self.base_url}/results/{job_id}.mp4?sig=result-secret" if status == "COMPLETED" else ""
        return {"job_id": job_id, "status": status, "res_url": res_url}


class _Handler(BaseHTTPRequestHandler):
    vendor: TinyVendor
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class says so)
        pass

    def do_GET(self) -> None:
        self.reply(200, RESULT, "video/mp4")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.path = urlsplit(self.path).path  # a proxy is given whole URLs
        if self.headers["ApiKey"] != KEY:
            self.say(401, {"code": 501001, "message": "The ApiKey is not valid"})
        elif self.path == EXPORT_PATH:
            self.export(body)
        else:
            assert self.path == TASK_PATH
            self.task(body)

    def export(self, body: dict[str, Any]) -> None:
        job_id = self.vendor.accept(body["video_url"])
        if job_id is None:
            self.say(402, {"code": 501002, "message": "The coins for this APIKEY is not enough"})
            return
        self.vendor.may_answer.wait(20)
        if self.vendor.loses_replies:
            self.close_connection = True
        else:
            self.say(200, {"code": 200, "message": "Success", "data": {"job_id": job_id}})

    def task(self, body: dict[str, Any]) -> None:
        fields = self.vendor.describe(body["job_id"])
        if fields is None:
            self.say(404, {"code": 501404, "message": "The job does not exist"})
        else:
            self.say(200, {"code": 200, "message": "OK", "data": fields} if self.vendor.is_enveloped else fields)

    def say(self, status: int, fields: dict[str, Any]) -> None:
        self.reply(status, json.dumps(fields).encode(), "application/json")

    def reply(self, status: int, body: bytes, media_type: str) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True
