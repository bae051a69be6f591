"""For the tests of your own code: the vendor in this process, in virtual time, and respx routes ready-made.

A pytest plugin brings the fixtures; nothing is to be configured. They work in tests of anyio's plugin, pytest-asyncio
(both modes) and pytest-trio, and nothing leaves the process. Needs the extra `testing`.

```python
async def test_two_hours_pass_at_once(hitpaw_simulator):
    hitpaw_simulator.vendor.job_duration_s = 7200
    job = await hitpaw_simulator.client.enhance("https://videos.example/a.mp4", model=17, resolution="1280x720")
    assert job.status is JobStatus.COMPLETED
    [charge] = hitpaw_simulator.vendor.charges
```

| fixture | what it is |
|---|---|
| `hitpaw_simulator` | a `HitPawSimulator`: a client, and a vendor that can be told what to do |
| `hitpaw_routes` | `V3Routes`: the two calls and the results as respx routes, to be overridden one by one |

While `hitpaw_simulator` is in use, every `AsyncHitPaw()` that is given no `http_client` reaches it: the code under test
may open its own. `hitpaw_async.testing.virtual_time` says what virtual time is on asyncio and on trio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hitpaw_async.testing.routes import V3Routes, install_routes
    from hitpaw_async.testing.simulation import HitPawSimulator
    from hitpaw_async.testing.vendor import ScriptedVendor, VendorJob
    from hitpaw_async.testing.virtual_time import VirtualTime, virtual_backend

__all__ = [
    "HitPawSimulator",
    "ScriptedVendor",
    "V3Routes",
    "VendorJob",
    "VirtualTime",
    "install_routes",
    "virtual_backend",
]

_MODULE_OF: Final = {
    "HitPawSimulator": "simulation",
    "ScriptedVendor": "vendor",
    "V3Routes": "routes",
    "VendorJob": "vendor",
    "VirtualTime": "virtual_time",
    "install_routes": "routes",
    "virtual_backend": "virtual_time",
}
_OPTIONAL: Final = ("starlette", "respx", "pytest")


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ImportError as error:
        from hitpaw_async.errors import MissingExtraError  # noqa: PLC0415 (pytest loads this module in every project)

        if not isinstance(error, MissingExtraError) and (error.name or "").partition(".")[0] not in _OPTIONAL:
            raise
        raise MissingExtraError(f"hitpaw_async.testing.{name}", "testing") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
