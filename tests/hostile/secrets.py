"""Rows of secrets: canaries go through every path, and are searched for in whatever comes out."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import attrs
import httpx
import pytest
from rich.console import Console
from rich.pretty import Pretty

from hitpaw_async import AsyncHitPaw, ConfigurationError, DownloadPolicy, ExportRequest, HitPawError, ItemState, errors
from hitpaw_async._vendor.credentials import ApiKey
from tests.cli.program import Program
from tests.cli.tiny_vendor import KEY, RESULT, TinyVendor
from tests.client.callers import ONE_ATTEMPT, QUICK_POLL, QUICK_RETRY, a_client
from tests.client.fault_server import ACCEPTING, JOB_ID, PREMATURE, Fault, FaultServer, deadline_s, unused_port
from tests.hostile.canary import API_KEY, RESULT_URL_QUERY, SOURCE_URL, chain, hits, logged, pickled, said_by
from tests.hostile.rows import Area, Row
from tests.support.http_server import CLIP, Origin, cut_off, file, redirects, says

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

__all__ = ["secret_rows"]

RESULT_SECRET: Final = "result-secret"
"""What the tiny vendor signs its results' URLs with."""
TINY_NEEDLES: Final = (KEY, RESULT_SECRET, "canary-source-31d7")
REQUEST: Final = ExportRequest(SOURCE_URL, model=17, resolution="1280x720")


def found(text: str | bytes) -> list[str]:
    return hits(text) + hits(text, needles=TINY_NEEDLES)


def tiny_client(vendor: TinyVendor, **settings: Any) -> AsyncHitPaw:
    return AsyncHitPaw(api_key=KEY, base_url=vendor.base_url, poll=QUICK_POLL, retry=QUICK_RETRY, **settings)


async def converse(hitpaw: AsyncHitPaw, folder: Path) -> None:
    """A whole conversation: export, wait, download, and a batch of two."""
    job = await hitpaw.enhance(REQUEST)
    assert RESULT_SECRET in (job.res_url or "")
    path = await hitpaw.download(job, folder / "one.mp4")
    assert await anyio.Path(path).read_bytes() == RESULT
    async with hitpaw.batch(journal=folder / "journal.db", output=folder / "out", budget=400) as batch:
        again = ExportRequest(SOURCE_URL.replace("holiday", "again"), model=17, resolution="1280x720")
        outcomes = [outcome async for outcome in batch.run([REQUEST, again])]
        assert {outcome.state for outcome in outcomes} == {ItemState.DONE}


async def logs_of_a_conversation(folder: Path, *, is_callers: bool) -> None:
    with TinyVendor() as vendor, logged() as lines:
        if is_callers:
            async with httpx.AsyncClient() as client, tiny_client(vendor, http_client=client) as hitpaw:
                await converse(hitpaw, folder)
        else:
            async with tiny_client(vendor) as hitpaw:
                await converse(hitpaw, folder)
    assert any(line.startswith("httpcore") for line in lines), "the loggers were listened to"
    assert any(line.startswith("httpx HTTP Request") for line in lines) is is_callers
    assert found("\n".join(lines)) == []


async def logs_of_a_callers_other_requests(_: Path) -> None:
    """What the caller's client logs of the caller's own requests stays as it is."""
    with FaultServer() as server, logged() as lines:
        async with httpx.AsyncClient() as client, a_client(server.url, http_client=client) as hitpaw:
            await hitpaw.task(JOB_ID)
            await client.get(f"{server.url}/theirs?page=2")
    assert any("/theirs?page=2" in line for line in lines)


async def logs_of_a_redirect(folder: Path) -> None:
    with Origin(file(CLIP)) as there:
        hop = redirects(f"http://127.0.0.1:{there.port}/x?{RESULT_URL_QUERY}")
        with Origin(hop) as origin, logged() as lines:
            policy = DownloadPolicy(trusted_hosts={"127.0.0.1"})
            async with a_client("http://127.0.0.1:1", download=policy) as hitpaw:
                await hitpaw.download(f"http://127.0.0.1:{origin.port}/x?{RESULT_URL_QUERY}", folder / "clip.mp4")
            async with httpx.AsyncClient() as client:
                async with a_client("http://127.0.0.1:1", http_client=client, download=policy) as hitpaw:
                    await hitpaw.download(f"http://127.0.0.1:{origin.port}/x?{RESULT_URL_QUERY}", folder / "again.mp4")
    assert found("\n".join(lines)) == []


async def logs_of_every_fault(_: Path) -> None:
    texts = []
    with logged() as lines:
        for fault in sorted(ACCEPTING | PREMATURE, key=lambda fault: fault.value):
            with FaultServer(fault) as server:
                async with a_client(
                    server.url, api_key=API_KEY, timeout=deadline_s(fault), retry=ONE_ATTEMPT
                ) as hitpaw:
                    texts.append(repr(await failure_of(hitpaw.export(REQUEST))))
                    texts.append(repr(await failure_of(hitpaw.task("j"))))
    assert len(texts) == 2 * len(ACCEPTING | PREMATURE)
    assert found("\n".join([*lines, *texts])) == []


async def failure_of(call: Awaitable[object]) -> BaseException:
    with anyio.fail_after(20), pytest.raises(HitPawError) as caught:
        await call
    return caught.value


async def failures(folder: Path) -> list[BaseException]:
    """Every public call, made to fail in its own way."""
    policy = DownloadPolicy(trusted_hosts={"127.0.0.1"}, attempts_max=1, refused_wait_s=0)
    nowhere = f"http://127.0.0.1:{unused_port()}"
    seen: list[BaseException] = []
    with (
        Origin(cut_off(CLIP, 100, etag=None)) as short,
        Origin(says("403 Forbidden")) as refused,
        TinyVendor() as vendor,
    ):
        vendor.may_complete.clear()
        async with a_client(nowhere, api_key=API_KEY, download=policy) as hitpaw:
            calls = [hitpaw.export(SOURCE_URL, model=17, resolution="1280x720"), hitpaw.export(REQUEST)]
            calls += [hitpaw.enhance(REQUEST), hitpaw.task("j"), hitpaw.wait("j", timeout_s=0.01)]
            seen += [await failure_of(call) for call in calls]
            seen.append(await failure_of(hitpaw.export(SOURCE_URL, model=17, resolution="1x1")))
            seen.append(await failure_of(hitpaw.export(f"ftp{SOURCE_URL}", model=17, resolution="1280x720")))
            for origin in (short, refused):
                url = f"http://127.0.0.1:{origin.port}/x.mp4?{RESULT_URL_QUERY}"
                seen.append(await failure_of(hitpaw.download(url, folder / "clip.mp4")))
            for url in (f"https://10.0.0.1/?{RESULT_URL_QUERY}", f"file:///x?{RESULT_URL_QUERY}"):
                seen.append(await failure_of(hitpaw.download(url, folder / "clip.mp4")))
            seen.append(await failure_of(hitpaw.probe(f"http://127.0.0.1:{short.port}/x.mp4?{RESULT_URL_QUERY}")))
            seen.append(await failure_of(hitpaw.probe(SOURCE_URL.replace("videos.example.com", "10.0.0.1"))))
        async with tiny_client(vendor) as hitpaw:
            seen.append(await failure_of(hitpaw.enhance(REQUEST, timeout_s=0.05)))
            vendor.loses_replies = True
            seen.append(await failure_of(hitpaw.export(REQUEST)))
        async with AsyncHitPaw(api_key=API_KEY, base_url=vendor.base_url) as hitpaw:
            seen.append(await failure_of(hitpaw.export(REQUEST)))
    return seen


async def exceptions_and_tracebacks(folder: Path) -> None:
    for error in await failures(folder):
        assert found(said_by(error)) == [], type(error)


async def exception_groups(_: Path) -> None:
    with FaultServer(Fault.FIN) as server:
        async with a_client(server.url, api_key=API_KEY) as hitpaw:

            async def call_together() -> None:
                async with anyio.create_task_group() as tasks:
                    for _number in range(3):
                        tasks.start_soon(hitpaw.export, REQUEST)

            with pytest.raises(BaseExceptionGroup) as caught:
                await call_together()
    members = [each for each in chain(caught.value) if isinstance(each, HitPawError)]
    assert members
    assert found(said_by(caught.value)) == []


async def pickles_of_exceptions(folder: Path) -> None:
    for error in await failures(folder):
        again = pickle.loads(pickled(error))
        assert str(again) == str(error)
        # A request that crosses to another process takes its URL along: it is what the caller needs there.
        if not isinstance(error, errors.SubmissionUnknownError):
            assert found(pickled(error)) == [], type(error)
        assert hits(pickled(error), needles=(API_KEY, KEY)) == []


async def pickles_of_clients(_: Path) -> None:
    async with a_client("http://127.0.0.1:1", api_key=API_KEY) as hitpaw:
        for part in (ApiKey(API_KEY), hitpaw, hitpaw._session.calls):
            for leave in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError) as caught:
                    leave(part)
                assert found(str(caught.value)) == []


async def representations(folder: Path) -> None:
    with TinyVendor() as vendor:
        async with tiny_client(vendor) as hitpaw, hitpaw.batch(output=folder, budget=400) as batch:
            job = await hitpaw.enhance(REQUEST)
            outcomes = [outcome async for outcome in batch.run([REQUEST])]
            values = [
                hitpaw,
                hitpaw._session.calls,
                hitpaw._session.fetch_pool,
                job,
                REQUEST,
                ApiKey(KEY),
                batch,
                batch.statistics(),
            ]
            values += [*outcomes, await batch.plan([REQUEST])]
    for value in values:
        console = Console(file=io.StringIO(), width=4000)
        console.print(Pretty(value, max_string=None))
        console.print(Pretty({"nested": [value]}, max_string=None))
        told = [repr(value), str(value), f"{value}", ascii(value), console.file.getvalue()]  # type: ignore[attr-defined]
        assert found("\n".join(told)) == [], type(value)


async def journal_of_a_batch(folder: Path) -> None:
    """The result's URL is never written. The source's is until it is submitted, and not after that."""
    with TinyVendor() as vendor:
        async with tiny_client(vendor) as hitpaw:
            async with hitpaw.batch(journal=folder / "journal.db", output=folder / "out", budget=400) as batch:
                async for outcome in batch.run([REQUEST]):
                    assert outcome.state is ItemState.DONE
                open_bytes = await anyio.to_thread.run_sync(contents, folder)
    assert hits(open_bytes, needles=(KEY, RESULT_SECRET)) == []
    assert found(await anyio.to_thread.run_sync(contents, folder)) == []


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def events_of_a_batch(folder: Path) -> None:
    events: list[object] = []
    with TinyVendor() as vendor:
        vendor.loses_replies = True
        async with tiny_client(vendor) as hitpaw, hitpaw.batch(output=folder, on_event=events.append) as batch:
            events += [outcome async for outcome in batch.run([REQUEST])]
    assert len(events) > 2
    assert found("\n".join(map(repr, events))) == []


async def command_line(folder: Path) -> None:
    """The real program, in a process of its own: output, progress, errors, files, and no key among its arguments."""
    with TinyVendor() as vendor:
        program = Program(folder, {"HITPAW_API_KEY": KEY, "HITPAW_API_BASE_URL": vendor.base_url})
        run = functools.partial(anyio.to_thread.run_sync, abandon_on_cancel=False)
        lost = SOURCE_URL.replace("holiday", "lost")
        quick = ("--no-probe", "--yes", "-o", "out", "--poll-interval-s", "0.02")
        said = [await run(lambda: program.run("enhance", SOURCE_URL, "--json", *quick))]
        vendor.loses_replies = True
        said.append(await run(lambda: program.run("enhance", lost, *quick)))
        refused = await run(lambda: program.run("enhance", SOURCE_URL, "--api-key", KEY, *quick))
    assert refused.code == 2, "there is no such flag"
    assert vendor.charges, "it was the real thing"
    assert found("".join(each.out + each.err for each in said)) == []
    assert hits(await anyio.to_thread.run_sync(contents, folder), needles=(KEY, RESULT_SECRET)) == []


async def key_in_a_file(folder: Path) -> None:
    path = folder / "key"
    with pytest.MonkeyPatch.context() as patch, TinyVendor() as vendor:
        patch.setenv("HITPAW_API_KEY_FILE", str(path))
        path.write_text(f"{KEY}\n")
        async with AsyncHitPaw(base_url=vendor.base_url) as hitpaw:
            assert (await hitpaw.export(REQUEST)).job_id
        patch.setenv("HITPAW_API_KEY", "another")
        async with AsyncHitPaw(base_url=vendor.base_url) as hitpaw:
            assert isinstance(await failure_of(hitpaw.export(REQUEST)), errors.AuthenticationError), "the variable wins"


async def key_file_is_unusable(folder: Path) -> None:
    bad = {
        "two lines": f"{KEY}\n{API_KEY}\n",
        "empty": "",
        "blank": " \n\n",
        "long": API_KEY * 1000,
        "odd": f"{KEY}\u00e9",
    }
    for name, text in bad.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*bad, "absent", ".", "null\0byte"):
            if "\0" not in name:
                patch.setenv("HITPAW_API_KEY_FILE", str(folder / name))
            with pytest.raises(ConfigurationError) as caught:
                AsyncHitPaw()
            assert "HITPAW_API_KEY" in str(caught.value)
            assert found(said_by(caught.value)) == [], name


async def key_is_unusable(_: Path) -> None:
    for key in (f"{API_KEY}\n{API_KEY}", f"{API_KEY} x", f"{API_KEY}\u00e9", f"{API_KEY}\x7f"):
        with pytest.raises(ConfigurationError) as caught:
            AsyncHitPaw(api_key=key)
        assert found(said_by(caught.value)) == []


@attrs.frozen
class Trail:
    """A way that a secret could take."""

    fault: str
    expected: str
    play: Callable[[Path], Awaitable[None]]


TRAILS: Final = (
    Trail(
        "logs of a whole conversation",
        "0 hits in httpx, httpcore and own logs at DEBUG",
        functools.partial(logs_of_a_conversation, is_callers=False),
    ),
    Trail(
        "logs of a caller's own client",
        "0 hits, httpx's INFO line included",
        functools.partial(logs_of_a_conversation, is_callers=True),
    ),
    Trail("logs of a caller's other requests", "left as they are", logs_of_a_callers_other_requests),
    Trail("logs of a signed redirect", "0 hits, the Location header included", logs_of_a_redirect),
    Trail("logs and exceptions of every fault", "0 hits", logs_of_every_fault),
    Trail(
        "exceptions of every public call",
        "0 hits in texts, causes, notes, tracebacks with locals, rich",
        exceptions_and_tracebacks,
    ),
    Trail("exception groups", "0 hits", exception_groups),
    Trail("pickles of exceptions", "0 hits; a request keeps its URL, never the key", pickles_of_exceptions),
    Trail("pickles and copies of a client", "refused", pickles_of_clients),
    Trail("repr and rich's view of every value", "0 hits", representations),
    Trail("the files of a journal", "0 hits: database, WAL, room, lock", journal_of_a_batch),
    Trail("events and outcomes of a batch", "0 hits", events_of_a_batch),
    Trail("the command line", "0 hits in output, errors and files; --api-key does not exist", command_line),
    Trail("a key in a file", "used where the variable is not set", key_in_a_file),
    Trail("a key file that can't be used", "ConfigurationError that says what to do, 0 hits", key_file_is_unusable),
    Trail("a key that no header carries", "ConfigurationError, 0 hits", key_is_unusable),
)


def secret_rows() -> Iterator[Row]:
    """All of them."""
    for trail in TRAILS:
        yield Row(
            area=Area.SECRET,
            fault=trail.fault,
            injection="canary key and canary signatures",
            expected=trail.expected,
            invariant="I7",
            play=trail.play,
            needs_backend=trail.play is not command_line,
        )
