"""A pytest plugin: httpx2, a maintained fork, stands in for httpx and its httpcore. `pytest -p tests.on_httpx2`.

It must be the first to import either: where it is not, httpx2 refuses.
"""

from __future__ import annotations

import httpx2

httpx2.alias_httpx()


def pytest_report_header() -> str:
    return f"httpx2 {httpx2.__version__} stands in for httpx"
