"""A short set of the fuzzer, and replies that Hypothesis makes up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitpaw_async import HitPawError
from hitpaw_async._core.protocol.messages import Reply
from hitpaw_async._core.protocol.v3 import V3
from tests.client.fault_server import JOB_ID
from tests.hostile.canary import API_KEY
from tests.hostile.fuzz import STATUSES, EscapedError, Figures, fuzz_in_memory, fuzz_over_sockets

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = st.sampled_from(
    ["code", "error_code", "message", "msg", "data", "job_id", "status", "res_url", "consume_coins"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(API_KEY),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | FIELDS, inner),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(fields=st.dictionaries(FIELDS, JSON), status_code=st.sampled_from(STATUSES))
def test_only_the_librarys_exceptions_come_of_any_json(fields: dict[str, object], status_code: int) -> None:
    figures, raw = Figures(), json.dumps(fields).encode("utf-8", "surrogatepass")
    reply = Reply(status_code=status_code, body=raw, secrets=(API_KEY,))
    for decode in (V3.decode_export, lambda reply: V3.decode_task(reply, job_id=JOB_ID)):
        outcome: object = "a job"
        try:
            decode(reply)
        except HitPawError as error:
            outcome = error
        figures.judge(raw, outcome)


def test_only_the_librarys_exceptions_come_of_mutated_bytes() -> None:
    figures = fuzz_in_memory(5000, seed=1)
    assert figures.inputs == 5000
    assert figures.seen["a job"] > 20, "some are still sound"
    assert figures.seen["ProtocolError"] > 500, "and most are not"


@pytest.mark.anyio
@pytest.mark.slow
async def test_only_the_librarys_exceptions_come_of_mutated_http(tmp_path: Path) -> None:
    figures = await fuzz_over_sockets(300, seed=2, folder=tmp_path)
    assert figures.inputs == 300
    assert figures.seen["a job"] + figures.seen["a file"] > 20
    assert len(figures.seen) > 4


def test_what_escapes_is_noticed() -> None:
    for escaped in (KeyError("x"), HitPawError("x" * 2000), HitPawError(f"it is {API_KEY}"), HitPawError("a\nb")):
        with pytest.raises(EscapedError):
            Figures().judge(b"", escaped)
