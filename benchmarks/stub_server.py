"""A vendor in a process of its own, much faster than any client: so what is measured is the client.

It is a raw asyncio protocol with keep-alive. The first part of a path is the script that its jobs follow, so that one
process serves every benchmark:

    /polls-4/...               COMPLETED at the fourth task call
    /lasting-1.5-0.6/...       lasts a lognormal time, mean 1.5 s, sigma 0.6
    /lasting-1.5-0.6-20/...    the same, and every answer takes 20 ms
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EXPORT_PATH", "TASK_PATH", "stub_vendor"]

EXPORT_PATH: Final = "/api/v3/video-enhancer/export"
TASK_PATH: Final = "/api/v3/video-enhancer-api/task"

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


@attrs.frozen
class Script:
    """What becomes of a job, as the first part of a path says it."""

    polls: int = 0
    """The task call that finds it COMPLETED; 0 where time decides."""
    mean_s: float = 0.0
    sigma: float = 0.0
    latency_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Script:
        """The script that `text` spells."""
        kind, *figures = text.split("-")
        if kind == "polls":
            return cls(polls=int(figures[0]))
        mean_s, sigma, *rest = (float(figure) for figure in figures)
        return cls(mean_s=mean_s, sigma=sigma, latency_s=(rest[0] if rest else 0.0) / 1000)


class Vendor:
    """The jobs, and the answers about them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._polls_left: dict[str, int] = {}
        self._scripts: dict[str, Script] = {}

    def script(self, path: str) -> Script:
        """The script of a path."""
        text = path.split("/", 2)[1]
        if text not in self._scripts:
            self._scripts[text] = Script.parse(text)
        return self._scripts[text]

    def export(self, script: Script) -> bytes:
        """Accept a job. Its id says when it ends, so that only those that are counted take memory."""
        ends_at = 0.0
        if script.polls == 0:
            center = math.log(script.mean_s) - script.sigma**2 / 2
            ends_at = time.monotonic() + self._random.lognormvariate(center, script.sigma)
        job_id = f"{next(self._numbers):08d}-{ends_at:.3f}"
        if script.polls:
            self._polls_left[job_id] = script.polls
        return b'{"code":200,"message":"Success","data":{"job_id":"%b"}}' % job_id.encode()

    def task(self, script: Script, body: bytes) -> bytes:
        """Say how a job stands."""
        job_id = json.loads(body)["job_id"]
        if self._is_done(script, job_id):
            text = f'"status":"COMPLETED","res_url":"https://results.example/{job_id}.mp4"'
        else:
            text = '"status":"CONVERTING","res_url":""'
        return f'{{"code":200,"message":"OK","data":{{"job_id":"{job_id}",{text}}}}}'.encode()

    def _is_done(self, script: Script, job_id: str) -> bool:
        if script.polls == 0:
            return time.monotonic() >= float(job_id.partition("-")[2])
        left = self._polls_left[job_id] = self._polls_left[job_id] - 1
        if left == 0:
            del self._polls_left[job_id]
        return left == 0


class _Connection(asyncio.Protocol):
    """One connection: whole requests in, answers out, in order."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            body_end = end + 4 + _content_length(head)
            if len(self._received) < body_end:
                return
            body, self._received = self._received[end + 4 : body_end], self._received[body_end:]
            self._answer(head.split(b" ", 2)[1].decode(), body)

    def _answer(self, path: str, body: bytes) -> None:
        script = self._vendor.script(path)
        said = self._vendor.export(script) if path.endswith("/export") else self._vendor.task(script, body)
        answer = _HEAD % (len(said), said)
        if script.latency_s:
            asyncio.get_running_loop().call_later(script.latency_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    marked = head.lower().partition(b"content-length:")[2]
    return int(marked.partition(b"\r\n")[0] or 0)


async def _serve(seed: int) -> None:
    vendor = Vendor(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(vendor), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with the process that started it.
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def stub_vendor(*, seed: int) -> Iterator[str]:
    """A running vendor's address, e.g. `http://127.0.0.1:40123`; a script's name is to be appended as its path."""
    command = [sys.executable, "-m", "benchmarks.stub_server", "--seed", str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_serve(parser.parse_args().seed))


if __name__ == "__main__":
    main()
