"""Bytes that nobody would think of: mutated replies, framings, download responses and webhooks.

`python -m tests.hostile.fuzz --inputs 100000 --seed 1` tries that many inputs in memory, a twentieth of them over real
sockets besides, and prints what was raised. Whatever is raised must be the library's own, bounded and without secrets.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from hitpaw_async import AsyncHitPaw, DownloadPolicy, ExportRequest, HitPawError, RetryPolicy
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._fetch.response import UnusableReplyError, expected_body
from hitpaw_async.webhooks import WebhookReceiver
from tests.client.fault_server import JOB_ID, End, Fault, FaultServer
from tests.download.downloads import names
from tests.hostile.canary import API_KEY, RESULT_URL_QUERY, SOURCE_URL, hits
from tests.support.http_server import Origin, Seen, head

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

__all__ = ["Figures", "fuzz_in_memory", "fuzz_over_sockets"]

RESULT_URL: Final = f"https://cdn.example.com/r.mp4?{RESULT_URL_QUERY}"
TEXT_CHARS_MAX: Final = 1000
CLIP: Final = bytes(range(256)) * 16
OUTCOMES: Final = ("a job", "a webhook", "nothing taken", "a file", "a promise")

SEEDS: Final = tuple(
    json.dumps(seed).encode()
    for seed in (
        {"code": 200, "message": "Success", "data": {"job_id": JOB_ID}},
        {"job_id": JOB_ID, "status": "CONVERTING", "res_url": ""},
        {"code": 200, "data": {"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL, "consume_coins": 3}},
        {"code": 501016, "message": f"The video url is not valid: {SOURCE_URL}"},
        {"error_code": 501001, "msg": f"The ApiKey {API_KEY} is not valid"},
        {"code": 429, "message": "slow down"},
    )
)
WORDS: Final = (
    *(b"null", b"true", b"-0", b"1e999", b"NaN", b'"\\ud800"', b"[[[[", b"{}", b"\x00", b"\xff\xfe", b'"', b"\\"),
    *(b'"job_id":', b'"code":7,', b'"data":', b"200", b"COMPLETED", b"\\u0000", b"9" * 400, b" " * 500),
    *(API_KEY.encode(), RESULT_URL.encode(), SOURCE_URL.encode()),
)
WIRE_WORDS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\x00", b"\xff", b"0\r\n\r\n", b"HTTP/9.9 ", b"HTTP/1.1 100 Continue\r\n\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Content-Range: bytes 0-1/2\r\n", b'ETag: "x"\r\n', b"X: %b\r\n" % (b"y" * 9000)),
    b"Location: %b\r\n" % RESULT_URL.encode(),
)
STATUSES: Final = (
    *(200, 200, 200, 200, 201, 204, 206, 301, 400, 401, 402, 403, 404, 408, 409, 416, 425, 429),
    *(500, 502, 503, 599, 999),
)
HEADERS: Final = {
    "content-length": ("0", "5", "-1", "1" * 40, "5, 5", "x", "٣"),
    "content-range": (
        "bytes 0-4/5",
        "bytes 5-9/10",
        "bytes 5-4/3",
        "bytes */5",
        "chars 0-1/2",
        "bytes 0-1/" + "9" * 30,
    ),
    "etag": ('"v1"', 'W/"v1"', "v1", '"a"b"', '"\x7f"'),
    "content-type": ("video/mp4", "text/html", ";", ""),
    "content-encoding": ("gzip", "identity", "", "br, gzip"),
    "transfer-encoding": ("chunked", "gzip, chunked", "identity"),
    "retry-after": ("1", "-1", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999", "never"),
}


class EscapedError(AssertionError):
    """Something left the library that must not."""


@attrs.define
class Figures:
    """What was tried, and what came of it."""

    inputs: int = 0
    seen: Counter[str] = attrs.field(factory=Counter)
    longest_text: int = 0

    def judge(self, raw: bytes, outcome: object) -> None:
        """Count an outcome: a word of `OUTCOMES`, or an exception, which must be fit to be shown.

        Raises:
            EscapedError: It isn't.
        """
        self.inputs += 1
        if not isinstance(outcome, BaseException):
            self.seen[str(outcome)] += 1
            return
        name = type(outcome).__name__
        if not isinstance(outcome, (HitPawError, UnusableReplyError)):
            raise EscapedError(f"{name} over {raw!r}") from outcome
        text = str(outcome)
        self.longest_text = max(self.longest_text, len(text))
        if len(text) > TEXT_CHARS_MAX or not text.isprintable() or _leaks(raw, text) or outcome.__context__ is not None:
            raise EscapedError(f"{name} over {raw!r} says {text!r}, context {outcome.__context__!r}")
        self.seen[name] += 1

    def __str__(self) -> str:
        told = "\n".join(f"  {count:>9,}  {name}" for name, count in self.seen.most_common())
        return f"{self.inputs:,} inputs, longest text {self.longest_text} characters, 0 escaped, 0 canary hits\n{told}"


def _leaks(raw: bytes, text: str) -> list[str]:
    """The canaries in a text, but for signatures whose URL was mutated into something that is none any more."""
    rest = raw.replace(SOURCE_URL.encode(), b"").replace(RESULT_URL.encode(), b"").decode("latin-1")
    return [needle for needle in hits(text) if needle == API_KEY or needle not in rest]


def mutated(draw: random.Random, raw: bytes, words: tuple[bytes, ...]) -> bytes:
    """A few bytes changed, put in, left out, doubled, or replaced by something nasty."""
    body = bytearray(raw)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(body) + 1)
        until = min(len(body), at + draw.choice((0, 1, 1, 4, 30)))
        kind = draw.randrange(6)
        if kind == 0:
            body[at:until] = draw.randbytes(until - at)
        elif kind == 1:
            del body[at:until]
        elif kind == 2:
            body[at:at] = body[at:until] * draw.randrange(1, 50)
        elif kind == 3:
            body[at:until] = draw.choice(words)
        elif kind == 4 and body:
            body[at % len(body)] ^= 1 << draw.randrange(8)
        else:
            del body[at:]
    return bytes(body)


def _attempt(work: Callable[[], str]) -> object:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 (the judge decides)
        return error


class _Sink:
    taken = 0

    def notify(self, token: str, webhook: object) -> None:
        self.taken += 1


def fuzz_in_memory(inputs: int, seed: int) -> Figures:
    """Decode mutated replies and webhooks, and read mutated download headers."""
    draw, figures = random.Random(seed), Figures()
    for kind in _in_turn(("export", "task", "webhook", "receiver", "headers"), inputs):
        raw = mutated(draw, draw.choice(SEEDS), WORDS)
        if kind == "webhook":
            # Nobody's webhook knows the key, so that none is looked for there.
            raw = raw.replace(API_KEY.encode(), b"key")
        reply = Reply(status_code=draw.choice(STATUSES), body=raw, secrets=(API_KEY,))
        figures.judge(raw, _attempt(lambda kind=kind, raw=raw, reply=reply: _decode(kind, raw, reply, draw)))
    return figures


def _in_turn(kinds: tuple[str, ...], count: int) -> Iterator[str]:
    return (kinds[number % len(kinds)] for number in range(count))


def _decode(kind: str, raw: bytes, reply: Reply, draw: random.Random) -> str:
    if kind == "export":
        assert V3.decode_export(reply).job_id.isprintable()
    elif kind == "task":
        assert V3.decode_task(reply, job_id=JOB_ID).job_id == JOB_ID
    elif kind == "webhook":
        V3.decode_webhook(raw)
        return "a webhook"
    elif kind == "receiver":
        sink = _Sink()
        answer = WebhookReceiver(sink).handle("POST", "/token", {"content-type": "application/json"}, raw)
        assert (answer.status_code, answer.body) == (202, b'{"ok":true}')
        return "a webhook" if sink.taken else "nothing taken"
    else:
        headers = {name: draw.choice(values) for name, values in HEADERS.items() if draw.random() < 0.5}
        start = draw.choice((0, 5))
        promise = expected_body(
            reply.status_code, headers, start=start, validator='"v1"', total=draw.choice((None, 10)), now=0
        )
        assert promise.start in (0, start)
        return "a promise"
    return "a job"


async def fuzz_over_sockets(inputs: int, seed: int, folder: Path) -> Figures:
    """Send mutated HTTP to calls and to downloads. Charges are counted: no export is ever sent twice."""
    figures = Figures()
    await _fuzz_calls(inputs - inputs // 3, seed, figures)
    await _fuzz_downloads(inputs // 3, seed, figures, folder)
    return figures


def _framed(draw: random.Random) -> bytes:
    body = draw.choice(SEEDS)
    if draw.random() < 0.3:
        raw = head("200 OK", transfer_encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        raw = (
            head(draw.choice(("200 OK", "200 OK", "402 Payment Required", "503 Busy")), content_length=len(body)) + body
        )
    return mutated(draw, raw, WIRE_WORDS)


class _FuzzServer(FaultServer):
    """Answers each exchange with its own mutation, then ends the connection."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(Fault.SCRIPTED)
        self._draw = draw
        self.last = b""

    def _answer(self, fault: Fault) -> Any:
        self.last = _framed(self._draw)
        return self.last, End.FIN


async def _fuzz_calls(inputs: int, seed: int, figures: Figures) -> None:
    request = ExportRequest(SOURCE_URL, model=17, resolution="1280x720")
    with _FuzzServer(random.Random(seed)) as server:
        async with AsyncHitPaw(
            api_key=API_KEY, base_url=server.url, timeout=5, retry=RetryPolicy(attempts_max=1)
        ) as hitpaw:
            for kind in _in_turn(("export", "task"), inputs):
                before = len(server.exports)
                outcome: object = "a job"
                try:
                    await (hitpaw.export(request) if kind == "export" else hitpaw.task(JOB_ID))
                except Exception as error:  # noqa: BLE001 (the judge decides)
                    outcome = error
                figures.judge(server.last, outcome)
                assert len(server.exports) - before == (kind == "export"), "sent once"


async def _fuzz_downloads(inputs: int, seed: int, figures: Figures, folder: Path) -> None:
    draw = random.Random(seed + 1)
    last = b""

    def act(connection: socket.socket, seen: Seen) -> None:
        nonlocal last
        fields = {"content_length": len(CLIP), "etag": '"v1"', "content_type": "video/mp4"}
        last = mutated(draw, head("200 OK", **fields), WIRE_WORDS) + CLIP
        connection.sendall(last)

    policy = DownloadPolicy(trusted_hosts={"127.0.0.1"}, attempts_max=2, backoff_first_s=0, read_timeout_s=5)
    with Origin(act) as origin:
        async with AsyncHitPaw(api_key=API_KEY, base_url="http://127.0.0.1:9", download=policy) as hitpaw:
            for _ in range(inputs):
                target, outcome = folder / "clip.mp4", "a file"
                failure: Exception | None = None
                try:
                    await hitpaw.download(f"http://127.0.0.1:{origin.port}/x?{RESULT_URL_QUERY}", target)
                except Exception as error:  # noqa: BLE001 (the judge decides)
                    failure = error
                figures.judge(last, failure or outcome)
                assert names(folder) == ([] if failure else ["clip.mp4"]), "whole or absent"
                if failure is None:
                    assert len(target.read_bytes()) > 0
                    target.unlink()
            del origin.seen[:]


def main() -> int:
    """Run both, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs in memory; a twentieth goes over sockets")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tries the same bytes")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    given = parser.parse_args()
    started_at = time.monotonic()
    print(f"seed {given.seed}, in memory: {fuzz_in_memory(given.inputs, given.seed)}")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        work = (fuzz_over_sockets, given.inputs // 20, given.seed, Path(folder))
        figures = anyio.run(*work, backend=given.backend)
    print(f"over sockets, {given.backend}: {figures}")  # noqa: T201
    print(f"{time.monotonic() - started_at:.1f} s")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
