"""Rows of the wire: what can happen to one call between a client and a vendor, over real sockets."""

from __future__ import annotations

import email.utils
import ssl
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import attrs
import pytest

from hitpaw_async import ConfigurationError, HitPawError, Job, RetryPolicy, errors
from tests.client.callers import API_KEY, ONE_ATTEMPT, QUICK_RETRY, REQUEST, a_client, eventually
from tests.client.fault_server import ACCEPTING, JOB_ID, PREMATURE, Fault, FaultServer, deadline_s, unused_port
from tests.client.flaky_network import Break, FlakyNetwork
from tests.hostile.canary import hits, said_by
from tests.hostile.rows import Area, Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["wire_rows"]

Play: TypeAlias = "Callable[[Path], Awaitable[None]]"

CERTIFICATE: Final = Path(__file__).with_name("untrusted.pem")
CALLERS: Final = 2000


def said(fault: Fault) -> str:
    return fault.name.lower().replace("_", " ")


async def outcome_of(call: Awaitable[Job]) -> Job | HitPawError:
    """The job, or the library's own exception; anything else is a failure of the row."""
    with anyio.fail_after(20):
        try:
            return await call
        except HitPawError as error:
            failure = error
    assert API_KEY not in str(failure)
    assert failure.__cause__ is None
    assert failure.__context__ is None
    return failure


async def export_is_unknown(_: Path, *, fault: Fault) -> None:
    with FaultServer(fault, Fault.NONE) as server:
        async with a_client(server.url, timeout=deadline_s(fault)) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert isinstance(outcome, errors.SubmissionUnknownError)
    assert (len(server.exports), server.connections) == (1, 1)


async def export_is_charged_at_most_once(_: Path, *, fault: Fault) -> None:
    with FaultServer(fault, Fault.NONE) as server:
        async with a_client(server.url, timeout=deadline_s(fault)) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    # Whether the body had left is a race with the server's reset: unknown then, and not charged; else sent again, once.
    is_unknown = isinstance(outcome, errors.SubmissionUnknownError)
    assert is_unknown or outcome == Job(job_id=JOB_ID)
    assert len(server.exports) == (0 if is_unknown else 1)


async def export_is_accepted(_: Path, *, fault: Fault) -> None:
    with FaultServer(fault) as server:
        async with a_client(server.url) as hitpaw:
            assert await outcome_of(hitpaw.export(REQUEST)) == Job(job_id=JOB_ID)
    assert len(server.exports) == 1


async def export_is_refused(_: Path, *, fault: Fault, kind: type[HitPawError]) -> None:
    with FaultServer() as elsewhere, FaultServer(fault, Fault.NONE, redirect_to=elsewhere.url) as server:
        async with a_client(server.url) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert type(outcome) is kind
    assert len(server.exports) == 1
    assert elsewhere.connections == 0


async def task_recovers(_: Path, *, fault: Fault) -> None:
    with FaultServer(fault, Fault.NONE) as server:
        async with a_client(server.url, timeout=deadline_s(fault)) as hitpaw:
            outcome = await outcome_of(hitpaw.task(JOB_ID))
    assert isinstance(outcome, Job)
    assert outcome.job_id == JOB_ID
    assert server.exports == []


async def task_ends(_: Path, *, fault: Fault, kinds: tuple[type[HitPawError], ...]) -> None:
    with FaultServer(fault) as server:
        async with a_client(server.url, timeout=deadline_s(fault)) as hitpaw:
            outcome = await outcome_of(hitpaw.task(JOB_ID))
    assert isinstance(outcome, kinds)
    assert server.connections <= QUICK_RETRY.attempts_max


async def connection_breaks(_: Path, *, breaks: Break, charges: int) -> None:
    with pytest.MonkeyPatch.context() as patch, FaultServer() as server:
        FlakyNetwork([breaks], patch)
        async with a_client(server.url) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    is_job = outcome == Job(job_id=JOB_ID)
    assert is_job if charges else isinstance(outcome, errors.SubmissionUnknownError)
    assert len(server.exports) == charges or breaks is Break.READ


async def cannot_connect(_: Path, *, base_url: str, **settings: Any) -> None:
    async with a_client(base_url, **settings) as hitpaw:
        for call in (hitpaw.export(REQUEST), hitpaw.task(JOB_ID)):
            outcome = await outcome_of(call)
            assert type(outcome) is errors.TransportError, "certainly not accepted"


async def nobody_listens(folder: Path) -> None:
    await cannot_connect(folder, base_url=f"http://127.0.0.1:{unused_port()}")


async def tls_is_untrusted(_: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with FaultServer(tls=context) as server:
        async with a_client(server.url) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert type(outcome) is errors.TransportError
    assert "certificate is not trusted" in str(outcome)
    assert server.received == []


async def tls_fails(_: Path, *, fault: Fault) -> None:
    with FaultServer(fault) as server:
        async with a_client(server.url.replace("http:", "https:"), timeout=deadline_s(fault)) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert type(outcome) is errors.TransportError
    assert server.received == []


async def keep_alive_is_stale(_: Path) -> None:
    """Each connection is closed by the server right after its answer, while many callers want to use it again."""
    with FaultServer(Fault.NONE_THEN_FIN) as server:
        async with a_client(server.url, max_connections=8) as hitpaw, anyio.create_task_group() as tasks:

            async def call() -> None:
                assert await outcome_of(hitpaw.export(REQUEST)) == Job(job_id=JOB_ID)
                assert isinstance(await outcome_of(hitpaw.task(JOB_ID)), Job)

            for _number in range(50):
                tasks.start_soon(call)
    assert len(server.exports) == 50, "each was charged, and none twice"


async def crowd_calls(_: Path) -> None:
    answered = 0
    with FaultServer() as server:
        async with a_client(server.url, max_connections=10, timeout=30) as hitpaw, anyio.create_task_group() as tasks:

            async def call() -> None:
                nonlocal answered
                await hitpaw.task(JOB_ID)
                answered += 1

            for _number in range(CALLERS):
                tasks.start_soon(call)
    assert answered == len(server.received) == CALLERS
    assert server.busiest <= 10
    assert server.connections < CALLERS // 10, "connections are used again"


async def callers_are_cancelled(_: Path) -> None:
    """Callers leave at every stage: waiting for their turn, connecting, sending, reading."""
    with FaultServer() as server:
        async with a_client(server.url, max_connections=4) as hitpaw:
            async with anyio.create_task_group() as tasks:

                async def leave(after_s: float) -> None:
                    with anyio.move_on_after(after_s):
                        await hitpaw.task(JOB_ID)

                for number in range(300):
                    tasks.start_soon(leave, number % 30 / 3000)
            # No slot was lost: as many callers as there are connections still get through at once.
            async with anyio.create_task_group() as tasks:
                for _number in range(4):
                    tasks.start_soon(hitpaw.task, JOB_ID)
    assert server.exports == []


async def export_is_cancelled(_: Path) -> None:
    with FaultServer() as server:
        server.may_answer.clear()
        async with a_client(server.url) as hitpaw, anyio.create_task_group() as tasks:
            tasks.start_soon(hitpaw.export, REQUEST)
            await eventually(lambda: server.exports)
            tasks.cancel_scope.cancel()
            server.may_answer.set()
    assert len(server.exports) == 1


async def retry_budget_is_used_up(_: Path) -> None:
    retry = RetryPolicy(attempts_max=100, backoff_first_s=0, budget_tokens=5, budget_refill=0)
    with FaultServer(Fault.GATEWAY_502) as server:
        async with a_client(server.url, retry=retry) as hitpaw, anyio.create_task_group() as tasks:

            async def fail() -> None:
                assert isinstance(await outcome_of(hitpaw.task(JOB_ID)), errors.ServerError)

            for _number in range(10):
                tasks.start_soon(fail)
    assert len(server.received) == 10 + 5


async def whole_client_pauses(_: Path, *, is_date: bool) -> None:
    stamp = email.utils.formatdate(time.time() + 2, usegmt=True)
    with FaultServer(Fault.RATE_LIMIT, Fault.NONE, retry_after=stamp if is_date else "1") as server:
        async with a_client(server.url) as hitpaw:
            started_at = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hitpaw.export, REQUEST)
                await eventually(lambda: server.received)
                await anyio.sleep(0.2)
                for _number in range(5):
                    tasks.start_soon(hitpaw.task, JOB_ID)
                await anyio.sleep(0.2)
                assert len(server.received) == 1, "nobody of the client sends anything meanwhile"
            assert anyio.current_time() - started_at >= 0.9
    assert len(server.received) == 7


async def pause_is_too_long(_: Path) -> None:
    with FaultServer(Fault.RATE_LIMIT, retry_after="86400") as server:
        async with a_client(server.url) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert isinstance(outcome, errors.RateLimitError)
    assert outcome.retry_after_s == 86400
    assert len(server.exports) == 1


async def environment_names_a_proxy(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, FaultServer() as spy, FaultServer() as server:
        for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            patch.setenv(name, spy.url)
        patch.setenv("no_proxy", "")
        async with a_client(server.url) as hitpaw:
            assert isinstance(await outcome_of(hitpaw.export(REQUEST)), Job)
        assert spy.connections == 0, "the key was not shown to it"
        async with a_client(server.url, trust_env=True) as hitpaw:
            await outcome_of(hitpaw.task(JOB_ID))
        assert spy.connections == 1, "only where it was asked for"


async def proxy_refuses(_: Path) -> None:
    with FaultServer(Fault.GATEWAY_403) as proxy:
        address = proxy.url.replace("http://", "http://user:pr0xy-pa55@")
        async with a_client("https://vendor.example.com", proxy=address, retry=ONE_ATTEMPT) as hitpaw:
            outcome = await outcome_of(hitpaw.export(REQUEST))
    assert type(outcome) is errors.TransportError
    assert isinstance(outcome, HitPawError)
    assert hits(said_by(outcome), needles=("pr0xy-pa55",)) == []
    [tunnel] = proxy.received
    assert tunnel.path == "vendor.example.com:443"
    assert "apikey" not in tunnel.headers


async def proxy_is_unusable(_: Path) -> None:
    for url in (
        "proxy.example.com:3128",
        "socks5://u:pr0xy-pa55@p",
        "http://",
        "http://u:pr0xy-pa55@p/path",
        "http://p?x",
    ):
        with pytest.raises(ConfigurationError, match="proxy") as caught:
            a_client("https://vendor.example.com", proxy=url)
        assert hits(said_by(caught.value), needles=("pr0xy-pa55",)) == []


async def client_is_closed(_: Path) -> None:
    with FaultServer() as server:
        async with a_client(server.url) as hitpaw:
            pass
        outcome = await outcome_of(hitpaw.export(REQUEST))
    assert type(outcome) is ConfigurationError
    assert server.connections == 0


ENDS: Final[dict[Fault, tuple[type[HitPawError], ...]]] = {
    Fault.BAD_GZIP: (errors.ProtocolError,),
    Fault.GZIP_BOMB: (errors.ProtocolError,),
    Fault.MEGABYTES: (errors.ProtocolError,),
    Fault.EMPTY: (errors.ProtocolError,),
    Fault.HTML: (errors.ProtocolError,),
    Fault.TRUNCATED_WITHOUT_LENGTH: (errors.ProtocolError,),
    Fault.GATEWAY_502: (errors.ServerError,),
    Fault.GATEWAY_403: (errors.APIError,),
    Fault.GATEWAY_429: (errors.RateLimitError,),
    Fault.VENDOR_500: (errors.ServerError,),
}
"""What a task call ends in, where a fault lasts; all others break the connection: `TransportError`."""

REFUSALS: Final = {
    Fault.BAD_KEY: errors.AuthenticationError,
    Fault.NO_CREDITS: errors.InsufficientCreditsError,
    Fault.BAD_URL: errors.InvalidVideoURLError,
    Fault.REDIRECT: errors.ConfigurationError,
}

SOUND: Final = (Fault.NONE_CHUNKED, Fault.NONE_GZIPPED, Fault.NONE_AFTER_EARLY_HINTS, Fault.NONE_THEN_FIN)

BREAKS: Final = {
    Break.CONNECT: 1,
    Break.CONNECT_TIMEOUT: 1,
    Break.WRITE_HEADERS: 1,
    Break.WRITE_HEADERS_TIMEOUT: 1,
    Break.WRITE_BODY: 0,
    Break.READ: 0,
}


@attrs.frozen
class Special:
    """A fault that is not one exchange's."""

    fault: str
    injection: str
    expected: str
    invariant: str
    play: Callable[[Path], Awaitable[None]]


SPECIALS: Final = (
    Special("nobody listens", "a closed port", "TransportError, certainly not accepted", "I1, I10", nobody_listens),
    Special(
        "a host that does not resolve",
        "base_url in .invalid",
        "TransportError, certainly not accepted",
        "I1, I10",
        partial(cannot_connect, base_url="https://vendor.invalid", retry=ONE_ATTEMPT),
    ),
    Special(
        "an untrusted certificate",
        "a self-signed one",
        "TransportError that names it, no byte sent",
        "I7",
        tls_is_untrusted,
    ),
    *(
        Special(
            f"TLS: {said(fault)}",
            "a server without TLS",
            "TransportError, no request sent",
            "I1, I10",
            partial(tls_fails, fault=fault),
        )
        for fault in (Fault.GARBAGE_ON_ACCEPT, Fault.HANG_WITHOUT_READING, Fault.RESET_ON_ACCEPT, Fault.FIN_ON_ACCEPT)
    ),
    Special(
        "stale keep-alive under load",
        "FIN after each answer, 50 callers",
        "50 jobs, 50 charges",
        "I1",
        keep_alive_is_stale,
    ),
    Special("2,000 callers at once", "10 connections", "all answered, never more than 10 at once", "I8", crowd_calls),
    Special(
        "callers cancelled at every stage",
        "300 deadlines of 0 to 10 ms",
        "no pool slot lost",
        "I8",
        callers_are_cancelled,
    ),
    Special(
        "an export cancelled after it was sent",
        "cancel before the answer",
        "one charge, not sent again",
        "I1",
        export_is_cancelled,
    ),
    Special(
        "an outage that all callers meet",
        "502 for 10 callers",
        "5 retries in all, ServerError",
        "I11",
        retry_budget_is_used_up,
    ),
    Special(
        "429, Retry-After in seconds",
        "Retry-After: 1",
        "the whole client waits, then goes on",
        "I11",
        partial(whole_client_pauses, is_date=False),
    ),
    Special(
        "429, Retry-After as a date",
        "a date 2 s ahead",
        "the whole client waits, then goes on",
        "I11",
        partial(whole_client_pauses, is_date=True),
    ),
    Special("429 for a day", "Retry-After: 86400", "RateLimitError at once, one send", "I11", pause_is_too_long),
    Special(
        "proxies in the environment",
        "HTTPS_PROXY, ALL_PROXY",
        "not used unless trust_env=True",
        "I7",
        environment_names_a_proxy,
    ),
    Special(
        "a proxy that refuses",
        "403 to CONNECT",
        "TransportError without its password; no key to it",
        "I7, I10",
        proxy_refuses,
    ),
    Special(
        "a proxy's URL that is none",
        "five of them",
        "ConfigurationError without the password",
        "I7, I10",
        proxy_is_unusable,
    ),
    Special(
        "a client that is closed", "a call after aclose", "ConfigurationError, nothing sent", "I10", client_is_closed
    ),
)


def wire_rows() -> Iterator[Row]:
    """All of them."""
    yield from _export_rows()
    yield from _task_rows()
    for special in SPECIALS:
        yield _row(special.fault, special.injection, special.expected, special.invariant, special.play)


def _row(fault: str, injection: str, expected: str, invariant: str, play: Play) -> Row:
    return Row(area=Area.TRANSPORT, fault=fault, injection=injection, expected=expected, invariant=invariant, play=play)


def _export_rows() -> Iterator[Row]:
    kinds: dict[Fault, tuple[str, str, Play]] = {}
    for fault in ACCEPTING:
        play: Play = partial(export_is_unknown, fault=fault)
        kinds[fault] = ("after the body was read", "SubmissionUnknownError, sent once", play)
    for fault in PREMATURE:
        play = partial(export_is_charged_at_most_once, fault=fault)
        kinds[fault] = ("before the body was read", "at most one charge", play)
    for fault in SOUND:
        kinds[fault] = ("an odd but sound answer", "the job, one charge", partial(export_is_accepted, fault=fault))
    for fault, kind in REFUSALS.items():
        play = partial(export_is_refused, fault=fault, kind=kind)
        kinds[fault] = ("the vendor's answer", f"{kind.__name__}, sent once", play)
    for fault in sorted(kinds, key=lambda fault: fault.value):
        injection, expected, play = kinds[fault]
        yield _row(f"export: {said(fault)}", injection, expected, "I1, I7", play)
    for breaks, charges in BREAKS.items():
        expected = "sent again, one charge" if charges else "SubmissionUnknownError, never sent again"
        play = partial(connection_breaks, breaks=breaks, charges=charges)
        name = breaks.name.lower().replace("_", " ")
        yield _row(f"export: {name} fails", "the socket's call raises", expected, "I1", play)


def _task_rows() -> Iterator[Row]:
    for fault in sorted(ACCEPTING | PREMATURE, key=lambda fault: fault.value):
        yield _row(f"task: {said(fault)}", "once", "asked again, the job", "I11", partial(task_recovers, fault=fault))
    for fault in sorted(ACCEPTING, key=lambda fault: fault.value):
        kinds = ENDS.get(fault, (errors.TransportError,))
        expected = f"{kinds[0].__name__} after 3 attempts"
        play: Play = partial(task_ends, fault=fault, kinds=kinds)
        yield _row(f"task: {said(fault)}, always", "each attempt", expected, "I10, I11", play)
