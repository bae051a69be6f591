"""Rows of replies: whatever a vendor, a gateway or a stranger may answer to an export and to a task call."""

from __future__ import annotations

import gzip
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from hitpaw_async import ExportRequest, HitPawError, ItemState, JobStatus, errors
from tests.client.callers import a_client
from tests.client.fault_server import JOB_ID, Fault, FaultServer, whole
from tests.hostile.canary import API_KEY, RESULT_URL_QUERY, SOURCE_URL, hits, said_by
from tests.hostile.rows import Area, Row
from tests.hostile.wire import outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BODIES", "reply_rows"]

TEXT_CHARS_MAX: Final = 1000
"""What an exception's text may be long: a sentence or two, and an excerpt of 300 characters."""
RESULT_URL: Final = f"https://cdn.example.com/r.mp4?{RESULT_URL_QUERY}"
REQUEST: Final = ExportRequest(SOURCE_URL, model=17, resolution="1280x720")

UNKNOWN: Final = errors.SubmissionUnknownError
GARBLED: Final = errors.ProtocolError


def as_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def answer(**fields: Any) -> bytes:
    """A success in the vendor's shape, but for `fields`."""
    job = {"job_id": JOB_ID, "status": "COMPLETED", "res_url": RESULT_URL, **fields}
    return as_json(code=200, data={name: value for name, value in job.items() if value is not ...})


@attrs.frozen
class Body:
    """One body, with what an export and a task call make of it: a kind of exception, or a job."""

    fault: str
    body: bytes
    export: type[HitPawError] | None
    task: type[HitPawError] | JobStatus
    status: str = "200 OK"
    headers: tuple[str, ...] = ()


OURS: Final = errors.APIError

BODIES: Final = (
    Body(
        "a sign-in page with 200",
        b"<html><h1>Sign in</h1></html>",
        UNKNOWN,
        GARBLED,
        headers=("Content-Type: text/html",),
    ),
    Body(
        "a page that echoes key and signature", f"<p>{API_KEY} {RESULT_URL} {SOURCE_URL}</p>".encode(), UNKNOWN, GARBLED
    ),
    Body("a gateway's page with 502", b"<h1>Bad gateway</h1>", UNKNOWN, errors.ServerError, "502 Bad Gateway"),
    Body(
        "code 501001 in 200",
        as_json(code=501001, message="bad key"),
        errors.AuthenticationError,
        errors.AuthenticationError,
    ),
    Body(
        "code 501002 in 200",
        as_json(code=501002, message="no coins"),
        errors.InsufficientCreditsError,
        errors.InsufficientCreditsError,
    ),
    Body(
        "code 501016 in 200",
        as_json(code=501016, message="bad url"),
        errors.InvalidVideoURLError,
        errors.InvalidVideoURLError,
    ),
    Body("code 500 in 200", as_json(code=500, message="ouch"), UNKNOWN, errors.ServerError),
    Body("an unknown code in 200", as_json(code=77, message="?"), UNKNOWN, OURS),
    Body(
        "msg for message",
        as_json(code=501002, msg="no coins"),
        errors.InsufficientCreditsError,
        errors.InsufficientCreditsError,
        "402 Payment Required",
    ),
    Body(
        "error_code for code",
        as_json(error_code=501016, message="bad url"),
        errors.InvalidVideoURLError,
        errors.InvalidVideoURLError,
        "400 Bad Request",
    ),
    Body(
        "a message that echoes the key",
        as_json(code=501001, message=f"{API_KEY} is bad"),
        errors.AuthenticationError,
        errors.AuthenticationError,
    ),
    Body(
        "a message that echoes a signed URL",
        as_json(code=501016, message=f"cannot fetch {SOURCE_URL}"),
        errors.InvalidVideoURLError,
        errors.InvalidVideoURLError,
    ),
    Body(
        "a message of a megabyte",
        as_json(code=501016, message="x" * 1_000_000),
        errors.InvalidVideoURLError,
        errors.InvalidVideoURLError,
    ),
    Body(
        "a message that is a list",
        as_json(code=501016, message=["x"]),
        errors.InvalidVideoURLError,
        errors.InvalidVideoURLError,
    ),
    Body("a code that is a text", as_json(code="200", data={"job_id": JOB_ID}), None, GARBLED),
    Body("a code that is true", as_json(code=True, data={"job_id": JOB_ID}), None, GARBLED),
    Body("a null job id", answer(job_id=None), UNKNOWN, JobStatus.COMPLETED),
    Body("a number for a job id", answer(job_id=7), UNKNOWN, GARBLED),
    Body("a list for a job id", answer(job_id=[JOB_ID]), UNKNOWN, GARBLED),
    Body("true for a job id", answer(job_id=True), UNKNOWN, GARBLED),
    Body("no job id", answer(job_id=...), UNKNOWN, JobStatus.COMPLETED),
    Body("an empty job id", answer(job_id=""), UNKNOWN, GARBLED),
    Body("a blank job id", answer(job_id=" \t "), UNKNOWN, GARBLED),
    Body("a job id of 900 KB", answer(job_id="x" * 900_000), UNKNOWN, GARBLED),
    Body(
        "a lone surrogate in a job id",
        b'{"code":200,"data":{"job_id":"a\\ud800","status":"WAITING"}}',
        UNKNOWN,
        GARBLED,
    ),
    Body("a null byte in a job id", answer(job_id="a\0b"), UNKNOWN, GARBLED),
    Body("another job's id", answer(job_id="another"), None, GARBLED),
    Body(
        "a job id twice in one reply",
        b'{"code":200,"data":{"job_id":"first","job_id":"%s","status":"WAITING"}}' % JOB_ID.encode(),
        None,
        JobStatus.WAITING,
    ),
    Body("data that is a list", as_json(code=200, data=[]), UNKNOWN, GARBLED),
    Body("data that is a text", as_json(code=200, data="ok"), UNKNOWN, GARBLED),
    Body("data that is null", as_json(code=200, data=None), UNKNOWN, GARBLED),
    Body("a JSON list", b"[]", UNKNOWN, GARBLED),
    Body("a JSON text", b'"ok"', UNKNOWN, GARBLED),
    Body("null", b"null", UNKNOWN, GARBLED),
    Body("nothing", b"", UNKNOWN, GARBLED),
    Body("nothing, with 204", b"", UNKNOWN, GARBLED, "204 No Content"),
    Body("half a reply, framed", answer()[:40], UNKNOWN, GARBLED),
    Body("a hundred thousand brackets", b"[" * 100_000, UNKNOWN, GARBLED),
    Body("objects nested 50,000 deep", b'{"data":' * 50_000 + b"1" + b"}" * 50_000, UNKNOWN, GARBLED),
    Body("NaN", b'{"code":NaN}', UNKNOWN, GARBLED),
    Body("Infinity for credits", b'{"code":200,"data":{"job_id":"j","consume_coins":Infinity}}', None, GARBLED),
    Body("an integer of 5,000 digits", b'{"code":' + b"9" * 5000 + b"}", UNKNOWN, GARBLED),
    Body("a code beyond 64 bits", b'{"code":' + b"9" * 30 + b"}", UNKNOWN, GARBLED),
    Body("1e400 for a code", b'{"code":1e400}', UNKNOWN, GARBLED),
    Body("invalid UTF-8", b'{"code":200,"data":{"job_id":"\xff\xfe"}}', UNKNOWN, GARBLED),
    Body("UTF-16", answer().decode().encode("utf-16"), None, GARBLED),
    Body("a byte order mark", b"\xef\xbb\xbf" + answer(), None, GARBLED),
    Body("a body past the cap", answer().replace(b"{", b"{" + b" " * (2 << 20), 1), UNKNOWN, GARBLED),
    Body("a bomb of gzip", gzip.compress(bytes(32 << 20), 1), UNKNOWN, GARBLED, headers=("Content-Encoding: gzip",)),
    Body("br, which nobody asked for", answer(), UNKNOWN, GARBLED, headers=("Content-Encoding: br",)),
    Body("negative credits", answer(consume_coins=-1), None, GARBLED),
    Body("credits beyond reason", answer(consume_coins=10**12), None, GARBLED),
    Body("an unknown status", answer(status="DANCING", res_url=""), None, JobStatus.UNRECOGNIZED),
    Body("a status that is a number", answer(status=3), None, GARBLED),
    Body("no status", answer(status=...), None, GARBLED),
    Body("COMPLETED without a URL", answer(res_url=""), None, GARBLED),
    Body("COMPLETED with a file's URL", answer(res_url="file:///etc/passwd"), None, GARBLED),
    Body("COMPLETED with a URL of 100 KB", answer(res_url="https://e.test/" + "x" * 100_000), None, GARBLED),
    Body(
        "401 from a gateway",
        b"<h1>Who are you?</h1>",
        errors.AuthenticationError,
        errors.AuthenticationError,
        "401 Unauthorized",
    ),
    Body(
        "a 404 with itself for its code",
        as_json(code=404, message="no such job"),
        UNKNOWN,
        errors.JobNotFoundError,
        "404 Not Found",
    ),
    Body(
        "a refusal with a job id",
        as_json(code=501016, message="bad url", data={"job_id": JOB_ID}),
        None,
        errors.InvalidVideoURLError,
    ),
    Body("a 500 with a job id", as_json(code=500000, data={"job_id": JOB_ID}), None, errors.ServerError, "500 Ouch"),
    Body("a job id under another name", as_json(result={"jobId": JOB_ID}), None, GARBLED),
    Body("a gateway's JSON with 403", as_json(message="Forbidden"), UNKNOWN, errors.BadRequestError, "403 Forbidden"),
    Body(
        "a gateway's JSON with 404",
        as_json(error="no Route matched"),
        UNKNOWN,
        errors.JobNotFoundError,
        "404 Not Found",
    ),
    Body("a word for a failure", answer(status="TIMEOUT", res_url=""), None, JobStatus.ERROR),
    Body("a status in small letters", answer(status="completed"), None, JobStatus.COMPLETED),
    Body("a status of 999", answer(), None, OURS, "999 Whatever"),
)


async def is_as_expected(_: Path, *, case: Body) -> None:
    raw = whole(case.status, case.body, *case.headers)
    with FaultServer(Fault.SCRIPTED, reply=raw) as server:
        async with a_client(server.url, api_key=API_KEY) as hitpaw:
            exported = await outcome_of(hitpaw.export(REQUEST))
            asked = await outcome_of(hitpaw.task(JOB_ID))
    assert len(server.exports) == 1, "never sent again"
    for outcome, expected in ((exported, case.export), (asked, case.task)):
        if isinstance(outcome, HitPawError):
            assert type(outcome) is expected, outcome
            assert len(str(outcome)) <= TEXT_CHARS_MAX
            assert str(outcome).isprintable()
            assert hits(said_by(outcome)) == []
        else:
            assert (expected is None) or outcome.status is expected
            assert outcome.job_id.isprintable()


async def ids_are_duplicates(folder: Path) -> None:
    """The vendor answers two exports with one job id: two charges, of which one can't be followed."""
    with FaultServer() as server:
        async with a_client(server.url) as hitpaw, hitpaw.batch(journal=folder / "journal.db", budget=400) as batch:
            requests = [ExportRequest(f"https://e.test/{name}.mp4", model=17, resolution="1280x720") for name in "ab"]
            outcomes = [outcome async for outcome in batch.run(requests)]
            statistics = batch.statistics()
    assert sorted(outcome.state for outcome in outcomes) == sorted([ItemState.DONE, ItemState.UNCERTAIN])
    assert len(server.exports) == 2
    assert statistics.credits_reserved > 0, "what the second may have cost is kept in reserve"
    assert statistics.credits_spent + statistics.credits_reserved <= 400


def _named(kind: type[HitPawError] | JobStatus | None) -> str:
    if kind is None:
        return "the job"
    return f"a job, {kind.name}" if isinstance(kind, JobStatus) else kind.__name__


def reply_rows() -> Iterator[Row]:
    """All of them."""
    for case in BODIES:
        yield Row(
            area=Area.REPLY,
            fault=case.fault,
            injection=f"HTTP {case.status.split()[0]}, {len(case.body):,} bytes",
            expected=f"export: {_named(case.export)}, sent once; task: {_named(case.task)}; bounded, redacted",
            invariant="I1, I7, I10",
            play=partial(is_as_expected, case=case),
        )
    yield Row(
        area=Area.REPLY,
        fault="one job id for two exports",
        injection="a vendor with one job id, a batch of two",
        expected="one DONE, one UNCERTAIN with its reservation kept",
        invariant="I1, I2, I3",
        play=ids_are_duplicates,
    )
