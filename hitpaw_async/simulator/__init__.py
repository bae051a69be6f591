"""The vendor, simulated: an ASGI application that talks like v3, keeps its own ledger, and goes wrong on demand.

It spends nothing and enhances nothing. A result is the source scaled by PyAV: "lanczos, not AI". Needs the extra
`simulator`, and `media` for real results.

```python
simulator = Simulator(credits=100, sources=lambda url: VideoFacts(duration_s=20, frame_rate=25))
async with httpx.AsyncClient(transport=httpx.ASGITransport(simulator.app)) as http_client:  # asyncio or trio
    ...
    assert simulator.charges_by_url() == {url: 1}

async with serve(Simulator(files="samples"), port=8787) as base_url:  # a real server, asyncio
    ...
```

What is documented (source: v3 document) and done as it says: the two paths and `POST`; the header `ApiKey`; the fields
of the export; 401 / 501001, 402 / 501002 and 400 / 501016 with their messages; the price table; the limits of size,
length, bytes and formats; the four status values; the webhook's three fields; an empty `res_url` until a job is
COMPLETED.

What is assumed, because the document is silent or contradicts itself:

| point | here |
|---|---|
| when a charge is made | when the export is accepted; a job that ends in ERROR stays charged |
| rounding | whole minutes, rounded up, at least one; the dearer tier of source and target; measured facts |
| a source that breaks a limit | 400 / 501016, with the limit in the message |
| other bad requests, unknown models | 400 / 501000 |
| an unknown job | 404 / 501404 |
| too many requests (a scripted fault) | 429 / 501429, with `Retry-After` where the script says so |
| the task call's reply | flat, as the text says; `task_reply="enveloped"`, as the sample shows |
| `model_name` with `original_resolution` | taken, by the names of the ten models (a later revision of v3) |
| `extension` | .mp4, .mov, .mkv, .avi or .webm |
| how long a job takes | `job_duration_s`; else 3 s waiting, about 2 s and half the video's length (the same each run) |
| which jobs fail | those with `vendor-error` in their URL before its query; a fault script's; what can't be scaled |
| a webhook that is not taken | tried three times in all |
| how long results stay | as long as the simulator |
| keys | all that are accepted share one balance |

Without PyAV nothing can be measured: one minute at up to 30 frames per second is charged, and the result is the source
as it is. With virtual sources (`sources=` facts of URLs) nothing is fetched, and the result is `result_bytes`.

Endpoints of its own: `/` (what it is), `/simulator/ledger` (the balance, every charge, and how many calls came in),
`/results/...` (Range, If-Range, ETag; the URL is a secret) and `/files/...` (the folder `files`). It fetches whatever
URL it is given, so keep it off the network. `hitpaw_async.simulator.faults` has the format of fault scripts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from hitpaw_async.errors import MissingExtraError

if TYPE_CHECKING:
    from hitpaw_async.simulator.faults import FaultAction, FaultCall, FaultRule, FaultScript, FaultTime
    from hitpaw_async.simulator.server import serve
    from hitpaw_async.simulator.service import Simulator
    from hitpaw_async.simulator.sources import SourceMode
    from hitpaw_async.simulator.vendor import Charge
    from hitpaw_async.simulator.wire import TaskReply

__all__ = [
    "Charge",
    "FaultAction",
    "FaultCall",
    "FaultRule",
    "FaultScript",
    "FaultTime",
    "Simulator",
    "SourceMode",
    "TaskReply",
    "serve",
]

_MODULE_OF: Final = {
    "Charge": "vendor",
    "FaultAction": "faults",
    "FaultCall": "faults",
    "FaultRule": "faults",
    "FaultScript": "faults",
    "FaultTime": "faults",
    "Simulator": "service",
    "SourceMode": "sources",
    "TaskReply": "wire",
    "serve": "server",
}
_OPTIONAL: Final = ("starlette", "uvicorn")


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OPTIONAL:
            raise
        raise MissingExtraError("The simulator", "simulator") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
