"""The vendor's two calls and its results as respx routes: sensible answers, each of which may be overridden.

```python
async def test_a_refusal_is_shown(hitpaw_routes):
    hitpaw_routes.export.respond(402, json={"code": 501002, "message": "not enough coins"})
    ...
    assert hitpaw_routes.export.call_count == 1
```

Without a word every export is accepted as a new job, every job is COMPLETED at once, and its result is there. Time is
real here: for jobs that take long, and for anything about money, use the simulator.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import attrs
import respx

from hitpaw_async._core.protocol.v3 import V3
from hitpaw_async._session import Session
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL
from hitpaw_async.models import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RESULT", "V3Routes", "install_routes", "mocked_routes"]

RESULT: Final = b"\0\0\0\x14ftypisom\0\0\2\0isom" + b"the result of a test"
"""Begins as a video does: a text is no result."""
_RESULTS_PATH: Final = "/results/"


@attrs.define(kw_only=True, eq=False)
class V3Routes:
    """The routes, by respx's own `Route`: override one with `respond(...)` or `mock(...)`, look at its `calls`."""

    router: respx.MockRouter
    export: respx.Route
    task: respx.Route
    result: respx.Route
    """The download of any job's result."""


@contextmanager
def mocked_routes() -> Iterator[V3Routes]:
    """The routes on a router of their own that lets no other call out; a route that is not called is no failure."""
    with respx.mock(assert_all_called=False) as router, mock.patch.object(Session, "probes_by_default", new=False):
        yield install_routes(router)


def install_routes(
    router: respx.MockRouter,
    *,
    base_url: str = DEFAULT_BASE_URL,
    statuses: Sequence[JobStatus | str] = (JobStatus.COMPLETED,),
    result: bytes = RESULT,
) -> V3Routes:
    """Add v3's calls to a router, under the names `hitpaw-export`, `hitpaw-task` and `hitpaw-result`.

    Args:
        router: Yours, e.g. the fixture `respx_mock`.
        base_url: The vendor's address, as the client has it.
        statuses: What one job's task calls answer, one after the other; the last one stays.
        result: What a download brings.
    """
    vendor = _Vendor(base_url.rstrip("/"), [JobStatus(status).value for status in statuses])
    results = f"{vendor.base_url}{_RESULTS_PATH}"
    return V3Routes(
        router=router,
        export=router.post(vendor.base_url + V3.export_path, name="hitpaw-export").mock(side_effect=vendor.export),
        task=router.post(vendor.base_url + V3.task_path, name="hitpaw-task").mock(side_effect=vendor.task),
        result=router.get(url__startswith=results, name="hitpaw-result").respond(200, content=result),
    )


@attrs.define(eq=False)
class _Vendor:
    """Numbers jobs, and counts how often each was asked for."""

    base_url: str
    _statuses: list[str]
    _jobs: int = 0
    _asked: Counter[str] = attrs.field(factory=Counter)

    def export(self, _: object) -> Any:
        self._jobs += 1
        return respx.MockResponse(200, json=_enveloped({"job_id": f"job-{self._jobs}"}))

    def task(self, request: Any) -> Any:
        job_id = str(json.loads(request.content)["job_id"])
        status = self._statuses[min(self._asked[job_id], len(self._statuses) - 1)]
        self._asked[job_id] += 1
        url = f"{self.base_url}{_RESULTS_PATH}{job_id}.mp4" if status == JobStatus.COMPLETED.value else ""
        return respx.MockResponse(200, json=_enveloped({"job_id": job_id, "status": status, "res_url": url}))


def _enveloped(data: dict[str, str]) -> dict[str, Any]:
    return {"code": 200, "message": "Success", "data": data}
